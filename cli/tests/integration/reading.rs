//! What people read before they sign and after the fact: the plan, its differences, a step in
//! detail, evidence, the log in sentences.

use std::fs;

use crate::harness::{Place, runbook};

const RUNBOOK: &str = r#"
  - id: "1"
    title: Work
    responsible: Operations
    planned: 1h
    steps:
      - id: "1.1"
        title: Print
        run: {command: "echo one; echo two"}
        changes: nothing
      - id: "1.2"
        title: Look
        manual:
          instructions: |
            Open the page.
            Compare it with the picture.
          checklist: [The page opens]
          role: crew
      - id: "1.3"
        title: Fail
        run: {command: "test -e ready"}
        changes: nothing
    gate: {sign_offs: [{role: crew}]}
"#;

fn place() -> Place {
    let place = Place::new();
    place.write("work.yaml", &runbook(RUNBOOK));
    place
}

#[test]
fn a_pending_step_shows_what_the_plan_says_of_it() {
    let place = place();
    let _up = place.up();
    place
        .run("open work.yaml --env local --id r --as alice")
        .exits(0);
    place
        .run("show 1.2 r")
        .exits(0)
        .says("status      pending")
        .says("who can     crew:")
        .says("Compare it with the picture.")
        .says("- The page opens");
    place
        .run("show 1.1 r")
        .exits(0)
        .says("command: echo one; echo two");
    place
        .run("plan r")
        .exits(0)
        .says("Phase 1 Work")
        .says("done by Operations · planned for 1h")
        .says("signs gate 1; completes step 1.2")
        .says("the plan of r that is in force");
    place.run("plan r --full").exits(0).says("Open the page.");
}

#[test]
fn revisions_are_compared_by_number() {
    let place = place();
    let _up = place.up();
    place
        .run("open work.yaml --env local --id r --as alice")
        .exits(0);
    let changed = RUNBOOK
        .replace("echo two", "echo three")
        .replace("Open the page.", "Open it.");
    place.write("changed.yaml", &runbook(&changed));
    place
        .run("revise changed.yaml r --reason better --as alice")
        .exits(0);
    // A proposed revision is read before it is accepted.
    place
        .run("plan r --revision 2 --full")
        .exits(0)
        .says("echo three");
    place.run("plan r --full").exits(0).says("echo two");
    place
        .run("diff r 1 2")
        .exits(0)
        .says("~ step 1.1: run.command")
        .says("- echo one; echo two")
        .says("+ echo one; echo three")
        .says("from line 1: Open it.");
    let json = place.run("diff r 1 2 --json").exits(0).json();
    assert_eq!(json["changes"][0]["change"], "changed");
    assert_ne!(json["from_digest"], json["to_digest"]);
    place.run("diff r 2 2").exits(0).says("nothing differs");
    place
        .run("diff r 1 3")
        .exits(2)
        .complains("RB-HANDLER-21")
        .complains("it has 1 to 2");
    place
        .run("plan work.yaml --revision 1")
        .exits(2)
        .complains("RB-CLI-100");
}

#[test]
fn a_step_shows_its_verdict_who_skipped_it_and_every_attempt() {
    let place = place();
    let _up = place.up();
    place
        .run("open work.yaml --env local --id r --start --as alice")
        .exits(0);
    place.run("status r --wait 30").exits(4);
    place
        .run("complete 1.2 r --answer '1=pass:it does' --as bob")
        .exits(0)
        .says("step_finished");
    place.run("status r --wait 30").exits(1);
    place.run("retry 1.3 r --reason again --as alice").exits(0);
    place.run("status r --wait 30").exits(1);
    place
        .run("skip 1.3 r --reason 'not today' --as carol")
        .exits(0);
    place
        .run("show 1.2 r")
        .exits(0)
        .says("finished, verdict pass, attempt 1")
        .says("by          bob")
        .says("[pass] The page opens (it does)");
    place
        .run("show 1.3 r")
        .exits(0)
        .says("skipped, verdict skipped, attempt 2")
        .says("skipped by  carol")
        .says("attempt 1: fail")
        .says("attempt 2: fail")
        .says("carol skipped step 1.3: not today");
    place
        .run("report r")
        .exits(0)
        .says("## Exceptions")
        .says("Step 1.3 Fail: **skipped** at")
        .says("took **2 attempts**")
        .says("Course of step 1.3:")
        .says("| The page opens | pass | it does |")
        .says("Responsible: Operations. Planned for 1h, took");
}

#[test]
fn evidence_is_listed_and_fetched_by_a_beginning() {
    let place = place();
    let _up = place.up();
    place
        .run("open work.yaml --env local --id r --start --as alice")
        .exits(0);
    place.run("status r --wait 30").exits(4);
    let pieces = place.run("evidence list r --json").exits(0).json();
    let piece = pieces
        .as_array()
        .unwrap()
        .iter()
        .find(|piece| piece["of"] == "step_finished 1.1")
        .unwrap();
    assert_eq!(piece["size_bytes"], 8);
    let sha256 = piece["sha256"].as_str().unwrap();
    let got = place.run(&format!("evidence get {sha256}")).exits(0);
    assert_eq!(got.out, "one\ntwo\n");
    let short = &sha256[..10];
    place
        .run(&format!(
            "evidence get {short} --rollout r --output out.txt"
        ))
        .exits(0);
    let file = place.path().join("out.txt");
    assert_eq!(fs::read_to_string(&file).unwrap(), "one\ntwo\n");
    place
        .run(&format!(
            "evidence get {short} --rollout r --output out.txt"
        ))
        .exits(2)
        .complains("RB-CLI-68");
    place
        .run(&format!(
            "evidence get {short} --rollout r --output out.txt --force"
        ))
        .exits(0);
    place
        .run("evidence get ffffffffff --rollout r")
        .exits(2)
        .complains("RB-CLI-106");
    place
        .run("evidence get xyz")
        .exits(2)
        .complains("RB-CLI-105");
    // Altered in the store: never handed over.
    let object = place
        .data_dir()
        .join("objects")
        .join(&sha256[..2])
        .join(sha256);
    fs::write(object, "one\nTWO\n").unwrap();
    place
        .run(&format!("evidence get {sha256} --output other.txt"))
        .exits(6);
    assert!(!place.path().join("other.txt").exists());
}

#[test]
fn what_does_not_fit_on_a_disk_is_told() {
    let place = place();
    let _up = place.up();
    place
        .run("open work.yaml --env local --id r --as alice")
        .exits(0);
    for line in ["log r", "report r", "plan r", "show 1.1 r", "schema"] {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = place.command(line).stdout(full).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(7), "{line}: {told}");
        assert!(told.contains("RB-CLI-110"), "{line}: {told}");
    }
}

#[test]
fn passwords_in_urls_are_masked_wherever_a_person_reads_them() {
    let place = Place::new();
    let file = place.write(
        "secret.yaml",
        &runbook(&RUNBOOK.replace("echo one", "echo postgres://app:s3cret@db/x")),
    );
    let _up = place.up();
    place
        .run(&format!(
            "open {file} --env local --id r --start --as alice"
        ))
        .exits(0);
    place.run("status r --wait 30").exits(4);
    place
        .run("pause r --reason 'see https://bob:s3cret@wiki/x' --as bob")
        .exits(0);
    for line in [
        "log r",
        "report r",
        "plan r --full",
        "show 1.1 r",
        "status r",
        "gate 1 r",
    ] {
        let ran = place.run(line).exits(0);
        assert!(!ran.out.contains("s3cret"), "{line}: {}", ran.out);
    }
}

#[test]
fn the_log_is_read_in_sentences_and_filtered() {
    let place = place();
    let _up = place.up();
    place
        .run("open work.yaml --env local --id r --start --as alice")
        .exits(0);
    place.run("status r --wait 30").exits(4);
    place.run("pause r --reason lunch --as bob").exits(0);
    place
        .run("log r")
        .exits(0)
        .says("alice started the rollout")
        .says("bob paused the rollout: lunch");
    let by_bob = place
        .run("log --actor bob")
        .exits(0)
        .says("r: bob paused the rollout: lunch");
    assert_eq!(by_bob.out.lines().count(), 1, "{}", by_bob.out);
    let finished = place.run("log --type step_finished --env local").exits(0);
    assert_eq!(finished.out.lines().count(), 1, "{}", finished.out);
    let elsewhere = place.run("log --env production").exits(0);
    assert_eq!(elsewhere.out, "");
    let recent = place.run("log r --since 1h --json").exits(0).json_lines();
    assert!(recent.len() >= 4, "{recent:?}");
    assert_eq!(place.run("log r --since 1h --until 30m").exits(0).out, "");
    assert_eq!(
        place.run("log r --until 2020-01-01T00:00:00Z").exits(0).out,
        ""
    );
    place
        .run("log --since yesterday")
        .exits(2)
        .complains("RB-CLI-102");
    place
        .run("log --type step_startet")
        .exits(2)
        .complains("step_started");
}

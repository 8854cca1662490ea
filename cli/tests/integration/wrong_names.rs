//! A name that nothing has: which one may be meant, and a moment that has not come.

use crate::harness::{Place, runbook};

const STEPS: &str = r#"
  - id: build
    title: One
    steps:
      - {id: "1.1", title: Look, run: {command: "true"}, changes: nothing}
      - {id: "1.2", title: Wait, manual: {instructions: Look.}}
    gate: {sign_offs: [{role: crew}], not_executor: false}
"#;

/// What it prints to either stream.
#[track_caller]
fn says(place: &Place, line: &str, code: i32, text: &str) {
    let ran = place.run(line).exits(code);
    let said = format!("{}{}", ran.out, ran.err);
    assert!(
        said.contains(text),
        "`{text}` is not said by `{line}`:\n{said}"
    );
}

#[test]
fn close_names_are_suggested() {
    let place = Place::new();
    let _up = place.up();
    place.write("steps.yaml", &runbook(STEPS));
    place.waiting("steps.yaml", "pricing-7");
    for environment in ["production", "staging"] {
        place
            .run(&format!(
                "flag define NEW_PRICING --env {environment} --description d --owner o --as alice"
            ))
            .exits(0);
    }
    place
        .run("environment set vault --protected --role crew=alice,bob --reason r --as alice")
        .exits(0);

    for (line, meant) in [
        ("statsu", "'status'"),
        ("status pricng-7", "did you mean `pricing-7`?"),
        ("report pricing7", "did you mean `pricing-7`?"),
        (
            "pause picing-7 --reason r --as alice",
            "did you mean `pricing-7`?",
        ),
        ("log pricng-7", "did you mean `pricing-7`?"),
        ("show 1.3", "did you mean `1.1` or `1.2`?"),
        ("show gate/biuld", "did you mean `build`?"),
        ("retry 1.11 --reason r --as alice", "did you mean `1.1`?"),
        (
            "rollback partial --step 12 --dry-run",
            "its status lists its steps",
        ),
        ("gate biuld", "did you mean `build`?"),
        (
            "approve bulid --as bob --seen 0123456789abcdef",
            "did you mean `build`?",
        ),
        (
            "flag get NEW_PRICNG --env staging",
            "did you mean `NEW_PRICING`?",
        ),
        (
            "flag get NEW_PRICING --env stagign",
            "did you mean `staging`?",
        ),
        (
            "flag set NEW_PRICNG on --env staging --reason r --as alice",
            "did you mean `NEW_PRICING`?",
        ),
        (
            "flag history NEW_PRICNG --env staging",
            "did you mean `NEW_PRICING`?",
        ),
        ("environment show valut", "did you mean `vault`?"),
        (
            "open steps.yaml --env locl --as alice",
            "did you mean `local`?",
        ),
    ] {
        says(&place, line, 2, meant);
    }
    says(
        &place,
        "list --env locla",
        0,
        "no rollouts in locla; did you mean `local`?",
    );
    says(
        &place,
        "flag list --env prod",
        0,
        "did you mean `production`?",
    );
    says(
        &place,
        "flag list --env local",
        0,
        "no flags are defined in local\n",
    );
    // Nothing is close.
    let ran = place.run("status elsewhere").exits(2);
    assert!(!ran.err.contains("did you mean"), "{}", ran.err);
}

#[test]
fn a_moment_beyond_the_end_is_refused_with_the_end() {
    let place = Place::new();
    let _up = place.up();
    place.write("steps.yaml", &runbook(STEPS));
    place.waiting("steps.yaml", "p");
    let log = place.run("log --json").exits(0).json_lines();
    let last = log.last().unwrap()["sequence"].as_u64().unwrap();
    place
        .run(&format!("replay --at {last}"))
        .exits(0)
        .says("p ");
    let end = format!("whose last sequence is {last}, recorded at 20");
    for at in [
        (last + 1).to_string(),
        "2999-01-01T00:00:00Z".to_owned(),
        "9999-12-31T23:59:59Z".to_owned(),
    ] {
        for line in [format!("replay --at {at}"), format!("replay p --at {at}")] {
            place
                .run(&line)
                .exits(2)
                .complains("RB-API-60")
                .complains(&end);
        }
    }
    place
        .run(&format!("log --after {}", last + 1))
        .exits(2)
        .complains(&format!("ends at sequence {last}"));
    place.run(&format!("log --after {last}")).exits(0);
}

#[test]
fn a_report_is_of_the_open_rollout_or_of_the_last_that_closed() {
    let place = Place::new();
    let _up = place.up();
    place.write("steps.yaml", &runbook(STEPS));
    place.run("report").exits(2).complains("RB-CLI-10");
    place.waiting("steps.yaml", "first");
    let of = |id: &str, why: &str| {
        let report = place.run("report").exits(0);
        assert!(report.out.contains(id), "{}", report.out);
        let told = format!("report of rollout {id}, {why}");
        assert!(report.err.contains(&told), "{}", report.err);
        assert!(!report.out.contains(&told));
    };
    of("first", "the only open one");
    place.waiting("steps.yaml", "second");
    place.run("report").exits(2).complains("which rollout? ");
    for id in ["second", "first"] {
        place
            .run(&format!("abort {id} --reason r --as alice"))
            .exits(0);
    }
    of("first", "which closed last; none is open");
    let named = place.run("report second").exits(0);
    assert_eq!(named.err, "");
}

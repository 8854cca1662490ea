//! Invalid files: exit 2 with position and reason, never a panic, never half an action.

use std::fmt::Write;

use crate::harness::{Place, runbook};

const GOOD: &str = r#"
  - id: "1"
    title: One
    steps:
      - id: "1.1"
        title: Look
        run: {command: echo 1}
        changes: nothing
      - id: "1.2"
        title: Look again
        run: {command: echo 2}
        changes: nothing
"#;

/// Lint, plan and open refuse it, with file, line and column before the code.
#[track_caller]
fn refused(text: &str, code: &str) {
    let place = Place::new();
    place.write("bad.yaml", text);
    for line in [
        "lint bad.yaml",
        "plan bad.yaml --env local",
        "open bad.yaml --env local --as alice",
    ] {
        let ran = place.run(line).exits(2);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(!said.contains("panicked"), "{said}");
        let placed = said.lines().any(|line| {
            let Some((before, _)) = line.split_once(&format!(" error {code}:")) else {
                return false;
            };
            let numbers = before
                .rsplit_once("bad.yaml:")
                .map_or("", |(_, numbers)| numbers);
            let mut parts = numbers.trim_end_matches(':').split(':');
            parts.all(|part| part.parse::<u32>().is_ok()) && numbers.contains(':')
        });
        assert!(
            placed,
            "`bad.yaml:LINE:COLUMN: error {code}` is not in:\n{said}"
        );
    }
}

#[test]
fn the_valid_runbook_is_accepted() {
    let place = Place::new();
    place.write("good.yaml", &runbook(GOOD));
    place.run("lint good.yaml").exits(0);
}

#[test]
fn not_yaml() {
    refused(
        &runbook(GOOD).replace("title: One", "title: [One"),
        "RB-RUNBOOK-1",
    );
    refused("\u{0}\u{1}", "RB-RUNBOOK-1");
}

#[test]
fn steps_in_a_cycle() {
    let text = GOOD
        .replace("title: Look\n", "title: Look\n        needs: [\"1.2\"]\n")
        .replace(
            "title: Look again\n",
            "title: Look again\n        needs: [\"1.1\"]\n",
        );
    refused(&runbook(&text), "RB-RUNBOOK-15");
}

#[test]
fn a_step_that_does_not_exist() {
    let text = GOOD.replace(
        "title: Look again\n",
        "title: Look again\n        needs: [\"7\"]\n",
    );
    refused(&runbook(&text), "RB-RUNBOOK-14");
}

#[test]
fn an_unknown_kind_of_step() {
    refused(
        &runbook(&GOOD.replace("run: {command: echo 2}", "teleport: {to: mars}")),
        "RB-RUNBOOK-3",
    );
}

#[test]
fn a_threshold_without_a_metric() {
    let watch = "watch: {for: 1s, every: 1s, thresholds: [{metric: nothing, fail: value > 1}]}";
    refused(
        &runbook(&GOOD.replace("run: {command: echo 2}", watch)),
        "RB-RUNBOOK-16",
    );
}

#[test]
fn the_same_id_twice() {
    refused(
        &runbook(&GOOD.replace("id: \"1.2\"", "id: \"1.1\"")),
        "RB-RUNBOOK-12",
    );
}

#[test]
fn too_large_and_missing_files() {
    let place = Place::new();
    let mut text = String::new();
    for number in 0..20_000 {
        let _ = write!(
            text,
            "  - id: \"{number}\"\n    title: Phase\n    steps: []\n"
        );
    }
    assert!(text.len() < 1024 * 1024);
    place.write("long.yaml", &runbook(&text));
    let ran = place.run("lint long.yaml").exits(2);
    assert!(
        ran.out.len() + ran.err.len() < 1024 * 1024,
        "an answer larger than the file"
    );
    text.push_str(&"# filler\n".repeat(200_000));
    place.write("huge.yaml", &runbook(&text));
    place
        .run("open huge.yaml --env local --as alice")
        .exits(2)
        .complains("allowed");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    place.write("deep.yaml", &deep);
    let ran = place.run("lint deep.yaml").exits(2);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    place.run("lint absent.yaml").exits(2).says("absent.yaml");
    place.run("lint .").exits(2);
}

#[test]
fn parameters() {
    let place = Place::new();
    let text = runbook(&GOOD.replace("{command: echo 2}", "{command: 'echo ${{ word }}'}"))
        .replace(
            "phases:",
            "params: {word: {description: What is said}}\nphases:",
        );
    place.write("p.yaml", &text);
    place
        .run("plan p.yaml --env local")
        .exits(2)
        .complains("RB-RUNBOOK-8");
    place
        .run("plan p.yaml --env local --param word=hi")
        .exits(0)
        .says("echo hi");
    place
        .run("plan p.yaml --env local --param word=hi --param other=1")
        .exits(2)
        .complains("RB-RUNBOOK-9");
    place
        .run("plan p.yaml --env local --param word")
        .exits(2)
        .complains("NAME=VALUE");
    place
        .run("plan p.yaml --env moon --param word=hi")
        .exits(2)
        .complains("moon");
    place.write("values", "# comment\nword = file\n");
    place
        .run("plan p.yaml --env local --params-file values")
        .exits(0)
        .says("echo file");
    place.write("values", "nonsense\n");
    place
        .run("plan p.yaml --env local --params-file values")
        .exits(2)
        .complains("values:1");
}

#[test]
fn commands_about_things_that_do_not_exist() {
    let place = Place::new();
    let file = place.hello();
    let _up = place.up();
    place
        .run("start ghost --as alice")
        .exits(2)
        .complains("RB-HANDLER-1");
    place.run("status ghost").exits(2);
    place.run("report ghost").exits(2);
    place
        .run(&format!("open {file} --env local --id 'a b' --as alice"))
        .exits(2)
        .complains("RB-");
    place.waiting(file, "h");
    let before = place.run("log --json").exits(0).out;
    for (line, code) in [
        ("skip 9.9 h --reason x --as alice", 2),
        ("retry 1.3 h --reason x --as alice", 1),
        ("complete 1.2 h --answer 'no such item=pass' --as alice", 2),
        (
            "complete 1.2 h --answer 'The greeting names this machine=maybe' --as alice",
            2,
        ),
        (
            "complete 1.2 h --all-pass --evidence absent.png --as alice",
            2,
        ),
        ("approve 9 h --as alice", 2),
        ("undo 1.1 h --reason x --as alice", 1),
        ("accept 7 h --as bob", 1),
        ("rollback partial h --reason x --step 9.9 --as alice", 2),
        ("not-applicable 1.2 h --as alice", 2),
        ("pause h --reason '' --as alice", 2),
        ("start h --as ''", 2),
    ] {
        let ran = place.run(line);
        assert_eq!(ran.code, Some(code), "{line}: {ran:?}");
        assert!(ran.err.contains("RB-"), "{line}: {ran:?}");
    }
    assert_eq!(
        place.run("log --json").exits(0).out,
        before,
        "a refused command left a trace"
    );
}

#[test]
fn an_error_as_json_is_one_object_with_a_code() {
    let place = Place::new();
    let file = place.hello();
    place.write(
        "bad.yaml",
        &runbook(GOOD).replace("kind: Runbook", "kind: Runbok"),
    );
    place.write("model.json", "{}");
    let _up = place.up();
    place.waiting(file, "h");
    for (line, code, exit) in [
        ("teleport", "RB-CLI-15", 2),
        ("open", "RB-CLI-15", 2),
        ("list --limit 0", "RB-CLI-15", 2),
        ("open bad.yaml --env local --as alice", "RB-RUNBOOK-6", 2),
        ("plan absent.yaml", "RB-CLI-30", 2),
        (
            "snapshot take --database sqlite:d.db --model model.json",
            "RB-MODEL-1",
            2,
        ),
        ("open hello.yaml --env local", "RB-CLI-1", 2),
        ("list --server nonsense", "RB-CLI-16", 2),
        ("list --server ftp://h", "RB-CLI-16", 2),
        ("list --server http://127.0.0.1:1", "RB-CLI-5", 7),
        ("status ..", "RB-ID-3", 2),
        ("start h/../x --as alice", "RB-ID-3", 2),
        ("flag get F/../x --env local", "RB-ID-3", 2),
        ("flag get F --env local/../x", "RB-ID-3", 2),
        ("show 1.1/x h --follow", "RB-ID-3", 2),
        ("log ghost", "RB-CLI-24", 2),
        ("snapshot list ghost", "RB-HANDLER-1", 2),
        ("approve 1 h --as alice", "RB-ROLLOUT-21", 1),
        ("complete 1.2 h --all-pass --as mallory", "RB-ROLLOUT-17", 5),
        ("serve", "RB-CLI-75", 2),
        ("up --data-dir other --listen 0.0.0.0:0", "RB-SERVE-1", 2),
        ("up --data-dir other --listen here", "RB-SERVE-2", 2),
        ("up", "RB-NATS-6", 7),
        ("up --data-dir other --nats-server no/such", "RB-NATS-4", 2),
    ] {
        let ran = place.run(&format!("{line} --json")).exits(exit);
        // A starting process may have logged something first.
        let last = ran.err.lines().last().unwrap_or_default();
        let error: serde_json::Value =
            serde_json::from_str(last).unwrap_or_else(|error| panic!("{line}: {error}: {ran:?}"));
        assert_eq!(error["code"], code, "{line}: {error}");
        assert_eq!(error["exit"], exit, "{line}: {error}");
        assert!(ran.out.is_empty(), "{line}: {ran:?}");
    }
}

#[test]
fn an_answer_as_json_is_one_value() {
    let place = Place::new();
    let file = place.hello();
    let _up = place.up();
    let opened = place
        .run(&format!(
            "open {file} --env local --id h --as alice --start --json"
        ))
        .exits(0)
        .json();
    let events = opened["events"].to_string();
    assert!(events.contains("rolloutOpened") && events.contains("rolloutStarted"));
    place.run("status h --wait 60").exits(4);
    let printed = place.run("show 1.1 h --output --json").exits(0).json();
    let said = printed[0]["lines"].to_string();
    assert!(said.contains("Hello, this is"), "{printed}");
    for line in [
        "version",
        "config",
        "doctor",
        "schema",
        "lint hello.yaml",
        "plan hello.yaml --env local",
        "list",
        "status h",
        "show 1.1 h",
        "show gate/1 h",
        "flag list",
        "snapshot list h",
        "rollback full h --dry-run",
        "replay --at 1",
        "replay h --at 2",
        "report h",
    ] {
        place.run(&format!("{line} --json")).exits(0).json();
    }
}

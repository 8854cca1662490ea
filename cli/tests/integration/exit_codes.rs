//! Exit codes 3 (inconclusive) and 5 (blocked); other tests cover the rest.

use jiff::{SignedDuration, Timestamp};

use crate::distributed::nats;
use crate::harness::{Place, runbook};

const MEASURED: &str = r#"
  - id: "1"
    title: Count
    steps:
      - id: "1.1"
        title: Count the rows
        run: {command: "cat counted || true", measure: {rows: 'rows (\d+)'}}
        expect: ["rows > 1"]
        changes: nothing
"#;

#[test]
fn the_exit_code_is_3_until_there_is_data() {
    let place = Place::new();
    let file = place.write("measured.yaml", &runbook(MEASURED));
    let _up = place.up();
    place
        .run(&format!(
            "run {file} --env local --id m --as alice --timeout 60"
        ))
        .exits(3)
        .says("inconclusive");
    place.run("status m --wait 60").exits(3);
    assert_eq!(place.step("m", "1.1")["verdict"], "inconclusive");
    place.write("counted", "rows 5");
    place
        .run("retry 1.1 m --reason 'counted now' --as alice")
        .exits(0);
    place.run("status m --wait 60").exits(0);
}

#[test]
fn nothing_to_audit_or_compare_exits_with_3() {
    let place = Place::new();
    let deals = "--database sqlite:deals.db";
    place
        .run(&format!(
            "deals generate --count 20 --seed 7 --no-invalid-types {deals}"
        ))
        .exits(0);
    let none = |flag: &str| {
        let ran = place.run(&format!(
            "snapshot take {deals} --where 'id IS NULL' {flag} --json"
        ));
        ran.exits(0).json()["snapshot"].as_str().unwrap().to_owned()
    };
    let empty = "--database sqlite:empty.db";
    place
        .run(&format!("deals generate --count 0 {empty}"))
        .exits(0);
    place
        .run(&format!("audit {empty}"))
        .exits(3)
        .says("NO_DATA");
    let (before, after) = (none("--flag-off"), none(""));
    place.run(&format!("compare {before} {after}")).exits(3);
    let compared = place
        .run(&format!("compare {before} {after} --json"))
        .exits(3);
    assert_eq!(compared.json()["verdict"], "inconclusive");
}

const LATER: &str = r#"
  - id: "1"
    title: Later
    steps:
      - id: "1.1"
        title: Not before then
        run: {command: touch done}
        verify: {run: {command: test -e done}}
        undo: {run: {command: rm done}}
windows:
"#;

#[test]
fn a_step_outside_its_window_exits_with_5() {
    let place = Place::new();
    let _up = place.up();
    // Soon enough that the time is known, and too far away.
    let tomorrow = Timestamp::now() + SignedDuration::from_hours(24);
    let far = tomorrow + SignedDuration::from_hours(500 * 24);
    for (id, from, words) in [
        (
            "soon",
            tomorrow,
            format!("opens {}", tomorrow.strftime("%Y-%m-%d %H:%M:%S UTC")),
        ),
        ("far", far, "does not open within".to_owned()),
    ] {
        let until = from + SignedDuration::from_hours(1);
        let window =
            format!("  - {{name: night, kind: allow, from: \"{from}\", until: \"{until}\"}}\n");
        let file = place.write("later.yaml", &runbook(&format!("{LATER}{window}")));
        let ran = place
            .run(&format!(
                "run {file} --env local --id {id} --as alice --timeout 3"
            ))
            .exits(5)
            .says("outside the allow window night");
        // While waiting it says once what for and, if known, until when.
        let when = match id {
            "soon" => format!(
                "step 1.1 waits until {}: ",
                tomorrow.strftime("%Y-%m-%d %H:%M:%S UTC")
            ),
            _ => "step 1.1 waits: ".to_owned(),
        };
        assert_eq!(ran.err.matches(&when).count(), 1, "{ran:?}");
        assert_eq!(ran.err.matches(&words).count(), 1, "{ran:?}");
        place
            .run(&format!("status {id} --wait 1"))
            .exits(5)
            .says(&words);
        assert_eq!(place.step(id, "1.1")["status"], "pending");
    }
    assert!(!place.has("done"));
}

#[test]
fn a_stream_that_could_lose_history_ends_the_start_with_5() {
    let place = Place::new();
    let (_nats, url) = nats(&place, "always");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(&url).await.unwrap();
        let forgetful = async_nats::jetstream::stream::Config {
            name: "ROLLBOOK".to_owned(),
            subjects: vec!["rollbook.main.>".to_owned()],
            max_age: std::time::Duration::from_secs(3600),
            ..Default::default()
        };
        async_nats::jetstream::new(client)
            .create_stream(forgetful)
            .await
            .unwrap();
    });
    let start = [
        format!("serve --nats {url} --objects objects --database sqlite:views.db"),
        format!("worker --nats {url} --objects objects"),
    ];
    for line in start {
        place
            .run(&line)
            .exits(5)
            .complains("RB-JOURNAL-5")
            .complains("max_age");
    }
}

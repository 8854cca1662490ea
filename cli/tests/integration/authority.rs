//! Authority on the command line: strangers, persons with a role, two persons, break-glass.

use crate::harness::{Place, Ran};

const BEFORE: &str = r#"apiVersion: rollbook/v1
kind: Runbook
metadata: {name: roles, title: R, version: "1", owner: me}
environments: {prod: {protected: true}}
roles: {approvers: [alice, bob]}
phases:
  - id: "1"
    title: One
    steps:
      - {id: "1.1", title: Go, run: {command: "true"}, changes: nothing}
    gate: {sign_offs: [{role: approvers, quorum: 2}]}
"#;

/// The word after `before` in a command's output.
#[track_caller]
fn word_after(ran: &Ran, before: &str) -> String {
    let rest = ran.out.split(before).nth(1);
    let rest = rest.unwrap_or_else(|| panic!("no `{before}` in {ran:?}"));
    let end = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
    rest.split(end).next().unwrap().to_owned()
}

#[test]
fn strangers_cannot_take_over_a_protected_gate_or_environment() {
    let place = Place::new();
    place.write("before.yaml", BEFORE);
    place.write(
        "revision.yaml",
        &BEFORE.replace("alice, bob", "mallory, eve"),
    );
    place.write(
        "own.yaml",
        &BEFORE
            .replace("{protected: true}", "{}")
            .replace("alice", "mallory"),
    );
    let _up = place.up();
    place
        .run("open before.yaml --env prod --id r --as mallory")
        .exits(5)
        .complains("approvers: alice or bob");
    place.run("environment show prod").exits(2);
    place
        .run("open before.yaml --env prod --id r --as alice")
        .exits(0)
        .complains("prod is recorded as protected")
        .complains("approvers: alice or bob");
    place
        .run("environment list")
        .exits(0)
        .says("prod                 protected      approvers: alice or bob");

    let stranger = [
        "start r",
        "pause r --reason x",
        "resume r",
        "abort r --reason x",
        "abort r --reason x --break-glass",
        "skip 1.1 r --reason x",
        "retry 1.1 r --reason x",
        "complete 1.1 r",
        "not-applicable 1.1 r --reason x",
        "not-applicable 1.1 r --accept",
        "approve 1 r --seen x",
        "reject 1 r --reason x",
        "undo 1.1 r --reason x",
        "rollback full r --reason x",
        "revise revision.yaml r --reason x",
        "accept 2 r",
        "withdraw 2 r --reason x",
        "environment set prod --unprotected --reason x",
        "environment set prod --role approvers=mallory,eve --reason x",
        "flag define F --env prod --owner me --description x",
    ];
    for line in stranger {
        place
            .run(&format!("{line} --as mallory"))
            .exits(5)
            .complains("mallory may not");
    }
    for person in ["mallory", "eve"] {
        place
            .run(&format!("open own.yaml --env prod --id own --as {person}"))
            .exits(5)
            .complains("approvers: alice or bob");
    }

    place.run("start r --as alice").exits(0);
    place.until_step("r", "1.1", &["finished"]);
    place.approve("1 r --as alice").exits(0);
    for line in stranger
        .iter()
        .filter(|line| !line.starts_with("environment"))
    {
        place.run(&format!("{line} --as mallory")).exits(5);
    }
    // Two strangers together may not either, once one of the approvers has proposed something.
    place
        .run("revise revision.yaml r --reason 'new people' --as alice")
        .exits(0)
        .says("role approvers: [\"alice\",\"bob\"] → [\"mallory\",\"eve\"]");
    for person in ["mallory", "eve", "alice"] {
        place.run(&format!("accept 2 r --as {person}")).exits(5);
    }
    place
        .run("status r")
        .exits(0)
        .says("revision 2 by alice, proposed: new people")
        .says("role approvers: [\"alice\",\"bob\"] → [\"mallory\",\"eve\"]");
    place
        .run("withdraw 2 r --reason 'not these' --as bob")
        .exits(0);
    place.approve("1 r --as alice").exits(0);
    place.approve("1 r --as bob").exits(0);
    place.run("status r --wait 60").exits(0).says("succeeded");
    place
        .run("report r")
        .exits(0)
        .says("Revision 2")
        .says("It was withdrawn by bob");
}

#[test]
fn changing_an_environment_or_switching_a_flag_on_takes_two_persons() {
    let place = Place::new();
    let _up = place.up();
    place
        .run("environment set prod --protected --role ops=alice,bob --reason 'set up' --as alice")
        .exits(0);
    place
        .run("environment set prod --role ops=alice,bob,carol --reason 'carol joined' --as alice")
        .exits(4)
        .says("role ops: alice or bob → alice or bob or carol");
    place.run("environment accept prod 2 --as alice").exits(5);
    place.run("environment accept prod 2 --as carol").exits(5);
    place
        .run("environment accept prod 2 --as bob")
        .exits(0)
        .says("role ops: alice or bob → alice or bob or carol");
    place
        .run("environment show prod")
        .exits(0)
        .says("prod · protected · revision 2");

    let define = "flag define F --env prod --owner me --description x";
    place.run(&format!("{define} --as alice")).exits(0);
    let on = "flag set F on --env prod --reason 'go'";
    place
        .run(&format!("{on} --as mallory"))
        .exits(5)
        .complains("RB-FLAG-7");
    let asked = place.run(&format!("{on} --as alice")).exits(4);
    let request = word_after(&asked, "confirm ");
    place
        .run("flag get F --env prod")
        .exits(0)
        .says(&format!("{request}: alice asks to set flag F to on: go"));
    place
        .run("requests")
        .exits(0)
        .says(&request)
        .says("flag prod/F · set flag F to on by alice");
    place
        .run(&format!("confirm {request} --as mallory"))
        .exits(5);
    place.run(&format!("confirm {request} --as alice")).exits(5);
    place.run(&format!("confirm {request} --as carol")).exits(0);
    place.run("flag get F --env prod").exits(0).says("prod: on");
    place.run(&format!("confirm {request} --as bob")).exits(1);
    place
        .run("flag set F safe --env prod --reason 'costs are off' --as bob")
        .exits(0);
    place
        .run("flag get F --env prod")
        .exits(0)
        .says("prod: off");
    place
        .run("flag set F safe --env prod --reason x --as mallory")
        .exits(5);
    place.run("requests --all").exits(0).says("confirmed");
}

const RISKY: &str = r#"apiVersion: rollbook/v1
kind: Runbook
metadata: {name: risky, version: "1", owner: me}
params: {keep: {description: days, default: "30"}}
environments: {prod: {protected: true}}
roles: {ops: [alice, bob], lead: [lee]}
authority:
  break_glass: {verbs: [abort], roles: [lead], review_within: 2h}
phases:
  - id: "1"
    title: One
    steps:
      - {id: "1.1", title: Fails, run: {command: "exit 3"}, changes: nothing}
      - {id: "1.2", title: Begin, run: {command: "echo begun"}, changes: nothing}
      - {id: "1.3", title: By hand, manual: {instructions: Look.}}
      - {id: "1.4", title: Keep, run: {command: "echo kept ${{ keep }}"}, changes: nothing}
"#;

#[test]
fn risky_commands_take_two_persons_or_a_reviewed_break_glass() {
    let place = Place::new();
    place.write("risky.yaml", RISKY);
    place
        .run("plan risky.yaml --env prod --authority")
        .exits(0)
        .says("permissions in prod (protected)")
        .says("two persons of a role: one asks, another confirms")
        .says("[break glass by the runbook]");
    let _up = place.up();
    place
        .run("open risky.yaml --env prod --id r --start --param keep=90 --as alice")
        .exits(0);
    place.run("status r --wait 60").exits(1);

    // Two persons.
    let asked = place.run("skip 1.1 r --reason 'done last week' --as alice");
    let asked = asked.exits(4).says("takes a second person");
    let request = word_after(&asked, "confirm ");
    place
        .run("status r")
        .exits(0)
        .says(&format!("request {request}"))
        .says("alice asks to skip step 1.1 (done last week)")
        .says(&format!("rollbook confirm {request} r"));
    place.run(&format!("confirm {request} --as alice")).exits(5);
    place
        .run(&format!("confirm {request} --as mallory"))
        .exits(5);
    let again = place.run("skip 1.1 r --reason 'me too' --as bob").exits(1);
    again.complains(&request);
    place.run(&format!("confirm {request} --as bob")).exits(0);
    place.until_step("r", "1.2", &["finished"]);

    // A passed step stays as it was.
    place.write(
        "rewritten.yaml",
        &RISKY.replace("echo begun", "echo BACKED UP"),
    );
    place
        .run("revise rewritten.yaml r --reason 'say it better' --as alice")
        .exits(2)
        .complains("it changes what 1.2 did");

    // Parameters keep their values, and the difference is shown.
    let changed = RISKY.replace("kept ${{ keep }}", "kept for ${{ keep }}");
    place.write("changed.yaml", &changed);
    place
        .run("revise changed.yaml r --reason 'say it better' --as alice")
        .exits(0)
        .says("step 1.4: run.command: echo kept 90 → echo kept for 90");
    let shown = place.run("accept 2 r --as bob").exits(0);
    let shown = shown.says("echo kept 90 → echo kept for 90");
    assert!(!shown.out.contains("parameter keep"), "{shown:?}");
    place
        .run("revise changed.yaml r --param keep=7 --reason less --as alice")
        .exits(0)
        .says("parameter keep: 90 → 7");
    place.run("accept 3 r --as bob").exits(0);
    let status = place.run("status r --json").exits(0).json();
    assert_eq!(status["data"]["params"]["keep"], "7");
    assert_eq!(status["data"]["revisions"].as_array().unwrap().len(), 2);

    // Break-glass.
    place
        .run("abort r --reason 'the site is down' --break-glass --as bob")
        .exits(5)
        .complains("RB-ROLLOUT-66");
    let broken = place
        .run("abort r --reason 'the site is down' --break-glass --as lee")
        .exits(0);
    let review = word_after(&broken, "review ");
    place.run("list").exits(0).says("open reviews: 1");
    place
        .run("status r")
        .exits(0)
        .says("−15 open_review")
        .says("lee used break-glass to abort the rollout (the site is down)");
    place
        .run(&format!("review {review} --agree --note fine --as lee"))
        .exits(5);
    place
        .run(&format!(
            "review {review} --agree --note 'it was down' --as alice"
        ))
        .exits(0);
    let list = place.run("list").exits(0);
    assert!(!list.out.contains("open reviews"), "{list:?}");
    place
        .run("report r")
        .exits(0)
        .says("parameter keep: 90 → 7")
        .says("| abort the rollout | broken glass | lee | the site is down | agreed | alice | it was down |")
        .says("| skip step 1.1 | request | alice | done last week | confirmed | bob |");
}

#[test]
fn doctor_and_other_rollouts_report_a_flag_switched_by_break_glass() {
    let place = Place::new();
    place.write("risky.yaml", RISKY);
    let _up = place.up();
    place
        .run("environment set prod --protected --role ops=alice,bob --role lead=lee --break-glass flag_on --review-within 2h --reason 'set up' --as alice")
        .exits(0);
    place
        .run("open risky.yaml --env prod --id r --as alice")
        .exits(0);
    place
        .run("doctor")
        .exits(0)
        .says("no use of break-glass awaits a review")
        .says("what open rollouts protect is recorded");
    place
        .run("flag define F --env prod --owner me --description x --as alice")
        .exits(0);
    place
        .run("flag set F on --env prod --reason 'page is down' --break-glass --as alice")
        .exits(0);
    let reviews = place.run("requests --json").exits(0).json();
    let review = reviews["data"][0]["request"].as_str().unwrap().to_owned();
    let told = format!(
        "review {review} of flag prod/F: alice used break-glass to set flag F to on (page is down)"
    );
    place.run("doctor").exits(0).says(&told);
    place.run("status r").exits(0).says(&told);
    place
        .run(&format!("review {review} --agree --note fine --as bob"))
        .exits(0);
    place
        .run("doctor")
        .exits(0)
        .says("no use of break-glass awaits a review");
    let status = place.run("status r").exits(0);
    assert!(!status.out.contains(&review), "{status:?}");
}

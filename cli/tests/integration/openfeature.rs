//! The programs of `examples/ofrep`: OpenFeature's own SDKs and OFREP providers, for Python and
//! JavaScript, against the server. Every mode of a flag, and every failure that a caller sees.

use std::path::PathBuf;
use std::process::Command;

use reqwest::Method;
use reqwest::header::{ETAG, IF_NONE_MATCH};
use rollbook_ledger::flag::bucket;
use serde_json::{Value, json};

use crate::harness::{Place, Process, workspace};
use crate::http::{answered, ask, post};
use crate::subscribers::node;

/// What `tools/install` has put somewhere: named by a variable, otherwise in `.tools`.
fn installed(variable: &str, directory: &str) -> PathBuf {
    let tools = workspace().join(".tools").join(directory);
    let found = std::env::var_os(variable).map_or(tools, PathBuf::from);
    assert!(
        found.is_dir(),
        "no OpenFeature in {variable} or .tools/{directory}: run `make setup`"
    );
    found
}

fn python(place: &Place) -> Command {
    let mut command = Command::new("python3");
    let lib = installed("ROLLBOOK_OPENFEATURE_PYTHON", "openfeature/lib");
    command
        .arg(workspace().join("examples/ofrep/evaluate.py"))
        .env("PYTHONPATH", lib)
        .current_dir(place.path());
    command
}

/// Node finds packages beside the program, so the program stands beside them.
fn javascript(place: &Place, program: &str) -> Command {
    let modules = installed("ROLLBOOK_OPENFEATURE_NODE", "openfeature-js/node_modules");
    let link = place.path().join("node_modules");
    if !link.exists() {
        std::os::unix::fs::symlink(modules, link).unwrap();
    }
    let text = std::fs::read(workspace().join("examples/ofrep").join(program)).unwrap();
    let copy = place.path().join(program.replace(".ts", ".mts"));
    std::fs::write(&copy, text).unwrap();
    let mut command = Command::new(node());
    command
        .args(["--experimental-strip-types", "--no-warnings"])
        .arg(copy)
        .current_dir(place.path());
    command
}

/// What both SDKs say of these flags for a caller; they must agree.
#[track_caller]
fn evaluated(place: &Place, context: &Value, words: &[&str]) -> Vec<Value> {
    let server = place.endpoint();
    let both = [python(place), javascript(place, "evaluate.ts")].map(|mut command| {
        command
            .args(["--server", &server, "--context", &context.to_string()])
            .args(words);
        Process::start(&mut command).finish().exits(0).json_lines()
    });
    assert_eq!(both[0], both[1], "the SDKs differ for {context}");
    both[0].clone()
}

fn define(place: &Place, key: &str, environment: &str, to: &str) {
    let flag = format!("{key} --env {environment}");
    place
        .run(&format!(
            "flag define {flag} --description d --owner o --as alice"
        ))
        .exits(0);
    if to != "off" {
        place
            .run(&format!(
                "flag set {key} {to} --env {environment} --reason r --as alice"
            ))
            .exits(0);
    }
}

/// A value without an error.
fn found(key: &str, value: bool, reason: &str, variant: &str, mode: &str) -> Value {
    json!({"key": key, "value": value, "reason": reason, "variant": variant, "mode": mode, "error": null})
}

/// The caller's default, and why it is that.
fn default(key: &str, error: &str) -> Value {
    json!({"key": key, "value": false, "reason": "ERROR", "variant": null, "mode": null, "error": error})
}

#[test]
fn sdks_evaluate_every_mode_and_see_every_failure() {
    let place = Place::new();
    let _up = place.up();
    for (key, to) in [
        ("OFF", "off"),
        ("ON", "on"),
        ("PARALLEL", "parallel"),
        ("BETA", "beta:testers,staff"),
        ("HALF", "50%"),
        ("ALL", "100%"),
    ] {
        define(&place, key, "staging", to);
    }
    define(&place, "HERE", "production", "on");

    let keys = (0..100).map(|number| format!("customer-{number}"));
    let (inside, outside): (Vec<String>, Vec<String>) =
        keys.partition(|key| bucket("HALF", key) < 50_000);
    let all = ["OFF", "ON", "PARALLEL", "BETA", "HALF", "ALL"];
    for (customer, is_inside) in [(&inside[0], true), (&outside[0], false)] {
        let context =
            json!({"environment": "staging", "targetingKey": customer, "labels": "staff"});
        let variant = if is_inside { "on" } else { "off" };
        assert_eq!(
            evaluated(&place, &context, &all),
            [
                found("OFF", false, "DISABLED", "off", "off"),
                found("ON", true, "STATIC", "on", "on"),
                found("PARALLEL", false, "STATIC", "parallel", "parallel"),
                found("BETA", true, "TARGETING_MATCH", "on", "beta"),
                found("HALF", is_inside, "SPLIT", variant, "percentage"),
                found("ALL", true, "SPLIT", "on", "percentage"),
            ]
        );
    }

    // Nobody in particular: no targeting key and no labels.
    assert_eq!(
        evaluated(
            &place,
            &json!({"environment": "staging"}),
            &["BETA", "HALF", "ALL", "GHOST"]
        ),
        [
            found("BETA", false, "DEFAULT", "off", "beta"),
            default("HALF", "TARGETING_KEY_MISSING"),
            found("ALL", true, "SPLIT", "on", "percentage"),
            default("GHOST", "FLAG_NOT_FOUND"),
        ]
    );
    let labels = json!({"environment": "staging", "labels": ["other", "testers"]});
    assert_eq!(
        evaluated(&place, &labels, &["BETA"]),
        [found("BETA", true, "TARGETING_MATCH", "on", "beta")]
    );

    // Without an environment it is production, which has none of those flags.
    assert_eq!(
        evaluated(&place, &json!({"targetingKey": "x"}), &["HERE", "ON"]),
        [
            found("HERE", true, "STATIC", "on", "on"),
            default("ON", "FLAG_NOT_FOUND"),
        ]
    );
    for wrong in [
        json!({"environment": 7}),
        json!({"environment": "staging", "labels": [7]}),
    ] {
        assert_eq!(
            evaluated(&place, &wrong, &["ON"]),
            [default("ON", "INVALID_CONTEXT")]
        );
    }
    let text = evaluated(
        &place,
        &json!({"environment": "staging"}),
        &["--text", "ON"],
    );
    assert_eq!(text[0]["value"], "default", "{text:?}");
    assert_eq!(text[0]["error"], "TYPE_MISMATCH", "{text:?}");
}

#[test]
fn the_sdk_for_browsers_keeps_all_flags_and_follows_a_change() {
    let place = Place::new();
    let _up = place.up();
    define(&place, "NEW_PATH", "staging", "off");
    define(&place, "OTHER", "staging", "50%");
    let mut command = javascript(&place, "follow.ts");
    command.args(["--server", &place.endpoint(), "--poll", "100"]);
    command.args([
        "--context",
        r#"{"environment":"staging","targetingKey":"t"}"#,
    ]);
    command.args(["--until", "true", "NEW_PATH"]);
    let follower = Process::start(&mut command);
    follower.until_says("NEW_PATH false");
    // It asks with the tag of what it has.
    follower.until_says("unchanged");
    place
        .run("flag set NEW_PATH on --env staging --reason r --as alice")
        .exits(0);
    follower.finish().exits(0).says("NEW_PATH true");
}

#[test]
fn all_flags_come_with_a_tag_of_the_whole_answer() {
    let place = Place::new();
    let _up = place.up();
    define(&place, "B_HALF", "staging", "50%");
    define(&place, "A_ON", "staging", "on");
    define(&place, "ELSEWHERE", "production", "on");
    let url = format!("{}/ofrep/v1/evaluate/flags", place.endpoint());
    let (status, answer) = post(&url, &json!({"context": {"environment": "staging"}}));
    assert_eq!(status, 200, "{answer}");
    let metadata = json!({"environment": "staging", "mode": "on"});
    assert_eq!(
        answer["flags"][0],
        json!({"key": "A_ON", "value": true, "reason": "STATIC", "variant": "on", "metadata": metadata})
    );
    let missing = &answer["flags"][1];
    assert_eq!(
        (&missing["key"], &missing["errorCode"]),
        (&json!("B_HALF"), &json!("TARGETING_KEY_MISSING"))
    );
    assert_eq!(answer["flags"].as_array().unwrap().len(), 2);

    let asked = |customer: &str, known: Option<&str>| {
        let context = json!({"context": {"environment": "staging", "targetingKey": customer}});
        let (status, headers, body) = answered(Method::POST, &format!("{url}/"), |request| {
            let request = request.json(&context);
            match known {
                Some(known) => request.header(IF_NONE_MATCH, known),
                None => request,
            }
        });
        (status, headers[ETAG].to_str().unwrap().to_owned(), body)
    };
    let inside = (0..)
        .map(|n| n.to_string())
        .find(|key| bucket("B_HALF", key) < 50_000)
        .unwrap();
    let outside = (0..)
        .map(|n| n.to_string())
        .find(|key| bucket("B_HALF", key) >= 50_000)
        .unwrap();
    let (status, tag, body) = asked(&inside, None);
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        asked(&inside, Some(&tag)),
        (304, tag.clone(), String::new())
    );
    // The same flags for another caller are another answer.
    let (status, other, body) = asked(&outside, Some(&tag));
    assert_eq!(status, 200, "{body}");
    assert_ne!(other, tag);
    place
        .run("flag set A_ON off --env staging --reason r --as alice")
        .exits(0);
    let (status, changed, body) = asked(&inside, Some(&tag));
    assert_eq!(status, 200, "{body}");
    assert_ne!(changed, tag);

    for body in [
        json!([]),
        json!({"context": 7}),
        json!({"context": {"environment": true}}),
        json!({"context": {"environment": "no name"}}),
    ] {
        for url in [&url, &format!("{url}/A_ON")] {
            let (status, answer) = post(url, &body);
            assert_eq!(
                (status, &answer["errorCode"]),
                (400, &json!("INVALID_CONTEXT")),
                "{url} {body}"
            );
        }
    }
    let (status, answer) = ask(Method::POST, &url, |request| request.body("{not json"));
    assert_eq!(
        (status, &answer["errorCode"]),
        (400, &json!("INVALID_CONTEXT"))
    );
    let (status, answer) = post(
        &format!("{url}/A_OM"),
        &json!({"context": {"environment": "staging"}}),
    );
    assert_eq!((status, &answer["key"]), (404, &json!("A_OM")));
    assert_eq!(
        answer["errorDetails"],
        "flag A_OM is not defined in staging"
    );
}

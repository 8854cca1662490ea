//! Evidence in a bucket: snapshots, comparisons and whole rollouts with no evidence on disk.

use nix::sys::signal::Signal;

use crate::agent::Agent;
use crate::harness::{Place, Process, Ran};
use crate::https::Https;
use crate::s3::{BUCKET, S3};

const DEALS: &str = "--database sqlite:deals.db";

fn place(s3: &S3) -> Place {
    place_with(s3.variables())
}

/// Deals, and the environment for using a server.
fn place_with(variables: Vec<(&'static str, String)>) -> Place {
    let mut place = Place::new();
    place.set(variables);
    place
        .run(&format!(
            "deals generate --count 300 --seed 7 --no-invalid-types {DEALS}"
        ))
        .exits(0);
    place
}

fn snapshot_address(ran: Ran) -> String {
    ran.json()["snapshot"].as_str().unwrap().to_owned()
}

#[test]
fn snapshots_and_comparisons_match_those_of_a_directory() {
    let s3 = S3::start();
    let place = place(&s3);
    let take = |options: &str| {
        let line = format!("snapshot take {DEALS} --label x --json {options}");
        snapshot_address(place.run(&line).exits(0))
    };
    let bucket = format!("--objects {}", s3.location());
    let before = take(&format!("--flag-off {bucket}"));
    let after = take(&bucket);
    let directory = "--objects kept";
    let before_kept = take(&format!("--flag-off {directory}"));
    let after_kept = take(directory);
    // Manifests contain the time they were taken; parts have the same bytes at the same address.
    let parts = |snapshot: &str, objects: &str| {
        let ran = place.run(&format!("snapshot show {snapshot} --json {objects}"));
        ran.exits(0).json()["manifest"]["parts"].clone()
    };
    assert_eq!(parts(&before, &bucket), parts(&before_kept, directory));
    assert_eq!(parts(&after, &bucket), parts(&after_kept, directory));

    let compare = |before: &str, after: &str, objects: &str| {
        let ran = place.run(&format!("compare {before} {after} --json {objects}"));
        let found = ran.json();
        let by_rule = found["result"]["by_rule"].clone();
        (ran.code, found["verdict"].clone(), by_rule)
    };
    let found = compare(&before, &after, &bucket);
    assert!(!found.2.as_object().unwrap().is_empty(), "{found:?}");
    assert_eq!(found, compare(&before_kept, &after_kept, directory));
    assert!(
        !place.has(".rollbook"),
        "nothing is kept outside the bucket"
    );

    let largest = s3
        .keys()
        .into_iter()
        .max_by_key(|key| s3.content(key).len());
    let largest = largest.unwrap();
    let mut content = s3.content(&largest);
    let middle = content.len() / 2;
    content[middle] ^= 1;
    s3.replace(&largest, &content);
    place
        .run(&format!("compare {before} {after} {bucket}"))
        .exits(6)
        .complains("RB-EVIDENCE-3");
}

#[test]
fn bucket_errors_are_reported_without_the_secret() {
    let mut s3 = S3::start();
    let mut place = place(&s3);
    let take = format!("snapshot take {DEALS} --objects");
    let location = s3.location();
    place
        .run(&format!("{take} s3://no-such-bucket"))
        .exits(2)
        .complains("RB-EVIDENCE-9");
    place
        .run(&format!("{take} s3://user:hunter2@{BUCKET}"))
        .exits(2)
        .complains("RB-EVIDENCE-7");
    place.write("rollbook.toml", &format!("objects = \"{location}\"\n"));
    // Without a server two checks fail; the store is not one of them.
    let doctor = place.run("doctor --json").exits(7).json();
    let check = doctor
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["name"] == "evidence");
    assert_eq!(check.unwrap()["found"], "pass", "{doctor}");

    let wrong = "a-wrong-secret-of-forty-characters-really";
    place.set(vec![("AWS_SECRET_ACCESS_KEY", wrong.to_owned())]);
    for line in ["doctor", "config", &format!("{take} {location}"), "up"] {
        let ran = place.run(line);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(!said.contains(wrong), "{line}: {said}");
        if line != "config" {
            assert!(said.contains("RB-EVIDENCE-10"), "{line}: {said}");
            ran.exits(7);
        }
    }
    place.set(s3.variables());
    s3.stop();
    let ran = place
        .run(&format!("{take} {location}"))
        .exits(7)
        .complains("RB-EVIDENCE-11");
    assert!(!ran.err.contains(s3.secret()), "{ran:?}");
}

#[test]
fn a_bucket_over_https_needs_a_trusted_certificate() {
    let s3 = S3::start();
    let https = Https::before(&s3);
    let mut place = place(&s3);
    place.set(vec![
        ("AWS_ENDPOINT_URL_S3", https.endpoint()),
        ("AWS_ALLOW_HTTP", "false".to_owned()),
    ]);
    let take = format!("snapshot take {DEALS} --label x --objects");
    let stranger = place
        .run(&format!("{take} {}", s3.location()))
        .exits(7)
        .complains("RB-EVIDENCE-11");
    assert!(stranger.err.contains("certificate"), "{stranger:?}");
    assert!(s3.keys().is_empty());

    place.set(vec![("SSL_CERT_FILE", https.authority())]);
    let taken = snapshot_address(
        place
            .run(&format!("{take} {} --json", s3.location()))
            .exits(0),
    );
    let show = format!("snapshot show {taken} --objects {}", s3.location());
    place.run(&show).exits(0);

    place.set(vec![("AWS_ENDPOINT_URL_S3", s3.endpoint())]);
    let plain = place.run(&show).exits(2);
    assert!(plain.err.contains("AWS_ALLOW_HTTP"), "{plain:?}");
}

#[test]
fn a_container_gets_the_keys_of_its_role() {
    let s3 = S3::start();
    let agent = Agent::of(&s3);
    let mut variables = s3.variables();
    variables.retain(|(name, _)| !name.contains("ACCESS_KEY"));
    variables.extend(agent.variables());
    let place = place_with(variables);
    let take = format!(
        "snapshot take {DEALS} --label x --objects {}",
        s3.location()
    );
    place.run(&take).exits(0);
    assert!(!s3.keys().is_empty());

    std::fs::write(agent.token(), "another-container").unwrap();
    let stranger = place.run(&take);
    assert!(!stranger.err.contains("another-container"), "{stranger:?}");
    stranger.exits(7).complains("RB-EVIDENCE-12");
}

#[test]
fn a_rollout_keeps_its_evidence_in_the_bucket() {
    let s3 = S3::start();
    let mut place = Place::new();
    place.set(s3.variables());
    place.write(
        "rollbook.toml",
        &format!("objects = \"{}\"\n", s3.location()),
    );
    let file = place.hello();
    let up: Process = place.up();
    place
        .run(&format!(
            "run {file} --env local --id h --as alice --timeout 60"
        ))
        .exits(4);
    let step = place.run("show 1.1 --json").exits(0).json();
    let said = s3
        .keys()
        .into_iter()
        .map(|key| s3.content(&key))
        .any(|content| content.starts_with(b"Hello, this is"));
    assert!(said, "{step}");
    assert!(!place.data_dir().join("objects").exists());
    place.run("doctor").exits(0);
    up.signal(Signal::SIGTERM);
    up.finish().exits(0);
}

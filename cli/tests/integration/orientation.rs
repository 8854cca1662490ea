//! What helps somebody find the way: `rollbook` alone, help, completion.

use crate::harness::{Place, wait_for};

#[test]
fn rollbook_alone_says_what_is_open_and_what_waits_for_the_person() {
    let place = Place::new();
    let file = place.hello();
    // Without a server: help.
    place
        .run("")
        .exits(7)
        .says("See what is going on:")
        .complains("RB-CLI-5");
    let _up = place.up();
    place.run("").exits(0).says("nothing is open");
    place.waiting(file, "h");
    place
        .run("")
        .exits(0)
        .says("h in local: running, phase 1")
        .says("step 1.2 waits:")
        .says("say who you are");
    place
        .run("--as bob")
        .exits(0)
        .says("waits for you, bob")
        .says("rollbook complete 1.2 h");
    place
        .run("--as nobody")
        .exits(0)
        .says("nothing in these rollouts waits for you, nobody");
    let json = place.run("--as bob --json").exits(0).json();
    assert_eq!(json["open"][0]["rollout"], "h");
    assert_eq!(json["waiting"][0]["blocked"]["what"], "step 1.2");
}

#[test]
fn help_shows_who_acts_only_where_somebody_does() {
    let place = Place::new();
    let acts = place.run("skip --help").exits(0);
    let reads = place.run("status --help").exits(0);
    assert!(acts.out.contains("--as <PERSON>"), "{}", acts.out);
    assert!(!reads.out.contains("--as <PERSON>"), "{}", reads.out);
    // Accepted nevertheless, for scripts that name the person everywhere.
    place.run("config --as alice").exits(0).says("alice");
    for help in [acts, reads] {
        let own = help.out.find("Options:").unwrap();
        let every = help.out.find("Options of every command:").unwrap();
        assert!(own < every, "{}", help.out);
        assert!(help.out.contains("Exit codes:"), "{}", help.out);
    }
}

/// What a shell would offer after these words.
fn offered(place: &Place, words: &[&str]) -> Vec<String> {
    let mut command = place.command("");
    command
        .env("COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
        .env("_CLAP_IFS", "\n")
        .args(["--", "rollbook"])
        .args(words);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_shell_completes_what_the_running_server_knows() {
    let place = Place::new();
    let file = place.hello();
    let up = place.up();
    place.waiting(file, "h");
    // A busy machine may answer too late, and then nothing is offered.
    let offers = |words: &[&str], wanted: &[&str]| {
        wait_for(&format!("{wanted:?} after {words:?}"), || {
            let found = offered(&place, words);
            wanted
                .iter()
                .all(|wanted| found.iter().any(|found| found == wanted))
        });
    };
    offers(&["start", ""], &["h"]);
    offers(&["complete", "1."], &["1.1", "1.2", "1.3"]);
    offers(&["show", "g"], &["gate/1"]);
    offers(&["approve", ""], &["1"]);
    offers(&["list", "--env", ""], &["local"]);
    offers(&["open", file, "--param", ""], &["greeting="]);
    offers(&["plan", "h"], &["h", "hello.yaml"]);
    assert_eq!(offered(&place, &["sta"]), ["start", "status"]);
    place
        .run("completions bash")
        .exits(0)
        .says("COMPLETE=\"bash\"");
    // Without a server: no ids, and no delay.
    drop(up);
    assert!(!offered(&place, &["start", ""]).contains(&"h".to_owned()));
}

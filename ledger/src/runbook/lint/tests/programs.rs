//! Inputs of programs, locations of their files, and lengths of texts.

use super::*;

#[test]
fn programs_get_what_the_plan_names_and_leave_evidence_in_their_directory() {
    let run = "        run: {command: do it}\n";
    let given = |env: &str| format!("        run: {{command: do it, env: {{{env}}}}}\n");
    holds(
        run,
        &given("A: b, T: {env: TOKEN}, F: {file: /run/x}, V: {value: y}"),
    );
    breaks(
        Code::Credential,
        run,
        &given("¦U: 'postgres://bob:secret@db/x'").replace("¦U: ", "U: ¦"),
        "carries a password",
    );
    breaks(
        Code::InvalidId,
        run,
        &given("A=B: ¦c"),
        "cannot name an environment variable",
    );
    let undo = "        undo: {run: {command: undo it}}\n";
    breaks(
        Code::Credential,
        undo,
        "        undo: {run: {command: undo it}, verify: {run: {command: look, env: {U: ¦'postgres://bob:secret@db/x'}}}}\n",
        "carries a password",
    );
    for pattern in ["/etc/hostname", "../x", "a/../../x"] {
        breaks(
            Code::OutsideDirectory,
            run,
            &format!("{run}        evidence: [a.txt, ¦{pattern}]\n"),
            "leaves the step's directory",
        );
    }
    holds(
        run,
        &format!("{run}        evidence: [a.txt, 'logs/**/*.txt', ./b]\n"),
    );
}

#[test]
fn texts_and_counts_are_bounded() {
    let title = "        title: Before\n";
    let long = "x".repeat(201);
    breaks(
        Code::TooLarge,
        title,
        &format!("        title: ¦{long}\n"),
        "201 bytes, at most 200",
    );
    let metric = format!("m{}", "x".repeat(900));
    breaks(
        Code::TooLarge,
        "metrics:\n",
        &format!("¦metrics:\n  {metric}: {{step: regressions}}\n"),
        "a name of 901 bytes",
    );
    breaks(
        Code::TooLarge,
        "    description: New path\n",
        &format!("    description: ¦{}\n", "x ".repeat(9_000)),
        "at most 16384",
    );
    let measures: Vec<String> = (0..151).map(|n| format!("m{n}: '(x)'")).collect();
    breaks(
        Code::TooLarge,
        "        run: {command: do it}\n",
        &format!(
            "        run: {{command: do it, ¦measure: {{{}}}}}\n",
            measures.join(", ")
        ),
        "151 entries, at most 150",
    );
}

#[test]
fn texts_hold_nothing_that_cannot_be_seen() {
    let title = "        title: Before\n";
    for (text, says) in [
        ("Before\\nwhy it is blocked", "U+000A"),
        ("Before\\r", "U+000D"),
        ("Be\\u202efore", "U+202E"),
        ("\\e[2J", "U+001B"),
    ] {
        breaks(
            Code::Unseen,
            title,
            &format!("        title: ¦\"{text}\"\n"),
            says,
        );
    }
    let run = "        run: {command: do it}\n";
    breaks(
        Code::Unseen,
        run,
        "        run: {command: ¦\"do\\0it\"}\n",
        "U+0000",
    );
    holds(run, "        run: {command: \"do\\r\\n\\e[0m it\"}\n");
}

#[test]
fn requests_and_ways_back_can_be_carried_out() {
    let undo = "        undo: {run: {command: undo it}}\n";
    let with = |more: &str| format!("        undo: {{run: {{command: undo it}}, {more}}}\n");
    holds(
        undo,
        &with("verify: {http: {source: web, path: /bäck, method: post}}, verify_within: 2m"),
    );
    breaks(
        Code::InvalidId,
        undo,
        &with("verify: {http: {source: web, path: /, method: ¦GÄT}}"),
        "no method that a request can carry",
    );
    breaks(
        Code::NoVerify,
        undo,
        &with("verify_within: ¦2m"),
        "no `undo.verify` to ask again",
    );
    breaks(
        Code::Bounds,
        undo,
        &with("verify: {run: {command: look}}, verify_within: ¦61m"),
        "at most 1h",
    );
}

//! Whatever decides by time waits on the injected clock.

use crate::tree::rust;

/// Where time decides: what is due, how long an action may take, when a sample is taken.
const DECIDES: &[&str] = &["server/src/orchestrator.rs", "workers/src/executor/"];

/// Waits that decide nothing: each with what it is for.
const EXEMPT: &[(&str, &str)] = &[
    ("server/src/orchestrator.rs", "BACK_OFF"),
    ("workers/src/executor/command.rs", "GROUP_POLL"),
    ("workers/src/executor/command.rs", "DRAIN"),
    ("workers/src/executor/command.rs", "deadline"),
    ("workers/src/executor/shards.rs", "WAIT"),
];

#[test]
fn code_that_decides_by_time_sleeps_on_the_clock() {
    let mut met = Vec::new();
    for source in rust() {
        if !DECIDES.iter().any(|it| source.path.starts_with(it)) {
            continue;
        }
        for (number, line) in source.code.lines().enumerate() {
            let sleeps = ["time::sleep", "time::interval"]
                .iter()
                .any(|it| line.contains(it));
            if !sleeps {
                continue;
            }
            let exempt = EXEMPT
                .iter()
                .find(|(path, what)| *path == source.path && line.contains(what));
            assert!(
                exempt.is_some(),
                "{}:{}: sleep on the injected `Clock`: {line}",
                source.path,
                number + 1
            );
            met.extend(exempt);
        }
    }
    for exempt in EXEMPT {
        assert!(
            met.contains(&exempt),
            "{exempt:?} is gone; take it from the list"
        );
    }
}

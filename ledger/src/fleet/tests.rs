use jiff::{SignedDuration, Timestamp};
use rollbook_proto::v1::{self, WorkerLeaveReason, event::Kind};

use super::*;
use crate::clock::to_proto;
use crate::ids::WorkerName;

fn name() -> WorkerName {
    WorkerName::new("host/7").unwrap()
}

/// Returns the time this many seconds after the start of the test.
fn at(seconds: i64) -> Timestamp {
    let start: Timestamp = "2026-03-01T08:00:00Z".parse().unwrap();
    start + SignedDuration::from_secs(seconds)
}

fn join(session: &str) -> FleetCommand {
    FleetCommand::Join {
        session: session.to_owned(),
        labels: vec!["db".to_owned()],
        concurrency: 4,
        threads: 2,
        version: "1.2.3".to_owned(),
        started_at: at(0),
    }
}

fn leave(session: &str, reason: WorkerLeaveReason) -> FleetCommand {
    FleetCommand::Leave {
        session: session.to_owned(),
        reason,
    }
}

fn commit(events: Vec<v1::Event>, previous_sequence: u64, seconds: i64) -> v1::Commit {
    v1::Commit {
        aggregate: "worker".to_owned(),
        aggregate_id: name().to_string(),
        recorded_at: Some(to_proto(at(seconds))),
        previous_sequence,
        events,
        ..v1::Commit::default()
    }
}

/// Returns the state after these commands, each executed at its second and recorded.
fn given(commands: &[(i64, FleetCommand)]) -> Option<WorkerState> {
    let mut state: Option<WorkerState> = None;
    for (seconds, command) in commands {
        let events = decide(state.as_ref(), &name(), command, at(*seconds)).unwrap();
        let last = state.as_ref().map_or(0, |state| state.sequence);
        let commit = commit(events, last, *seconds);
        state = Some(evolve(state, &commit, last + 3).unwrap());
    }
    state
}

/// Describes the events that a command records.
fn when(
    state: &Option<WorkerState>,
    command: &FleetCommand,
    seconds: i64,
) -> Result<Vec<String>, FleetRefusal> {
    let events = decide(state.as_ref(), &name(), command, at(seconds))?;
    let words = events.into_iter().map(|event| match event.kind.unwrap() {
        Kind::WorkerJoined(joined) => format!("{} joined", joined.session),
        Kind::WorkerLeft(left) => format!("{} left {}", left.session, left.reason().as_str_name()),
        other => panic!("{other:?}"),
    });
    Ok(words.collect())
}

#[test]
fn a_worker_joins_once_with_all_its_properties() {
    let events = decide(None, &name(), &join("a"), at(1)).unwrap();
    let Some(Kind::WorkerJoined(joined)) = &events[0].kind else {
        panic!("{events:?}")
    };
    assert_eq!(
        (joined.name.as_str(), joined.version.as_str()),
        ("host/7", "1.2.3")
    );
    assert_eq!((joined.concurrency, joined.threads), (4, 2));
    assert_eq!(joined.labels, ["db"]);
    assert_eq!(joined.started_at, Some(to_proto(at(0))));
    let there = given(&[(1, join("a"))]);
    assert_eq!(when(&there, &join("a"), 100), Ok(vec![]));
}

#[test]
fn a_worker_leaves_once() {
    let there = given(&[(0, join("a"))]);
    let drained = leave("a", WorkerLeaveReason::Drained);
    assert_eq!(when(&there, &drained, 1).unwrap(), ["a left DRAINED"]);
    let gone = given(&[(0, join("a")), (1, drained.clone())]);
    assert_eq!(when(&gone, &drained, 2), Ok(vec![]));
    assert_eq!(
        when(&gone, &leave("a", WorkerLeaveReason::Lost), 2),
        Ok(vec![])
    );
}

#[test]
fn a_worker_that_never_joined_does_not_leave() {
    let refused = when(&None, &leave("a", WorkerLeaveReason::Lost), 0);
    assert_eq!(refused, Err(FleetRefusal::Unknown { name: name() }));
}

#[test]
fn a_late_heartbeat_does_not_bring_back_a_drained_run() {
    let gone = given(&[(0, join("a")), (1, leave("a", WorkerLeaveReason::Drained))]);
    let refused = when(&gone, &join("a"), 100);
    assert_eq!(refused, Err(FleetRefusal::Drained { name: name() }));
}

#[test]
fn a_lost_run_joins_again_once_it_is_heard() {
    let lost = given(&[(0, join("a")), (15, leave("a", WorkerLeaveReason::Lost))]);
    assert_eq!(when(&lost, &join("a"), 16).unwrap(), ["a joined"]);
}

#[test]
fn another_run_under_the_name_replaces_the_one_before() {
    let there = given(&[(0, join("a"))]);
    assert_eq!(
        when(&there, &join("b"), 15).unwrap(),
        ["a left LOST", "b joined"]
    );
    let replaced = given(&[(0, join("a")), (15, join("b"))]);
    let refused = when(&replaced, &leave("a", WorkerLeaveReason::Drained), 16);
    assert_eq!(refused, Err(FleetRefusal::OtherSession { name: name() }));
}

#[test]
fn a_worker_that_comes_and_goes_is_recorded_once_per_presence_period() {
    let mut state = None;
    let mut recorded = 0;
    let mut last = 0;
    for second in 0..60 {
        let session = format!("s{second}");
        for command in [join(&session), leave(&session, WorkerLeaveReason::Drained)] {
            let events = decide(state.as_ref(), &name(), &command, at(second)).unwrap_or_default();
            if !events.is_empty() {
                recorded += 1;
                state = Some(evolve(state, &commit(events, last, second), last + 1).unwrap());
                last += 1;
            }
        }
    }
    assert_eq!(recorded, 2 * 60 / PRESENCE_SECONDS);
    let refused = when(&state, &join("z"), 59);
    assert!(
        matches!(refused, Err(FleetRefusal::TooSoon { .. })),
        "{refused:?}"
    );
}

#[test]
fn events_that_no_rule_produces_are_illegal() {
    let there = given(&[(0, join("a"))]);
    let joined = decide(None, &name(), &join("a"), at(0)).unwrap();
    let left = |session: &str, reason: i32| {
        vec![v1::Event {
            kind: Some(Kind::WorkerLeft(v1::WorkerLeft {
                session: session.to_owned(),
                reason,
            })),
        }]
    };
    let mut foreign = commit(joined.clone(), 3, 1);
    foreign.aggregate_id = "host/8".to_owned();
    for (commit, code) in [
        (foreign, "RB-FLEET-30"),
        (commit(left("a", 1), 2, 1), "RB-FLEET-31"),
        (commit(Vec::new(), 3, 1), "RB-FLEET-32"),
        (commit(left("a", 0), 3, 1), "RB-FLEET-32"),
        (commit(left("a", 9), 3, 1), "RB-FLEET-32"),
        (commit(left("b", 1), 3, 1), "RB-FLEET-33"),
        (commit(joined, 3, 1), "RB-FLEET-33"),
        (commit(vec![v1::Event { kind: None }], 3, 1), "RB-FLEET-33"),
    ] {
        let error = evolve(there.clone(), &commit, 9).unwrap_err();
        assert!(error.to_string().starts_with(code), "{error}");
    }
    let error = evolve(None, &commit(left("a", 1), 0, 1), 9).unwrap_err();
    assert!(error.to_string().starts_with("RB-FLEET-33"), "{error}");
}

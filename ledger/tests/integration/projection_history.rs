//! Builds histories for the projection tests: fixed ones, and random ones in which most but not all
//! events make sense.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rollbook_ledger::clock::to_proto;
use rollbook_ledger::ids::{Aggregate, EnvironmentId, FlagKey, RolloutId, WorkerName};
use rollbook_ledger::journal::StoredCommit;
use rollbook_ledger::proto::v1::event::Kind;
use rollbook_ledger::proto::v1::{self, Actor, Commit, Event};

/// A history that grows commit by commit, one second apart.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub commits: Vec<StoredCommit>,
    last: HashMap<Aggregate, u64>,
}

pub fn rollout(id: &str) -> Aggregate {
    Aggregate::Rollout(RolloutId::new(id).unwrap())
}

pub fn flag(environment: &str, key: &str) -> Aggregate {
    Aggregate::Flag(
        EnvironmentId::new(environment).unwrap(),
        FlagKey::new(key).unwrap(),
    )
}

pub fn environment_of(name: &str) -> Aggregate {
    Aggregate::Environment(EnvironmentId::new(name).unwrap())
}

pub fn worker(name: &str) -> Aggregate {
    Aggregate::Worker(WorkerName::new(name).unwrap())
}

/// Returns when the commit of a sequence is recorded.
pub fn recorded_at(sequence: u64) -> Timestamp {
    let start: Timestamp = "2026-03-01T08:00:00.123456789Z".parse().unwrap();
    start + SignedDuration::from_secs(i64::try_from(sequence).unwrap())
}

impl History {
    /// Appends one commit and returns its sequence.
    pub fn push(&mut self, aggregate: &Aggregate, actor: &str, events: Vec<Kind>) -> u64 {
        let sequence = u64::try_from(self.commits.len()).unwrap() + 1;
        let at = recorded_at(sequence);
        let previous = self.last.insert(aggregate.clone(), sequence);
        self.commits.push(StoredCommit::new(
            sequence,
            at,
            Commit {
                id: uuid::Uuid::from_u128(u128::from(sequence)).to_string(),
                ledger: "main".to_owned(),
                aggregate: aggregate.kind().to_owned(),
                aggregate_id: aggregate.id(),
                schema_version: 1,
                command_id: format!("command-{sequence}"),
                actor: Some(Actor {
                    name: actor.to_owned(),
                    kind: v1::ActorKind::Person.into(),
                    authentication: "asserted".to_owned(),
                }),
                recorded_at: Some(to_proto(at)),
                previous_sequence: previous.unwrap_or(0),
                events: events
                    .into_iter()
                    .map(|kind| Event { kind: Some(kind) })
                    .collect(),
                ..Commit::default()
            },
        ));
        sequence
    }
}

pub fn evidence(name: &str) -> v1::Evidence {
    v1::Evidence {
        sha256: format!("{name:0>64}"),
        size_bytes: 12,
        media_type: "text/plain".to_owned(),
        name: name.to_owned(),
        truncated: false,
    }
}

/// An outline with two phases, each with a gate, and the steps 1.1 (sql, critical), 1.2 (manual),
/// 2.1 (flag, critical), 2.2 (watch).
pub fn outline() -> v1::PlanOutline {
    let step = |id: &str, kind: &str, critical| v1::StepOutline {
        id: id.to_owned(),
        title: format!("Step {id}"),
        kind: kind.to_owned(),
        critical,
    };
    let phase = |id: &str, steps| v1::PhaseOutline {
        id: id.to_owned(),
        title: format!("Phase {id}"),
        steps,
        gate: true,
    };
    v1::PlanOutline {
        phases: vec![
            phase(
                "1",
                vec![step("1.1", "sql", true), step("1.2", "manual", false)],
            ),
            phase(
                "2",
                vec![step("2.1", "flag", true), step("2.2", "watch", false)],
            ),
        ],
        success_metrics: vec!["health".to_owned(), "errors".to_owned()],
        ..v1::PlanOutline::default()
    }
}

pub fn opened() -> Kind {
    Kind::RolloutOpened(v1::RolloutOpened {
        name: "Deal types".to_owned(),
        runbook: "deal-type-awareness".to_owned(),
        runbook_version: "1.0".to_owned(),
        plan: Some(evidence("plan")),
        outline: Some(outline()),
        environment: "production".to_owned(),
        protected: true,
        params: BTreeMap::from([("count".to_owned(), "5000".to_owned())]),
    })
}

pub fn started(step: &str, attempt: u32) -> Kind {
    Kind::StepStarted(v1::StepStarted {
        step_id: step.to_owned(),
        attempt,
        worker: "worker-1".to_owned(),
        intent: "run it".to_owned(),
    })
}

pub fn measurement(metric: &str, value: Option<f64>, verdict: v1::Verdict) -> v1::Measurement {
    v1::Measurement {
        metric: metric.to_owned(),
        value,
        unit: "%".to_owned(),
        rule: "value > 5".to_owned(),
        verdict: verdict.into(),
        measured_at: Some(to_proto(recorded_at(0))),
        ..v1::Measurement::default()
    }
}

pub fn finished(step: &str, attempt: u32, verdict: v1::Verdict) -> Kind {
    Kind::StepFinished(v1::StepFinished {
        step_id: step.to_owned(),
        attempt,
        verdict: verdict.into(),
        rule: "exit code 0".to_owned(),
        message: format!("attempt {attempt} of {step}"),
        measurements: vec![measurement("rows", Some(0.1 + 0.2), verdict)],
        evidence: vec![evidence("stdout")],
        duration: Some(rollbook_ledger::proto::Duration {
            seconds: 1,
            nanos: 500_000_000,
        }),
        effect: true,
        ..v1::StepFinished::default()
    })
}

pub fn signed(gate: &str, role: &str) -> Kind {
    Kind::SignOffGiven(v1::SignOffGiven {
        gate_id: gate.to_owned(),
        role: role.to_owned(),
        statement: "I have looked".to_owned(),
        plan_digest: evidence("plan").sha256,
        evidence_seen: vec![evidence("stdout").sha256],
        expires_at: Some(to_proto(recorded_at(90_000))),
        on_behalf_of: String::new(),
        ..v1::SignOffGiven::default()
    })
}

pub fn compared(snapshot: &str, regressions: u64) -> Kind {
    let named = regressions.min(20);
    Kind::ComparisonMade(v1::ComparisonMade {
        step_id: "2.2".to_owned(),
        snapshot: snapshot.to_owned(),
        compared: 1_000,
        equal: 1_000 - regressions,
        regressions,
        worst: (0..named)
            .map(|rank| v1::Regression {
                deal_id: format!("D{rank}"),
                deal_type: "carveout".to_owned(),
                metric: "total_cents".to_owned(),
                before: Some(100),
                after: (rank > 0).then_some(107),
                rule: "within".to_owned(),
                threshold: "5 %".to_owned(),
                before_text: (rank == 1).then(|| "draft".to_owned()),
                after_text: (rank < 2).then(|| "sent \"now\"\n".to_owned()),
                judged_as: if rank == 1 { "acquisition" } else { "" }.to_owned(),
            })
            .collect(),
        totals: vec![v1::TypeTotal {
            deal_type: "carveout".to_owned(),
            deals: 3,
            before_cents: 300,
            after_cents: 321,
        }],
        within_tolerance: 4,
        unexpected: 5,
        errors: 6,
        type_changed: 7,
        by_type: vec![v1::TypeClasses {
            deal_type: "carveout".to_owned(),
            equal: 1_000 - regressions,
            regressions,
            ..v1::TypeClasses::default()
        }],
        ..v1::ComparisonMade::default()
    })
}

pub fn setting(mode: v1::FlagMode, percentage_millis: u32) -> v1::FlagSetting {
    v1::FlagSetting {
        mode: mode.into(),
        percentage_millis,
        beta_labels: Vec::new(),
    }
}

pub fn defined(environment: &str, key: &str) -> Kind {
    Kind::FlagDefined(v1::FlagDefined {
        key: key.to_owned(),
        environment: environment.to_owned(),
        description: "Deal types".to_owned(),
        owner: "team".to_owned(),
        safe: Some(setting(v1::FlagMode::Off, 0)),
        initial: Some(setting(v1::FlagMode::Off, 0)),
        bucketing: "flagd-fractional-v3".to_owned(),
        ..v1::FlagDefined::default()
    })
}

pub fn changed(from: v1::FlagSetting, to: v1::FlagSetting, rollout: &str) -> Kind {
    Kind::FlagChanged(v1::FlagChanged {
        from: Some(from),
        to: Some(to),
        reason: "step by step".to_owned(),
        rollout_id: rollout.to_owned(),
        step_id: "2.1".to_owned(),
    })
}

/// One random command: its kind and three parameters.
pub type Choice = (u8, u8, u8, u8);

/// Random commands in any order and on any subject, so that some do not make sense.
pub fn choices(most: usize) -> impl Strategy<Value = Vec<Choice>> {
    prop::collection::vec((0_u8..53, 0_u8..3, 0_u8..6, 0_u8..4), 1..most)
}

/// Returns a reproducible history of this many commits, with some of every kind.
pub fn mixed(commits: u32) -> History {
    let choices: Vec<Choice> = (0..commits)
        .map(|n| {
            let mixed = n.wrapping_mul(2_654_435_761);
            let byte = |shift: u32, of: u32| u8::try_from((mixed >> shift) % of).unwrap();
            (byte(3, 40), byte(9, 3), byte(15, 6), byte(21, 4))
        })
        .collect();
    random(&choices)
}

/// Builds the history of random commands.
pub fn random(choices: &[Choice]) -> History {
    let mut history = History::default();
    for (place, choice) in choices.iter().enumerate() {
        let (what, which, part, extra) = *choice;
        let environment = ["staging", "production"][usize::from(which % 2)];
        if what >= 50 {
            let aggregate = environment_of(environment);
            let event = environment_event(what, extra, environment);
            history.push(&aggregate, "ada", vec![event]);
            continue;
        }
        if what >= 43 {
            let aggregate = match part % 2 {
                0 => rollout(&format!("r{which}")),
                _ => flag(environment, "DEAL_TYPE"),
            };
            let actor = ["ada", "bob"][usize::from(extra % 2)];
            history.push(&aggregate, actor, vec![authority_event(what, extra)]);
            continue;
        }
        if what >= 40 {
            let name = format!("w{which}");
            history.push(
                &worker(&name),
                &name,
                vec![worker_event(what, extra, &name)],
            );
            continue;
        }
        if what >= 36 {
            let aggregate = flag(environment, "DEAL_TYPE");
            history.push(
                &aggregate,
                "ada",
                vec![flag_event(what, part, extra, environment)],
            );
            continue;
        }
        let aggregate = rollout(&format!("r{which}"));
        let actor = ["ada", "bob", "cyd"][usize::from(extra % 3)];
        let mut events = vec![rollout_event(what, part, extra)];
        // Usually the first commit of a rollout opens it, so that the rest has a subject.
        if extra > 0 && !history.last.contains_key(&aggregate) {
            events.insert(0, opened());
            events.insert(1, Kind::RolloutStarted(v1::RolloutStarted {}));
        }
        if place % 5 == 4 {
            events.push(rollout_event(what.wrapping_mul(7) % 36, extra, part % 4));
        }
        history.push(&aggregate, actor, events);
    }
    history
}

/// Returns an event of requests for two persons or of broken glass.
fn authority_event(what: u8, extra: u8) -> Kind {
    let id = format!("q-{}", extra % 2);
    match what {
        43 => Kind::RequestMade(v1::RequestMade {
            request_id: id,
            verb: "abort".to_owned(),
            what: "abort the rollout".to_owned(),
            reason: "because \0".to_owned(),
            expires_at: Some(to_proto(recorded_at(9))),
            ..v1::RequestMade::default()
        }),
        44 => Kind::RequestConfirmed(v1::RequestConfirmed { request_id: id }),
        45 => Kind::RequestEnded(v1::RequestEnded {
            request_id: id,
            end: i32::from(extra),
            reason: "late".to_owned(),
        }),
        46 => Kind::GlassBroken(v1::GlassBroken {
            review_id: id,
            what: "abort the rollout".to_owned(),
            review_by: Some(to_proto(recorded_at(9))),
            ..v1::GlassBroken::default()
        }),
        47 => Kind::GlassReviewed(v1::GlassReviewed {
            review_id: id,
            agreed: extra > 1,
            note: "seen".to_owned(),
        }),
        48 => Kind::ReviewOverdue(v1::ReviewOverdue { review_id: id }),
        _ => Kind::PlanRevisionWithdrawn(v1::PlanRevisionWithdrawn {
            revision: u32::from(extra),
            reason: "no".to_owned(),
        }),
    }
}

fn environment_event(what: u8, extra: u8, environment: &str) -> Kind {
    let persons = v1::Persons {
        persons: vec!["ada".to_owned()],
    };
    let terms = (extra < 3).then(|| v1::EnvironmentTerms {
        protected: extra > 0,
        roles: [(format!("role{extra}"), persons)].into(),
        break_glass: None,
    });
    let revision = u32::from(extra);
    match what {
        50 => Kind::EnvironmentRecorded(v1::EnvironmentRecorded {
            name: environment.to_owned(),
            terms,
            ..v1::EnvironmentRecorded::default()
        }),
        51 => Kind::EnvironmentRevised(v1::EnvironmentRevised {
            revision,
            terms,
            reason: "more".to_owned(),
        }),
        _ if extra == 3 => Kind::EnvironmentRevisionWithdrawn(v1::EnvironmentRevisionWithdrawn {
            revision: 2,
            reason: "no".to_owned(),
        }),
        _ => Kind::EnvironmentRevisionAccepted(v1::EnvironmentRevisionAccepted { revision }),
    }
}

fn flag_event(what: u8, part: u8, extra: u8, environment: &str) -> Kind {
    let off = setting(v1::FlagMode::Off, 0);
    let on = setting(v1::FlagMode::On, 0);
    let some = setting(v1::FlagMode::Percentage, 1_000 * u32::from(part) + 500);
    match (what, extra) {
        (36, _) => defined(environment, "DEAL_TYPE"),
        (37, _) => changed(off, some, "r0"),
        (38, 0) => Kind::FlagArchived(v1::FlagArchived {
            reason: "done".to_owned(),
        }),
        (38, _) => changed(on, off, ""),
        _ => changed(some, on, "r1"),
    }
}

fn worker_event(what: u8, extra: u8, name: &str) -> Kind {
    match what {
        40 => worker_joined(name, "a"),
        41 => worker_left("a", i32::from(extra)),
        _ => worker_left("b", 1),
    }
}

pub fn worker_joined(name: &str, session: &str) -> Kind {
    Kind::WorkerJoined(v1::WorkerJoined {
        name: name.to_owned(),
        session: session.to_owned(),
        labels: vec!["db\0".to_owned()],
        concurrency: 4,
        threads: 2,
        version: "1.2.3".to_owned(),
        started_at: Some(to_proto(recorded_at(0))),
    })
}

pub fn worker_left(session: &str, reason: i32) -> Kind {
    Kind::WorkerLeft(v1::WorkerLeft {
        session: session.to_owned(),
        reason,
    })
}

fn verdict(number: u8) -> v1::Verdict {
    [
        v1::Verdict::Pass,
        v1::Verdict::Fail,
        v1::Verdict::Inconclusive,
        v1::Verdict::Error,
    ][usize::from(number % 4)]
}

fn rollout_event(what: u8, part: u8, extra: u8) -> Kind {
    // Part 5 is a step that the plan does not have; likewise gate 3.
    let step = ["1.1", "1.2", "2.1", "2.2", "1.1", "9.9"][usize::from(part % 6)].to_owned();
    let gate = ["1", "2", "1", "2", "1", "3"][usize::from(part % 6)].to_owned();
    let attempt = u32::from(extra);
    let reason = || format!("because {extra}");
    match what {
        0 => opened(),
        1 => Kind::RolloutStarted(v1::RolloutStarted {}),
        2 => Kind::RolloutPaused(v1::RolloutPaused { reason: reason() }),
        3 => Kind::RolloutResumed(v1::RolloutResumed { reason: reason() }),
        4 if extra == 0 => Kind::RolloutAborted(v1::RolloutAborted { reason: reason() }),
        5 if extra == 0 => Kind::RolloutClosed(v1::RolloutClosed {
            outcome: i32::from(part),
            summary: reason(),
        }),
        4..=8 => started(&step, attempt),
        9..=12 => finished(&step, attempt, verdict(part)),
        13 => Kind::StepMeasured(v1::StepMeasured {
            step_id: step,
            attempt,
            measurement: Some(measurement(
                "rate",
                [Some(1.5), None, Some(f64::NAN)][usize::from(part % 3)],
                verdict(part),
            )),
        }),
        14 => Kind::StepInterrupted(v1::StepInterrupted {
            step_id: step,
            attempt,
            reason: "killed \0 here".to_owned(),
            retry: extra.is_multiple_of(2),
            ..v1::StepInterrupted::default()
        }),
        15 => Kind::StepRetried(v1::StepRetried {
            step_id: step,
            reason: reason(),
            not_before: None,
            recheck: false,
        }),
        16 => Kind::StepSkipped(v1::StepSkipped {
            step_id: step,
            reason: reason(),
        }),
        17 => Kind::NotApplicableProposed(v1::NotApplicableProposed {
            step_id: step,
            reason: reason(),
        }),
        18 => Kind::NotApplicableReviewed(v1::NotApplicableReviewed {
            step_id: step,
            accepted: extra.is_multiple_of(2),
            reason: reason(),
        }),
        19 => Kind::UndoStarted(v1::UndoStarted {
            step_id: step,
            attempt,
            worker: "worker-2".to_owned(),
            intent: "revert".to_owned(),
        }),
        20 => Kind::UndoFinished(v1::UndoFinished {
            step_id: step,
            attempt,
            verdict: verdict(extra).into(),
            ..v1::UndoFinished::default()
        }),
        21 | 22 => signed(&gate, "lead"),
        23 => Kind::SignOffRefused(v1::SignOffRefused {
            gate_id: gate,
            role: "lead".to_owned(),
            reason: reason(),
        }),
        24 => Kind::SignOffVoided(v1::SignOffVoided {
            gate_id: gate,
            person: ["ada", "bob", "cyd"][usize::from(extra % 3)].to_owned(),
            role: "lead".to_owned(),
            cause: "expired".to_owned(),
        }),
        25 => Kind::GatePassed(v1::GatePassed {
            gate_id: gate,
            reasons: vec![reason()],
        }),
        26 => Kind::GateBlocked(v1::GateBlocked {
            gate_id: gate,
            reasons: vec![reason()],
            ..v1::GateBlocked::default()
        }),
        27 => Kind::PlanRevised(v1::PlanRevised {
            revision: attempt,
            plan: Some(evidence("plan2")),
            outline: (part != 5).then(|| {
                let mut outline = outline();
                outline.phases.truncate(usize::from(part % 3));
                outline
            }),
            reason: reason(),
            difference: (extra > 1).then(|| v1::PlanDifference {
                changes: vec![v1::PlanChange {
                    what: "parameter keep \0".to_owned(),
                    before: "90".to_owned(),
                    after: "30".to_owned(),
                    ..v1::PlanChange::default()
                }],
                total: 2,
                ..v1::PlanDifference::default()
            }),
            params: [("keep".to_owned(), "30".to_owned())].into(),
        }),
        28 => Kind::PlanRevisionAccepted(v1::PlanRevisionAccepted { revision: attempt }),
        29 => Kind::RollbackStarted(v1::RollbackStarted {
            rollback_id: format!("b{extra}"),
            level: i32::from(part),
            reason: reason(),
            undo_steps: vec![step],
            ..v1::RollbackStarted::default()
        }),
        30 => Kind::RollbackFinished(v1::RollbackFinished {
            rollback_id: format!("b{extra}"),
            verdict: verdict(part).into(),
            summary: reason(),
            ..v1::RollbackFinished::default()
        }),
        31 | 32 => Kind::AlertRaised(v1::AlertRaised {
            alert_id: format!("a{}", part % 2),
            severity: ["info", "warning", "critical", "loud"][usize::from(extra % 4)].to_owned(),
            step_id: step,
            measurement: Some(measurement("rate", Some(7.25), v1::Verdict::Fail)),
        }),
        33 => Kind::AlertResolved(v1::AlertResolved {
            alert_id: format!("a{}", part % 2),
            measurement: None,
        }),
        34 => compared(["costs", "sites"][usize::from(part % 2)], u64::from(extra)),
        _ => Kind::AuditTaken(v1::AuditTaken {
            step_id: step,
            total: 10,
            health_permille: 899,
            health: ["HEALTHY", "NEEDS_ATTENTION", "CRITICAL", "?"][usize::from(extra % 4)]
                .to_owned(),
            ..v1::AuditTaken::default()
        }),
    }
}

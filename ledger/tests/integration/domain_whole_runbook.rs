//! Plays the deal-type-awareness runbook by the rules alone: no worker, no journal.

use std::path::Path;

use jiff::Timestamp;
use rollbook_ledger::clock::to_proto;
use rollbook_ledger::environment::Environments;
use rollbook_ledger::ids::{EnvironmentId, PhaseId, StepId};
use rollbook_ledger::journal::StoredCommit;
use rollbook_ledger::rollout::command::{Answer, AnswerValue, Command, SystemCommand};
use rollbook_ledger::rollout::{
    Blocked, Context, Open, Refusal, Remedy, Request, RolloutState, Status, StepStatus, Subject,
    TaskAction, WorkerCommand, decide, evolve, fold, next, open, presented,
};
use rollbook_ledger::runbook::RollbackLevel;
use rollbook_ledger::runbook::plan::has_effect;
use rollbook_ledger::runbook::{Action, Directory, Origin, Plan, inspect};
use rollbook_proto::v1::{self, RolloutOutcome, Verdict, event::Kind};

/// The measurements of a healthy rollout; all others are 0.
const GOOD: [(&str, f64); 12] = [
    ("deals_after", 5_000.0),
    ("flag_in_production", 1.0),
    ("deals_before", 5_000.0),
    ("health_percent", 100.0),
    ("carveout_ratio_min", 1.8),
    ("carveout_ratio_max", 2.4),
    ("deals", 5_000.0),
    ("compared", 5_000.0),
    ("equal", 5_000.0),
    ("active", 5_000.0),
    ("total", 5_000.0),
    ("http_status", 200.0),
];

fn the_plan() -> Plan {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runbooks/deal-type-awareness.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let files = Directory::around(&file).unwrap();
    let origin = Origin::new("deal-type-awareness.yaml", &files);
    let loaded = inspect(&text, &origin, &Default::default(), Some("production"));
    loaded.plan.unwrap()
}

struct Play {
    plan: Plan,
    state: RolloutState,
    commits: Vec<StoredCommit>,
    now: Timestamp,
    /// Number of regressions that comparisons find.
    regressions: f64,
}

fn actor(name: &str, kind: v1::ActorKind) -> v1::Actor {
    v1::Actor {
        name: name.to_owned(),
        kind: kind.into(),
        authentication: "asserted".to_owned(),
    }
}

impl Play {
    fn new(plan: Plan) -> Self {
        let events = open(
            &plan,
            &Open {
                name: String::new(),
                plan: v1::Evidence {
                    sha256: plan.digest().to_owned(),
                    ..v1::Evidence::default()
                },
                environment: EnvironmentId::new("production").unwrap(),
                params: plan.params().clone(),
            },
            &actor("erin", v1::ActorKind::Person),
            Environments::NONE,
        )
        .unwrap();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let erin = actor("erin", v1::ActorKind::Person);
        let commit = stored(events, 0, &erin, now);
        let state = evolve(None, &commit.commit, 1).unwrap();
        let mut play = Self {
            plan,
            state,
            commits: vec![commit],
            now,
            regressions: 0.0,
        };
        play.person("erin", Command::Start {});
        play
    }

    fn decided(
        &self,
        who: &str,
        kind: v1::ActorKind,
        request: &Request,
    ) -> Result<Vec<v1::Event>, Refusal> {
        let actor = actor(who, kind);
        let command_id = format!("c{}", self.state.sequence);
        let context = Context {
            now: self.now,
            actor: &actor,
            command_id: &command_id,
            new_plan: None,
            environments: Environments::NONE,
        };
        decide(&self.state, &self.plan, request, &context)
    }

    fn ask(&mut self, who: &str, kind: v1::ActorKind, request: Request) {
        let events = self
            .decided(who, kind, &request)
            .unwrap_or_else(|refusal| panic!("{request:?}: {refusal}"));
        let actor = actor(who, kind);
        if events.is_empty() {
            return;
        }
        let commit = stored(events, self.state.sequence, &actor, self.now);
        self.state = evolve(Some(self.state.clone()), &commit.commit, commit.sequence).unwrap();
        self.commits.push(commit);
    }

    fn person(&mut self, who: &str, command: Command) {
        self.ask(who, v1::ActorKind::Person, Request::Person(command));
    }

    fn worker(&mut self, command: WorkerCommand) {
        self.ask("w1", v1::ActorKind::Worker, Request::Worker(command));
    }

    fn execute(&mut self, id: &StepId, attempt: u32) {
        self.worker(WorkerCommand::StartStep {
            step: id.clone(),
            attempt,
            worker: "w1".to_owned(),
            intent: String::new(),
        });
        let (_, step) = self.plan.step(id).unwrap();
        let compares = matches!(step.action, Action::Compare(_));
        let bad = compares && self.regressions > 0.0;
        let mut names: Vec<String> = self
            .plan
            .phases()
            .filter_map(|(_, phase)| phase.gate.as_ref())
            .flat_map(|gate| &gate.checks)
            .flat_map(|text| {
                let expr = rollbook_ledger::runbook::Expr::parse(text).unwrap();
                expr.variables().to_vec()
            })
            .collect();
        names.extend(["regressions".to_owned(), "affected_percent".to_owned()]);
        let measurements = names
            .into_iter()
            .map(|metric| v1::Measurement {
                value: Some(match metric.as_str() {
                    "regressions" | "affected_percent" if bad => self.regressions,
                    name => GOOD
                        .iter()
                        .find(|(good, _)| *good == name)
                        .map_or(0.0, |(_, value)| *value),
                }),
                metric,
                ..v1::Measurement::default()
            })
            .collect();
        let finished = v1::StepFinished {
            step_id: id.to_string(),
            attempt,
            verdict: if bad { Verdict::Fail } else { Verdict::Pass }.into(),
            effect: has_effect(step),
            measurements,
            ..v1::StepFinished::default()
        };
        self.worker(WorkerCommand::FinishStep {
            finished,
            details: Vec::new(),
        });
    }

    fn undo(&mut self, id: &StepId, attempt: u32) {
        self.worker(WorkerCommand::StartUndo {
            step: id.clone(),
            attempt,
            worker: "w1".to_owned(),
            intent: String::new(),
        });
        self.worker(WorkerCommand::FinishUndo {
            finished: v1::UndoFinished {
                step_id: id.to_string(),
                attempt,
                verdict: Verdict::Pass.into(),
                verification: v1::UndoVerification::Verified.into(),
                ..v1::UndoFinished::default()
            },
        });
    }

    /// Returns the first member of a role.
    fn member(&self, role: &str) -> String {
        self.plan.role_members(role).first().unwrap().clone()
    }

    /// Does whatever is next; returns false if only a person's decision helps.
    fn advance(&mut self) -> bool {
        let offered = next(&self.state, &self.plan, self.now);
        if offered.settle {
            let settle = Request::System(SystemCommand::Settle);
            self.ask("orchestrator", v1::ActorKind::Orchestrator, settle);
            return true;
        }
        if let Some(notice) = offered.notices.first() {
            let sent = v1::NoticeSent {
                notice_id: notice.notice.clone(),
                ..v1::NoticeSent::default()
            };
            let record = Request::System(SystemCommand::RecordNotice { sent });
            self.ask("orchestrator", v1::ActorKind::Orchestrator, record);
            return true;
        }
        if let Some(task) = offered.tasks.first() {
            match task.action {
                TaskAction::Execute => self.execute(&task.step, task.attempt),
                TaskAction::Undo => self.undo(&task.step, task.attempt),
                TaskAction::VerifyUndo => unreachable!("no undo by hand is verified here"),
            }
            return true;
        }
        for blocked in &offered.blocked {
            if self.unblock(blocked) {
                return true;
            }
        }
        if let Some(wake_at) = offered.wake_at {
            self.now = wake_at;
            return true;
        }
        false
    }

    /// Does what a person can do about a block: signs the gate, or completes the step of its
    /// remedy.
    fn unblock(&mut self, blocked: &Blocked) -> bool {
        match blocked.remedies.first() {
            // Signing does not open a gate that is blocked by a check.
            Some(Remedy::Approve {
                gate,
                role: Some(role),
                ..
            }) => self.sign(gate, role),
            Some(Remedy::Complete { step, role, .. }) => {
                self.complete(step, role.as_deref().unwrap_or("engineering"));
            }
            _ => return false,
        }
        true
    }

    /// Signs as the first eligible member of the role.
    fn sign(&mut self, gate: &PhaseId, role: &str) {
        let shown = presented(&self.state, &self.plan, gate).unwrap();
        let approve = Command::Approve {
            gate: gate.clone(),
            role: Some(role.to_owned()),
            statement: None,
            seen: shown.seen(),
        };
        let request = Request::Person(approve.clone());
        let may = |person: &&String| {
            let decided = self.decided(person, v1::ActorKind::Person, &request);
            decided.is_ok_and(|events| !events.is_empty())
        };
        let members = self.plan.role_members(role);
        let person = members.iter().find(may).unwrap().clone();
        self.person(&person, approve);
    }

    fn complete(&mut self, id: &StepId, role: &str) {
        let (_, step) = self.plan.step(id).unwrap();
        let Action::Manual(manual) = step.action.clone() else {
            panic!("step {id} is not done by hand");
        };
        let answer = |item: &String| Answer {
            item: item.clone(),
            answer: AnswerValue::Pass,
            note: String::new(),
        };
        let proof = v1::Evidence {
            sha256: "ab".repeat(32),
            ..v1::Evidence::default()
        };
        self.person(
            &self.member(role),
            Command::Complete {
                step: id.clone(),
                checklist: manual.checklist.iter().map(answer).collect(),
                evidence: vec![proof],
                note: String::new(),
            },
        );
    }

    fn drive(&mut self) {
        for _ in 0..2_000 {
            if !self.advance() {
                assert_eq!(fold(&self.commits).unwrap().as_ref(), Some(&self.state));
                return;
            }
        }
        let last: Vec<String> = self
            .commits
            .iter()
            .rev()
            .take(12)
            .map(|stored| format!("{} {:?}", stored.sequence, stored.commit.events))
            .collect();
        panic!("it never comes to rest: {last:#?}");
    }

    fn has(&self, wanted: impl Fn(&Kind) -> bool) -> bool {
        self.commits
            .iter()
            .flat_map(|stored| &stored.commit.events)
            .filter_map(|event| event.kind.as_ref())
            .any(wanted)
    }
}

fn stored(
    events: Vec<v1::Event>,
    previous: u64,
    actor: &v1::Actor,
    now: Timestamp,
) -> StoredCommit {
    StoredCommit::new(
        previous + 1,
        now,
        v1::Commit {
            aggregate: "rollout".to_owned(),
            aggregate_id: "r1".to_owned(),
            command_id: format!("c{previous}"),
            actor: Some(actor.clone()),
            recorded_at: Some(to_proto(now)),
            previous_sequence: previous,
            events,
            ..v1::Commit::default()
        },
    )
}

#[test]
fn a_healthy_rollout_ends_as_succeeded_by_doing_what_next_says() {
    let mut play = Play::new(the_plan());
    play.drive();
    assert_eq!(
        play.state.status,
        Status::Closed(RolloutOutcome::Succeeded),
        "{:#?}",
        next(&play.state, &play.plan, play.now).blocked
    );
    assert!(
        play.state
            .gates
            .values()
            .all(|gate| gate.passed_at.is_some())
    );
    assert!(
        play.state
            .phases
            .values()
            .all(|p| p.rollback_point.is_some())
    );
    assert!(next(&play.state, &play.plan, play.now).is_over());
}

#[test]
fn a_regression_shuts_the_gate_and_the_instant_rollback_is_proved() {
    let mut play = Play::new(the_plan());
    play.regressions = 25.0;
    play.drive();
    let blocked = next(&play.state, &play.plan, play.now).blocked;
    assert!(
        blocked.iter().any(|b| matches!(b.what, Subject::Gate(_))),
        "{blocked:#?}"
    );
    assert!(play.has(|kind| matches!(kind, Kind::AdviceGiven(given) if given.advice == "flags")));
    play.person(
        "erin",
        Command::Rollback {
            level: RollbackLevel::Flags,
            steps: Vec::new(),
            reason: "regressions".to_owned(),
        },
    );
    play.drive();
    assert_eq!(play.state.status, Status::Paused);
    // The flag is off again and the old outputs are back, so nothing differs any more.
    play.regressions = 0.0;
    let failed: Vec<StepId> = play
        .plan
        .steps()
        .filter(|planned| {
            matches!(
                planned.step.action,
                Action::Compare(_) | Action::Snapshot(_)
            ) && play.state.step(planned.id).is_some_and(|at| at.attempt > 0)
                && planned.phase_id.as_str() >= "2"
        })
        .map(|planned| planned.id.clone())
        .collect();
    assert!(failed.len() >= 2, "a snapshot and a comparison: {failed:?}");
    for step in &failed {
        play.person(
            "erin",
            Command::Retry {
                step: step.clone(),
                reason: "prove the rollback".to_owned(),
            },
        );
    }
    play.drive();
    assert_eq!(play.state.status, Status::Paused);
    for step in &failed {
        let at = play.state.step(step).unwrap();
        assert_eq!((at.status, at.recheck), (StepStatus::Succeeded, true));
    }
    assert_eq!(play.state.metrics["regressions"].value, Some(0.into()));
}

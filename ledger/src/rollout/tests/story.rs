//! The test driver: `given(plan).and(…).when(…).then(…)` or `.refused(…)`.

use jiff::Timestamp;
use prost::Message;
use rollbook_proto::v1::{self, event::Kind};
use serde_json::{Value, json};

use super::super::block::Blocked;
use super::super::command::{Answer, AnswerValue, Command, Open, Request};
use super::super::command::{SystemCommand, WorkerCommand};
use super::super::frontier::Frontier;
use super::super::next::{Next, TaskAction};
pub(super) use super::super::remedy::{self, Remedy};
use super::super::state::{RolloutState, Status, StepStatus};
use super::super::{Context, Refusal, decide, evolve, fold, next, open, presented};
use crate::clock::to_proto;
use crate::environment::Environments;
use crate::error_code::Coded;
use crate::ids::{EnvironmentId, PhaseId, StepId};
use crate::journal::{MAX_COMMIT_BYTES, StoredCommit};
use crate::runbook::plan::has_effect;
use crate::runbook::{Plan, Runbook, Span};

/// A plan of these phases, with three roles, two environments and one flag.
pub(super) fn plan(phases: Value) -> Plan {
    plan_with(phases, json!({}))
}

/// The same plan, with further sections.
pub(super) fn plan_with(phases: Value, more: Value) -> Plan {
    let mut runbook = json!({
        "apiVersion": "rollbook/v1",
        "kind": "Runbook",
        "metadata": {"name": "tiny", "version": "1", "owner": "eng"},
        "environments": {"staging": {}, "production": {"protected": true}},
        "roles": {"eng": ["alice", "bob"], "dba": ["dora"], "lead": ["alice", "lee"]},
        "flags": {"F": {"description": "new path", "owner": "eng"}},
        "phases": phases,
    });
    let mut params = std::collections::BTreeMap::new();
    for (key, value) in more.as_object().unwrap() {
        if key == "params" {
            for (name, value) in value.as_object().unwrap() {
                params.insert(name.clone(), value.as_str().unwrap().to_owned());
            }
        } else {
            runbook[key] = value.clone();
        }
    }
    let runbook: Runbook = serde_json::from_value(runbook).unwrap();
    Plan::from_runbook(runbook, params).unwrap()
}

/// A command step that changes nothing.
pub(super) fn check(id: &str) -> Value {
    json!({"id": id, "title": id, "run": {"command": "true"}, "changes": "nothing"})
}

/// A flag step.
pub(super) fn flag(id: &str) -> Value {
    json!({"id": id, "title": id, "flag": {"key": "F", "to": "on"}})
}

/// A command step with an effect and an undo.
pub(super) fn change(id: &str) -> Value {
    json!({"id": id, "title": id, "run": {"command": "do"}, "undo": {"run": {"command": "undo"}}})
}

/// A manual step.
pub(super) fn by_hand(id: &str) -> Value {
    json!({"id": id, "title": id, "manual": {"instructions": "look"}})
}

/// Returns `step` with further fields.
pub(super) fn with(mut step: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        step[key] = value.clone();
    }
    step
}

/// One phase without a gate.
pub(super) fn phase(id: &str, steps: Vec<Value>) -> Value {
    json!({"id": id, "title": id, "steps": steps})
}

/// One phase with a gate.
pub(super) fn gated(id: &str, steps: Vec<Value>, gate: Value) -> Value {
    json!({"id": id, "title": id, "steps": steps, "gate": gate})
}

/// A request and who makes it.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) actor: v1::Actor,
    pub(super) request: Request,
}

fn actor(name: &str, kind: v1::ActorKind) -> v1::Actor {
    v1::Actor {
        name: name.to_owned(),
        kind: kind.into(),
        authentication: "asserted".to_owned(),
    }
}

pub(super) fn by(person: &str, command: Command) -> Ask {
    Ask {
        actor: actor(person, v1::ActorKind::Person),
        request: Request::Person(command),
    }
}

pub(super) fn worker(command: WorkerCommand) -> Ask {
    Ask {
        actor: actor("w1", v1::ActorKind::Worker),
        request: Request::Worker(command),
    }
}

pub(super) fn system(command: SystemCommand) -> Ask {
    Ask {
        actor: actor("orchestrator", v1::ActorKind::Orchestrator),
        request: Request::System(command),
    }
}

pub(super) fn id(step: &str) -> StepId {
    StepId::new(step).unwrap()
}

pub(super) fn gate_id(gate: &str) -> PhaseId {
    PhaseId::new(gate).unwrap()
}

pub(super) fn retry(step: &str) -> Command {
    Command::Retry {
        step: id(step),
        reason: "again".to_owned(),
    }
}

pub(super) fn skip(step: &str) -> Command {
    Command::Skip {
        step: id(step),
        reason: "not today".to_owned(),
    }
}

/// As a sign-off's `seen`: the digest of what the gate shows at that time.
pub(super) const AS_SHOWN: &str = "as shown";

pub(super) fn approve(gate: &str) -> Command {
    Command::Approve {
        gate: gate_id(gate),
        role: None,
        statement: None,
        seen: AS_SHOWN.to_owned(),
    }
}

pub(super) fn reject(gate: &str) -> Command {
    Command::Reject {
        gate: gate_id(gate),
        role: None,
        reason: "too risky".to_owned(),
    }
}

pub(super) fn complete(step: &str, answers: &[(&str, AnswerValue)]) -> Command {
    Command::Complete {
        step: id(step),
        checklist: answers
            .iter()
            .map(|(item, answer)| Answer {
                item: (*item).to_owned(),
                answer: *answer,
                note: String::new(),
            })
            .collect(),
        evidence: Vec::new(),
        note: String::new(),
    }
}

pub(super) fn start(step: &str, attempt: u32) -> WorkerCommand {
    WorkerCommand::StartStep {
        step: id(step),
        attempt,
        worker: "w1".to_owned(),
        intent: "do it".to_owned(),
    }
}

pub(super) fn result(step: &str, attempt: u32, verdict: v1::Verdict) -> v1::StepFinished {
    v1::StepFinished {
        step_id: step.to_owned(),
        attempt,
        verdict: verdict.into(),
        message: "said so".to_owned(),
        ..v1::StepFinished::default()
    }
}

pub(super) fn finish(step: &str, attempt: u32, verdict: v1::Verdict) -> WorkerCommand {
    WorkerCommand::FinishStep {
        finished: result(step, attempt, verdict),
        details: Vec::new(),
    }
}

pub(super) fn measurement(metric: &str, value: f64) -> v1::Measurement {
    v1::Measurement {
        metric: metric.to_owned(),
        value: Some(value),
        ..v1::Measurement::default()
    }
}

pub(super) fn start_undo(step: &str, attempt: u32) -> WorkerCommand {
    WorkerCommand::StartUndo {
        step: id(step),
        attempt,
        worker: "w1".to_owned(),
        intent: "undo it".to_owned(),
    }
}

pub(super) fn finish_undo(step: &str, attempt: u32, verdict: v1::Verdict) -> WorkerCommand {
    WorkerCommand::FinishUndo {
        finished: v1::UndoFinished {
            step_id: step.to_owned(),
            attempt,
            verdict: verdict.into(),
            message: "said so".to_owned(),
            verification: match verdict {
                v1::Verdict::Pass => v1::UndoVerification::Verified.into(),
                _ => v1::UndoVerification::Unspecified.into(),
            },
            ..v1::UndoFinished::default()
        },
    }
}

/// A rollout with its whole history; every event has gone through `evolve`.
#[derive(Debug, Clone)]
pub(super) struct Story {
    pub(super) plan: Plan,
    pub(super) commits: Vec<StoredCommit>,
    pub(super) state: RolloutState,
    pub(super) frontier: Frontier,
    pub(super) now: Timestamp,
    pub(super) new_plan: Option<Plan>,
    pub(super) environments: Environments,
}

/// A rollout opened in `environment`.
pub(super) fn opened_in(plan: Plan, environment: &str) -> Story {
    let now: Timestamp = "2026-01-01T10:00:00Z".parse().unwrap();
    let opened = open(
        &plan,
        &Open {
            name: String::new(),
            plan: evidence_of(&plan),
            environment: EnvironmentId::new(environment).unwrap(),
            params: plan.params().clone(),
        },
        &actor("alice", v1::ActorKind::Person),
        Environments::NONE,
    )
    .unwrap();
    let commit = commit(
        &opened,
        0,
        "open",
        actor("olga", v1::ActorKind::Person),
        now,
    );
    let state = evolve(None, &commit.commit, 1).unwrap();
    Story {
        frontier: Frontier::of(&state, &plan),
        plan,
        commits: vec![commit],
        state,
        now,
        new_plan: None,
        environments: Environments::default(),
    }
}

pub(super) fn evidence_of(plan: &Plan) -> v1::Evidence {
    v1::Evidence {
        sha256: plan.digest().to_owned(),
        ..v1::Evidence::default()
    }
}

/// A rollout opened and started by `olga`, and settled.
pub(super) fn given(plan: Plan) -> Story {
    opened_in(plan, "staging").and(by("olga", Command::Start {}))
}

fn commit(
    events: &[v1::Event],
    previous: u64,
    command_id: &str,
    actor: v1::Actor,
    now: Timestamp,
) -> StoredCommit {
    StoredCommit::new(
        previous + 1,
        now,
        v1::Commit {
            id: format!("c{previous}"),
            ledger: "main".to_owned(),
            aggregate: "rollout".to_owned(),
            aggregate_id: "r1".to_owned(),
            schema_version: 1,
            command_id: command_id.to_owned(),
            actor: Some(actor),
            recorded_at: Some(to_proto(now)),
            previous_sequence: previous,
            events: events.to_vec(),
            ..v1::Commit::default()
        },
    )
}

/// Returns the names of the events.
pub(super) fn names(events: &[v1::Event]) -> Vec<&'static str> {
    events.iter().map(super::super::evolve::name).collect()
}

impl Story {
    pub(super) fn decide(&self, ask: &Ask, command_id: &str) -> Result<Vec<v1::Event>, Refusal> {
        let context = Context {
            now: self.now,
            actor: &ask.actor,
            command_id,
            new_plan: self.new_plan.as_ref(),
            environments: &self.environments,
        };
        let mut request = ask.request.clone();
        if let Request::Person(Command::Approve { gate, seen, .. }) = &mut request
            && seen == AS_SHOWN
            && let Ok(shown) = presented(&self.state, &self.plan, gate)
        {
            *seen = shown.seen();
        }
        decide(&self.state, &self.plan, &request, &context)
    }

    pub(super) fn apply(&mut self, events: &[v1::Event], ask: &Ask, command_id: &str) {
        if events.is_empty() {
            return;
        }
        self.record(events, ask, command_id);
        self.frontier.advance(&self.state, &self.plan);
        super::look_cost::looks_agree(self);
    }

    /// Records the events without checking the looks.
    pub(super) fn record(&mut self, events: &[v1::Event], ask: &Ask, command_id: &str) {
        let commit = commit(
            events,
            self.state.sequence,
            command_id,
            ask.actor.clone(),
            self.now,
        );
        let bytes = commit.commit.encoded_len();
        assert!(
            bytes <= MAX_COMMIT_BYTES,
            "{bytes} bytes: {:?}",
            names(events)
        );
        self.state = evolve(Some(self.state.clone()), &commit.commit, commit.sequence)
            .unwrap_or_else(|error| panic!("{:?} do not evolve: {error}", names(events)));
        self.commits.push(commit);
        if let Some(new) = &self.new_plan
            && new.digest() == self.state.plan_digest
        {
            self.plan = new.clone();
        }
    }

    /// Submits a command that must be accepted, and settles; ignores its events.
    pub(super) fn and(self, ask: Ask) -> Self {
        let mut story = self;
        let command_id = format!("command-{}", story.state.sequence);
        let events = story
            .decide(&ask, &command_id)
            .unwrap_or_else(|refusal| panic!("{ask:?} was refused: {refusal}"));
        story.apply(&events, &ask, &command_id);
        story.settled()
    }

    /// Records everything that is due.
    pub(super) fn settled(mut self) -> Self {
        let ask = system(SystemCommand::Settle);
        for round in 0..20 {
            let command_id = format!("settle-{}-{round}", self.state.sequence);
            let events = self.decide(&ask, &command_id).unwrap();
            assert_eq!(
                next(&self.state, &self.plan, self.now).settle,
                !events.is_empty(),
                "next says whether there is something to settle"
            );
            if events.is_empty() {
                return self;
            }
            self.apply(&events, &ask, &command_id);
        }
        panic!("settling does not come to rest");
    }

    /// Advances the clock and records everything that became due.
    pub(super) fn after(mut self, span: &str) -> Self {
        let span: Span = span.parse().unwrap();
        self.now = self.now.checked_add(span.to_signed()).unwrap();
        self.settled()
    }

    /// A worker executes the step, which passes.
    pub(super) fn runs(self, step: &str) -> Self {
        self.ends(step, v1::Verdict::Pass)
    }

    /// A worker executes the step, which ends with this verdict and leaves the effect that the plan
    /// says.
    pub(super) fn ends(self, step: &str, verdict: v1::Verdict) -> Self {
        self.measures(step, verdict, &[])
    }

    /// A worker executes the step, which ends with this verdict and these measurements.
    pub(super) fn measures(self, step: &str, verdict: v1::Verdict, values: &[(&str, f64)]) -> Self {
        let attempt = self.state.step(&id(step)).unwrap().attempt + 1;
        let effect =
            verdict == v1::Verdict::Pass && has_effect(self.plan.step(&id(step)).unwrap().1);
        self.and(worker(start(step, attempt)))
            .and(worker(WorkerCommand::FinishStep {
                finished: v1::StepFinished {
                    effect,
                    measurements: values
                        .iter()
                        .map(|(metric, value)| measurement(metric, *value))
                        .collect(),
                    ..result(step, attempt, verdict)
                },
                details: Vec::new(),
            }))
    }

    /// A worker undoes the step.
    pub(super) fn undoes(self, step: &str) -> Self {
        let attempt = self.state.step(&id(step)).unwrap().undo.attempt + 1;
        self.and(worker(start_undo(step, attempt)))
            .and(worker(finish_undo(step, attempt, v1::Verdict::Pass)))
    }

    pub(super) fn when(self, ask: Ask) -> Outcome {
        let command_id = format!("when-{}", self.state.sequence);
        let result = self.decide(&ask, &command_id);
        Outcome {
            story: self,
            ask,
            command_id,
            result,
        }
    }

    pub(super) fn next(&self) -> Next {
        next(&self.state, &self.plan, self.now)
    }

    /// Returns the tasks on the queue: `1.1`, or `undo 1.1`.
    pub(super) fn tasks(&self) -> Vec<String> {
        self.next()
            .tasks
            .iter()
            .map(|task| match task.action {
                TaskAction::Execute => task.step.to_string(),
                TaskAction::Undo => format!("undo {}", task.step),
                TaskAction::VerifyUndo => format!("verify undo {}", task.step),
            })
            .collect()
    }

    pub(super) fn blocked(&self, what: &str) -> Blocked {
        let next = self.next();
        next.blocked
            .iter()
            .find(|blocked| blocked.what.to_string() == what)
            .cloned()
            .unwrap_or_else(|| panic!("{what} is not blocked: {:?}", next.blocked))
    }

    pub(super) fn step(&self, step: &str) -> StepStatus {
        self.state.step(&id(step)).unwrap().status
    }

    pub(super) fn is(&self, status: Status) -> &Self {
        assert_eq!(self.state.status, status);
        self
    }

    /// Returns the events of the last commit.
    pub(super) fn last_events(&self) -> Vec<&'static str> {
        names(&self.commits.last().unwrap().commit.events)
    }

    /// Returns all events, in order.
    pub(super) fn events(&self) -> impl Iterator<Item = &Kind> {
        self.commits
            .iter()
            .flat_map(|stored| &stored.commit.events)
            .filter_map(|event| event.kind.as_ref())
    }

    /// Returns how often an event occurs in the history.
    pub(super) fn count(&self, name: &str) -> usize {
        self.commits
            .iter()
            .flat_map(|stored| names(&stored.commit.events))
            .filter(|found| *found == name)
            .count()
    }

    /// Checks that folding the history gives the state.
    pub(super) fn folds(&self) {
        assert_eq!(fold(&self.commits).unwrap().as_ref(), Some(&self.state));
    }
}

/// The result of a command.
#[derive(Debug)]
pub(super) struct Outcome {
    story: Story,
    ask: Ask,
    command_id: String,
    pub(super) result: Result<Vec<v1::Event>, Refusal>,
}

impl Outcome {
    /// Expects exactly these events, then applies them.
    pub(super) fn then(mut self, expected: &[&str]) -> Story {
        let events = self
            .result
            .unwrap_or_else(|refusal| panic!("refused: {refusal}"));
        assert_eq!(names(&events), expected);
        self.story.apply(&events, &self.ask, &self.command_id);
        self.story.folds();
        self.story
    }

    /// Expects no events.
    pub(super) fn nothing(self) -> Story {
        self.then(&[])
    }

    /// Expects a refusal by this rule whose message contains `says`.
    pub(super) fn refused(self, code: &str, says: &str) -> Story {
        match self.result {
            Ok(events) => panic!("not refused: {:?}", names(&events)),
            Err(refusal) => {
                let text = refusal.to_string();
                assert_eq!(refusal.code(), code, "{text}");
                assert!(text.contains(says), "`{says}` is not in: {text}");
                // Classifying any refusal must not panic.
                let _ = refusal.kind();
            }
        }
        self.story
    }
}

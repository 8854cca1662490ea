//! Refusals of requests; a refused request records nothing.

use jiff::Timestamp;

use super::illegal::IllegalEvent;
use super::remedy::{self, Remedy};
use crate::error_code::Coded;
use crate::ids::{PhaseId, RolloutId};
use crate::suggestion::leading;

/// Classes of refusals, mapped to exit codes and HTTP statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request is invalid in any state.
    Invalid,
    /// The request is valid but not possible in the current state.
    NotNow,
    /// This actor is not allowed to do it.
    NotAllowed,
    /// It names something that does not exist.
    NotFound,
    /// It is based on an outdated state: someone else acted first.
    Stale,
}

/// A refused request, with the rule that refused it.
#[derive(Debug, Clone, PartialEq, thiserror::Error, Coded)]
pub enum Refusal {
    /// The kind of actor does not match the command: a person's command from a process, or vice
    /// versa.
    #[error("RB-ROLLOUT-1: {actor} may not ask for this: {rule}")]
    Actor {
        /// The actor.
        actor: String,
        /// The rule.
        rule: &'static str,
    },
    /// The plan provided is not the plan in force.
    #[error(
        "RB-ROLLOUT-2: the plan provided has digest {given}, the plan in force {in_force}; look at the rollout again and decide on that plan"
    )]
    PlanDigest {
        /// Digest of the plan provided.
        given: String,
        /// Digest of the plan in force.
        in_force: String,
    },
    /// The plan has no such step.
    #[error(
        "RB-ROLLOUT-3: step {step} is not in the plan of this rollout; {}its status lists its steps",
        leading(meant)
    )]
    NoSuchStep {
        /// The rollout.
        rollout: RolloutId,
        /// The requested id.
        step: String,
        /// Which of its steps may be meant, as a question.
        meant: Option<String>,
    },
    /// The plan has no such gate.
    #[error(
        "RB-ROLLOUT-4: phase {gate} of this rollout has no gate; {}gates: {known}",
        leading(meant)
    )]
    NoSuchGate {
        /// The requested id.
        gate: String,
        /// The gates that exist.
        known: String,
        /// Which of them may be meant, as a question.
        meant: Option<String>,
    },
    /// A required text is empty.
    #[error("RB-ROLLOUT-5: {what} needs a {field}; give one, it stays on the record")]
    TextMissing {
        /// The command.
        what: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A text is too long for an event.
    #[error(
        "RB-ROLLOUT-6: the {field} has {bytes} bytes, at most {limit} are kept; shorten it or attach it as evidence"
    )]
    TextTooLong {
        /// The field.
        field: &'static str,
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The rollout's status does not allow the command.
    #[error("RB-ROLLOUT-7: {what} is not possible while the rollout is {status}; {remedy}")]
    Status {
        /// The command.
        what: &'static str,
        /// The rollout's status.
        status: &'static str,
        /// What to do.
        remedy: String,
        /// The commands that would help.
        remedies: Vec<Remedy>,
    },
    /// The step may not start yet.
    #[error("RB-ROLLOUT-8: step {step} may not start: {why}{}", unblock(who, *until))]
    NotReady {
        /// The step.
        step: String,
        /// The reason, with its numbers.
        why: String,
        /// Who can unblock it.
        who: Vec<String>,
        /// The commands that would help.
        remedies: Vec<Remedy>,
        /// When it resolves by itself.
        until: Option<Timestamp>,
    },
    /// The step's status does not allow the command.
    #[error("RB-ROLLOUT-9: {what} step {step} is not possible: it is {status}; {remedy}")]
    StepStatus {
        /// The command.
        what: &'static str,
        /// The step.
        step: String,
        /// Its status.
        status: &'static str,
        /// What to do.
        remedy: String,
        /// The commands that would help.
        remedies: Vec<Remedy>,
    },
    /// The step is already running.
    #[error(
        "RB-ROLLOUT-10: step {step} is already running: attempt {attempt}, started by {by}; wait for its result"
    )]
    AlreadyRunning {
        /// The step.
        step: String,
        /// The running attempt.
        attempt: u32,
        /// Who started it.
        by: String,
    },
    /// The attempt is not the next one.
    #[error(
        "RB-ROLLOUT-11: attempt {given} of step {step} cannot start, {expected} is next; drop the task"
    )]
    WrongAttempt {
        /// The step.
        step: String,
        /// The requested attempt.
        given: u32,
        /// The next attempt.
        expected: u32,
    },
    /// A result for an attempt that is not running.
    #[error(
        "RB-ROLLOUT-12: a result of attempt {attempt} of step {step} comes too late: the step is {status} at attempt {current}; drop it"
    )]
    LateResult {
        /// The step.
        step: String,
        /// The attempt of the result.
        attempt: u32,
        /// The step's status.
        status: &'static str,
        /// The step's last attempt.
        current: u32,
    },
    /// The step is not a manual step.
    #[error(
        "RB-ROLLOUT-13: step {step} is a {kind} step, which a worker carries out; only manual steps are completed by hand"
    )]
    NotManual {
        /// The step.
        step: String,
        /// Its kind.
        kind: String,
    },
    /// The checklist answers are incomplete or wrong.
    #[error(
        "RB-ROLLOUT-14: the checklist of step {step}: {problem}; answer each of its {items} items exactly once"
    )]
    Checklist {
        /// The step.
        step: String,
        /// What is wrong.
        problem: String,
        /// How many items it has.
        items: usize,
    },
    /// Evidence is required and missing.
    #[error(
        "RB-ROLLOUT-15: step {step} requires at least 1 piece of evidence, 0 given; attach one"
    )]
    EvidenceMissing {
        /// The step.
        step: String,
    },
    /// Not a digest in the evidence store.
    #[error(
        "RB-ROLLOUT-16: `{sha256}` is not the digest of evidence; give 64 lower-case hex digits of a stored SHA-256"
    )]
    EvidenceMalformed {
        /// What was given.
        sha256: String,
    },
    /// The person has no role that permits the command.
    #[error("RB-ROLLOUT-17: {person} may not {what}: it takes {roles}")]
    NotInRole {
        /// The person.
        person: String,
        /// The command.
        what: String,
        /// The permitted roles with their members.
        roles: String,
        /// The commands that help if no roles are defined.
        remedies: Vec<Remedy>,
    },
    /// The plan does not accept "not applicable" here.
    #[error(
        "RB-ROLLOUT-18: {what} of step {step} cannot be answered not applicable: its plan does not accept that; do it, or skip the step with a reason"
    )]
    NotApplicableRefused {
        /// The checklist item, or the step.
        what: String,
        /// The step.
        step: String,
    },
    /// The four-eyes principle: the person may not decide on their own work.
    #[error("RB-ROLLOUT-19: {person} {did} and may not {what}; another person must")]
    OwnWork {
        /// The person.
        person: String,
        /// What they did.
        did: String,
        /// What they may not do.
        what: &'static str,
    },
    /// No "not applicable" proposal to review.
    #[error(
        "RB-ROLLOUT-20: nobody has proposed that step {step} is not applicable; propose it first"
    )]
    NoProposal {
        /// The step.
        step: String,
    },
    /// The phase of the gate still has open steps.
    #[error(
        "RB-ROLLOUT-21: gate {gate} cannot be {what} yet: {open}; finish, retry or skip these first"
    )]
    PhaseNotDone {
        /// The gate.
        gate: String,
        /// `signed` or `refused`.
        what: &'static str,
        /// What is still open.
        open: String,
    },
    /// The gate has already passed.
    #[error(
        "RB-ROLLOUT-22: gate {gate} passed at {at}; there is nothing left to sign, roll back if it was wrong"
    )]
    GatePassed {
        /// The gate.
        gate: String,
        /// When it passed.
        at: Timestamp,
    },
    /// The person has several matching roles and must name one.
    #[error("RB-ROLLOUT-23: say in which role {person} decides on gate {gate}: one of {roles}")]
    RoleUnclear {
        /// The person.
        person: String,
        /// The gate.
        gate: String,
        /// The roles to choose from.
        roles: String,
    },
    /// The person has already decided at this gate.
    #[error(
        "RB-ROLLOUT-24: {person} has {did} gate {gate} already, as {role}; another person must decide too"
    )]
    DecidedTwice {
        /// The person.
        person: String,
        /// `signed` or `refused`.
        did: &'static str,
        /// The gate.
        gate: String,
        /// The role they decided in.
        role: String,
    },
    /// A pending revision must be accepted first.
    #[error(
        "RB-ROLLOUT-25: {what} is not possible while revision {revision} of the plan waits; accept it first"
    )]
    RevisionWaits {
        /// The command.
        what: &'static str,
        /// The rollout.
        rollout: RolloutId,
        /// The revision's number.
        revision: u32,
    },
    /// There is nothing to undo at this level.
    #[error("RB-ROLLOUT-26: there is nothing to undo at level {level}: {why}")]
    NothingToUndo {
        /// The level.
        level: &'static str,
        /// The reason.
        why: String,
    },
    /// The named steps do not fit the level.
    #[error("RB-ROLLOUT-27: {problem}")]
    RollbackSteps {
        /// The problem and how to fix it.
        problem: String,
    },
    /// The undo would violate the order of effects.
    #[error("RB-ROLLOUT-28: the undo of step {step} may not start: {why}")]
    UndoOrder {
        /// The step.
        step: String,
        /// The violated rule.
        why: String,
    },
    /// The revision is unusable.
    #[error("RB-ROLLOUT-29: the revision is refused: {problem}")]
    Revision {
        /// The problem and how to fix it.
        problem: String,
    },
    /// The named revision is not the pending one.
    #[error("RB-ROLLOUT-30: revision {given} is not waiting for acceptance; {waits}")]
    RevisionStale {
        /// The named revision.
        given: u32,
        /// The pending one.
        waits: String,
    },
    /// The rollout cannot be opened.
    #[error("RB-ROLLOUT-31: the rollout cannot be opened: {problem}")]
    Open {
        /// The problem and how to fix it.
        problem: String,
    },
    /// A worker's record is unusable.
    #[error("RB-ROLLOUT-32: the record of step {step} is refused: {problem}")]
    Record {
        /// The step.
        step: String,
        /// The problem.
        problem: String,
    },
    /// The plan has no such notice.
    #[error("RB-ROLLOUT-33: notice {notice} is not in the plan of this rollout")]
    NoSuchNotice {
        /// Its id.
        notice: String,
    },
    /// The content of the gate has changed since the person saw it.
    #[error(
        "RB-ROLLOUT-50: gate {gate} is not as it was seen: {seen} was seen, now it is {now}; look at it again and sign what it says then"
    )]
    GateChanged {
        /// The gate.
        gate: PhaseId,
        /// Digest of what the person saw.
        seen: String,
        /// Current digest.
        now: String,
        /// The rollout.
        rollout: RolloutId,
    },
    /// An identical request is already waiting.
    #[error(
        "RB-ROLLOUT-60: request {request} by {by} to {what} is already waiting; another person confirms it"
    )]
    RequestWaits {
        /// The rollout.
        rollout: RolloutId,
        /// The command requested.
        what: String,
        /// The requester.
        by: String,
        /// Its id.
        request: String,
    },
    /// There are already as many as allowed.
    #[error("RB-ROLLOUT-61: {limit} {what} in this rollout already; decide some of them first")]
    TooMany {
        /// The kind of item.
        what: &'static str,
        /// The maximum number.
        limit: usize,
    },
    /// The command takes two persons, and no second person is eligible.
    #[error(
        "RB-ROLLOUT-62: to {what} takes a second person, and there is none: {roles}; revise the plan's roles, or break glass where a rule allows it"
    )]
    NobodyElse {
        /// The command requested.
        what: String,
        /// The roles with their members.
        roles: String,
    },
    /// The request is void, expired or unreadable.
    #[error("RB-ROLLOUT-63: request {request} can no longer be confirmed: {why}; ask again")]
    RequestOver {
        /// The request.
        request: String,
        /// The reason.
        why: String,
    },
    /// No such request is waiting.
    #[error(
        "RB-ROLLOUT-64: request {request} is not waiting in this rollout; its status lists those that are"
    )]
    NoSuchRequest {
        /// The rollout.
        rollout: RolloutId,
        /// Its id.
        request: String,
    },
    /// The command does not need breaking glass.
    #[error("RB-ROLLOUT-65: to {what} takes no second person; do it without breaking glass")]
    NoGlass {
        /// The command.
        what: String,
    },
    /// No rule lets this person break glass.
    #[error(
        "RB-ROLLOUT-66: no rule of the runbook or the environment lets {person} break glass to {what}; ask for a second person"
    )]
    GlassHolds {
        /// The person.
        person: String,
        /// The command.
        what: String,
    },
    /// No such review is open.
    #[error(
        "RB-ROLLOUT-67: review {review} is not open in this rollout; its status lists those that are"
    )]
    NoSuchReview {
        /// The rollout.
        rollout: RolloutId,
        /// Its id.
        review: String,
    },
    /// The difference reviewed is not that of the revision.
    #[error(
        "RB-ROLLOUT-68: the difference looked at has digest {given}, that of revision {revision} has {is}; look at it again in the status of the rollout"
    )]
    OtherDifference {
        /// The rollout.
        rollout: RolloutId,
        /// The revision.
        revision: u32,
        /// Digest of the difference reviewed.
        given: String,
        /// Digest of the revision's difference.
        is: String,
    },
    /// The decided events would be illegal history: a bug in this program.
    #[error("RB-ROLLOUT-34: a rule contradicts itself and nothing was recorded: {0}")]
    Inconsistent(IllegalEvent),
}

fn unblock(who: &[String], until: Option<Timestamp>) -> String {
    let mut text = String::new();
    if !who.is_empty() {
        text.push_str("; who can change that: ");
        text.push_str(&who.join(", "));
    }
    if let Some(until) = until {
        text.push_str(&format!("; by itself at {until}"));
    }
    text
}

impl Refusal {
    /// Returns the commands that help, best first; any one of them is enough.
    pub fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Status { remedies, .. }
            | Self::StepStatus { remedies, .. }
            | Self::NotInRole { remedies, .. }
            | Self::NotReady { remedies, .. } => remedies.clone(),
            Self::NoSuchStep { rollout, .. }
            | Self::NoSuchRequest { rollout, .. }
            | Self::NoSuchReview { rollout, .. }
            | Self::OtherDifference { rollout, .. } => vec![remedy::status(rollout)],
            Self::GateChanged { rollout, gate, .. } => vec![remedy::show_gate(rollout, gate)],
            Self::RequestWaits {
                rollout, request, ..
            } => vec![remedy::confirm(rollout, request)],
            Self::RevisionWaits {
                rollout, revision, ..
            } => vec![remedy::accept_revision(rollout, *revision)],
            Self::Actor { .. }
            | Self::PlanDigest { .. }
            | Self::NoSuchGate { .. }
            | Self::TextMissing { .. }
            | Self::TextTooLong { .. }
            | Self::AlreadyRunning { .. }
            | Self::WrongAttempt { .. }
            | Self::LateResult { .. }
            | Self::NotManual { .. }
            | Self::Checklist { .. }
            | Self::EvidenceMissing { .. }
            | Self::EvidenceMalformed { .. }
            | Self::NotApplicableRefused { .. }
            | Self::OwnWork { .. }
            | Self::NoProposal { .. }
            | Self::PhaseNotDone { .. }
            | Self::GatePassed { .. }
            | Self::RoleUnclear { .. }
            | Self::DecidedTwice { .. }
            | Self::NothingToUndo { .. }
            | Self::RollbackSteps { .. }
            | Self::UndoOrder { .. }
            | Self::Revision { .. }
            | Self::RevisionStale { .. }
            | Self::Open { .. }
            | Self::Record { .. }
            | Self::NoSuchNotice { .. }
            | Self::TooMany { .. }
            | Self::NobodyElse { .. }
            | Self::RequestOver { .. }
            | Self::NoGlass { .. }
            | Self::GlassHolds { .. }
            | Self::Inconsistent(_) => Vec::new(),
        }
    }

    /// Replaces the remedies, for refusals that carry them.
    pub(super) fn by(mut self, helps: Vec<Remedy>) -> Self {
        if let Self::Status { remedies, .. } | Self::StepStatus { remedies, .. } = &mut self {
            *remedies = helps;
        }
        self
    }

    /// Returns the class of this refusal.
    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::Actor { .. }
            | Self::NotInRole { .. }
            | Self::NotApplicableRefused { .. }
            | Self::NobodyElse { .. }
            | Self::GlassHolds { .. }
            | Self::OwnWork { .. } => RefusalKind::NotAllowed,
            Self::PlanDigest { .. }
            | Self::AlreadyRunning { .. }
            | Self::WrongAttempt { .. }
            | Self::LateResult { .. }
            | Self::RequestOver { .. }
            | Self::OtherDifference { .. }
            | Self::RevisionStale { .. }
            | Self::GateChanged { .. } => RefusalKind::Stale,
            Self::NoSuchStep { .. }
            | Self::NoSuchGate { .. }
            | Self::NoSuchRequest { .. }
            | Self::NoSuchReview { .. }
            | Self::NoSuchNotice { .. } => RefusalKind::NotFound,
            Self::TextMissing { .. }
            | Self::TextTooLong { .. }
            | Self::NotManual { .. }
            | Self::NoGlass { .. }
            | Self::Checklist { .. }
            | Self::EvidenceMissing { .. }
            | Self::EvidenceMalformed { .. }
            | Self::RoleUnclear { .. }
            | Self::RollbackSteps { .. }
            | Self::Revision { .. }
            | Self::Open { .. }
            | Self::Record { .. }
            | Self::Inconsistent(_) => RefusalKind::Invalid,
            Self::Status { .. }
            | Self::RequestWaits { .. }
            | Self::TooMany { .. }
            | Self::NotReady { .. }
            | Self::StepStatus { .. }
            | Self::NoProposal { .. }
            | Self::PhaseNotDone { .. }
            | Self::GatePassed { .. }
            | Self::DecidedTwice { .. }
            | Self::RevisionWaits { .. }
            | Self::NothingToUndo { .. }
            | Self::UndoOrder { .. } => RefusalKind::NotNow,
        }
    }
}

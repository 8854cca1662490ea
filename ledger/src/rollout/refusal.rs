//! Why a request is refused. Nothing is recorded then.

use jiff::Timestamp;

use super::illegal::IllegalEvent;
use super::remedy::{self, Remedy};
use crate::ids::{PhaseId, RolloutId};

/// Classes of refusals, for exit codes and HTTP statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request is wrong and stays wrong.
    Invalid,
    /// Right, but the rollout does not stand where it could be done.
    NotNow,
    /// This actor may not.
    NotAllowed,
    /// It names something that does not exist.
    NotFound,
    /// It rests on an older state: someone else was first.
    Stale,
}

/// A named rule that refused a request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// A person's command from a process, or the other way round.
    #[error("RB-ROLLOUT-1: {actor} may not ask for this: {rule}")]
    Actor {
        /// Who asked.
        actor: String,
        /// The rule.
        rule: &'static str,
    },
    /// The plan at hand is not the plan in force.
    #[error(
        "RB-ROLLOUT-2: the plan at hand has digest {given}, the plan in force {in_force}; look at the rollout again and decide on that plan"
    )]
    PlanDigest {
        /// Digest given.
        given: String,
        /// Digest in force.
        in_force: String,
    },
    /// No such step.
    #[error(
        "RB-ROLLOUT-3: step {step} is not in the plan of this rollout; its status lists its steps"
    )]
    NoSuchStep {
        /// Of which rollout.
        rollout: RolloutId,
        /// The id.
        step: String,
    },
    /// No such gate.
    #[error("RB-ROLLOUT-4: phase {gate} of this rollout has no gate; gates: {known}")]
    NoSuchGate {
        /// The id.
        gate: String,
        /// What there is.
        known: String,
    },
    /// A text that must be given is empty.
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
    /// The rollout as a whole does not stand where this can be done.
    #[error("RB-ROLLOUT-7: {what} is not possible while the rollout is {status}; {remedy}")]
    Status {
        /// The command.
        what: &'static str,
        /// Where the rollout stands.
        status: &'static str,
        /// What to do.
        remedy: String,
        /// The commands that do it.
        remedies: Vec<Remedy>,
    },
    /// The step may not start yet.
    #[error("RB-ROLLOUT-8: step {step} may not start: {why}{}", unblock(who, *until))]
    NotReady {
        /// Which.
        step: String,
        /// The rule, with its numbers.
        why: String,
        /// Who can change that.
        who: Vec<String>,
        /// The commands that would.
        remedies: Vec<Remedy>,
        /// When it changes by itself.
        until: Option<Timestamp>,
    },
    /// The step does not stand where this can be done.
    #[error("RB-ROLLOUT-9: {what} step {step} is not possible: it is {status}; {remedy}")]
    StepStatus {
        /// The command.
        what: &'static str,
        /// Which.
        step: String,
        /// Where it stands.
        status: &'static str,
        /// What to do.
        remedy: String,
        /// The commands that do it.
        remedies: Vec<Remedy>,
    },
    /// Someone else started it first.
    #[error(
        "RB-ROLLOUT-10: step {step} runs already: attempt {attempt}, started by {by}; wait for its result"
    )]
    AlreadyRunning {
        /// Which.
        step: String,
        /// Its attempt.
        attempt: u32,
        /// By whom.
        by: String,
    },
    /// Not the attempt that is next.
    #[error(
        "RB-ROLLOUT-11: attempt {given} of step {step} cannot start, {expected} is next; drop the task"
    )]
    WrongAttempt {
        /// Which.
        step: String,
        /// Asked for.
        given: u32,
        /// Next.
        expected: u32,
    },
    /// A result of an attempt that does not run.
    #[error(
        "RB-ROLLOUT-12: a result of attempt {attempt} of step {step} comes too late: the step is {status} at attempt {current}; drop it"
    )]
    LateResult {
        /// Which.
        step: String,
        /// Whose result.
        attempt: u32,
        /// Where the step stands.
        status: &'static str,
        /// Its attempt.
        current: u32,
    },
    /// The step is not done by hand.
    #[error(
        "RB-ROLLOUT-13: step {step} is a {kind} step, which a worker carries out; only manual steps are completed by hand"
    )]
    NotManual {
        /// Which.
        step: String,
        /// Its kind.
        kind: String,
    },
    /// The checklist is not answered as it must be.
    #[error(
        "RB-ROLLOUT-14: the checklist of step {step}: {problem}; answer each of its {items} items exactly once"
    )]
    Checklist {
        /// Which.
        step: String,
        /// What is wrong.
        problem: String,
        /// How many items it has.
        items: usize,
    },
    /// Evidence is required.
    #[error(
        "RB-ROLLOUT-15: step {step} requires at least 1 piece of evidence, 0 given; attach one"
    )]
    EvidenceMissing {
        /// Which.
        step: String,
    },
    /// Not a reference into the evidence store.
    #[error(
        "RB-ROLLOUT-16: `{sha256}` is not the digest of evidence; give 64 lower-case hex digits of a stored SHA-256"
    )]
    EvidenceMalformed {
        /// What was given.
        sha256: String,
    },
    /// Not in a role that may.
    #[error("RB-ROLLOUT-17: {person} may not {what}: it takes {roles}")]
    NotInRole {
        /// Who.
        person: String,
        /// What.
        what: String,
        /// The roles with their members.
        roles: String,
        /// The commands that help where there are no roles.
        remedies: Vec<Remedy>,
    },
    /// The plan does not accept "not applicable" here.
    #[error(
        "RB-ROLLOUT-18: {what} of step {step} cannot be answered not applicable: its plan does not accept that; do it, or skip the step with a reason"
    )]
    NotApplicableRefused {
        /// Item or step.
        what: String,
        /// Which.
        step: String,
    },
    /// Four eyes.
    #[error("RB-ROLLOUT-19: {person} {did} and may not {what}; another person must")]
    OwnWork {
        /// Who.
        person: String,
        /// What they did.
        did: String,
        /// What they may not.
        what: &'static str,
    },
    /// Nothing to review.
    #[error(
        "RB-ROLLOUT-20: nobody has proposed that step {step} is not applicable; propose it first"
    )]
    NoProposal {
        /// Which.
        step: String,
    },
    /// The gate's phase is not done.
    #[error(
        "RB-ROLLOUT-21: gate {gate} cannot be {what} yet: {open}; finish, retry or skip these first"
    )]
    PhaseNotDone {
        /// Which.
        gate: String,
        /// Signed or refused.
        what: &'static str,
        /// What is open.
        open: String,
    },
    /// The gate is open.
    #[error(
        "RB-ROLLOUT-22: gate {gate} passed at {at}; there is nothing left to sign, roll back if it was wrong"
    )]
    GatePassed {
        /// Which.
        gate: String,
        /// When.
        at: Timestamp,
    },
    /// The role must be named.
    #[error("RB-ROLLOUT-23: say in which role {person} decides on gate {gate}: one of {roles}")]
    RoleUnclear {
        /// Who.
        person: String,
        /// Which.
        gate: String,
        /// The choice.
        roles: String,
    },
    /// A person decides once.
    #[error(
        "RB-ROLLOUT-24: {person} has {did} gate {gate} already, as {role}; another person must decide too"
    )]
    DecidedTwice {
        /// Who.
        person: String,
        /// Signed or refused.
        did: &'static str,
        /// Which.
        gate: String,
        /// As what.
        role: String,
    },
    /// A revision must be accepted first.
    #[error(
        "RB-ROLLOUT-25: {what} is not possible while revision {revision} of the plan waits; accept it first"
    )]
    RevisionWaits {
        /// The command.
        what: &'static str,
        /// Of which rollout.
        rollout: RolloutId,
        /// Its number.
        revision: u32,
    },
    /// Nothing at this level.
    #[error("RB-ROLLOUT-26: there is nothing to take back at level {level}: {why}")]
    NothingToUndo {
        /// Which level.
        level: &'static str,
        /// Why.
        why: String,
    },
    /// The list of steps does not fit the level.
    #[error("RB-ROLLOUT-27: {problem}")]
    RollbackSteps {
        /// What is wrong and what to do.
        problem: String,
    },
    /// Undo in order.
    #[error("RB-ROLLOUT-28: the undo of step {step} may not start: {why}")]
    UndoOrder {
        /// Which.
        step: String,
        /// The rule.
        why: String,
    },
    /// The revision cannot be used.
    #[error("RB-ROLLOUT-29: the revision is refused: {problem}")]
    Revision {
        /// What is wrong and what to do.
        problem: String,
    },
    /// Not the revision that waits.
    #[error("RB-ROLLOUT-30: revision {given} does not wait for acceptance; {waits}")]
    RevisionStale {
        /// Asked for.
        given: u32,
        /// What does.
        waits: String,
    },
    /// The rollout cannot be opened like this.
    #[error("RB-ROLLOUT-31: the rollout cannot be opened: {problem}")]
    Open {
        /// What is wrong and what to do.
        problem: String,
    },
    /// A record of a worker that says nothing usable.
    #[error("RB-ROLLOUT-32: the record of step {step} is refused: {problem}")]
    Record {
        /// Which.
        step: String,
        /// What is wrong.
        problem: String,
    },
    /// No such notice.
    #[error("RB-ROLLOUT-33: notice {notice} is not in the plan of this rollout")]
    NoSuchNotice {
        /// Its id.
        notice: String,
    },
    /// What was seen is not what would be signed.
    #[error(
        "RB-ROLLOUT-50: gate {gate} is not as it was seen: {seen} was seen, now it is {now}; look at it again and sign what it says then"
    )]
    GateChanged {
        /// Which.
        gate: PhaseId,
        /// Digest given.
        seen: String,
        /// Digest now.
        now: String,
        /// Of which rollout.
        rollout: RolloutId,
    },
    /// The same is asked for already.
    #[error(
        "RB-ROLLOUT-60: request {request} by {by} to {what} waits already; another person confirms it"
    )]
    RequestWaits {
        /// Of which rollout.
        rollout: RolloutId,
        /// What is asked for.
        what: String,
        /// By whom.
        by: String,
        /// Its id.
        request: String,
    },
    /// Too many at once.
    #[error("RB-ROLLOUT-61: {limit} {what} in this rollout already; settle some of them first")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// It takes two, and there is nobody else.
    #[error(
        "RB-ROLLOUT-62: to {what} takes a second person, and there is none: {roles}; revise the plan's roles, or break glass where a rule allows it"
    )]
    NobodyElse {
        /// What is asked for.
        what: String,
        /// The roles with their members.
        roles: String,
    },
    /// Void, expired or unreadable.
    #[error("RB-ROLLOUT-63: request {request} can no longer be confirmed: {why}; ask again")]
    RequestOver {
        /// Which.
        request: String,
        /// Why.
        why: String,
    },
    /// No such request.
    #[error(
        "RB-ROLLOUT-64: request {request} does not wait in this rollout; its status lists those that do"
    )]
    NoSuchRequest {
        /// Of which rollout.
        rollout: RolloutId,
        /// Its id.
        request: String,
    },
    /// Nothing to break.
    #[error("RB-ROLLOUT-65: to {what} takes no second person; do it without breaking glass")]
    NoGlass {
        /// What is asked for.
        what: String,
    },
    /// No rule lets glass be broken.
    #[error(
        "RB-ROLLOUT-66: no rule of the runbook or the environment lets {person} break glass to {what}; ask for a second person"
    )]
    GlassHolds {
        /// Who.
        person: String,
        /// What is asked for.
        what: String,
    },
    /// No such review.
    #[error(
        "RB-ROLLOUT-67: review {review} is not open in this rollout; its status lists those that are"
    )]
    NoSuchReview {
        /// Of which rollout.
        rollout: RolloutId,
        /// Its id.
        review: String,
    },
    /// Another difference than the one that was looked at.
    #[error(
        "RB-ROLLOUT-68: the difference looked at has digest {given}, that of revision {revision} has {is}; look at it again in the status of the rollout"
    )]
    OtherDifference {
        /// Of which rollout.
        rollout: RolloutId,
        /// The revision.
        revision: u32,
        /// Digest given.
        given: String,
        /// Its digest.
        is: String,
    },
    /// A rule would write illegal history: a fault of this program.
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
    /// The stable code, `RB-ROLLOUT-n`.
    pub fn code(&self) -> String {
        let text = self.to_string();
        text.split(':').next().unwrap_or_default().to_owned()
    }

    /// The commands that help, the best first; any one of them does.
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

    /// The same refusal, with the commands that help.
    pub(super) fn by(mut self, helps: Vec<Remedy>) -> Self {
        if let Self::Status { remedies, .. } | Self::StepStatus { remedies, .. } = &mut self {
            *remedies = helps;
        }
        self
    }

    /// Its class.
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

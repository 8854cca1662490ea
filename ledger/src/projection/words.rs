//! The closed vocabularies of the views; beside them, in `values`, what rows carry as JSON.

use std::fmt;

use jiff::Timestamp;
use rollbook_proto::v1;
use serde::{Deserialize, Serialize};

use crate::rollout::Status;
use crate::runbook::RollbackLevel;

use super::row::{Column, Kind, Value};

mod values;

pub use values::{
    ChecklistItem, DealTypeClasses, DealTypeTotal, Deduction, EffectLeft, EvidenceRef, FlagSetting,
    Measured, PartialEffect,
};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// The word as stored and shown.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The word of a text; `None` when it is not one of ours.
            pub fn of(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Column for $name {
            const KIND: Kind = Kind::Text;
            fn to_value(&self) -> Value {
                Value::Text(self.as_str().to_owned())
            }
            fn from_value(value: Value) -> Result<Self, String> {
                match value {
                    Value::Text(text) => Self::of(&text).ok_or_else(|| format!("the text `{text}`")),
                    other => Err(other.type_name().to_owned()),
                }
            }
        }
    };
}

words!(
    /// The result of a check.
    Verdict {
        /// The rule holds.
        Pass = "pass",
        /// The rule does not hold.
        Fail = "fail",
        /// No data, or not enough.
        Inconclusive = "inconclusive",
        /// The check itself failed.
        Error = "error",
        /// Not run, on purpose, with a reason.
        Skipped = "skipped",
        /// Does not apply here, reviewed.
        NotApplicable = "not_applicable",
        /// Passed, with something worth a look.
        Warning = "warning",
    }
);

words!(
    /// Where a changed plan stands.
    RevisionStatus {
        /// Waits to be accepted.
        Proposed = "proposed",
        /// Accepted: in force until a later one is.
        Accepted = "accepted",
        /// Taken back or refused.
        Withdrawn = "withdrawn",
    }
);

words!(
    /// What another person is asked for.
    RequestKind {
        /// To confirm what takes two persons.
        Confirm = "confirm",
        /// To review what one person did by breaking glass.
        Review = "review",
    }
);

words!(
    /// Where a request or a review stands.
    RequestStatus {
        /// A request waits for a second person.
        Waiting = "waiting",
        /// Done, confirmed by a second person.
        Confirmed = "confirmed",
        /// Taken back or refused.
        Withdrawn = "withdrawn",
        /// Nobody confirmed it in time.
        Expired = "expired",
        /// What it rested on has changed.
        Voided = "voided",
        /// A review is open.
        Open = "open",
        /// A review is open and its deadline has passed.
        Overdue = "overdue",
        /// The reviewer would have agreed.
        Agreed = "agreed",
        /// The reviewer would not have agreed.
        Disagreed = "disagreed",
    }
);

impl RequestStatus {
    /// Somebody has yet to act.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Open | Self::Overdue)
    }
}

words!(
    /// Where a rollout stands.
    RolloutStatus {
        /// Opened, not started.
        Open = "open",
        /// Started; tasks are given out.
        Running = "running",
        /// No new task is given out.
        Paused = "paused",
        /// Undo steps run.
        RollingBack = "rolling_back",
        /// Aborted by a person; not closed yet.
        Aborted = "aborted",
        /// At its end; see the outcome.
        Closed = "closed",
    }
);

words!(
    /// How a rollout ended.
    Outcome {
        /// As planned.
        Succeeded = "succeeded",
        /// Taken back.
        RolledBack = "rolled_back",
        /// Stopped by a person.
        Aborted = "aborted",
        /// Not as planned and not taken back.
        Failed = "failed",
    }
);

words!(
    /// Where a step stands. `finished` says that there is a verdict, not which.
    StepStatus {
        /// Not started, or ready again as the next attempt.
        Pending = "pending",
        /// An intent is recorded, a result is not.
        Running = "running",
        /// Has a verdict.
        Finished = "finished",
        /// An intent without a result: what it did is not known.
        Interrupted = "interrupted",
        /// Skipped with a reason.
        Skipped = "skipped",
        /// Proposed as not applicable; a second person has not answered yet.
        InReview = "in_review",
        /// Reviewed as not applicable.
        NotApplicable = "not_applicable",
        /// Its undo runs.
        Undoing = "undoing",
        /// Its undo passed.
        Undone = "undone",
        /// Its undo did not pass: the effect may still be there.
        UndoFailed = "undo_failed",
    }
);

words!(
    /// Whether something other than the undo itself has looked whether the effect is gone.
    UndoVerification {
        /// It is gone.
        Verified = "verified",
        /// Nothing could tell.
        NotVerified = "not_verified",
        /// It still stands.
        Stands = "stands",
        /// Somebody else has changed it since, and it was left.
        Left = "left",
    }
);

words!(
    /// Where a gate stands.
    GateStatus {
        /// Not decided.
        Waiting = "waiting",
        /// Decided: the next phase may start.
        Passed = "passed",
        /// Decided: shut, with reasons.
        Blocked = "blocked",
    }
);

words!(
    /// Whether a sign-off counts.
    SignOffStatus {
        /// Given and not voided.
        Given = "given",
        /// The person refused.
        Refused = "refused",
        /// Given or refused once; no longer counts, see the cause.
        Voided = "voided",
    }
);

words!(
    /// Whether an alert is open.
    AlertStatus {
        /// Raised.
        Open = "open",
        /// Raised; its watch has ended, so that nothing resolves it by itself.
        Unwatched = "unwatched",
        /// Raised and resolved.
        Resolved = "resolved",
    }
);

words!(
    /// Whether a worker is there, by the record.
    WorkerStatus {
        /// Joined and not left.
        Present = "present",
        /// Told to stop, its work ended.
        Drained = "drained",
        /// Not heard of any more, or replaced by another run under its name.
        Lost = "lost",
    }
);

impl WorkerStatus {
    /// After leaving for a reason of the wire; `None` when it is not one of ours.
    pub fn of_leaving(reason: i32) -> Option<Self> {
        match v1::WorkerLeaveReason::try_from(reason).ok()? {
            v1::WorkerLeaveReason::Unspecified => None,
            v1::WorkerLeaveReason::Drained => Some(Self::Drained),
            v1::WorkerLeaveReason::Lost => Some(Self::Lost),
        }
    }
}

words!(
    /// How bad an alert is.
    Severity {
        /// For the record.
        Info = "info",
        /// To be looked at.
        Warning = "warning",
        /// To be acted upon.
        Error = "error",
        /// To be acted upon now.
        Critical = "critical",
    }
);

words!(
    /// The health of a rollout or of the deals.
    Health {
        /// 90 and above.
        Healthy = "HEALTHY",
        /// 70 to 89.
        NeedsAttention = "NEEDS_ATTENTION",
        /// Below 70.
        Critical = "CRITICAL",
        /// Nothing measured yet.
        NoData = "NO_DATA",
    }
);

words!(
    /// What a flag does.
    FlagMode {
        /// Off for all.
        Off = "off",
        /// On for the named labels.
        Beta = "beta",
        /// Both paths run, the old one answers.
        Parallel = "parallel",
        /// On for a share.
        Percentage = "percentage",
        /// On for all.
        On = "on",
    }
);

words!(
    /// What happened to a flag.
    FlagChangeKind {
        /// Defined.
        Defined = "defined",
        /// Set to another value.
        Changed = "changed",
        /// No longer in use.
        Archived = "archived",
    }
);

impl Verdict {
    /// The verdict of an event's field; `None` for an absent or unknown one.
    pub fn from_wire(number: i32) -> Option<Self> {
        match v1::Verdict::try_from(number).ok()? {
            v1::Verdict::Unspecified => None,
            v1::Verdict::Pass => Some(Self::Pass),
            v1::Verdict::Fail => Some(Self::Fail),
            v1::Verdict::Inconclusive => Some(Self::Inconclusive),
            v1::Verdict::Error => Some(Self::Error),
            v1::Verdict::Skipped => Some(Self::Skipped),
            v1::Verdict::NotApplicable => Some(Self::NotApplicable),
            v1::Verdict::Warning => Some(Self::Warning),
        }
    }
}

impl UndoVerification {
    /// That of an event's field; `None` for an absent or unknown one.
    pub fn from_wire(number: i32) -> Option<Self> {
        match v1::UndoVerification::try_from(number).ok()? {
            v1::UndoVerification::Unspecified => None,
            v1::UndoVerification::Verified => Some(Self::Verified),
            v1::UndoVerification::NotVerified => Some(Self::NotVerified),
            v1::UndoVerification::Stands => Some(Self::Stands),
            v1::UndoVerification::Left => Some(Self::Left),
        }
    }
}

impl RolloutStatus {
    /// The word of a status.
    pub fn from_domain(status: Status) -> Self {
        match status {
            Status::Open => Self::Open,
            Status::Running => Self::Running,
            Status::Paused => Self::Paused,
            Status::RollingBack => Self::RollingBack,
            Status::Aborted => Self::Aborted,
            Status::Closed(_) => Self::Closed,
        }
    }

    /// The status of a word and an outcome.
    pub fn to_domain(self, outcome: Option<Outcome>) -> Status {
        match self {
            Self::Open => Status::Open,
            Self::Running => Status::Running,
            Self::Paused => Status::Paused,
            Self::RollingBack => Status::RollingBack,
            Self::Aborted => Status::Aborted,
            Self::Closed => Status::Closed(match outcome {
                None => v1::RolloutOutcome::Unspecified,
                Some(Outcome::Succeeded) => v1::RolloutOutcome::Succeeded,
                Some(Outcome::RolledBack) => v1::RolloutOutcome::RolledBack,
                Some(Outcome::Aborted) => v1::RolloutOutcome::Aborted,
                Some(Outcome::Failed) => v1::RolloutOutcome::Failed,
            }),
        }
    }
}

impl Outcome {
    /// The outcome of a status; `None`: it is no end.
    pub fn from_domain(status: Status) -> Option<Self> {
        Self::of_proto(status.outcome()?)
    }

    /// The outcome of an event's field; `None` for an absent or unknown one.
    pub fn from_wire(number: i32) -> Option<Self> {
        Self::of_proto(v1::RolloutOutcome::try_from(number).ok()?)
    }

    fn of_proto(outcome: v1::RolloutOutcome) -> Option<Self> {
        match outcome {
            v1::RolloutOutcome::Unspecified => None,
            v1::RolloutOutcome::Succeeded => Some(Self::Succeeded),
            v1::RolloutOutcome::RolledBack => Some(Self::RolledBack),
            v1::RolloutOutcome::Aborted => Some(Self::Aborted),
            v1::RolloutOutcome::Failed => Some(Self::Failed),
        }
    }
}

impl Column for RollbackLevel {
    const KIND: Kind = Kind::Text;
    fn to_value(&self) -> Value {
        Value::Text(self.as_str().to_owned())
    }
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Text(text) => text.parse().map_err(|_| format!("the text `{text}`")),
            other => Err(other.type_name().to_owned()),
        }
    }
}

impl FlagMode {
    /// The mode of an event's field; `None` for an absent or unknown one.
    pub fn from_wire(number: i32) -> Option<Self> {
        match v1::FlagMode::try_from(number).ok()? {
            v1::FlagMode::Unspecified => None,
            v1::FlagMode::Off => Some(Self::Off),
            v1::FlagMode::Beta => Some(Self::Beta),
            v1::FlagMode::Parallel => Some(Self::Parallel),
            v1::FlagMode::Percentage => Some(Self::Percentage),
            v1::FlagMode::On => Some(Self::On),
        }
    }
}

/// A time in the resolution of the views, microseconds.
pub(super) fn time(time: Option<&rollbook_proto::Timestamp>) -> Option<Timestamp> {
    let time = crate::clock::from_proto(time)?;
    Timestamp::from_microsecond(time.as_microsecond()).ok()
}

//! The closed vocabularies of the views; `values` holds the JSON values of rows.

use std::fmt;

use jiff::Timestamp;
use rollbook_proto::v1;
use serde::{Deserialize, Serialize};

use crate::rollout::Status;
use crate::runbook::RollbackLevel;

use super::row::{Column, ColumnValue, Kind};

mod values;

pub use values::{
    ChecklistItem, DealTypeClasses, DealTypeTotal, Deduction, EffectLeft, EvidenceRef, FlagSetting,
    MeasuredValue, PartialEffect,
};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Returns the word as stored and shown.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Parses a word; `None` if it is unknown.
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
            fn to_value(&self) -> ColumnValue {
                ColumnValue::Text(self.as_str().to_owned())
            }
            fn from_value(value: ColumnValue) -> Result<Self, String> {
                match value {
                    ColumnValue::Text(text) => Self::of(&text).ok_or_else(|| format!("the text `{text}`")),
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
        /// The check itself could not be carried out.
        Error = "error",
        /// Deliberately not run, with a reason.
        Skipped = "skipped",
        /// Not applicable, as reviewed.
        NotApplicable = "not_applicable",
        /// Passed with a warning.
        Warning = "warning",
    }
);

words!(
    /// The status of a plan revision.
    RevisionStatus {
        /// Waiting for acceptance.
        Proposed = "proposed",
        /// Accepted; in force until a later one is accepted.
        Accepted = "accepted",
        /// Withdrawn or refused.
        Withdrawn = "withdrawn",
    }
);

words!(
    /// What another person is asked to do.
    RequestKind {
        /// Confirm a command that takes two persons.
        Confirm = "confirm",
        /// Review a command that one person executed by breaking glass.
        Review = "review",
    }
);

words!(
    /// The status of a request or a review.
    RequestStatus {
        /// A request waits for a second person.
        Waiting = "waiting",
        /// Confirmed by a second person and executed.
        Confirmed = "confirmed",
        /// Withdrawn or refused.
        Withdrawn = "withdrawn",
        /// Nobody confirmed it in time.
        Expired = "expired",
        /// Void, because what it depends on has changed.
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
    /// True if it waits for someone to act.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Open | Self::Overdue)
    }
}

words!(
    /// The status of a rollout.
    RolloutStatus {
        /// Opened but not started.
        Open = "open",
        /// Started; tasks are handed out.
        Running = "running",
        /// No new task is handed out.
        Paused = "paused",
        /// Undos are running.
        RollingBack = "rolling_back",
        /// Aborted by a person; not yet closed.
        Aborted = "aborted",
        /// Closed; see the outcome.
        Closed = "closed",
    }
);

words!(
    /// How a rollout ended.
    RolloutEnding {
        /// As planned.
        Succeeded = "succeeded",
        /// Rolled back.
        RolledBack = "rolled_back",
        /// Aborted by a person.
        Aborted = "aborted",
        /// Failed and not rolled back.
        Failed = "failed",
    }
);

words!(
    /// The status of a step. `finished` says that there is a verdict, not which one.
    StepRowStatus {
        /// Not started, or ready for the next attempt.
        Pending = "pending",
        /// An intent is recorded, but no result.
        Running = "running",
        /// Has a verdict.
        Finished = "finished",
        /// An intent without a result: the effect is unknown.
        Interrupted = "interrupted",
        /// Skipped with a reason.
        Skipped = "skipped",
        /// Proposed as not applicable and waiting for a second person.
        InReview = "in_review",
        /// Reviewed as not applicable.
        NotApplicable = "not_applicable",
        /// Its undo is running.
        Undoing = "undoing",
        /// Its undo passed.
        Undone = "undone",
        /// Its undo did not pass: the effect may still be in place.
        UndoFailed = "undo_failed",
    }
);

words!(
    /// Whether something other than the undo itself confirmed that the effect is gone.
    UndoVerification {
        /// The effect is gone.
        Verified = "verified",
        /// Nothing could verify it.
        NotVerified = "not_verified",
        /// The effect is still in place.
        Stands = "stands",
        /// Left in place, because someone else has changed it since.
        Left = "left",
    }
);

words!(
    /// The status of a gate.
    GateStatus {
        /// Not decided yet.
        Waiting = "waiting",
        /// Passed: the next phase may start.
        Passed = "passed",
        /// Blocked, with reasons.
        Blocked = "blocked",
    }
);

words!(
    /// The status of a sign-off.
    SignOffStatus {
        /// Given and not voided.
        Given = "given",
        /// A rejection.
        Refused = "refused",
        /// Given or rejected earlier, no longer valid; see the cause.
        Voided = "voided",
    }
);

words!(
    /// The status of an alert.
    AlertStatus {
        /// Raised.
        Open = "open",
        /// Raised; its watch has ended, so nothing resolves it automatically.
        Unwatched = "unwatched",
        /// Raised and resolved.
        Resolved = "resolved",
    }
);

words!(
    /// The recorded status of a worker.
    WorkerStatus {
        /// Joined and has not left.
        Present = "present",
        /// Was told to stop, and its work ended.
        Drained = "drained",
        /// Presumed lost, or replaced by another session under its name.
        Lost = "lost",
    }
);

impl WorkerStatus {
    /// Returns the status after leaving for a reason of the wire format; `None` if it is unknown.
    pub fn of_leaving(reason: i32) -> Option<Self> {
        match v1::WorkerLeaveReason::try_from(reason).ok()? {
            v1::WorkerLeaveReason::Unspecified => None,
            v1::WorkerLeaveReason::Drained => Some(Self::Drained),
            v1::WorkerLeaveReason::Lost => Some(Self::Lost),
        }
    }
}

words!(
    /// The severity of an alert.
    AlertSeverity {
        /// For information.
        Info = "info",
        /// Worth a look.
        Warning = "warning",
        /// Needs action.
        Error = "error",
        /// Needs immediate action.
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
        /// No data yet.
        NoData = "NO_DATA",
    }
);

words!(
    /// The mode of a flag.
    FlagMode {
        /// Off for everyone.
        Off = "off",
        /// On for the named labels.
        Beta = "beta",
        /// Both paths run, and the old one's answer is used.
        Parallel = "parallel",
        /// On for a percentage.
        Percentage = "percentage",
        /// On for everyone.
        On = "on",
    }
);

words!(
    /// The kind of a flag change.
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
    /// Converts an event's field; `None` if it is absent or unknown.
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
    /// Converts an event's field; `None` if it is absent or unknown.
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
    /// Converts from the domain's status.
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

    /// Converts to the domain's status, given the outcome.
    pub fn to_domain(self, outcome: Option<RolloutEnding>) -> Status {
        match self {
            Self::Open => Status::Open,
            Self::Running => Status::Running,
            Self::Paused => Status::Paused,
            Self::RollingBack => Status::RollingBack,
            Self::Aborted => Status::Aborted,
            Self::Closed => Status::Closed(match outcome {
                None => v1::RolloutOutcome::Unspecified,
                Some(RolloutEnding::Succeeded) => v1::RolloutOutcome::Succeeded,
                Some(RolloutEnding::RolledBack) => v1::RolloutOutcome::RolledBack,
                Some(RolloutEnding::Aborted) => v1::RolloutOutcome::Aborted,
                Some(RolloutEnding::Failed) => v1::RolloutOutcome::Failed,
            }),
        }
    }
}

impl RolloutEnding {
    /// Returns the outcome of a status; `None` if the status is not an end.
    pub fn from_domain(status: Status) -> Option<Self> {
        Self::of_proto(status.outcome()?)
    }

    /// Converts an event's field; `None` if it is absent or unknown.
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
    fn to_value(&self) -> ColumnValue {
        ColumnValue::Text(self.as_str().to_owned())
    }
    fn from_value(value: ColumnValue) -> Result<Self, String> {
        match value {
            ColumnValue::Text(text) => text.parse().map_err(|_| format!("the text `{text}`")),
            other => Err(other.type_name().to_owned()),
        }
    }
}

impl FlagMode {
    /// Converts an event's field; `None` if it is absent or unknown.
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

/// Converts a time to the views' resolution, microseconds.
pub(super) fn time(time: Option<&rollbook_proto::Timestamp>) -> Option<Timestamp> {
    let time = crate::clock::from_proto(time)?;
    Timestamp::from_microsecond(time.as_microsecond()).ok()
}

//! How events change the status of a rollout: one function, used by both the fold and the
//! projection, so that views, reports and exit codes agree.

use rollbook_proto::v1::{RolloutOutcome, event::Kind};

use super::state::Status;

impl Status {
    /// Returns the status after an event; events of steps, gates and the like leave it unchanged.
    ///
    /// # Errors
    /// The reason why the event is illegal in this status.
    pub fn after(self, kind: &Kind) -> Result<Self, String> {
        let (may, after) = match kind {
            Kind::RolloutStarted(_) => (self == Self::Open, Self::Running),
            Kind::RolloutPaused(_) => (self == Self::Running, Self::Paused),
            Kind::RolloutResumed(_) => (self == Self::Paused, Self::Running),
            // An abort during a rollback stops the rollback where it is.
            Kind::RolloutAborted(_) => (
                matches!(
                    self,
                    Self::Open | Self::Running | Self::Paused | Self::RollingBack
                ),
                Self::Aborted,
            ),
            Kind::RolloutClosed(closed) => (
                matches!(self, Self::Running | Self::Paused | Self::Aborted),
                Self::Closed(
                    RolloutOutcome::try_from(closed.outcome).unwrap_or(RolloutOutcome::Unspecified),
                ),
            ),
            // A new rollback replaces the one in progress.
            Kind::RollbackStarted(_) => (self != Self::Open, Self::RollingBack),
            // A rollback below `full` leaves the rollout paused; one that ends the rollout is
            // followed by its close in the same commit.
            Kind::RollbackFinished(_) => (self == Self::RollingBack, Self::Paused),
            _ => (true, self),
        };
        if may {
            Ok(after)
        } else {
            Err(format!("the rollout is {}", self.as_str()))
        }
    }

    /// Returns the outcome of a closed rollout; `None` if it has not closed, or a rollback after
    /// the close is in progress.
    pub fn outcome(self) -> Option<RolloutOutcome> {
        match self {
            Self::Closed(outcome) => Some(outcome),
            _ => None,
        }
    }
}

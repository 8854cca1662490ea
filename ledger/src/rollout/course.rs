//! Where a rollout as a whole stands: one function from the events of its course to its status.
//! The fold uses it, and the projection, so that views, reports and exit codes say the same.

use rollbook_proto::v1::{RolloutOutcome, event::Kind};

use super::state::Status;

impl Status {
    /// The status after an event; events of steps, gates and the like change none.
    ///
    /// # Errors
    /// Why the event cannot follow on this status.
    pub fn after(self, kind: &Kind) -> Result<Self, String> {
        let (may, after) = match kind {
            Kind::RolloutStarted(_) => (self == Self::Open, Self::Running),
            Kind::RolloutPaused(_) => (self == Self::Running, Self::Paused),
            Kind::RolloutResumed(_) => (self == Self::Paused, Self::Running),
            // An abort during a rollback ends the rollback where it stands.
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
            // One under way is replaced.
            Kind::RollbackStarted(_) => (self != Self::Open, Self::RollingBack),
            // It goes on when resumed; where the rollback ends it, it closes in the same commit.
            Kind::RollbackFinished(_) => (self == Self::RollingBack, Self::Paused),
            _ => (true, self),
        };
        if may {
            Ok(after)
        } else {
            Err(format!("the rollout is {}", self.as_str()))
        }
    }

    /// How it ended; `None`: it has not, or an end it had is being taken back.
    pub fn outcome(self) -> Option<RolloutOutcome> {
        match self {
            Self::Closed(outcome) => Some(outcome),
            _ => None,
        }
    }
}

//! Notices on the work queue: each is there once, goes to one server, and comes again when that
//! server dies before it has recorded what became of it.

use std::sync::Arc;
use std::time::Duration;

use rollbook_ledger::ids::{LedgerId, RolloutId, subject_token};
use serde::{Deserialize, Serialize};

use super::jetstream::{JetStreamQueue, Taken};
use super::queue::{Published, QueueError};

/// The token of notices where a task has its label. No label's own token begins with `=`, which is
/// followed by hex digits there.
const TOKEN: &str = "=notices";

/// A notice that is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueuedNotice {
    /// Of which rollout.
    pub rollout: RolloutId,
    /// Its id in the plan.
    pub notice: String,
}

impl QueuedNotice {
    /// What receivers know it by: the same however often it is sent.
    pub fn id(&self) -> String {
        format!("{}/notice/{}", self.rollout, self.notice)
    }

    /// `work.<ledger>.=notices.<rollout>.<notice>`.
    fn subject(&self, ledger: &LedgerId) -> String {
        format!(
            "work.{ledger}.{TOKEN}.{}.{}",
            subject_token(self.rollout.as_str()),
            subject_token(&self.notice)
        )
    }
}

/// Notices on the work queue of a ledger.
#[derive(Debug, Clone)]
pub struct NoticeLane {
    queue: Arc<JetStreamQueue>,
}

/// A notice in a server's hands. Dropped unsettled it is delivered again.
#[derive(Debug)]
pub struct NoticeDelivery {
    taken: Taken,
    /// Which one.
    pub notice: QueuedNotice,
}

impl NoticeLane {
    /// The lane beside a queue.
    pub fn new(queue: Arc<JetStreamQueue>) -> Self {
        Self { queue }
    }

    /// Puts a notice on the queue, unless the queue holds it. Durable on return.
    pub async fn publish(&self, notice: &QueuedNotice) -> Result<Published, QueueError> {
        let body = serde_json::to_vec(notice).map_err(super::jetstream::unavailable)?;
        let subject = notice.subject(self.queue.ledger());
        self.queue.put_once(subject, body).await
    }

    /// The next notice; waits at most `wait` for one.
    pub async fn pull(&self, wait: Duration) -> Result<Option<NoticeDelivery>, QueueError> {
        while let Some(message) = self.queue.next(&[TOKEN.to_owned()], wait).await? {
            if let Some((taken, notice)) = Taken::read(message).await? {
                return Ok(Some(NoticeDelivery { taken, notice }));
            }
        }
        Ok(None)
    }
}

impl NoticeDelivery {
    /// Says that it is still being sent.
    pub async fn progress(&self) -> Result<(), QueueError> {
        self.taken.progress().await
    }

    /// Done with: the queue forgets it.
    pub async fn done(&self) -> Result<(), QueueError> {
        self.taken.done().await
    }

    /// To be delivered again, not before `delay` has passed.
    pub async fn again(&self, delay: Duration) -> Result<(), QueueError> {
        self.taken.again(delay).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn notices_have_subjects_apart_from_steps() {
        let notice = QueuedNotice {
            rollout: "r-1".parse().unwrap(),
            notice: "go live".to_owned(),
        };
        assert_eq!(
            notice.subject(&"main".parse().unwrap()),
            "work.main.=notices.r-1.go=20live"
        );
        assert_eq!(notice.id(), "r-1/notice/go live");
    }
}

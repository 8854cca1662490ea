//! Notices on the work queue. Each is on the queue once, is delivered to one server, and is
//! redelivered if that server dies before it has recorded the result.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rollbook_ledger::ids::{LedgerId, RolloutId, subject_token};
use serde::{Deserialize, Serialize};

use super::jetstream::{JetStreamQueue, ReceivedMessage};
use super::queue::{Published, QueueError};

/// The token of notices in place of a task's label. A label's own token contains `=` only before
/// hex digits, so it never equals this one.
const TOKEN: &str = "=notices";

/// A notice that is due to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueuedNotice {
    /// The rollout.
    pub rollout: RolloutId,
    /// Its id in the plan.
    pub notice: String,
}

impl QueuedNotice {
    /// The id by which receivers recognise it: the same for every sending.
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

/// The notices on a ledger's work queue.
#[derive(Debug, Clone)]
pub struct NoticeQueue {
    queue: Arc<JetStreamQueue>,
}

/// A notice delivered to a server. If dropped unacknowledged, it is redelivered.
#[derive(Debug)]
pub struct NoticeDelivery {
    taken: ReceivedMessage,
    /// The notice.
    pub notice: QueuedNotice,
}

/// Where due notices are put.
#[async_trait]
pub trait NoticeSink: Send + Sync + std::fmt::Debug {
    /// Puts a notice on the queue unless it is there already. Durable on return.
    async fn publish(&self, notice: &QueuedNotice) -> Result<Published, QueueError>;
}

#[async_trait]
impl NoticeSink for NoticeQueue {
    async fn publish(&self, notice: &QueuedNotice) -> Result<Published, QueueError> {
        let body = serde_json::to_vec(notice).map_err(super::jetstream::unavailable)?;
        let subject = notice.subject(self.queue.ledger());
        self.queue.put_once(subject, body).await
    }
}

impl NoticeQueue {
    /// Makes the notices of a queue.
    pub fn new(queue: Arc<JetStreamQueue>) -> Self {
        Self { queue }
    }

    /// The next notice; waits up to `wait` for one.
    pub async fn pull(&self, wait: Duration) -> Result<Option<NoticeDelivery>, QueueError> {
        while let Some(message) = self.queue.next(&[TOKEN.to_owned()], wait).await? {
            if let Some((taken, notice)) = ReceivedMessage::read(message).await? {
                return Ok(Some(NoticeDelivery { taken, notice }));
            }
        }
        Ok(None)
    }
}

impl NoticeDelivery {
    /// Tells the queue that it is still being sent.
    pub async fn progress(&self) -> Result<(), QueueError> {
        self.taken.progress().await
    }

    /// Acknowledges it: the queue deletes it.
    pub async fn done(&self) -> Result<(), QueueError> {
        self.taken.done().await
    }

    /// Has it redelivered after at least `delay`.
    pub async fn redeliver(&self, delay: Duration) -> Result<(), QueueError> {
        self.taken.redeliver(delay).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn notices_have_their_own_subjects() {
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

//! Sends due notices, independently of the orchestrator: a channel that does not answer delays
//! nothing else.
//!
//! The queue gives each notice to one server, which sends it first and then records it. If a server
//! dies in between, another sends it again under the same id.

use std::sync::Arc;
use std::time::Duration;

use rollbook_ledger::handler::{Caller, Handler, HandlerError};
use rollbook_ledger::rollout::{self, Request, SystemCommand};
use rollbook_proto::v1;
use rollbook_workers::executor::{self, Message, RetryPolicy, SecretResolver};
use rollbook_workers::fleet::{NoticeDelivery, NoticeQueue, QueuedNotice};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The most notices sent concurrently.
const AT_A_TIME: usize = 16;
/// A pull waits at most this long.
const PULL_WAIT: Duration = Duration::from_secs(5);
/// Delay after a failure of queue or ledger.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Interval of progress acknowledgements to the queue; well below its `ack_wait`.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Time limit for all tries of one notice; one that takes longer counts as not sent.
const SENT_WITHIN: Duration = Duration::from_secs(90);
/// How often recording the outcome is tried before the notice is delivered again.
const RECORD_TRIES: u32 = 5;

/// The sender of one server. Any number may run.
#[derive(Debug, Clone)]
pub struct Notices {
    /// Records the outcomes.
    pub handler: Handler,
    /// The queue of notices.
    pub queue: NoticeQueue,
    /// Resolves webhook URLs.
    pub secrets: Arc<dyn SecretResolver>,
    /// Posts them.
    pub http: reqwest::Client,
}

impl Notices {
    /// Sends until `shutdown`; a notice being sent then goes to another server, or to the next
    /// start.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.send_always() => {}
        }
    }

    async fn send_always(&self) {
        let places = Arc::new(Semaphore::new(AT_A_TIME));
        let sending = TaskTracker::new();
        let stop = CancellationToken::new();
        let _stop = stop.clone().drop_guard();
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match self.queue.pull(PULL_WAIT).await {
                Ok(None) => {}
                Ok(Some(delivery)) => {
                    let (notices, stop) = (self.clone(), stop.clone());
                    sending.spawn(async move {
                        tokio::select! {
                            () = stop.cancelled() => {}
                            () = notices.carry_out(&delivery) => {}
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "no notice could be pulled");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    async fn carry_out(&self, delivery: &NoticeDelivery) {
        let notice = &delivery.notice;
        let sent = async {
            tokio::select! {
                sent = self.send(notice) => sent,
                () = keep_alive(delivery) => Ok(()),
            }
        };
        let acknowledged = match sent.await {
            Ok(()) => delivery.done().await,
            Err(error) => {
                tracing::warn!(notice = notice.id(), %error, "a notice was not sent; trying again");
                delivery.redeliver(RETRY_AFTER).await
            }
        };
        if let Err(error) = acknowledged {
            // It is delivered again, and then found on the record.
            tracing::debug!(notice = notice.id(), %error, "a notice was not acknowledged");
        }
    }

    /// Sends a notice that is still due, and records the outcome.
    async fn send(&self, queued: &QueuedNotice) -> Result<(), HandlerError> {
        let loaded = self.handler.rollout(&queued.rollout).await?;
        let now = self.handler.now();
        let due = rollout::due_notices(&loaded.state, &loaded.plan, now);
        let runbook = loaded.plan.runbook();
        let planned = runbook
            .notices
            .iter()
            .find(|planned| planned.id == queued.notice);
        let is_due = due.iter().any(|due| due.notice == queued.notice);
        let Some(planned) = planned.filter(|_| is_due) else {
            // Already recorded, or the rollout has changed course.
            return Ok(());
        };
        let id = queued.id();
        let message = Message::new(
            &id,
            &planned.subject,
            &planned.body,
            queued.rollout.as_str(),
            loaded.state.environment.as_str(),
            self.handler.now(),
        );
        let sent = executor::send(
            &self.http,
            &*self.secrets,
            runbook,
            &planned.channel,
            &message,
            RetryPolicy::Notice,
        );
        let (verdict, text) = match tokio::time::timeout(SENT_WITHIN, sent).await {
            Ok(Ok(taken)) => (v1::Verdict::Pass, taken),
            Ok(Err(error)) => (v1::Verdict::Error, error.to_string()),
            Err(_) => (
                v1::Verdict::Error,
                format!("not sent within {} s", SENT_WITHIN.as_secs()),
            ),
        };
        let sent = v1::NoticeSent {
            notice_id: planned.id.clone(),
            channel: planned.channel.clone(),
            verdict: verdict.into(),
            message: text,
        };
        self.record(queued, sent).await
    }

    /// Retried while the ledger is unavailable: a notice that is not on the record is sent again.
    async fn record(
        &self,
        queued: &QueuedNotice,
        sent: v1::NoticeSent,
    ) -> Result<(), HandlerError> {
        let record = Request::System(SystemCommand::RecordNotice { sent });
        let caller = Caller::process("orchestrator", v1::ActorKind::Orchestrator);
        let mut tries = 1;
        loop {
            match self
                .handler
                .request(&queued.rollout, &record, &caller)
                .await
            {
                Err(HandlerError::Journal(error))
                    if error.is_retryable() && tries < RECORD_TRIES =>
                {
                    tries += 1;
                    tokio::time::sleep(RETRY_AFTER).await;
                }
                Err(HandlerError::Refused(refusal)) => {
                    tracing::info!(notice = queued.id(), %refusal, "not recorded");
                    return Ok(());
                }
                recorded => return recorded.map(|_| ()),
            }
        }
    }
}

/// Keeps telling the queue that a notice is being sent.
async fn keep_alive(delivery: &NoticeDelivery) {
    loop {
        tokio::time::sleep(PROGRESS_EVERY).await;
        if let Err(error) = delivery.progress().await {
            tracing::debug!(%error, "heartbeat not sent");
        }
    }
}

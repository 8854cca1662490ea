//! Polls a consumer once for the next message, always within a bounded time.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Batch;
use async_nats::jetstream::{AckKind, Message};
use futures::StreamExt;

use super::jetstream::{answered, unavailable};
use super::queue::QueueError;

/// The time limit of a poll. It is answered at once or not at all: a request written to a lost
/// connection is never answered.
const POLL_WITHIN: Duration = Duration::from_secs(3);

/// How long to wait for a message that arrives after its poll, in order to hand it back.
const LATE_WITHIN: Duration = Duration::from_secs(30);

/// The next message of a consumer, without waiting for one.
pub(super) async fn poll(consumer: &PullConsumer) -> Result<Option<Message>, QueueError> {
    let asked = answered(consumer.fetch().max_messages(1).messages()).await?;
    let mut asked = Asked(Some(asked));
    let Some(batch) = &mut asked.0 else {
        return Ok(None);
    };
    let Ok(answer) = tokio::time::timeout(POLL_WITHIN, batch.next()).await else {
        return Err(unavailable(format!(
            "a pull request was not answered within {} s",
            POLL_WITHIN.as_secs()
        )));
    };
    asked.0 = None;
    answer
        .transpose()
        .map_err(|error| unavailable(error.to_string()))
}

/// A poll in progress. One that is dropped may still deliver a task, which nobody would do until
/// the queue redelivers it, so a late answer is handed back at once.
struct Asked(Option<Batch>);

impl Drop for Asked {
    fn drop(&mut self) {
        let (Some(mut batch), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        runtime.spawn(async move {
            if let Ok(Some(Ok(late))) = tokio::time::timeout(LATE_WITHIN, batch.next()).await
                && let Err(error) = answered(late.ack_with(AckKind::Nak(None))).await
            {
                tracing::debug!(%error, "a late task was not returned to the queue");
            }
        });
    }
}

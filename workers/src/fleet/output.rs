//! Publishes live output of running steps on core NATS; for display, not recorded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::Client;
use rollbook_ledger::ids::{LedgerId, RolloutId, StepId, subject_token};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::executor::{OutputLine, OutputSink};

/// Maximum number of lines waiting to be sent; beyond it the oldest are dropped.
const MAX_WAITING: usize = 10_000;

/// The subject of a step's output: `output.<ledger>.<rollout>.<step>`, with one JSON [`OutputLine`]
/// per message.
pub(super) fn output_subject(ledger: &LedgerId, rollout: &RolloutId, step: &StepId) -> String {
    format!(
        "output.{ledger}.{}.{}",
        subject_token(rollout.as_str()),
        subject_token(step.as_str())
    )
}

/// Publishes lines from its own task, so that a step never waits for a reader.
#[derive(Debug, Clone)]
pub struct NatsOutput {
    waiting: Arc<Waiting>,
    _sender: Arc<AbortOnDropHandle<()>>,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Mutex<VecDeque<OutputLine>>,
    more: Notify,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, VecDeque<OutputLine>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: OutputLine) {
        let mut lines = self.lock();
        if lines.len() >= MAX_WAITING {
            lines.pop_front();
        }
        lines.push_back(line);
        drop(lines);
        self.more.notify_one();
    }

    fn pop(&self) -> Option<OutputLine> {
        self.lock().pop_front()
    }
}

impl NatsOutput {
    /// Starts publishing for a ledger. Must be called inside a tokio runtime.
    pub fn start(client: Client, ledger: LedgerId) -> Self {
        let waiting = Arc::new(Waiting::default());
        let source = Arc::clone(&waiting);
        let sender = tokio::spawn(async move {
            loop {
                let Some(line) = source.pop() else {
                    source.more.notified().await;
                    continue;
                };
                let subject = output_subject(&ledger, &line.rollout, &line.step);
                let Ok(body) = serde_json::to_vec(&line) else {
                    continue;
                };
                if let Err(error) = client.publish(subject, body.into()).await {
                    tracing::debug!(%error, "a line of live output was not published");
                }
            }
        });
        Self {
            waiting,
            _sender: Arc::new(AbortOnDropHandle::new(sender)),
        }
    }
}

impl OutputSink for NatsOutput {
    fn line(&self, line: OutputLine) {
        self.waiting.push(line);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn the_oldest_lines_are_dropped_first() {
        let waiting = Waiting::default();
        for number in 0..=MAX_WAITING {
            waiting.push(OutputLine {
                rollout: "r".parse().unwrap(),
                step: "1.1".parse().unwrap(),
                attempt: 1,
                stream: "stdout".to_owned(),
                text: number.to_string(),
                at: Timestamp::UNIX_EPOCH,
            });
        }
        assert_eq!(waiting.lock().len(), MAX_WAITING);
        assert_eq!(waiting.pop().map(|line| line.text), Some("1".to_owned()));
    }
}

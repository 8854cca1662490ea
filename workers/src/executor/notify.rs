//! The `notify` step and the sending of notices, to a webhook or a file.

use std::time::Duration;

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use jiff::Timestamp;
use reqwest::Client;
use rollbook_ledger::runbook::Runbook;
use rollbook_ledger::runbook::kind::Notify;
use rollbook_ledger::runbook::model::Channel;
use rollbook_proto::v1::Verdict;
use serde::Serialize;
use tokio::io::AsyncWriteExt;

use super::context::StepContext;
use super::error::ExecutorError;
use super::http;
use super::kind::Executor;
use super::outcome::Outcome;
use super::redact::Redactor;
use super::secret::{SecretResolver, redactor_for};

/// Maximum number of tries of a webhook for a step.
const ATTEMPTS: usize = 4;

/// The wait before the second try; doubled before each further try.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The longest wait between two tries of a notice.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// The total of all waits between tries of a notice.
const NOTICE_WAITS: Duration = Duration::from_secs(75);

/// The time limit of one try.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);

/// What is posted to a webhook, or appended to a file as one line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message<'a> {
    /// The same for every sending of the message, so that a receiver can recognise a repetition.
    pub id: &'a str,
    /// Subject and body in one text, as most chat systems expect it.
    pub text: String,
    /// The subject line.
    pub subject: &'a str,
    /// The body.
    pub body: &'a str,
    /// The rollout.
    pub rollout: &'a str,
    /// The environment.
    pub environment: &'a str,
    /// When the message was written.
    pub at: Timestamp,
}

impl<'a> Message<'a> {
    /// Makes a message about a rollout.
    pub fn new(
        id: &'a str,
        subject: &'a str,
        body: &'a str,
        rollout: &'a str,
        environment: &'a str,
        at: Timestamp,
    ) -> Self {
        Self {
            id,
            text: format!("{subject}\n\n{body}"),
            subject,
            body,
            rollout,
            environment,
            at,
        }
    }
}

/// How long to retry a webhook that does not accept a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryPolicy {
    /// Four tries: somebody is waiting for the step and can run it again.
    Step,
    /// More than a minute, enough for a receiver to restart: nobody repeats a notice.
    Notice,
}

impl RetryPolicy {
    fn waits(self) -> ExponentialBuilder {
        let waits = ExponentialBuilder::default()
            .with_min_delay(FIRST_WAIT)
            .with_jitter();
        match self {
            Self::Step => waits.with_max_times(ATTEMPTS - 1),
            Self::Notice => waits
                .with_max_delay(LONGEST_WAIT)
                .with_total_delay(Some(NOTICE_WAITS))
                .without_max_times(),
        }
    }
}

/// Sends a message to a channel of the plan. `Ok` says what accepted it, redacted.
///
/// A webhook is retried with growing waits on connection errors, 429 and 5xx. A receiver may
/// therefore see a message twice, with the same id in the body and in the header `Idempotency-Key`.
/// A file is appended to and synced.
pub async fn send(
    client: &Client,
    secrets: &dyn SecretResolver,
    plan: &Runbook,
    channel: &str,
    message: &Message<'_>,
    patience: RetryPolicy,
) -> Result<String, ExecutorError> {
    let redactor = redactor_for(plan, secrets)?;
    let target = plan
        .channels
        .get(channel)
        .ok_or_else(|| ExecutorError::Plan {
            reason: format!("channel `{channel}` is not declared; add it to `channels`"),
        })?;
    let failed = |reason: String| ExecutorError::Channel {
        channel: channel.to_owned(),
        reason: redactor.text(&reason),
    };
    match target {
        Channel::Webhook(reference) => {
            let url = secrets.resolve(reference)?;
            let status = post(client, &url, message, patience, &redactor)
                .await
                .map_err(failed)?;
            Ok(format!("webhook of `{channel}` answered {status}"))
        }
        Channel::File(path) => {
            append(path, message).await.map_err(failed)?;
            Ok(format!("appended to {path}"))
        }
    }
}

/// Encodes an id for a header: non-ASCII characters and `%` are percent-encoded, so that different
/// ids stay different.
fn header_text(id: &str) -> String {
    let mut text = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii() && !byte.is_ascii_control() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// One failed try.
struct TryError {
    reason: String,
    again: bool,
}

async fn post(
    client: &Client,
    url: &str,
    message: &Message<'_>,
    patience: RetryPolicy,
    redactor: &Redactor,
) -> Result<u16, String> {
    let once = || async {
        let sent = client
            .post(url)
            .timeout(TRY_TIMEOUT)
            .header("Idempotency-Key", header_text(message.id))
            .json(message)
            .send()
            .await;
        let response = sent.map_err(|error| TryError {
            reason: http::describe(&error),
            again: !error.is_builder(),
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(status.as_u16());
        }
        Err(TryError {
            reason: format!("it answered {status}"),
            again: status.is_server_error() || status.as_u16() == 429,
        })
    };
    once.retry(patience.waits())
        .when(|error: &TryError| error.again)
        .notify(|error: &TryError, wait: Duration| {
            tracing::info!(
                reason = %redactor.text(&error.reason),
                wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "webhook tried again"
            );
        })
        .await
        .map_err(|error| error.reason)
}

async fn append(path: &str, message: &Message<'_>) -> Result<(), String> {
    let mut line = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    line.push(b'\n');
    let write = async {
        let mut file = tokio::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .await?;
        file.write_all(&line).await?;
        file.flush().await?;
        file.sync_data().await
    };
    write.await.map_err(|error| format!("{path}: {error}"))
}

#[async_trait]
impl Executor for Notify {
    fn intent(&self, _: &StepContext) -> String {
        format!("send `{}` to channel {}", self.subject, self.channel)
    }

    /// Sends the step's message. `pass` means that the channel accepted it.
    async fn execute(&self, context: &StepContext, _: Duration) -> Result<Outcome, ExecutorError> {
        let subject = context.redactor.text(&self.subject);
        let body = context.redactor.text(&self.body);
        let id = format!(
            "{}/step/{}/{}",
            context.rollout, context.step, context.attempt
        );
        let message = Message::new(
            &id,
            &subject,
            &body,
            context.rollout.as_str(),
            context.environment.as_str(),
            context.tools.clock.now(),
        );
        let taken = send(
            &context.tools.http,
            context.tools.secrets.as_ref(),
            context.plan.runbook(),
            &self.channel,
            &message,
            RetryPolicy::Step,
        )
        .await?;
        Ok(Outcome::new(
            Verdict::Pass,
            "the channel takes the message",
            taken,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_any_script_stay_different_in_a_header() {
        assert_eq!(header_text("r/notice/n-1"), "r/notice/n-1");
        assert_eq!(header_text("r/notice/ä"), "r/notice/%C3%A4");
        assert_ne!(header_text("日"), header_text("本"));
        assert_ne!(header_text("%C3%A4"), header_text("ä"));
        assert_eq!(header_text("a\nb"), "a%0Ab");
    }
}

//! The value of `DEAL_TYPE_AWARENESS`, asked from the flag server over OFREP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// The flag that this service obeys.
pub(crate) const FLAG_KEY: &str = "DEAL_TYPE_AWARENESS";

/// The value when nothing is known: the old behaviour.
const SAFE_VALUE: bool = false;

/// Longest wait for one answer of the flag server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the flag comes from and how long an old answer counts.
pub(crate) struct Settings {
    /// Base URL of the OFREP server; none means the safe value, always.
    pub(crate) base_url: Option<String>,
    /// Environment in the evaluation context.
    pub(crate) environment: String,
    /// Pause between two questions.
    pub(crate) poll_interval: Duration,
    /// How long the last answer outlives an unreachable server.
    pub(crate) keep_last_known: Duration,
}

/// Where the present value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// The server's latest answer.
    Server,
    /// The server did not answer the latest question; an earlier answer still counts.
    LastKnown,
    /// No answer counts: the safe value.
    SafeDefault,
}

/// The present value and why.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Flag {
    /// The flag's key.
    pub(crate) key: &'static str,
    /// What requests are answered by.
    pub(crate) value: bool,
    /// Where the value comes from.
    pub(crate) source: Source,
    /// Why the latest question was not answered, if it was not.
    pub(crate) error: Option<String>,
}

impl Flag {
    fn unknown(error: &str) -> Self {
        Flag {
            key: FLAG_KEY,
            value: SAFE_VALUE,
            source: Source::SafeDefault,
            error: Some(error.to_owned()),
        }
    }
}

/// Decides the present value from the last answer (with its age) and the latest outcome.
fn settle(last: Option<(bool, Duration)>, outcome: Result<bool, String>, keep: Duration) -> Flag {
    match (outcome, last) {
        (Ok(value), _) => Flag {
            key: FLAG_KEY,
            value,
            source: Source::Server,
            error: None,
        },
        (Err(error), Some((value, age))) if age <= keep => Flag {
            key: FLAG_KEY,
            value,
            source: Source::LastKnown,
            error: Some(error),
        },
        (Err(error), _) => Flag::unknown(&error),
    }
}

/// Starts following the flag until `stop` is cancelled. The first question is answered, or has
/// failed, when this returns, so the first request is not served by a guess.
pub(crate) async fn follow(
    settings: Settings,
    stop: CancellationToken,
) -> Result<watch::Receiver<Arc<Flag>>, Error> {
    let Some(base) = settings.base_url.clone() else {
        let (sender, receiver) = watch::channel(Arc::new(Flag::unknown(
            "no flag server is configured (--flags)",
        )));
        // The receiver keeps the last value after its sender is gone.
        drop(sender);
        return Ok(receiver);
    };
    let client = reqwest::Client::builder()
        .timeout(ANSWER_TIMEOUT)
        .build()
        .map_err(|error| Error::Start(format!("HTTP client: {error}")))?;
    let url = format!(
        "{}/ofrep/v1/evaluate/flags/{FLAG_KEY}",
        base.trim_end_matches('/')
    );
    let mut last: Option<(bool, Instant)> = None;
    let mut ask = async move || {
        let outcome = evaluate(&client, &url, &settings.environment).await;
        if let Ok(value) = outcome {
            last = Some((value, Instant::now()));
        }
        Arc::new(settle(
            last.map(|(value, at)| (value, at.elapsed())),
            outcome,
            settings.keep_last_known,
        ))
    };
    let (sender, receiver) = watch::channel(ask().await);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(settings.poll_interval) => {}
            }
            let flag = ask().await;
            let before = sender.borrow().clone();
            if before.value != flag.value || before.source != flag.source {
                println!("flag {FLAG_KEY}: {} ({:?})", flag.value, flag.source);
            }
            sender.send_replace(flag);
        }
    });
    Ok(receiver)
}

/// One OFREP evaluation. An unknown flag is an error here: it must not read as "off by decision".
async fn evaluate(client: &reqwest::Client, url: &str, environment: &str) -> Result<bool, String> {
    let context = serde_json::json!({ "context": { "targetingKey": "cost-service", "environment": environment } });
    // `without_url` keeps a URL with credentials out of /health.
    let answer = client
        .post(url)
        .json(&context)
        .send()
        .await
        .map_err(|error| error.without_url().to_string())?;
    let status = answer.status();
    let body: serde_json::Value = answer
        .json()
        .await
        .map_err(|error| format!("HTTP {status}: {}", error.without_url()))?;
    if !status.is_success() {
        let code = body
            .get("errorCode")
            .and_then(|code| code.as_str())
            .unwrap_or("no errorCode");
        return Err(format!("HTTP {status}: {code}"));
    }
    body.get("value")
        .and_then(serde_json::Value::as_bool)
        .ok_or_else(|| "the answer has no boolean value".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Duration = Duration::from_secs(30);

    #[test]
    fn the_answer_of_the_flag_server_counts_at_once() {
        let flag = settle(Some((false, Duration::ZERO)), Ok(true), KEEP);
        assert_eq!(
            (flag.value, flag.source, flag.error),
            (true, Source::Server, None)
        );
    }

    #[test]
    fn an_unreachable_server_leaves_the_last_value_for_a_while() {
        let young = settle(Some((true, KEEP)), Err("refused".into()), KEEP);
        assert_eq!((young.value, young.source), (true, Source::LastKnown));
        let old = settle(
            Some((true, KEEP + Duration::from_millis(1))),
            Err("refused".into()),
            KEEP,
        );
        assert_eq!((old.value, old.source), (false, Source::SafeDefault));
        assert_eq!(old.error.as_deref(), Some("refused"));
    }

    #[test]
    fn nothing_known_is_the_safe_value() {
        let flag = settle(None, Err("refused".into()), KEEP);
        assert_eq!((flag.value, flag.source), (false, Source::SafeDefault));
    }
}

//! The `http` step, and the one HTTP client of a worker.

use std::sync::Once;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use reqwest::{Client, Method, Response};
use rollbook_ledger::cause::innermost;
use rollbook_ledger::decimal::Decimal;
use rollbook_ledger::runbook::kind::Http;
use rollbook_ledger::runbook::recorded;
use rollbook_ledger::trace::{self, TRACEPARENT};
use rollbook_proto::v1::Verdict;
use tracing::Span;
use url::Url;

use super::context::StepContext;
use super::error::ExecutorError;
use super::json::{self, Found, NotJson};
use super::kind::Executor;
use super::outcome::Outcome;
use super::secret::resolve_source;

/// The longest response, in bytes. A longer one is an error, because a measured value might be cut
/// off.
pub const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// The longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How many characters of an unexpected response go into the message.
const MESSAGE_CHARS: usize = 300;

/// Makes the HTTP client, and installs the process's TLS provider (ring) unless there is one.
///
/// It does not follow redirects: a credential in a header or path would go where the plan did not
/// say.
pub fn client() -> Result<Client, ExecutorError> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // An error means that another part of the process installed one first, which is fine.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
    });
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("rollbook/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| ExecutorError::Plan {
            reason: format!("no HTTP client: {error}"),
        })
}

/// A response that was read completely.
#[derive(Debug)]
pub struct HttpAnswer {
    /// Status code.
    pub status: u16,
    /// The body as received.
    pub body: Vec<u8>,
    /// Its `Content-Type`, without parameters.
    pub media_type: String,
}

/// Requests a path below a source's URL. A response with any status is `Ok`; no response, or a body
/// over [`MAX_BODY_BYTES`], is an error.
pub async fn request(
    context: &StepContext,
    source: &str,
    path: &str,
    method: &str,
    body: Option<&serde_json::Value>,
) -> Result<HttpAnswer, ExecutorError> {
    let resolved = resolve_source(
        context.plan.runbook(),
        source,
        context.environment.as_str(),
        context.tools.secrets.as_ref(),
    )?;
    let failed = |reason: String| ExecutorError::Http {
        source_name: source.to_owned(),
        reason: context.redactor.text(&reason),
    };
    let url = join(&resolved.url, path).map_err(failed)?;
    let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).map_err(|_| {
        ExecutorError::Plan {
            reason: format!("`{method}` is not an HTTP method"),
        }
    })?;
    let changes = !method.is_safe();
    let mut request = context.tools.http.request(method, url);
    if let Some(body) = body {
        request = request.json(body);
    }
    let traceparent = trace::context_of(&Span::current(), "");
    if !traceparent.is_empty() {
        request = request.header(TRACEPARENT, traceparent);
    }
    if changes {
        context.effect.raise();
    }
    let response = request.send().await.map_err(|error| {
        if error.is_connect() {
            // Nothing was sent.
            context.effect.lower();
        }
        failed(describe(&error))
    })?;
    read(response).await.map_err(failed)
}

async fn read(response: Response) -> Result<HttpAnswer, String> {
    let status = response.status().as_u16();
    let media_type = response
        .headers()
        .get(reqwest::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or("application/octet-stream")
        .trim()
        .to_owned();
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| describe(&error))?;
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(format!(
                "its answer is longer than {MAX_BODY_BYTES} bytes; ask for less"
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(HttpAnswer {
        status,
        body,
        media_type,
    })
}

/// The error with its cause, but without the URL, which may contain a credential.
pub fn describe(error: &reqwest::Error) -> String {
    let what = if error.is_connect() {
        "cannot connect"
    } else if error.is_timeout() {
        return "no answer in time".to_owned();
    } else {
        "the request failed"
    };
    match std::error::Error::source(error) {
        Some(cause) => format!("{what}: {}", innermost(cause)),
        None => what.to_owned(),
    }
}

/// Appends a path (and query) to the base URL, regardless of where the slashes stand.
fn join(base: &str, path: &str) -> Result<Url, String> {
    let mut url = Url::parse(base).map_err(|error| format!("its URL is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "its URL has scheme `{}`, must be http or https",
            url.scheme()
        ));
    }
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    let joined = format!(
        "{}/{}",
        url.path().trim_end_matches('/'),
        path.trim_start_matches('/')
    );
    url.set_path(&joined);
    if let Some(query) = query {
        let joined = match url.query() {
            Some(base) if !base.is_empty() => format!("{base}&{query}"),
            _ => query.to_owned(),
        };
        url.set_query(Some(&joined));
    }
    Ok(url)
}

#[async_trait]
impl Executor for Http {
    fn intent(&self, _: &StepContext) -> String {
        format!(
            "{} {} of source {}",
            self.method.to_ascii_uppercase(),
            self.path,
            self.source
        )
    }

    /// Sends the request. `pass` means the expected status, and a value at every measured pointer.
    async fn execute(&self, context: &StepContext, _: Duration) -> Result<Outcome, ExecutorError> {
        let answer = request(
            context,
            &self.source,
            &self.path,
            &self.method,
            self.body.as_ref(),
        )
        .await?;
        let (rule, ok) = match self.status {
            Some(expected) => (format!("status {expected}"), answer.status == expected),
            None => (
                "status 200 to 299".to_owned(),
                (200..300).contains(&answer.status),
            ),
        };
        let clean = context.redactor.bytes(&answer.body);
        let mut outcome = if ok {
            Outcome::new(Verdict::Pass, rule, format!("status {}", answer.status))
        } else {
            let start: String = String::from_utf8_lossy(&clean)
                .chars()
                .take(MESSAGE_CHARS)
                .collect();
            Outcome::new(
                Verdict::Fail,
                rule,
                format!("status {}: {}", answer.status, start.trim()),
            )
        };
        outcome.measurements.push(context.number(
            recorded::HTTP_STATUS,
            Decimal::from(u32::from(answer.status)),
            "",
        ));
        let mut is_json = true;
        for (name, pointer) in &self.measure {
            let found = json::at(&answer.body, pointer);
            is_json = found.is_ok();
            outcome.measurements.push(match found {
                Ok(Some(value)) => json_measurement(context, name, &value),
                Ok(None) | Err(NotJson) => context.no_data(name),
            });
        }
        if !is_json && outcome.verdict == Verdict::Pass {
            outcome.verdict = Verdict::Inconclusive;
            outcome.message = format!("{}, but the answer is not JSON", outcome.message);
        }
        outcome.evidence.extend(
            context
                .keep(clean, &answer.media_type, "response", false)
                .await?,
        );
        Ok(outcome)
    }
}

/// Makes a measurement from a JSON value: a number, `true` as 1 and `false` as 0, or a text; `null`
/// is no data.
pub fn json_measurement(
    context: &StepContext,
    name: &str,
    value: &Found,
) -> rollbook_proto::v1::Measurement {
    match value {
        Found::Null => context.no_data(name),
        Found::Bool(yes) => context.number(name, Decimal::from(i32::from(*yes)), ""),
        Found::Text(text) | Found::Number(text) | Found::Nested(text) => {
            context.text_or_number(name, text)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_path_goes_below_the_base() {
        for (base, path, expected) in [
            ("http://h:1", "health", "http://h:1/health"),
            ("http://h:1/", "/health", "http://h:1/health"),
            ("http://h:1/api/", "/v1?x=1", "http://h:1/api/v1?x=1"),
            ("http://h:1/api?k=v", "v1?x=1", "http://h:1/api/v1?k=v&x=1"),
        ] {
            assert_eq!(join(base, path).unwrap().as_str(), expected);
        }
        assert!(join("file:///etc", "passwd").is_err());
        assert!(join("not a url", "x").is_err());
    }
}

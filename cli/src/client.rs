//! The client of the server's HTTP API.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use rollbook_ledger::cause::innermost;
use rollbook_ledger::error_code::ErrorCode;
use rollbook_ledger::redacted;
use rollbook_ledger::trace::{self, TRACEPARENT};
use rollbook_server::api::{COMMAND_HEADER, ErrorBody, MAX_COMMAND_ID_BYTES, is_command_id};
use rollbook_server::auth::ACTOR_HEADER;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Span;

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::{print, telemetry};

/// Time limit for one response.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often a command is sent if the connection fails; its command id makes repetition safe.
const TRIES: u32 = 3;
/// A command is not repeated after this long: a server without quorum takes some ten seconds to say
/// so, and has retried by itself.
const SENT_AGAIN_WITHIN: Duration = Duration::from_secs(3);

/// Characters escaped in a header, besides non-ASCII ones.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// The code of a server that does not answer.
pub(crate) const NO_SERVER: ErrorCode = ErrorCode::new("RB-CLI-5");

/// The code of answers that another version of the server gave.
pub(crate) const NOT_UNDERSTOOD: ErrorCode = ErrorCode::new("RB-CLI-7");

/// A connection to one server, for one command line.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    /// Id of the command, the same in all tries.
    command_id: String,
    /// Words to add to the command line to send the same command again.
    words: Vec<String>,
}

/// Why a request has no usable response.
struct Unanswered {
    failure: Failure,
    /// The request may have been carried out nevertheless.
    unknown: bool,
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        unanswered.failure
    }
}

impl Client {
    /// A client for the configured server; sends nothing yet. `command_id`: the id of a command
    /// that is being repeated.
    pub(crate) fn new(config: &Config, command_id: Option<&str>) -> Result<Self, Failure> {
        let command_id = match command_id {
            None => uuid::Uuid::now_v7().to_string(),
            Some(given) if is_command_id(&second(given)) => given.to_owned(),
            Some(_) => {
                return Err(Failure::own(
                    Exit::Usage,
                    "RB-CLI-80",
                    format!(
                        "--command-id takes 1 to {} visible ASCII characters; give the id that was printed, or leave it out",
                        MAX_COMMAND_ID_BYTES - second("").len()
                    ),
                ));
            }
        };
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .no_proxy()
            .build()
            .map_err(|error| {
                Failure::own(
                    Exit::Unavailable,
                    "RB-CLI-4",
                    format!("no HTTP client: {error}"),
                )
            })?;
        Ok(Self {
            http,
            base: config.server(),
            command_id,
            words: Vec::new(),
        })
    }

    /// The same client; repeating its command takes these words too.
    #[must_use]
    pub(crate) fn with_words(&self, words: &[&str]) -> Self {
        Self {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            ..self.clone()
        }
    }

    /// The command line as typed, plus further words; an option among them replaces a typed one.
    pub(crate) fn typed_with(&self, words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        quoted(typed(std::env::args_os(), &words))
    }

    /// The server's URL.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// GET, parsed as JSON.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, Failure> {
        let request = self
            .request(Method::GET, path)
            .query(query)
            .timeout(TIMEOUT);
        let response = self.send(request).await?;
        self.json(response).await
    }

    /// GET, as bytes. Only for what the server bounds.
    pub(crate) async fn bytes(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<bytes::Bytes, Failure> {
        let request = self
            .request(Method::GET, path)
            .query(query)
            .timeout(TIMEOUT);
        let response = self.send(request).await?;
        let bytes = response.bytes().await;
        bytes.map_err(|error| self.unreadable(&error).failure)
    }

    /// GET, as a stream of bytes.
    pub(crate) async fn stream(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Response, Failure> {
        let request = self.request(Method::GET, path).query(query);
        Ok(self.send(request).await?)
    }

    /// POST a command as a person. If there is no response, it is sent again, identical to the byte
    /// and under the same command id, so that it is applied once.
    pub(crate) async fn command<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        actor: &str,
        body: &B,
    ) -> Result<T, Failure> {
        self.command_under(&self.command_id, path, actor, body)
            .await
    }

    /// The second command of one command line, under an id of its own.
    pub(crate) async fn second_command<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        actor: &str,
        body: &B,
    ) -> Result<T, Failure> {
        self.command_under(&second(&self.command_id), path, actor, body)
            .await
    }

    async fn command_under<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        id: &str,
        path: &str,
        actor: &str,
        body: &B,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(print::unprintable)?;
        let (mut tried, mut unknown, began) = (0, false, Instant::now());
        loop {
            tried += 1;
            let request = self
                .request(Method::POST, path)
                .header(ACTOR_HEADER, header_text(actor))
                .header(COMMAND_HEADER, id)
                .header(CONTENT_TYPE, "application/json")
                .timeout(TIMEOUT)
                .body(body.clone());
            let unanswered = match self.send(request).await {
                Ok(response) => match response.json().await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => self.unreadable(&error),
                },
                Err(unanswered) => unanswered,
            };
            unknown |= unanswered.unknown;
            let unavailable = unanswered.failure.exit == Exit::Unavailable;
            if unavailable && tried < TRIES && began.elapsed() < SENT_AGAIN_WITHIN {
                tokio::time::sleep(Duration::from_millis(200 * u64::from(tried))).await;
            } else if unknown && unavailable {
                return Err(self.maybe_recorded(&unanswered.failure));
            } else {
                return Err(unanswered.failure);
            }
        }
    }

    /// It is unknown whether the command was recorded; repeating it under its id applies it once.
    fn maybe_recorded(&self, failure: &Failure) -> Failure {
        let mut words = typed(std::env::args_os(), &self.words);
        words.extend(["--command-id".to_owned(), self.command_id.clone()]);
        let typed = quoted(words);
        Failure::own(
            Exit::Unavailable,
            "RB-CLI-81",
            format!(
                "unknown: the command may or may not be recorded ({}); its id is {}: repeat it under this id, and it is done once:\n  {typed}",
                failure.message, self.command_id
            ),
        )
    }

    /// Stores bytes as evidence.
    pub(crate) async fn put_evidence(
        &self,
        actor: &str,
        name: &str,
        bytes: Vec<u8>,
    ) -> Result<rollbook_proto::v1::Evidence, Failure> {
        let request = self
            .request(Method::POST, "/v1/evidence")
            .query(&[("name", name)])
            .header(ACTOR_HEADER, header_text(actor))
            .timeout(TIMEOUT)
            .body(bytes);
        let response = self.send(request).await?;
        self.json(response).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match trace::context_of(&Span::current(), &telemetry::inherited()) {
            none if none.is_empty() => request,
            context => request.header(TRACEPARENT, context),
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Unanswered> {
        let response = request.send().await.map_err(|error| {
            if error.is_builder() {
                return Unanswered {
                    failure: Failure::own(Exit::Usage, "RB-CLI-16", format!(
                        "`{}` is not the address of a server; write http://HOST:PORT",
                        redacted::url(&self.base)
                    )),
                    unknown: false,
                };
            }
            Unanswered {
                // Without a connection nothing was sent.
                unknown: !error.is_connect(),
                failure: Failure::own(Exit::Unavailable, "RB-CLI-5", format!(
                    "no server answers at {}: {}; start one with `rollbook up`, or name it with --server",
                    redacted::url(&self.base),
                    innermost(&error.without_url())
                )),
            }
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.failure(response).await)
    }

    async fn failure(&self, response: Response) -> Unanswered {
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        if let Ok(body) = serde_json::from_str::<ErrorBody>(&text) {
            return Unanswered {
                failure: Failure::whole(Exit::from(body.class), body.code, body.message)
                    .by(body.remedies),
                unknown: body.unknown,
            };
        }
        let exit = if status.is_server_error() || status == StatusCode::NOT_FOUND {
            Exit::Unavailable
        } else {
            Exit::Usage
        };
        let text: String = text.chars().take(300).collect();
        Unanswered {
            failure: Failure::own(
                exit,
                "RB-CLI-6",
                format!("{} answered {status}: {text}", redacted::url(&self.base)),
            ),
            // A proxy may have given up waiting.
            unknown: status.is_server_error(),
        }
    }

    async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T, Failure> {
        response
            .json()
            .await
            .map_err(|error| self.unreadable(&error).failure)
    }

    /// A response that was interrupted, or is from another version.
    fn unreadable(&self, error: &reqwest::Error) -> Unanswered {
        Unanswered {
            failure: Failure::own(
                Exit::Unavailable,
                "RB-CLI-7",
                format!(
                    "{} answered something this version does not understand: {error}",
                    redacted::url(&self.base),
                ),
            ),
            unknown: true,
        }
    }
}

/// The id of the second command of one command line.
fn second(command_id: &str) -> String {
    format!("{command_id}-2")
}

/// A text encoded for a header.
fn header_text(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// The typed words, without the command id and the options that `words` replaces.
fn typed(typed: impl IntoIterator<Item = OsString>, words: &[String]) -> Vec<String> {
    let given = |word: &str| word == "--command-id" || words.iter().any(|other| other == word);
    let mut again = vec!["rollbook".to_owned()];
    let mut typed = typed.into_iter().skip(1);
    while let Some(word) = typed.next() {
        let word = word.to_string_lossy().into_owned();
        let option = word.split('=').next().unwrap_or_default();
        if !option.starts_with("--") || !given(option) {
            again.push(word);
        } else if option == word {
            typed.next();
        }
    }
    again.extend(words.iter().cloned());
    again
}

/// Words quoted for a shell.
fn quoted(words: impl IntoIterator<Item = String>) -> String {
    let words: Vec<String> = words.into_iter().collect();
    // Only a NUL cannot be quoted, and no argument contains one.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_repeated_as_typed_with_its_command_id() {
        for line in [
            vec!["/usr/bin/rollbook", "approve", "it's 1", "--as", "b"],
            vec![
                "rollbook",
                "--command-id",
                "old",
                "approve",
                "it's 1",
                "--as",
                "b",
            ],
            vec![
                "rollbook",
                "approve",
                "--command-id=old",
                "it's 1",
                "--as",
                "b",
                "--seen=a",
            ],
            vec!["rollbook", "approve", "it's 1", "--seen", "a", "--as", "b"],
        ] {
            let words = ["--seen".to_owned(), "d".to_owned()];
            let again = quoted(typed(line.into_iter().map(OsString::from), &words));
            let words: Vec<String> = shlex::split(&again).unwrap_or_default();
            assert_eq!(
                words,
                ["rollbook", "approve", "it's 1", "--as", "b", "--seen", "d"]
            );
        }
    }

    #[test]
    fn a_name_is_sent_in_ascii() {
        assert_eq!(header_text("amélie 100%"), "am%C3%A9lie 100%25");
        assert_eq!(header_text("O'Neil"), "O'Neil");
    }
}

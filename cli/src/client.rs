//! Talks to the server's HTTP API.

use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use rollbook_server::api::{ACTOR_HEADER, COMMAND_HEADER, ErrorBody};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::{Config, redact_url};
use crate::exit::{Exit, Failure};

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often a command is sent when the connection fails; its command id makes that safe.
const TRIES: u32 = 3;
/// A command is not sent again after this long: a server that has no quorum takes some ten seconds to
/// say so, and has tried by itself.
const SENT_AGAIN_WITHIN: Duration = Duration::from_secs(3);

/// A connection to one server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    /// A client for the configured server; nothing is sent yet.
    pub(crate) fn new(config: &Config) -> Result<Self, Failure> {
        Self::at(&config.server())
    }

    /// A client for a server at a URL.
    pub(crate) fn at(base: &str) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .no_proxy()
            .build()
            .map_err(|error| Failure::unavailable(format!("RB-CLI-4: no HTTP client: {error}")))?;
        Ok(Self {
            http,
            base: base.to_owned(),
        })
    }

    /// The server's URL.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// GET, as JSON.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, Failure> {
        let request = self
            .request(Method::GET, path)
            .query(query)
            .timeout(TIMEOUT);
        self.json(self.send(request).await?).await
    }

    /// GET, as a stream of bytes.
    pub(crate) async fn stream(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Response, Failure> {
        self.send(self.request(Method::GET, path).query(query))
            .await
    }

    /// POST a command as a person. Sent again, with the same command id, when the connection
    /// breaks: it is applied once.
    pub(crate) async fn command<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        actor: &str,
        body: &B,
    ) -> Result<T, Failure> {
        let command_id = uuid::Uuid::now_v7().to_string();
        let (mut tried, began) = (0, Instant::now());
        loop {
            tried += 1;
            let request = self
                .request(Method::POST, path)
                .header(ACTOR_HEADER, actor)
                .header(COMMAND_HEADER, &command_id)
                .timeout(TIMEOUT)
                .json(body);
            match self.send(request).await {
                Ok(response) => return self.json(response).await,
                Err(failure)
                    if failure.exit == Exit::Unavailable
                        && tried < TRIES
                        && began.elapsed() < SENT_AGAIN_WITHIN =>
                {
                    tokio::time::sleep(Duration::from_millis(200 * u64::from(tried))).await;
                }
                Err(failure) => return Err(failure),
            }
        }
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
            .header(ACTOR_HEADER, actor)
            .timeout(TIMEOUT)
            .body(bytes);
        self.json(self.send(request).await?).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| {
            if error.is_builder() {
                return Failure::usage(format!(
                    "RB-CLI-16: `{}` is no address of a server; write http://HOST:PORT",
                    redact_url(&self.base)
                ));
            }
            Failure::unavailable(format!(
                "RB-CLI-5: no server answers at {}: {}; start one with `rollbook up`, or name it with --server",
                redact_url(&self.base),
                error.without_url()
            ))
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.failure(response).await)
    }

    async fn failure(&self, response: Response) -> Failure {
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        match serde_json::from_str::<ErrorBody>(&text) {
            Ok(body) => Failure::new(Exit::from(body.class), body.message),
            Err(_) => {
                let exit = if status.is_server_error() || status == StatusCode::NOT_FOUND {
                    Exit::Unavailable
                } else {
                    Exit::Usage
                };
                let text: String = text.chars().take(300).collect();
                Failure::new(
                    exit,
                    format!(
                        "RB-CLI-6: {} answered {status}: {text}",
                        redact_url(&self.base)
                    ),
                )
            }
        }
    }

    async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T, Failure> {
        response.json().await.map_err(|error| {
            Failure::unavailable(format!(
                "RB-CLI-7: {} answered something this version does not understand: {}",
                redact_url(&self.base),
                error.without_url()
            ))
        })
    }
}

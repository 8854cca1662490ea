//! The caller, the command id and the body: what identifies a command.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use rollbook_ledger::handler::Caller;
use rollbook_ledger::trace::{TRACEPARENT, is_traceparent};
use rollbook_proto::v1;
use serde::de::DeserializeOwned;

use super::{Api, ApiError};
use crate::auth::{AuthError, Principal};

/// Header with the command id: a command sent twice is applied once.
pub const COMMAND_HEADER: &str = "idempotency-key";
/// The longest command id, in bytes.
pub const MAX_COMMAND_ID_BYTES: usize = 128;

/// Whether a text is a valid command id: 1 to 128 visible ASCII characters.
pub fn is_command_id(text: &str) -> bool {
    (1..=MAX_COMMAND_ID_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// The caller: required on every command.
#[derive(Debug)]
pub(crate) struct RequestCaller(pub(crate) Caller);

impl FromRequestParts<Api> for RequestCaller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Response> {
        let principal = api.authenticator.authenticate(&parts.headers).await;
        let mut caller = caller(&principal.map_err(refused)?);
        if let Some(id) = parts.headers.get(COMMAND_HEADER) {
            let id = std::str::from_utf8(id.as_bytes()).map(str::trim);
            let id = id.unwrap_or_default();
            if !is_command_id(id) {
                return Err(ApiError::usage(
                    "RB-API-2",
                    format!(
                        "the header {COMMAND_HEADER} must have 1–{MAX_COMMAND_ID_BYTES} visible ASCII characters"
                    ),
                )
                .into_response());
            }
            id.clone_into(&mut caller.command_id);
        }
        caller.cause.traceparent = traceparent(&parts.headers).to_owned();
        Ok(Self(caller))
    }
}

/// The person as the ledger records them. Roles are not passed on: the ledger decides by those that
/// environments and plans give to names.
fn caller(principal: &Principal) -> Caller {
    Caller::new(v1::Actor {
        name: principal.person().to_owned(),
        kind: v1::ActorKind::Person.into(),
        authentication: principal.method().to_owned(),
    })
}

/// The response to a request whose sender is not known; a 401 names the scheme to use.
fn refused(error: AuthError) -> Response {
    let challenge = error.challenge().map(HeaderValue::from_static);
    let mut response = ApiError::from(error).into_response();
    if let Some(challenge) = challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The trace context of a request; empty where it has none that is valid.
pub(super) fn traceparent(headers: &HeaderMap) -> &str {
    headers
        .get(TRACEPARENT)
        .and_then(|value| value.to_str().ok())
        .filter(|value| is_traceparent(value))
        .unwrap_or_default()
}

/// A JSON body, parsed as a command, and in canonical form to tell whether another body is the same
/// command.
#[derive(Debug)]
pub(crate) struct Sent<T> {
    pub(crate) command: T,
    pub(crate) canonical: Bytes,
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Sent<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts.clone(), body);
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(IntoResponse::into_response)?;
        let request = Request::from_parts(parts, Body::from(bytes.clone()));
        let Json(command) = Json::<T>::from_request(request, state)
            .await
            .map_err(IntoResponse::into_response)?;
        let not_json = |error: serde_json::Error| {
            ApiError::usage("RB-API-3", format!("the body is not JSON: {error}")).into_response()
        };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(not_json)?;
        let canonical = serde_json_canonicalizer::to_vec(&value).map_err(not_json)?;
        Ok(Self {
            command,
            canonical: canonical.into(),
        })
    }
}

impl<T> Sent<T> {
    /// The command and the caller who sent it.
    pub(crate) fn by(self, RequestCaller(mut caller): RequestCaller) -> (T, Caller) {
        caller.sent = Some(self.canonical);
        (self.command, caller)
    }
}

//! Names that callers assert.

use async_trait::async_trait;
use axum::http::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode;

use super::{AuthError, Authenticator, Principal};

/// Header naming the acting person: UTF-8, percent-encoded if not ASCII.
pub const ACTOR_HEADER: &str = "rollbook-actor";

/// The method recorded for asserted names.
pub const ASSERTED: &str = "asserted";

/// Believes the name in the header [`ACTOR_HEADER`]. This is safe only because the server listens
/// on loopback, so that whoever calls already works on this machine. It vouches for no roles: those
/// of environments and runbooks name persons, so the name decides.
#[derive(Debug, Clone, Copy, Default)]
pub struct AssertedName;

#[async_trait]
impl Authenticator for AssertedName {
    async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, AuthError> {
        let header = headers.get(ACTOR_HEADER);
        let header = header.map(HeaderValue::as_bytes).unwrap_or_default();
        let unnamed = |problem: String| AuthError::Unnamed {
            problem: format!(
                "the header {ACTOR_HEADER} must name who acts, in UTF-8, percent-encoded where it is not ASCII: {problem}; with the CLI: --as NAME"
            ),
        };
        let name = percent_decode(header).decode_utf8();
        let name = name.map_err(|error| unnamed(error.to_string()))?;
        let principal = Principal::new(&name, Vec::new(), ASSERTED);
        principal.map_err(|error| unnamed(error.to_string()))
    }
}

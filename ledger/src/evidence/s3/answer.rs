//! Refusals by an S3 server, and how they are classified.
//!
//! The error code of a refusal (`NoSuchBucket`, `AccessDenied`) is in the response body. It is
//! parsed where the response arrives and passed on as a type; the body is not, because it repeats
//! what was signed.

use std::error::Error as StdError;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};

use super::super::EvidenceError;
use super::credentials::NotFetched;
use crate::cause::innermost;

/// Maximum length of a server's message in our errors, in characters.
const MAX_MESSAGE_CHARS: usize = 200;

/// A refusal that a retry does not change.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
struct Refusal {
    status: u16,
    code: String,
    message: String,
}

/// Classifies a failure of S3; `None` if it did not come from a server.
pub(in crate::evidence) fn classify(
    location: &str,
    action: &'static str,
    error: &object_store::Error,
) -> Option<EvidenceError> {
    let location = location.to_owned();
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = cause {
        if current.is::<NotFetched>() {
            return Some(EvidenceError::Credentials {
                location,
                reason: "none are set, and AWS provides none here".to_owned(),
            });
        }
        if let Some(refusal) = current.downcast_ref::<Refusal>() {
            return Some(refused(location, action, refusal));
        }
        if let Some(http) = current.downcast_ref::<HttpError>()
            && !http.source().is_some_and(|source| source.is::<Refusal>())
        {
            return Some(unanswered(location, action, http));
        }
        cause = current.source();
    }
    // Responses without a body, as for HEAD.
    match error {
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. }
            if !has_system_error(error) =>
        {
            Some(EvidenceError::Refused {
                location,
                action,
                reason: "access denied".to_owned(),
            })
        }
        _ => None,
    }
}

fn has_system_error(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = cause {
        if current.is::<std::io::Error>() {
            return true;
        }
        cause = current.source();
    }
    false
}

fn refused(location: String, action: &'static str, refusal: &Refusal) -> EvidenceError {
    let reason = refusal.to_string();
    match (refusal.code.as_str(), refusal.status) {
        ("NoSuchBucket", _) => EvidenceError::NoBucket { location },
        ("QuotaExceeded", _) => EvidenceError::Full {
            location,
            action,
            reason,
        },
        (
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException",
            _,
        ) => EvidenceError::Location {
            location,
            reason: format!("the bucket is in another region, set AWS_REGION to it ({reason})"),
        },
        ("InvalidBucketName", _) => EvidenceError::Location { location, reason },
        ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired", _) | (_, 401 | 403) => {
            EvidenceError::Refused {
                location,
                action,
                reason,
            }
        }
        _ => EvidenceError::Unavailable {
            location,
            action,
            reason,
        },
    }
}

fn unanswered(location: String, action: &'static str, error: &HttpError) -> EvidenceError {
    let reason = shortened(&innermost(error).to_string());
    match error.kind() {
        HttpErrorKind::Connect
        | HttpErrorKind::Timeout
        | HttpErrorKind::Interrupted
        | HttpErrorKind::Request => EvidenceError::Unreachable {
            location,
            action,
            reason,
        },
        _ => EvidenceError::Unavailable {
            location,
            action,
            reason,
        },
    }
}

/// An HTTP connector that parses refusals between server and store.
#[derive(Debug, Default)]
pub(super) struct Connector {
    inner: ReqwestConnector,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = self.inner.connect(options)?;
        Ok(HttpClient::new(Service { inner }))
    }
}

#[derive(Debug)]
struct Service {
    inner: HttpClient,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.inner.execute(request).await?;
        let status = response.status().as_u16();
        // 304, 409 and 412 are regular answers; the store retries 408, 429 and 5xx.
        if !(300..500).contains(&status) || matches!(status, 304 | 408 | 409 | 412 | 429) {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = body.bytes().await?;
        match refusal(status, &String::from_utf8_lossy(&body)) {
            Some(refusal) => Err(HttpError::new(HttpErrorKind::Unknown, refusal)),
            None => Ok(HttpResponse::from_parts(parts, body.into())),
        }
    }
}

/// Parses the refusal in an S3 error document; a missing object is not a refusal.
fn refusal(status: u16, body: &str) -> Option<Refusal> {
    let code = element(body, "Code")?;
    if status == 404 && code != "NoSuchBucket" {
        return None;
    }
    Some(Refusal {
        status,
        code: shortened(code),
        message: shortened(element(body, "Message").unwrap_or_default()),
    })
}

fn element<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim())
}

fn shortened(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_MESSAGE_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// S3's answer to a wrong secret, which repeats what was signed.
    const MISMATCH: &str = "<?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code>\
        <Message>The request signature\n does not match</Message>\
        <StringToSign>AWS4-HMAC-SHA256 20260101T000000Z</StringToSign></Error>";

    #[test]
    fn a_refusal_says_code_and_message_and_nothing_that_was_signed() {
        let refusal = refusal(403, MISMATCH).unwrap();
        let error = refused("s3://b".to_owned(), "store", &refusal);
        assert!(matches!(error, EvidenceError::Refused { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains("SignatureDoesNotMatch: The request signature")
        );
        assert!(!error.to_string().contains("AWS4-HMAC"), "{error}");
        assert!(!error.is_retryable());
    }

    #[test]
    fn an_absent_object_is_no_refusal_and_an_absent_bucket_is() {
        let document = |code| format!("<Error><Code>{code}</Code></Error>");
        assert!(refusal(404, &document("NoSuchKey")).is_none());
        assert!(refusal(404, "<html>not found</html>").is_none());
        let error = refused(
            "s3://b".to_owned(),
            "read",
            &refusal(404, &document("NoSuchBucket")).unwrap(),
        );
        assert!(matches!(error, EvidenceError::NoBucket { .. }), "{error}");
    }

    #[test]
    fn another_region_is_named() {
        let document = "<Error><Code>PermanentRedirect</Code><Message>x</Message></Error>";
        let error = refused(
            "s3://b".to_owned(),
            "read",
            &refusal(301, document).unwrap(),
        );
        assert!(error.to_string().contains("AWS_REGION"), "{error}");
    }
}

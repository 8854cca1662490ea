//! The evidence store in a bucket of Amazon S3 or a compatible server.
//!
//! A location names only bucket and prefix. Endpoint, region and credentials come from the same
//! variables that other S3 tools read, so no secret is in a flag, a file or an error.

mod answer;
mod credentials;

use std::sync::Arc;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};

use super::EvidenceError;
use answer::Connector;
use credentials::Named;

pub(super) use answer::classify;

/// The URL scheme of S3 locations.
pub(super) const SCHEME: &str = "s3";

/// Maximum retries of one request, within [`RETRY_SECONDS`].
const MAX_RETRIES: usize = 5;
/// Time after which a request is no longer retried, in seconds.
const RETRY_SECONDS: u64 = 60;
const CONNECT_TIMEOUT: &str = "5 seconds";
/// Timeout of each read of a response, so that a stalled transfer ends but a slow one continues.
const READ_TIMEOUT: &str = "30 seconds";
/// Timeout of a whole request. The largest body is that of an attached file; a response cut off by
/// this timeout is resumed where it ended.
const REQUEST_TIMEOUT: &str = "5 minutes";

/// The variables passed on unchanged; of two with the same meaning, the earlier wins.
const HANDED_ON: &[(&str, AmazonS3ConfigKey)] = &[
    ("AWS_REGION", AmazonS3ConfigKey::Region),
    ("AWS_DEFAULT_REGION", AmazonS3ConfigKey::DefaultRegion),
    (
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        AmazonS3ConfigKey::WebIdentityTokenFile,
    ),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    ("AWS_ENDPOINT_URL_STS", AmazonS3ConfigKey::StsEndpoint),
    (
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
    ),
    (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        AmazonS3ConfigKey::ContainerCredentialsFullUri,
    ),
    (
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
    ),
];

/// An opened bucket, and its name in messages.
pub(super) struct Opened {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) location: String,
}

/// Opens `s3://BUCKET` or `s3://BUCKET/PREFIX`; sends nothing.
pub(super) fn open(
    location: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Opened, EvidenceError> {
    let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let (bucket, prefix) = bucket_and_prefix(location)?;
    let endpoint = endpoint(location, &set)?;
    // TLS needs a process-wide crypto provider; installing a second one is refused and harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let build = |credentials| {
        let mut builder = builder(location, &bucket, endpoint.as_deref(), &set)?;
        if let Some(credentials) = credentials {
            builder = builder.with_credentials(credentials);
        }
        builder
            .build()
            .map_err(|source| unusable(location, &source))
    };
    let mut s3: AmazonS3 = build(None)?;
    if set("AWS_ACCESS_KEY_ID").is_none() {
        // Credentials are fetched when needed; a failure to fetch them must not look like a failure
        // of S3.
        s3 = build(Some(Named::around(Arc::clone(s3.credentials()))))?;
    }
    let objects: Arc<dyn ObjectStore> = match prefix {
        None => Arc::new(s3),
        Some(prefix) => Arc::new(PrefixStore::new(s3, prefix)),
    };
    Ok(Opened {
        objects,
        location: match endpoint {
            None => location.to_owned(),
            Some(endpoint) => format!("{location} at {endpoint}"),
        },
    })
}

fn builder(
    location: &str,
    bucket: &str,
    endpoint: Option<&str>,
    set: &dyn Fn(&str) -> Option<String>,
) -> Result<AmazonS3Builder, EvidenceError> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_retry(RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: MAX_RETRIES,
            retry_timeout: std::time::Duration::from_secs(RETRY_SECONDS),
        })
        .with_http_connector(Connector::default());
    for (key, value) in [
        (ClientConfigKey::ConnectTimeout, CONNECT_TIMEOUT),
        (ClientConfigKey::ReadTimeout, READ_TIMEOUT),
        (ClientConfigKey::Timeout, REQUEST_TIMEOUT),
    ] {
        builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
    }
    for (name, key) in HANDED_ON {
        if let Some(value) = set(name) {
            builder = builder.with_config(*key, value);
        }
    }
    if let Some(endpoint) = endpoint {
        builder = builder
            .with_endpoint(endpoint)
            .with_allow_http(endpoint.starts_with("http://"));
    }
    if is_true(location, "AWS_VIRTUAL_HOSTED_STYLE_REQUEST", set)? {
        builder = builder.with_virtual_hosted_style_request(true);
    }
    match (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY")) {
        (Some(key), Some(secret)) => {
            builder = builder
                .with_access_key_id(key.trim())
                .with_secret_access_key(secret.trim());
            if let Some(token) = set("AWS_SESSION_TOKEN") {
                builder = builder.with_token(token.trim());
            }
        }
        (Some(_), None) => return Err(half(location, "AWS_SECRET_ACCESS_KEY")),
        (None, Some(_)) => return Err(half(location, "AWS_ACCESS_KEY_ID")),
        (None, None) => {
            let by_role = ["AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
                .into_iter()
                .chain(["AWS_CONTAINER_CREDENTIALS_FULL_URI"])
                .any(|name| set(name).is_some());
            if !by_role && is_true(location, "AWS_EC2_METADATA_DISABLED", set)? {
                return Err(EvidenceError::Credentials {
                    location: location.to_owned(),
                    reason: "none are set".to_owned(),
                });
            }
        }
    }
    Ok(builder)
}

fn half(location: &str, missing: &str) -> EvidenceError {
    EvidenceError::Credentials {
        location: location.to_owned(),
        reason: format!("{missing} is not set"),
    }
}

fn unusable(location: &str, source: &object_store::Error) -> EvidenceError {
    EvidenceError::Location {
        location: location.to_owned(),
        reason: source.to_string(),
    }
}

fn is_true(
    location: &str,
    name: &str,
    set: &dyn Fn(&str) -> Option<String>,
) -> Result<bool, EvidenceError> {
    match set(name).as_deref().map(str::trim) {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => Err(EvidenceError::Location {
            location: location.to_owned(),
            reason: format!("{name} is neither `true` nor `false`"),
        }),
    }
}

/// Returns the endpoint named by the variables. One with credentials in it is refused and not
/// repeated.
fn endpoint(
    location: &str,
    set: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, EvidenceError> {
    let named = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
        .into_iter()
        .find_map(|name| Some((name, set(name)?)));
    let Some((name, endpoint)) = named else {
        return Ok(None);
    };
    let refuse = |reason: String| EvidenceError::Location {
        location: location.to_owned(),
        reason,
    };
    let endpoint = endpoint.trim().trim_end_matches('/');
    let (scheme, host) = endpoint.split_once("://").unwrap_or_default();
    if !matches!(scheme, "http" | "https") || host.is_empty() || host.contains(['@', '?', '#']) {
        return Err(refuse(format!(
            "{name} is no endpoint; write https://HOST, without user, password or query"
        )));
    }
    if scheme == "http" && !is_true(location, "AWS_ALLOW_HTTP", set)? {
        return Err(refuse(format!(
            "{name} is {endpoint}, which is not encrypted; use https://, or set AWS_ALLOW_HTTP=true"
        )));
    }
    Ok(Some(endpoint.to_owned()))
}

/// Parses bucket and prefix from a location. Parts that may hold a secret are not repeated.
fn bucket_and_prefix(location: &str) -> Result<(String, Option<ObjectPath>), EvidenceError> {
    let refuse = |reason: &str| EvidenceError::Location {
        location: if location.contains(['@', '?', '#']) {
            "s3://…".to_owned()
        } else {
            location.to_owned()
        },
        reason: reason.to_owned(),
    };
    let (_, rest) = location.split_once("://").unwrap_or_default();
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if location.contains(['@', '?', '#', '%']) {
        return Err(refuse(
            "write s3://BUCKET/PREFIX; endpoint, region and credentials are read from AWS_* variables",
        ));
    }
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(plain) {
        return Err(refuse(
            "a bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens: s3://BUCKET/PREFIX",
        ));
    }
    let prefix = prefix.trim_end_matches('/');
    if prefix.is_empty() {
        return Ok((bucket.to_owned(), None));
    }
    // `parse` would strip a leading slash.
    Some(prefix)
        .filter(|prefix| !prefix.starts_with('/'))
        .and_then(|prefix| ObjectPath::parse(prefix).ok())
        .map(|prefix| (bucket.to_owned(), Some(prefix)))
        .ok_or_else(|| {
            refuse("the prefix has an empty part, `.`, `..` or a character S3 does not take")
        })
}

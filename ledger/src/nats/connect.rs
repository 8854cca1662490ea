//! Connections to NATS: addresses, credentials, TLS and reconnection.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use percent_encoding::percent_decode_str;

use crate::error_code::Coded;
use crate::redacted;

/// Maximum wait between two reconnection attempts.
const MAX_RECONNECT_WAIT: Duration = Duration::from_secs(1);
/// Timeout for establishing one connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an idle connection is pinged. After three unanswered pings it is dropped and replaced,
/// so a partition that affects only old connections costs seconds.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// Messages a subscription buffers; an ordered consumer recovers from an overflow.
const SUBSCRIPTION_CAPACITY: usize = 16 * 1024;

/// Our credentials. Never shown: `Debug` names only the kind.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Those in the URL (`user:password@` or `token@`, `%XX` decoded), or none.
    #[default]
    None,
    /// A token.
    Token(String),
    /// User name and password.
    UserPassword(String, String),
    /// A `.creds` file (JWT and NKEY seed).
    File(PathBuf),
    /// An NKEY seed.
    NkeySeed(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token(…)",
            Self::UserPassword(..) => "UserPassword(…)",
            Self::File(_) => "File(…)",
            Self::NkeySeed(_) => "NkeySeed(…)",
        })
    }
}

/// Where the NATS server is and how to connect to it.
#[derive(Clone, Default)]
pub struct NatsOptions {
    /// One or several addresses, separated by commas: `nats://host:4222`, `tls://…`.
    pub url: String,
    /// Our credentials.
    pub credentials: Credentials,
    /// Connection name, shown in the server's list of connections.
    pub name: String,
    /// Refuse connections without TLS.
    pub require_tls: bool,
    /// Additional certificate authorities in PEM, besides the system's.
    pub root_certificates: Option<PathBuf>,
    /// Client certificate and key in PEM.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

impl fmt::Debug for NatsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsOptions")
            .field("url", &redacted::nats_addresses(&self.url))
            .field("credentials", &self.credentials)
            .field("name", &self.name)
            .field("require_tls", &self.require_tls)
            .finish_non_exhaustive()
    }
}

/// Why connecting failed.
#[derive(Debug, thiserror::Error, Coded)]
pub enum ConnectError {
    /// No server answered in time. Retryable.
    #[error("RB-NATS-1: no NATS server at {url}: {reason}; start it or correct the address")]
    Unreachable {
        /// The addresses, without passwords.
        url: String,
        /// The cause.
        reason: String,
    },
    /// The server rejected our credentials.
    #[error("RB-NATS-2: the NATS server at {url} refused our credentials: {reason}")]
    Unauthorized {
        /// The addresses, without passwords.
        url: String,
        /// The server's message.
        reason: String,
    },
    /// An address, a file or the TLS configuration is invalid.
    #[error("RB-NATS-3: the connection settings for {url} are not usable: {reason}")]
    Settings {
        /// The addresses, without passwords.
        url: String,
        /// The problem.
        reason: String,
    },
}

impl ConnectError {
    /// True if the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// Connects. A connection lost later is re-established automatically, with unlimited attempts.
pub async fn connect(options: &NatsOptions) -> Result<Client, ConnectError> {
    let url = redacted::nats_addresses(&options.url);
    let settings = |reason: String| ConnectError::Settings {
        url: url.clone(),
        reason,
    };
    let addresses = options
        .url
        .split(',')
        .map(|address| address.trim().parse::<async_nats::ServerAddr>())
        .collect::<Result<Vec<_>, _>>()
        // The parser's own message would repeat the address with its password.
        .map_err(|_| settings("not a NATS address; use nats://host:port".to_owned()))?;
    let mut connection = ConnectOptions::new()
        .name(&options.name)
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_INTERVAL)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .require_tls(options.require_tls)
        .reconnect_delay_callback(reconnect_wait)
        .event_callback(log_event);
    connection = match &options.credentials {
        Credentials::None => match in_address(&addresses).map_err(settings)? {
            Some((user, Some(password))) => connection.user_and_password(user, password),
            Some((token, None)) => connection.token(token),
            None => connection,
        },
        Credentials::Token(token) => connection.token(token.clone()),
        Credentials::UserPassword(user, password) => {
            connection.user_and_password(user.clone(), password.clone())
        }
        Credentials::NkeySeed(seed) => connection.nkey(seed.clone()),
        Credentials::File(path) => connection
            .credentials_file(path)
            .await
            .map_err(|error| settings(format!("credentials file {}: {error}", path.display())))?,
    };
    if let Some(path) = &options.root_certificates {
        connection = connection.add_root_certificates(path.clone());
    }
    if let Some((certificate, key)) = &options.client_certificate {
        connection = connection.add_client_certificate(certificate.clone(), key.clone());
    }
    connection.connect(addresses).await.map_err(|error| {
        use async_nats::ConnectErrorKind as Kind;
        let mut reason = error.kind().to_string();
        if let Some(source) = std::error::Error::source(&error) {
            reason = format!("{reason}: {source}");
        }
        match error.kind() {
            Kind::Authentication | Kind::AuthorizationViolation => ConnectError::Unauthorized {
                url: url.clone(),
                reason,
            },
            Kind::Tls | Kind::ServerParse => settings(reason),
            _ => ConnectError::Unreachable {
                url: url.clone(),
                reason,
            },
        }
    })
}

/// Returns the credentials of the first address that has any: user and password, or a token.
/// async-nats ignores them.
fn in_address(
    addresses: &[async_nats::ServerAddr],
) -> Result<Option<(String, Option<String>)>, String> {
    let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err("user or password is not UTF-8 when its %XX are decoded".to_owned()),
    };
    let Some(address) = addresses.iter().find(|one| one.username().is_some()) else {
        return Ok(None);
    };
    let user = decoded(address.username().unwrap_or_default())?;
    let password = address.password().map(decoded).transpose()?;
    Ok(Some((user, password)))
}

/// Returns the wait before a reconnection: 0, 20, 40, 80 … ms, at most a second, so that a
/// restarted server is found quickly.
fn reconnect_wait(attempts: usize) -> Duration {
    match attempts {
        0 | 1 => Duration::ZERO,
        n => Duration::from_millis(10 << n.min(7)).min(MAX_RECONNECT_WAIT),
    }
}

async fn log_event(event: async_nats::Event) {
    match event {
        async_nats::Event::Connected => tracing::debug!("connected to NATS"),
        // The connection was closed on purpose.
        async_nats::Event::Closed => tracing::debug!("connection to NATS closed"),
        other => tracing::warn!(event = %other, "NATS connection"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn passwords_are_never_shown() {
        let options = NatsOptions {
            url: "nats://u:s3cret@a:4222, tls://tok3n@b".to_owned(),
            credentials: Credentials::UserPassword("u".to_owned(), "s3cret".to_owned()),
            ..NatsOptions::default()
        };
        let shown = format!("{options:?}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("tok3n"),
            "{shown}"
        );
    }

    #[test]
    fn credentials_of_an_address_are_read() {
        let found = |addresses: &[&str]| {
            let parsed: Vec<async_nats::ServerAddr> =
                addresses.iter().map(|a| a.parse().unwrap()).collect();
            in_address(&parsed)
        };
        let pair = |user: &str, password: Option<&str>| {
            Ok(Some((user.to_owned(), password.map(str::to_owned))))
        };
        assert_eq!(found(&["nats://a", "b:4222"]), Ok(None));
        assert_eq!(found(&["nats://a", "nats://u:p@b"]), pair("u", Some("p")));
        assert_eq!(found(&["nats://t0ken@a"]), pair("t0ken", None));
        assert_eq!(
            found(&["tls://u%40x:p%3A%C3%A4@a"]),
            pair("u@x", Some("p:ä"))
        );
        assert!(found(&["nats://u:%FF@a"]).is_err());
    }

    #[test]
    fn the_wait_grows_and_is_bounded() {
        assert_eq!(reconnect_wait(1), Duration::ZERO);
        assert!(reconnect_wait(3) > reconnect_wait(2));
        assert_eq!(reconnect_wait(usize::MAX), MAX_RECONNECT_WAIT);
    }
}

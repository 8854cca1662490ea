//! The host names by which a request may address this server.
//!
//! The server listens on loopback and trusts whoever reaches it. A page of another site can reach
//! it through the person's own browser, if that site's name is made to resolve to loopback (DNS
//! rebinding); the browser then still sends the site's name as host.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::ApiError;

/// The longest host repeated in a message, in characters.
const MAX_SHOWN_CHARS: usize = 100;

/// Refuses a request whose host does not name this machine, before anything else reads it.
pub(super) async fn own(request: Request, next: Next) -> Response {
    match foreign(&request) {
        None => next.run(request).await,
        Some(host) => {
            let host: String = host.chars().take(MAX_SHOWN_CHARS).collect();
            ApiError::policy(
                "RB-API-9",
                format!(
                    "the request is for host `{}`, which is not this machine; call localhost, 127.0.0.1 or [::1], and let a proxy in front send one of these as Host",
                    host.escape_debug()
                ),
            )
            .into_response()
        }
    }
}

/// The first host of the request that is not ours; empty if the request has no host at all.
fn foreign(request: &Request) -> Option<String> {
    // The target of HTTP/2 and proxy requests has a host too; then both must be ours.
    let target = request.uri().authority().map(Authority::as_str);
    let headers = request.headers().get_all(HOST);
    let named: Vec<String> = headers
        .iter()
        .map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned())
        .chain(target.map(str::to_owned))
        .collect();
    if named.is_empty() {
        return Some(String::new());
    }
    named.into_iter().find(|host| !is_own(host))
}

/// `localhost` or a loopback address, with any port.
fn is_own(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    // `user@host` is not a valid Host.
    if host.contains('@') {
        return false;
    }
    let name = authority.host();
    let address = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_ours() {
        for host in [
            "localhost",
            "LocalHost:7400",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.2:1",
            "[::1]",
            "[::1]:7400",
        ] {
            assert!(is_own(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:7400",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "evil.example@localhost",
            "0.0.0.0",
            "192.168.0.1:7400",
            "[::]",
            "[::ffff:10.0.0.1]",
            "local host",
            "localhost/x",
        ] {
            assert!(!is_own(host), "{host}");
        }
    }
}

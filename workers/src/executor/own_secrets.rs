//! Finds the credentials of this process itself, which belong to no plan and must not appear in a
//! step's output either.

use std::collections::BTreeSet;

use url::Url;

/// A variable whose name contains one of these words holds a secret.
const SECRET_WORDS: [&str; 7] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "KEY",
];

/// A value shorter than this many bytes is a setting even if its name suggests a secret: `true`,
/// `us`.
const MIN_SECRET_BYTES: usize = 6;

/// The value of a header of this length, in bytes, is taken for a credential whatever its name.
const LONG_VALUE_BYTES: usize = 16;

/// What must not be shown of these variables: the values of those whose names suggest a secret, and
/// the credentials in URLs and connection strings of all others.
pub fn of_variables(variables: impl IntoIterator<Item = (String, String)>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (name, value) in variables {
        let name = name.to_ascii_uppercase();
        let value = value.trim();
        if value.len() >= MIN_SECRET_BYTES && SECRET_WORDS.iter().any(|word| name.contains(word)) {
            found.insert(value.to_owned());
        }
        if name.ends_with("_HEADERS") {
            found.extend(of_headers(value));
        }
        found.extend(of_setting(value));
    }
    found
}

/// The credentials in `name=value` pairs separated by commas and percent-encoded, as in
/// `OTEL_EXPORTER_OTLP_HEADERS`: values whose names say so, that follow a scheme such as `Bearer`, or
/// that are long. A short one, `x-tenant=production`, is a setting that may stand in any output.
fn of_headers(text: &str) -> BTreeSet<String> {
    text.split(',')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, value)| is_credential(name, value.trim()))
        .flat_map(|(_, value)| spelled(value.trim()))
        .map(|value| value.rsplit(' ').next().unwrap_or_default().to_owned())
        .filter(|value| value.len() >= MIN_SECRET_BYTES)
        .collect()
}

fn is_credential(name: &str, value: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let has_scheme = value.contains(' ') || value.to_ascii_lowercase().contains("%20");
    let mut named = SECRET_WORDS.iter().chain(&["AUTH", "COOKIE"]);
    has_scheme || value.len() >= LONG_VALUE_BYTES || named.any(|it| name.contains(it))
}

/// The credentials in the value of a setting: one URL, several separated by commas, or a connection
/// string of `name=value` pairs.
pub fn of_setting(value: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // First as a whole: a password may contain a comma.
    for text in std::iter::once(value).chain(value.split(',')) {
        let Ok(url) = Url::parse(text.trim()) else {
            continue;
        };
        found.extend(of_url(&url));
        // A user without a password is the token of a NATS server.
        if url.password().is_none() && ["nats", "tls", "ws", "wss"].contains(&url.scheme()) {
            found.extend(spelled(url.username()));
        }
    }
    found.extend(of_connection_string(value));
    found.retain(|secret| !secret.is_empty());
    found
}

/// The password, and query values whose names suggest a secret.
pub fn of_url(url: &Url) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if let Some(password) = url.password() {
        found.extend(spelled(password));
    }
    for (name, secret) in url.query_pairs() {
        let name = name.to_ascii_lowercase();
        if ["password", "token", "secret", "key", "sig"]
            .iter()
            .any(|word| name.contains(word))
        {
            found.extend(spelled(&secret));
        }
    }
    found
}

/// The text as written, and decoded.
fn spelled(encoded: &str) -> Vec<String> {
    let decoded =
        url::form_urlencoded::parse(format!("p={}", encoded.replace('+', "%2B")).as_bytes())
            .next()
            .map(|(_, value)| value.into_owned());
    std::iter::once(encoded.to_owned()).chain(decoded).collect()
}

/// The password of a connection string: `host=db password=hunter2` or
/// `Server=db;Password=hunter2;`.
fn of_connection_string(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let at = lower.find("password=")? + "password=".len();
    let rest = text.get(at..)?;
    let end = match rest.strip_prefix('\'') {
        Some(quoted) => return quoted.split('\'').next().map(str::to_owned),
        None => rest.find([' ', ';', '&', '\n']).unwrap_or(rest.len()),
    };
    rest.get(..end).map(str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn of(name: &str, value: &str) -> Vec<String> {
        of_variables([(name.to_owned(), value.to_owned())])
            .into_iter()
            .collect()
    }

    #[test]
    fn names_and_credentials_in_values_tell() {
        assert_eq!(of("AWS_SECRET_ACCESS_KEY", "wJalrXUtn"), ["wJalrXUtn"]);
        assert_eq!(of("github_token", "ghp_0123"), ["ghp_0123"]);
        assert_eq!(of("PGPASSWORD", "hunter2"), ["hunter2"]);
        assert_eq!(
            of("DATABASE_URL", "postgres://u:p%40ss@h/d"),
            ["p%40ss", "p@ss"]
        );
        assert_eq!(
            of("ROLLBOOK_NATS", "nats://a:one@h:1,nats://a:two@h:2"),
            ["one", "two"]
        );
        assert_eq!(of("ROLLBOOK_NATS", "nats://t0ken@h:4222"), ["t0ken"]);
        assert_eq!(of("DSN", "host=db password=hunter2 user=u"), ["hunter2"]);
        assert_eq!(of("DSN", "Server=db;Password='a b';"), ["a b"]);
        assert_eq!(
            of(
                "OTEL_EXPORTER_OTLP_HEADERS",
                "x-team=production,authorization=Bearer%20s3cr3t-t0ken"
            ),
            ["Bearer%20s3cr3t-t0ken", "s3cr3t-t0ken"]
        );
    }

    #[test]
    fn settings_are_no_secrets() {
        for (name, value) in [
            ("ROLLBOOK_AS", "alice"),
            ("AWS_REGION", "eu-central-1"),
            ("HOME", "/root"),
            ("KEYMAP", "us"),
            ("ROLLBOOK_SERVER", "http://127.0.0.1:7400"),
        ] {
            assert!(of(name, value).is_empty(), "{name}");
        }
    }
}

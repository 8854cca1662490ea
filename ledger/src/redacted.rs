//! Addresses as they may be shown: without user, password and token.

/// Parameters of a URL that hold what its authority may hold as well.
const SECRET_PARAMETERS: [&str; 3] = ["user", "password", "token"];

/// A URL with `***` in place of its user and password, also where they are parameters of its query;
/// any other text is unchanged.
#[must_use]
pub fn url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_end);
    let tail = parameters(tail);
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{tail}"),
        None => format!("{scheme}://{authority}{tail}"),
    }
}

/// The path and query of a URL, with `***` in place of secret values.
fn parameters(tail: &str) -> String {
    let Some((path, query)) = tail.split_once('?') else {
        return tail.to_owned();
    };
    let shown = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if SECRET_PARAMETERS.contains(&name) => format!("{name}=***"),
        _ => pair.to_owned(),
    };
    let shown: Vec<String> = query.split('&').map(shown).collect();
    format!("{path}?{}", shown.join("&"))
}

/// Addresses of NATS servers, separated by commas, each with `***` in place of its user, password
/// or token. They are not quite URLs: one may lack its scheme, and none has a path, so that a
/// password may contain a `/`.
#[must_use]
pub fn nats_addresses(text: &str) -> String {
    let redacted = |address: &str| {
        let (scheme, rest) = match address.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), address),
        };
        match rest.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}***@{host}"),
            None => format!("{scheme}{rest}"),
        }
    };
    text.split(',')
        .map(|address| redacted(address.trim()))
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_no_user() {
        for (text, shown) in [
            ("postgres://u:p@h:5/db", "postgres://***@h:5/db"),
            ("postgres://h/db?x=a@b", "postgres://h/db?x=a@b"),
            (
                "postgres://u:p@h/db?password=s3cret&sslmode=require",
                "postgres://***@h/db?password=***&sslmode=require",
            ),
            ("/tmp/x", "/tmp/x"),
        ] {
            assert_eq!(url(text), shown);
        }
    }

    #[test]
    fn an_address_of_nats_shows_no_token() {
        for (text, shown) in [
            (
                "nats://u:s3cret@a:4222, tls://tok3n@b",
                "nats://***@a:4222,tls://***@b",
            ),
            ("tok3n@a:4222,b", "***@a:4222,b"),
            ("nats://u:p/w@a", "nats://***@a"),
        ] {
            assert_eq!(nats_addresses(text), shown);
        }
    }
}

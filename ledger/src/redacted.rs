//! Addresses as they may be shown: without user, password and token.

/// A URL with `***` in place of its user and password; any other text is unchanged.
#[must_use]
pub fn url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_end);
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{tail}"),
        None => text.to_owned(),
    }
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

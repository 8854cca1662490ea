//! Finds a value in a JSON document and keeps its numbers as written.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// The value found at a pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A text, without quotes and escapes.
    Text(String),
    /// A number as written: `9007199254740993`, not the nearest double.
    Number(String),
    /// An array or object, as written.
    Nested(String),
}

/// The document is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotJson;

/// Finds the value at a JSON pointer (RFC 6901); `None` if there is none. The whole document is
/// checked. If a key occurs twice the last one counts.
pub fn at(document: &[u8], pointer: &str) -> Result<Option<Found>, NotJson> {
    let mut value: &RawValue = serde_json::from_slice(document).map_err(|_| NotJson)?;
    let tokens = match pointer.strip_prefix('/') {
        Some(tokens) => tokens.split('/').collect(),
        None if pointer.is_empty() => Vec::new(),
        None => return Ok(None),
    };
    for token in tokens {
        match below(value, &token.replace("~1", "/").replace("~0", "~")) {
            Some(next) => value = next,
            None => return Ok(None),
        }
    }
    Ok(Some(read(value.get())))
}

fn below<'a>(value: &'a RawValue, token: &str) -> Option<&'a RawValue> {
    let text = value.get();
    if text.starts_with('{') {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
        return fields.get(token).copied();
    }
    let is_index = token == "0" || !token.starts_with(['0', '+']);
    let index: usize = token.parse().ok().filter(|_| is_index)?;
    let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    items.get(index).copied()
}

fn read(text: &str) -> Found {
    match text.as_bytes().first() {
        Some(b'n') => Found::Null,
        Some(b't') => Found::Bool(true),
        Some(b'f') => Found::Bool(false),
        Some(b'"') => Found::Text(serde_json::from_str(text).unwrap_or_default()),
        Some(b'{' | b'[') => Found::Nested(text.to_owned()),
        _ => Found::Number(text.to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_as_they_are_written() {
        let document = br#" {"a": [9007199254740993, {"b/c": 0.10, "~": -1e-7}], "a/0": null,
            "t": "9\u0031", "yes": true, "twice": 1, "twice": 2, "n": {"x": [1]}} "#;
        let number = |text: &str| Some(Found::Number(text.to_owned()));
        for (pointer, expected) in [
            ("/a/0", number("9007199254740993")),
            ("/a/1/b~1c", number("0.10")),
            ("/a/1/~0", number("-1e-7")),
            ("/a~10", Some(Found::Null)),
            ("/t", Some(Found::Text("91".to_owned()))),
            ("/yes", Some(Found::Bool(true))),
            ("/twice", number("2")),
            ("/n/x", Some(Found::Nested("[1]".to_owned()))),
            ("/a/2", None),
            ("/a/00", None),
            ("/a/-1", None),
            ("/yes/0", None),
            ("a", None),
        ] {
            assert_eq!(at(document, pointer), Ok(expected), "{pointer}");
        }
        assert_eq!(
            at(b"12345678901234567890123", ""),
            Ok(number("12345678901234567890123"))
        );
        for bad in [&b"{\"a\": 1"[..], b"", b"{\"a\": NaN}", b"\xff", b"1 2"] {
            assert_eq!(at(bad, "/a"), Err(NotJson));
        }
    }
}

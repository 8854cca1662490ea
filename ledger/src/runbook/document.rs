//! A YAML file as a tree in which every key and value has its line and column.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::diagnostic::{Path, Segment};

/// Maximum file size, in bytes.
pub(super) const MAX_FILE_BYTES: usize = 1024 * 1024;

/// Line and column, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Position {
    pub(super) const START: Self = Self { line: 1, column: 1 };
    /// The position of a value that has no text.
    pub(super) const NOWHERE: Self = Self { line: 0, column: 0 };

    fn of(location: serde_saphyr::Location) -> Self {
        Self {
            line: u32::try_from(location.line()).unwrap_or(u32::MAX).max(1),
            column: u32::try_from(location.column()).unwrap_or(u32::MAX).max(1),
        }
    }
}

/// A value with its position.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Yaml,
    pub(super) at: Position,
    /// The text consisted only of `${{ name }}`, so it may stand for a number or boolean.
    pub(super) substituted: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Yaml {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its position, and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Position,
    pub(super) value: Node,
}

/// Why a text cannot be parsed.
#[derive(Debug, Clone)]
pub(super) struct SyntaxError {
    pub(super) at: Position,
    pub(super) message: String,
}

/// Parses one YAML 1.2 document. Aliases and nesting are bounded; a duplicate key is an error.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_nodes: 60_000,
            max_events: 200_000,
            max_aliases: 1_000,
            max_anchors: 200,
            max_merge_keys: 200,
            max_total_scalar_bytes: 4 * MAX_FILE_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 50_000,
            max_replay_stack_depth: 8,
        },
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options::<Node>(text, options).map_err(|error| {
        let location = error.location();
        let mut message = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
        // Every diagnostic already starts with the position.
        if let Some(cut) = message.find(" at line ") {
            message.truncate(cut);
        }
        if let Some(rest) = message
            .split_once(": ")
            .filter(|(head, _)| head.starts_with("error") || head.starts_with("line "))
        {
            message = rest.1.to_owned();
        }
        SyntaxError {
            at: location.map_or(Position::START, Position::of),
            message,
        }
    })
}

impl Node {
    /// Converts a JSON value, which has no positions.
    pub(super) fn of(value: serde_json::Value) -> Self {
        use serde_json::Value;
        let at = Position::NOWHERE;
        let value = match value {
            Value::Null => Yaml::Null,
            Value::Bool(truth) => Yaml::Bool(truth),
            Value::Number(number) => Yaml::Number(number),
            Value::String(text) => Yaml::Text(text),
            Value::Array(items) => Yaml::List(items.into_iter().map(Self::of).collect()),
            Value::Object(entries) => {
                let entry = |(key, value)| Entry {
                    key,
                    at,
                    value: Self::of(value),
                };
                Yaml::Map(entries.into_iter().map(entry).collect())
            }
        };
        Self {
            value,
            at,
            substituted: false,
        }
    }

    /// Returns the value of a key of a map.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Yaml::Map(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.value),
            _ => None,
        }
    }

    /// Returns the entries of a map; empty for anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Yaml::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Returns the items of a list; empty for anything else.
    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Yaml::List(items) => items,
            _ => &[],
        }
    }

    /// Returns the text of a text value.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Yaml::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the position of the deepest existing part of `path`; the key's position if the path
    /// ends at a key with a list or map.
    pub(super) fn locate(&self, path: &Path) -> Position {
        let mut node = self;
        let mut at = self.at;
        for segment in path.segments() {
            match segment {
                Segment::Key(key) => {
                    let Some(entry) = node.entries().iter().find(|e| e.key == *key) else {
                        return at;
                    };
                    node = &entry.value;
                    at = match node.value {
                        Yaml::List(_) | Yaml::Map(_) | Yaml::Null => entry.at,
                        _ => node.at,
                    };
                }
                Segment::Index(index) => {
                    let Some(item) = node.items().get(*index) else {
                        return at;
                    };
                    node = item;
                    at = node.at;
                }
            }
        }
        at
    }

    /// Converts to JSON, without positions.
    pub(super) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.value {
            Yaml::Null => Value::Null,
            Yaml::Bool(truth) => Value::Bool(*truth),
            Yaml::Number(number) => Value::Number(number.clone()),
            Yaml::Text(text) => Value::String(text.clone()),
            Yaml::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Yaml::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|e| (e.key.clone(), e.value.to_json()))
                    .collect(),
            ),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Yaml>::deserialize(deserializer)?;
        Ok(Self {
            at: Position::of(spanned.referenced),
            value: spanned.value,
            substituted: false,
        })
    }
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(YamlVisitor)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = Yaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Yaml, D::Error> {
        Yaml::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Yaml, E> {
        Ok(Yaml::Bool(truth))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Yaml, E> {
        Ok(Yaml::Number(number.into()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Yaml, E> {
        Ok(Yaml::Number(number.into()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Yaml, E> {
        serde_json::Number::from_f64(number)
            .map(Yaml::Number)
            .ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Yaml, E> {
        Ok(Yaml::Text(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Yaml, E> {
        Ok(Yaml::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Yaml, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Node>()? {
            items.push(item);
        }
        Ok(Yaml::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Yaml, A::Error> {
        let mut entries: Vec<Entry> = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let value = map.next_value::<Node>()?;
            entries.push(Entry {
                key: key.value,
                at: Position::of(key.referenced),
                value,
            });
        }
        Ok(Yaml::Map(entries))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn every_value_and_key_knows_its_place() {
        let node = parse("a: 1\nb:\n  - x\n  - {c: on, d: 1.50}\n").unwrap();
        let root = Path::root();
        let at = |path: &Path| {
            let p = node.locate(path);
            (p.line, p.column)
        };
        assert_eq!(at(&root.key("a")), (1, 4));
        assert_eq!(at(&root.key("b")), (2, 1), "a list is found at its key");
        assert_eq!(at(&root.key("b").index(0)), (3, 5));
        assert_eq!(at(&root.key("b").index(1).key("c")), (4, 9));
        assert_eq!(at(&root.key("b").index(1).key("zzz")), (4, 5));
        assert_eq!(node.entries()[1].at, Position { line: 2, column: 1 });
        assert_eq!(
            node.to_json(),
            serde_json::json!({"a": 1, "b": ["x", {"c": "on", "d": 1.5}]}),
            "`on` is a text in YAML 1.2"
        );
    }

    #[test]
    fn broken_files_are_named_with_their_place() {
        for (text, line) in [
            ("a: 1\na: 2\n", 2),
            ("a: [1\nb: 2\n", 2),
            ("a: 1\n\tb: 2\n", 1),
            ("a: \"x\n", 1),
            ("---\na: 1\n---\nb: 1\n", 3),
            ("a: *nowhere\n", 1),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.at.line >= line, "{text:?}: {error:?}");
            assert!(!error.message.contains(" at line "), "{error:?}");
        }
    }

    #[test]
    fn alias_bombs_and_deep_nesting_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            let before = i - 1;
            bomb.push_str(&format!(
                "a{i}: &a{i} [*a{before}, *a{before}, *a{before}, *a{before}, *a{before}, *a{before}, *a{before}]\n"
            ));
        }
        assert!(parse(&bomb).is_err());
        assert!(parse(&"[".repeat(2_000)).is_err());
        assert!(parse(&format!("{}x", "- ".repeat(2_000))).is_err());
    }
}

//! Checks a document against the published schema and reports every wrong key and type of value,
//! not just the first one, as deserialization would.
//!
//! It supports the subset of JSON Schema that the model's types generate. A document that passes
//! deserializes; if the two ever disagree, deserialization decides.

use serde_json::{Map, Value};

use super::diagnostic::{Code, Path};
use super::document::{Node, Yaml};
use super::findings::Findings;
use super::span::Span;
use crate::suggestion::{closest, suggest};

/// Checks the tree. A text that consists of a single substituted parameter is converted to the
/// number or boolean that its position requires.
pub(super) fn check(document: &mut Node, source: &str, schema: &Value, findings: &mut Findings) {
    let checker = Checker {
        schema,
        lines: source.lines().collect(),
    };
    checker.value(document, schema, &Path::root(), findings);
}

struct Checker<'a> {
    schema: &'a Value,
    lines: Vec<&'a str>,
}

/// What a schema accepts, with its alternatives flattened.
#[derive(Default)]
struct Accepts<'a> {
    null: bool,
    boolean: bool,
    text: bool,
    duration: bool,
    free_text: bool,
    words: Vec<&'a str>,
    number: Option<Bounds>,
    list: Option<&'a Value>,
    objects: Vec<&'a Map<String, Value>>,
    anything: bool,
}

#[derive(Clone, Copy)]
struct Bounds {
    whole: bool,
    minimum: Option<f64>,
    maximum: Option<f64>,
}

impl<'a> Checker<'a> {
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix('#'))
            .and_then(|pointer| self.schema.pointer(pointer))
            .unwrap_or(schema)
    }

    fn accepts(&self, schema: &'a Value, into: &mut Accepts<'a>) {
        let schema = self.resolve(schema);
        let Some(object) = schema.as_object() else {
            into.anything |= schema == &Value::Bool(true);
            return;
        };
        let mut alternatives = false;
        for key in ["oneOf", "anyOf"] {
            for branch in object
                .get(key)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                alternatives = true;
                self.accepts(branch, into);
            }
        }
        if alternatives {
            return;
        }
        if let Some(word) = object.get("const").and_then(Value::as_str) {
            into.words.push(word);
            return;
        }
        if let Some(words) = object.get("enum").and_then(Value::as_array) {
            into.words.extend(words.iter().filter_map(Value::as_str));
            return;
        }
        let types: Vec<&str> = match object.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if types.is_empty() {
            into.anything = true;
        }
        for kind in types {
            match kind {
                "null" => into.null = true,
                "boolean" => into.boolean = true,
                "string" => {
                    into.text = true;
                    if object.contains_key("pattern") {
                        into.duration = true;
                    } else {
                        into.free_text = true;
                    }
                }
                "integer" | "number" => {
                    into.number = Some(Bounds {
                        whole: kind == "integer",
                        minimum: object.get("minimum").and_then(Value::as_f64),
                        maximum: object.get("maximum").and_then(Value::as_f64),
                    });
                }
                "array" => into.list = object.get("items"),
                "object" => into.objects.push(object),
                _ => {}
            }
        }
    }

    fn value(&self, node: &mut Node, schema: &'a Value, path: &Path, findings: &mut Findings) {
        let mut accepts = Accepts::default();
        self.accepts(schema, &mut accepts);
        if accepts.anything {
            return;
        }
        coerce(node, &accepts);
        let at = node.at;
        match &mut node.value {
            Yaml::Null if accepts.null => {}
            Yaml::Bool(_) if accepts.boolean => {}
            Yaml::Number(number) if accepts.number.is_some() => {
                if let Some(problem) = accepts.number.and_then(|b| out_of_bounds(number, b)) {
                    findings.error(Code::Type, at, path, problem, None);
                }
            }
            Yaml::Text(text) if accepts.text || accepts.words.contains(&text.as_str()) => {
                // The model's only pattern is that of durations.
                if accepts.duration && !accepts.free_text && text.parse::<Span>().is_err() {
                    findings.error(
                        Code::Type,
                        at,
                        path,
                        format!("`{text}` is not a duration"),
                        Some(
                            "write a number and a unit (ms, s, m, h, d): 90s, 10m, 1h30m, -7d"
                                .to_owned(),
                        ),
                    );
                }
            }
            Yaml::List(items) if accepts.list.is_some() => {
                for (i, item) in items.iter_mut().enumerate() {
                    if let Some(schema) = accepts.list {
                        self.value(item, schema, &path.index(i), findings);
                    }
                }
            }
            Yaml::Map(_) if !accepts.objects.is_empty() => {
                self.object(node, &accepts.objects, path, findings);
            }
            _ => self.wrong_kind(node, &accepts, path, findings),
        }
    }

    fn object(
        &self,
        node: &mut Node,
        objects: &[&'a Map<String, Value>],
        path: &Path,
        findings: &mut Findings,
    ) {
        let at = node.at;
        let Yaml::Map(entries) = &mut node.value else {
            return;
        };
        let properties =
            |object: &'a Map<String, Value>| object.get("properties").and_then(Value::as_object);
        // Of several forms, choose the one that knows one of the present keys.
        let chosen = objects
            .iter()
            .find(|object| {
                objects.len() == 1
                    || properties(object)
                        .is_some_and(|p| entries.iter().any(|e| p.contains_key(&e.key)))
            })
            .copied();
        let Some(object) = chosen else {
            let known: Vec<&str> = objects
                .iter()
                .filter_map(|o| properties(o))
                .flat_map(|p| p.keys().map(String::as_str))
                .collect();
            match entries.first() {
                Some(entry) => findings.error(
                    Code::UnknownKey,
                    entry.at,
                    &path.key(&entry.key),
                    format!("unknown key `{}`", entry.key),
                    suggest(&entry.key, &known),
                ),
                None => findings.error(
                    Code::MissingKey,
                    at,
                    path,
                    "it is empty".to_owned(),
                    suggest("", &known),
                ),
            }
            return;
        };
        let known = properties(object);
        for entry in entries.iter_mut() {
            let below = path.key(&entry.key);
            if let Some(schema) = known.and_then(|p| p.get(&entry.key)) {
                self.value(&mut entry.value, schema, &below, findings);
                continue;
            }
            match object.get("additionalProperties") {
                Some(schema @ Value::Object(_)) => {
                    self.value(&mut entry.value, schema, &below, findings);
                }
                Some(Value::Bool(false)) | None => {
                    let names: Vec<&str> = known
                        .map(|p| p.keys().map(String::as_str).collect())
                        .unwrap_or_default();
                    findings.error(
                        Code::UnknownKey,
                        entry.at,
                        &below,
                        format!("unknown key `{}`", entry.key),
                        suggest(&entry.key, &names),
                    );
                }
                Some(_) => {}
            }
        }
        for name in object
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !entries.iter().any(|e| e.key == name) {
                findings.error(
                    Code::MissingKey,
                    at,
                    path,
                    format!("`{name}` is missing"),
                    known
                        .and_then(|p| p.get(name))
                        .and_then(|p| p.get("description"))
                        .and_then(Value::as_str)
                        .map(|text| format!("add `{name}: …` ({})", text.trim_end_matches('.'))),
                );
            }
        }
    }

    fn wrong_kind(&self, node: &Node, accepts: &Accepts<'a>, path: &Path, findings: &mut Findings) {
        let mut wanted: Vec<String> = Vec::new();
        if !accepts.words.is_empty() {
            wanted.push(
                accepts
                    .words
                    .iter()
                    .map(|w| format!("`{w}`"))
                    .collect::<Vec<_>>()
                    .join(", "),
            );
        }
        if accepts.text {
            wanted.push("a text".to_owned());
        }
        if let Some(bounds) = accepts.number {
            wanted.push(
                if bounds.whole {
                    "a whole number"
                } else {
                    "a number"
                }
                .to_owned(),
            );
        }
        if accepts.boolean {
            wanted.push("`true` or `false`".to_owned());
        }
        if accepts.list.is_some() {
            wanted.push("a list".to_owned());
        }
        if !accepts.objects.is_empty() {
            let keys: Vec<&str> = accepts
                .objects
                .iter()
                .filter_map(|o| o.get("properties").and_then(Value::as_object))
                .flat_map(|p| p.keys().map(String::as_str))
                .take(12)
                .collect();
            wanted.push(if keys.is_empty() {
                "a map".to_owned()
            } else {
                format!("a map with {}", keys.join(", "))
            });
        }
        let wanted = wanted.join(" or ");
        let (found, suggestion) = match &node.value {
            Yaml::Null => ("nothing".to_owned(), None),
            Yaml::Bool(truth) => (
                format!("`{truth}`"),
                accepts
                    .text
                    .then(|| format!("write it in quotes: \"{truth}\"")),
            ),
            Yaml::Number(number) => {
                let written = self.written(node).unwrap_or_else(|| number.to_string());
                (
                    format!("the number {written}"),
                    accepts
                        .text
                        .then(|| format!("write it in quotes: \"{written}\"")),
                )
            }
            Yaml::Text(text) => (
                format!("`{}`", text.chars().take(60).collect::<String>()),
                closest(text, accepts.words.iter().copied())
                    .map(|word| format!("did you mean `{word}`?")),
            ),
            Yaml::List(_) => ("a list".to_owned(), None),
            Yaml::Map(_) => ("a map".to_owned(), None),
        };
        findings.error(
            Code::Type,
            node.at,
            path,
            format!("{found} stands where {wanted} belongs"),
            suggestion,
        );
    }

    /// Returns a scalar as written in the file: `1.10`, which the parser reads as 1.1.
    fn written(&self, node: &Node) -> Option<String> {
        let line = self
            .lines
            .get(usize::try_from(node.at.line).ok()?.checked_sub(1)?)?;
        let token: String = line
            .chars()
            .skip(usize::try_from(node.at.column).ok()?.checked_sub(1)?)
            .take_while(|c| !c.is_whitespace() && !matches!(c, ',' | ']' | '}' | '#'))
            .collect();
        (!token.is_empty()).then_some(token)
    }
}

fn out_of_bounds(number: &serde_json::Number, bounds: Bounds) -> Option<String> {
    let value = number.as_f64()?;
    if bounds.whole && !(number.is_i64() || number.is_u64()) {
        return Some(format!("{number} is not a whole number"));
    }
    if bounds.minimum.is_some_and(|minimum| value < minimum) {
        return Some(format!("{number} is less than {}", bounds.minimum?));
    }
    if bounds.maximum.is_some_and(|maximum| value > maximum) {
        return Some(format!("{number} is more than {}", bounds.maximum?));
    }
    None
}

fn coerce(node: &mut Node, accepts: &Accepts<'_>) {
    if !node.substituted || accepts.text {
        return;
    }
    let Yaml::Text(text) = &node.value else {
        return;
    };
    let text = text.trim();
    if accepts.words.contains(&text) {
        return;
    }
    if accepts.boolean
        && let Ok(truth) = text.parse::<bool>()
    {
        node.value = Yaml::Bool(truth);
    } else if accepts.number.is_some() {
        let number = text
            .parse::<i64>()
            .ok()
            .map(serde_json::Number::from)
            .or_else(|| serde_json::Number::from_f64(text.parse().ok()?));
        if let Some(number) = number {
            node.value = Yaml::Number(number);
        }
    }
}

//! Replaces `${{ name }}` in the texts of a runbook with the parameter's value.
//!
//! Values are plain text: parameters in them are not substituted. `$${{` stands for `${{`. In the
//! commands of `run` a value becomes part of the shell text as the runbook's author wrote it; quote
//! it there, or use the environment variable `ROLLBOOK_PARAM_<NAME>`.

use std::collections::BTreeMap;

use super::diagnostic::{Code, Path, Severity};
use super::document::{Node, Position, Yaml};
use super::findings::Findings;
use crate::suggestion::suggest;

/// Maximum size of a parameter's value, in bytes.
pub(super) const MAX_PARAM_BYTES: usize = 16 * 1024;

const OPEN: &str = "${{";
const CLOSE: &str = "}}";

/// Returns the effective parameters: given values over defaults. Parameters with neither, and
/// undeclared ones, are reported.
pub(super) fn effective(
    document: &Node,
    given: &BTreeMap<String, String>,
    findings: &mut Findings,
) -> BTreeMap<String, String> {
    let root = Path::root().key("params");
    let declared = document.get("params").map_or(&[][..], Node::entries);
    let mut values = BTreeMap::new();
    for entry in declared {
        let path = root.key(&entry.key);
        if !is_param_name(&entry.key) {
            findings.error(
                Code::InvalidId,
                entry.at,
                &path,
                format!("`{}` is not a parameter name", entry.key),
                Some("use letters, digits and `_`".to_owned()),
            );
        }
        let default = entry.value.get("default").and_then(Node::text);
        match given.get(&entry.key).map(String::as_str).or(default) {
            Some(value) if value.len() > MAX_PARAM_BYTES => findings.error(
                Code::TooLarge,
                entry.at,
                &path,
                format!(
                    "the value of `{}` has {} bytes, more than {MAX_PARAM_BYTES}",
                    entry.key,
                    value.len()
                ),
                None,
            ),
            Some(value) => {
                values.insert(entry.key.clone(), value.to_owned());
            }
            // The shape check reports a default of the wrong type.
            None if entry.value.get("default").is_some() => {
                values.insert(entry.key.clone(), String::new());
            }
            None => findings.error(
                Code::MissingParam,
                entry.at,
                &path,
                format!(
                    "the parameter `{}` has no default and was not given",
                    entry.key
                ),
                Some(format!("give it with `--param {}=…`", entry.key)),
            ),
        }
    }
    let names: Vec<&str> = declared.iter().map(|e| e.key.as_str()).collect();
    for name in given.keys().filter(|name| !names.contains(&name.as_str())) {
        findings.at(
            document,
            Code::UndeclaredParam,
            &root,
            format!("the parameter `{name}` was given but is not declared"),
            suggest(name, &names),
        );
    }
    values
}

fn is_param_name(text: &str) -> bool {
    super::expr::is_name(text)
}

/// Substitutes in every text except those of `params`; unused parameters are warnings.
pub(super) fn substitute(
    document: &mut Node,
    values: &BTreeMap<String, String>,
    findings: &mut Findings,
) {
    let declared: Vec<(String, Position)> = document
        .get("params")
        .map_or(&[][..], Node::entries)
        .iter()
        .map(|e| (e.key.clone(), e.at))
        .collect();
    let mut walk = Walk {
        names: declared.iter().map(|(name, _)| name.as_str()).collect(),
        values,
        used: Vec::new(),
        findings,
    };
    if let Yaml::Map(entries) = &mut document.value {
        for entry in entries.iter_mut().filter(|e| e.key != "params") {
            walk.node(&mut entry.value, &Path::root().key(&entry.key));
        }
    }
    let used = walk.used;
    for (name, at) in &declared {
        if !used.contains(name) {
            findings.add(
                (Code::Unused, Severity::Warning),
                *at,
                &Path::root().key("params").key(name),
                format!("the parameter `{name}` is not used in any text"),
                None,
            );
        }
    }
}

struct Walk<'a> {
    names: Vec<&'a str>,
    values: &'a BTreeMap<String, String>,
    used: Vec<String>,
    findings: &'a mut Findings,
}

impl Walk<'_> {
    fn node(&mut self, node: &mut Node, path: &Path) {
        let at = node.at;
        match &mut node.value {
            Yaml::Text(text) => {
                let is_condition = path.segments().last().is_some_and(
                    |s| matches!(s, super::diagnostic::Segment::Key(k) if k == "when"),
                );
                if is_condition {
                    // A step's `when` reads parameters by name.
                    for name in &self.names {
                        if super::recorded::query_mentions(text, name) {
                            self.used.push((*name).to_owned());
                        }
                    }
                }
                if text.contains(OPEN) {
                    let trimmed = text.trim();
                    let alone = trimmed.starts_with(OPEN)
                        && trimmed.ends_with(CLOSE)
                        && trimmed.matches(OPEN).count() == 1;
                    let replaced = self.text(text, at, path);
                    *text = replaced;
                    node.substituted = alone;
                }
            }
            Yaml::List(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    self.node(item, &path.index(i));
                }
            }
            Yaml::Map(entries) => {
                for entry in entries {
                    self.node(&mut entry.value, &path.key(&entry.key));
                }
            }
            Yaml::Null | Yaml::Bool(_) | Yaml::Number(_) => {}
        }
    }

    fn text(&mut self, text: &str, at: Position, path: &Path) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPEN) {
            if let Some(literal) = before.strip_suffix('$') {
                out.push_str(literal);
                out.push_str(OPEN);
                rest = after;
                continue;
            }
            out.push_str(before);
            let Some((name, tail)) = after.split_once(CLOSE) else {
                self.findings.error(
                    Code::UnknownParam,
                    at,
                    path,
                    "a `${{` is not closed by `}}`",
                    Some("write `${{ name }}`, or `$${{` for the text itself".to_owned()),
                );
                out.push_str(OPEN);
                out.push_str(after);
                return out;
            };
            rest = tail;
            let name = name.trim();
            self.used.push(name.to_owned());
            match self.values.get(name) {
                Some(value) => out.push_str(value),
                // A declared parameter without a value is reported at its declaration.
                None if self.names.contains(&name) => {}
                None => self.findings.error(
                    Code::UnknownParam,
                    at,
                    path,
                    format!("there is no parameter `{name}`"),
                    suggest(name, &self.names),
                ),
            }
        }
        out.push_str(rest);
        out
    }
}

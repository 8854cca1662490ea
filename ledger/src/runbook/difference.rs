//! Differences between two plans, shown before a revision is accepted, and recorded.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rollbook_proto::v1;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::plan::Plan;

/// Maximum number of changes that an event keeps.
pub const MAX_CHANGES: usize = 100;
/// Maximum size of the changes that an event keeps, in bytes.
pub const MAX_BYTES: usize = 16 * 1024;
/// Maximum length of each side of a change that an event keeps, in characters.
const MAX_SIDE_CHARS: usize = 400;

/// All differences between two plans, in the order: parameters, people, plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    changes: Vec<v1::PlanChange>,
}

/// Compares two plans: parameters, roles, authority, windows, gates, phases, steps with their
/// scripts, and every other section.
pub fn between(before: &Plan, after: &Plan) -> Difference {
    let mut found = Difference {
        changes: Vec::new(),
    };
    found.maps("parameter", &texts(before.params()), &texts(after.params()));
    let (was, is) = (sections(before), sections(after));
    let (was_steps, is_steps) = (steps(before), steps(after));
    for section in ["roles", "authority", "environments", "windows"] {
        found.section(section, &was, &is);
    }
    for (kind, was, is) in [
        ("phase", phases(before), phases(after)),
        ("gate", gates(before), gates(after)),
    ] {
        found.items(kind, &was, &is);
    }
    found.items("step", &was_steps, &is_steps);
    let others: Vec<&String> = was
        .keys()
        .chain(is.keys().filter(|name| !was.contains_key(*name)))
        .filter(|name| {
            !matches!(
                name.as_str(),
                "roles" | "authority" | "environments" | "windows" | "phases" | "params"
            )
        })
        .collect();
    for section in others {
        found.section(section, &was, &is);
    }
    found
}

/// The items of a section, by name.
type Items = Vec<(String, Value)>;

fn texts(map: &BTreeMap<String, String>) -> Map<String, Value> {
    map.iter()
        .map(|(name, value)| (name.clone(), Value::String(value.clone())))
        .collect()
}

fn sections(plan: &Plan) -> Map<String, Value> {
    match serde_json::to_value(plan.runbook()) {
        Ok(Value::Object(sections)) => sections,
        _ => Map::new(),
    }
}

fn steps(plan: &Plan) -> Items {
    plan.steps()
        .map(|planned| {
            let mut step = serde_json::to_value(planned.step).unwrap_or_default();
            if let Some(fields) = step.as_object_mut() {
                fields.insert("phase".to_owned(), json!(planned.phase_id.as_str()));
            }
            (planned.id.to_string(), step)
        })
        .collect()
}

fn phases(plan: &Plan) -> Items {
    plan.phases()
        .map(|(id, phase)| {
            let mut value = serde_json::to_value(phase).unwrap_or_default();
            if let Some(fields) = value.as_object_mut() {
                fields.remove("gate");
                let ids: Vec<&str> = phase.steps.iter().map(|step| step.id.as_str()).collect();
                fields.insert("steps".to_owned(), json!(ids));
            }
            (id.to_string(), value)
        })
        .collect()
}

fn gates(plan: &Plan) -> Items {
    plan.phases()
        .filter_map(|(id, phase)| {
            let gate = phase.gate.as_ref()?;
            Some((id.to_string(), serde_json::to_value(gate).ok()?))
        })
        .collect()
}

/// Returns the singular of a section's name.
fn singular(section: &str) -> &str {
    match section {
        "roles" => "role",
        "environments" => "environment",
        "windows" => "window",
        "flags" => "flag",
        "sources" => "source",
        "channels" => "channel",
        "snapshots" => "snapshot",
        "metrics" => "metric",
        "rollbacks" => "rollback",
        "notices" => "notice",
        other => other,
    }
}

impl Difference {
    /// True if nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns every change, uncut.
    pub fn changes(&self) -> &[v1::PlanChange] {
        &self.changes
    }

    /// Returns the full difference as text, one change per line; the digest covers this text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for change in &self.changes {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", line(change));
        }
        text
    }

    /// Returns the part that an event keeps.
    pub fn bounded(&self) -> v1::PlanDifference {
        let text = self.text();
        let mut bytes = 0_usize;
        let changes = self
            .changes
            .iter()
            .take(MAX_CHANGES)
            .map(|change| v1::PlanChange {
                change: change.change,
                what: cut(&change.what),
                before: cut(&change.before),
                after: cut(&change.after),
            })
            .take_while(|change| {
                bytes = bytes
                    .saturating_add(change.what.len())
                    .saturating_add(change.before.len())
                    .saturating_add(change.after.len());
                bytes <= MAX_BYTES
            })
            .collect();
        v1::PlanDifference {
            changes,
            total: u32::try_from(self.changes.len()).unwrap_or(u32::MAX),
            sha256: hex::encode(Sha256::digest(&text)),
            size_bytes: u64::try_from(text.len()).unwrap_or(u64::MAX),
        }
    }

    fn add(&mut self, change: v1::ChangeKind, what: String, before: String, after: String) {
        self.changes.push(v1::PlanChange {
            change: change.into(),
            what,
            before,
            after,
        });
    }

    fn section(&mut self, name: &str, was: &Map<String, Value>, is: &Map<String, Value>) {
        let (was, is) = (was.get(name), is.get(name));
        if was == is {
            return;
        }
        let empty = Value::Object(Map::new());
        match (was.unwrap_or(&empty), is.unwrap_or(&empty)) {
            (Value::Object(was), Value::Object(is))
                if name == "authority" || name == "metadata" =>
            {
                self.fields(
                    name,
                    &Value::Object(was.clone()),
                    &Value::Object(is.clone()),
                );
            }
            (Value::Object(was), Value::Object(is)) => self.maps(singular(name), was, is),
            (was, is) => {
                let named = |value: &Value| -> Option<Items> {
                    value
                        .as_array()
                        .map_or(&[][..], Vec::as_slice)
                        .iter()
                        .map(|item| {
                            let key = item.get("name").or_else(|| item.get("id"))?.as_str()?;
                            Some((key.to_owned(), item.clone()))
                        })
                        .collect()
                };
                match (named(was), named(is)) {
                    (Some(was), Some(is)) => self.items(singular(name), &was, &is),
                    _ => self.add(
                        v1::ChangeKind::Changed,
                        name.to_owned(),
                        shown(was),
                        shown(is),
                    ),
                }
            }
        }
    }

    fn maps(&mut self, kind: &str, was: &Map<String, Value>, is: &Map<String, Value>) {
        let items = |map: &Map<String, Value>| -> Items {
            map.iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        };
        self.items(kind, &items(was), &items(is));
    }

    fn items(&mut self, kind: &str, was: &Items, is: &Items) {
        let find = |items: &Items, name: &str| {
            items
                .iter()
                .find(|(other, _)| other == name)
                .map(|(_, value)| value.clone())
        };
        for (name, before) in was {
            match find(is, name) {
                None => self.add(
                    v1::ChangeKind::Removed,
                    format!("{kind} {name}"),
                    shown(before),
                    String::new(),
                ),
                Some(after) => self.fields(&format!("{kind} {name}"), before, &after),
            }
        }
        for (name, after) in is {
            if find(was, name).is_none() {
                self.add(
                    v1::ChangeKind::Added,
                    format!("{kind} {name}"),
                    String::new(),
                    shown(after),
                );
            }
        }
    }

    /// Adds the differing fields, down to their values.
    fn fields(&mut self, what: &str, was: &Value, is: &Value) {
        if was == is {
            return;
        }
        if let (Value::Object(before), Value::Object(after)) = (was, is) {
            let names = before
                .keys()
                .chain(after.keys().filter(|name| !before.contains_key(*name)));
            for name in names {
                let path = if what.contains(' ') && !what.contains(": ") {
                    format!("{what}: {name}")
                } else {
                    format!("{what}.{name}")
                };
                match (before.get(name), after.get(name)) {
                    (Some(was), Some(is)) => self.fields(&path, was, is),
                    (Some(was), None) => {
                        self.add(v1::ChangeKind::Removed, path, shown(was), String::new());
                    }
                    (None, Some(is)) => {
                        self.add(v1::ChangeKind::Added, path, String::new(), shown(is));
                    }
                    (None, None) => {}
                }
            }
            return;
        }
        let (before, after) = match (was.as_str(), is.as_str()) {
            (Some(was), Some(is)) if was.contains('\n') || is.contains('\n') => lines(was, is),
            _ => (shown(was), shown(is)),
        };
        self.add(v1::ChangeKind::Changed, what.to_owned(), before, after);
    }
}

/// Returns the differing lines of two texts, starting with the first one's number.
fn lines(was: &str, is: &str) -> (String, String) {
    let (was, is): (Vec<&str>, Vec<&str>) = (was.lines().collect(), is.lines().collect());
    let same = was.iter().zip(&is).take_while(|(a, b)| a == b).count();
    let rest = |lines: &[&str]| lines.len().saturating_sub(same);
    let end = was
        .iter()
        .rev()
        .zip(is.iter().rev())
        .take_while(|(a, b)| a == b)
        .count()
        .min(rest(&was))
        .min(rest(&is));
    let part = |lines: &[&str]| {
        let to = lines.len().saturating_sub(end);
        let middle = lines.get(same..to).unwrap_or_default().join("\n");
        format!("from line {}: {middle}", same.saturating_add(1))
    };
    (part(&was), part(&is))
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Formats a change in one line.
pub fn line(change: &v1::PlanChange) -> String {
    let what = &change.what;
    match change.change() {
        v1::ChangeKind::Added => format!("+ {what}: {}", change.after),
        v1::ChangeKind::Removed => format!("- {what}: {}", change.before),
        v1::ChangeKind::Changed | v1::ChangeKind::Unspecified => {
            format!("~ {what}: {} → {}", change.before, change.after)
        }
    }
}

/// Returns a text, cut if it is too long, with the size and digest of the whole.
fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_SIDE_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => {
            let digest = hex::encode(Sha256::digest(text));
            format!(
                "{}… ({} bytes, sha256 {})",
                text.get(..end).unwrap_or_default(),
                text.len(),
                digest.get(..16).unwrap_or(&digest)
            )
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Runbook;
    use super::*;

    fn plan(change: impl Fn(&mut Value), params: &[(&str, &str)]) -> Plan {
        let mut runbook = json!({
            "apiVersion": "rollbook/v1", "kind": "Runbook",
            "metadata": {"name": "r", "version": "1", "owner": "me"},
            "params": {"keep": {"description": "days", "default": "30"}},
            "environments": {"prod": {"protected": true}},
            "roles": {"dba": ["dora", "dan"]},
            "phases": [{
                "id": "1", "title": "One",
                "steps": [
                    {"id": "1.1", "title": "Go", "run": {"command": "a\nb\nc"}, "changes": "nothing"},
                    {"id": "1.2", "title": "On", "run": {"command": "true"}, "changes": "nothing"}
                ],
                "gate": {"sign_offs": [{"role": "dba", "quorum": 2}]}
            }]
        });
        change(&mut runbook);
        let runbook: Runbook = serde_json::from_value(runbook).unwrap();
        let params = params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Plan::from_runbook(runbook, params).unwrap()
    }

    #[test]
    fn every_kind_of_change_is_named_with_both_sides() {
        let before = plan(|_| {}, &[("keep", "90")]);
        let after = plan(
            |runbook| {
                runbook["roles"] = json!({"dba": ["dora"], "lead": ["lee"]});
                runbook["authority"] = json!({"verbs": {"abort": ["lead"]}});
                runbook["windows"] = json!([{"name": "night", "kind": "allow", "cron": "0 2 * * *", "duration": "1h"}]);
                let phase = &mut runbook["phases"][0];
                phase["steps"][0]["run"]["command"] = json!("a\nB\nc");
                phase["steps"][1] = json!({"id": "1.3", "title": "Off", "run": {"command": "false"}, "changes": "nothing"});
                phase["gate"]["sign_offs"][0]["quorum"] = json!(1);
            },
            &[("keep", "30")],
        );
        let difference = between(&before, &after);
        let text = difference.text();
        for line in [
            "~ parameter keep: 90 → 30",
            r#"~ role dba: ["dora","dan"] → ["dora"]"#,
            r#"+ role lead: ["lee"]"#,
            r#"+ authority.verbs: {"abort":["lead"]}"#,
            "+ window night",
            r#"~ phase 1: steps: ["1.1","1.2"] → ["1.1","1.3"]"#,
            "~ gate 1: sign_offs",
            "~ step 1.1: run.command: from line 2: b → from line 2: B",
            "- step 1.2",
            "+ step 1.3",
        ] {
            assert!(text.contains(line), "`{line}` is not in:\n{text}");
        }
        let bounded = difference.bounded();
        assert_eq!(bounded.changes.len(), difference.changes().len());
        assert_eq!(bounded.size_bytes, text.len() as u64);
        assert_eq!(bounded.sha256, hex::encode(Sha256::digest(&text)));
        assert!(between(&before, &before).is_empty());
    }

    #[test]
    fn a_large_difference_is_cut_with_the_digest_of_the_whole() {
        let long = "x".repeat(5_000);
        let before = plan(|_| {}, &[]);
        let after = plan(
            |runbook| {
                let steps: Vec<Value> = (0..300)
                    .map(|n| json!({"id": format!("2.{n}"), "title": "t", "run": {"command": long}, "changes": "nothing"}))
                    .collect();
                runbook["phases"]
                    .as_array_mut()
                    .unwrap()
                    .push(json!({"id": "2", "title": "Two", "steps": steps}));
            },
            &[],
        );
        let difference = between(&before, &after);
        let bounded = difference.bounded();
        assert_eq!(bounded.total as usize, difference.changes().len());
        assert!(bounded.total > 300 && bounded.changes.len() <= MAX_CHANGES);
        let kept: usize = bounded
            .changes
            .iter()
            .map(|change| change.what.len() + change.before.len() + change.after.len())
            .sum();
        assert!(kept <= MAX_BYTES, "{kept}");
        let step = bounded
            .changes
            .iter()
            .find(|c| c.what.starts_with("step 2"))
            .unwrap();
        assert!(step.after.contains("bytes, sha256 "), "{}", step.after);
        assert_eq!(
            bounded.sha256,
            hex::encode(Sha256::digest(difference.text()))
        );
    }
}

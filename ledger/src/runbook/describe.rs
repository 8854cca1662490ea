//! Describes what a plan would do, in order, without doing it: the output of `plan`.

use std::fmt;

use serde::Serialize;

use super::action::{Check, Http, Run, Script, Sql, Transaction};
use super::model::{FlagTarget, Gate};
use super::plan::{EffectiveUndo, Plan, effective_undo, has_effect};
use super::step::{Action, Changes, Step};

/// Maximum length of a displayed command or query, in characters.
const SHOWN_CHARS: usize = 160;

/// A step or a gate, in plan order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedItem {
    /// The phase.
    pub phase: String,
    /// The step's id, or the phase's for its gate.
    pub id: String,
    /// Display title.
    pub title: String,
    /// The step's kind, or `gate`.
    pub kind: String,
    /// What happens: the command, script or flag change, or a gate's requirements.
    pub what: String,
    /// The environment, if it is not the rollout's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Steps (`1.2`) and phases (`phase 0`) that come first.
    pub needs: Vec<String>,
    /// It changes something outside the ledger.
    pub effect: bool,
    /// It changes data, or something that the plan cannot undo.
    pub destructive: bool,
    /// How its effect is undone; absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// The window it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// The condition under which it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

impl fmt::Display for PlannedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<14} {:<8} {}: {}",
            self.id, self.kind, self.title, self.what
        )?;
        if let Some(environment) = &self.environment {
            write!(f, " [in {environment}]")?;
        }
        if let Some(window) = &self.window {
            write!(f, " [window {window}]")?;
        }
        if let Some(when) = &self.when {
            write!(f, " [when {when}]")?;
        }
        if let Some(undo) = &self.undo {
            write!(f, " [undo: {undo}]")?;
        }
        if self.destructive {
            f.write_str(" [DESTRUCTIVE]")?;
        }
        Ok(())
    }
}

/// Lists every step and gate in plan order. The result holds no secrets: a plan has only references
/// to credentials, and passwords in a command's URLs are masked.
pub fn describe(plan: &Plan) -> Vec<PlannedItem> {
    let mut items = Vec::new();
    for (phase_id, phase) in plan.phases() {
        for planned in plan.steps().filter(|s| s.phase_id == phase_id) {
            let needs = plan.needs(planned.id);
            items.push(PlannedItem {
                phase: phase.id.clone(),
                id: planned.step.id.clone(),
                title: planned.step.title.clone(),
                kind: planned.step.action.kind().to_owned(),
                what: shown(&what(&planned.step.action)),
                environment: planned.step.environment.clone(),
                needs: needs
                    .into_iter()
                    .flat_map(|needs| {
                        let steps = needs.steps.iter().map(ToString::to_string);
                        steps.chain(needs.phases.iter().map(|p| format!("phase {p}")))
                    })
                    .collect(),
                effect: has_effect(planned.step),
                destructive: is_destructive(planned.step),
                undo: undo(planned.step),
                window: planned.step.window.clone(),
                when: planned.step.when.clone(),
            });
        }
        if let Some(gate) = &phase.gate {
            items.push(PlannedItem {
                phase: phase.id.clone(),
                id: phase.id.clone(),
                title: format!("Gate of {}", phase.title),
                kind: "gate".to_owned(),
                what: asked(gate),
                environment: None,
                needs: phase.steps.iter().map(|s| s.id.clone()).collect(),
                effect: false,
                destructive: false,
                undo: None,
                window: None,
                when: None,
            });
        }
    }
    items
}

/// True if the plan cannot undo its effect, or if it changes data.
pub fn is_destructive(step: &Step) -> bool {
    if !has_effect(step) {
        return false;
    }
    let changes_data =
        matches!(&step.action, Action::Sql(_)) || step.changes == Some(Changes::Data);
    changes_data || !effective_undo(step).is_possible()
}

/// Describes the action, for the intent that a worker records and for `plan`. Passwords in URLs are
/// masked; the text is not shortened.
pub fn what(action: &Action) -> String {
    let text = match action {
        Action::Run(run) => command(run),
        Action::Http(http) => request(http),
        Action::Sql(sql) => sql_text(sql),
        Action::Flag(flag) => format!("set {} to {}", flag.key, target(&flag.to)),
        Action::Manual(manual) => match (&manual.role, manual.checklist.len()) {
            (Some(role), items) => format!("by {role}, {items} items to answer"),
            (None, items) => format!("by anyone in a role, {items} items to answer"),
        },
        Action::Snapshot(snapshot) => format!("capture `{}` as `{}`", snapshot.of, snapshot.label),
        Action::Compare(compare) => format!(
            "compare `{}` {} with {}, tolerance {} %",
            compare.of,
            compare.before,
            compare.after,
            compare.tolerance_percent.unwrap_or(5.0)
        ),
        Action::Audit(audit) => format!(
            "audit deal types in {}.{}",
            audit.source,
            audit.table.as_deref().unwrap_or("deals")
        ),
        Action::Watch(watch) => {
            let metrics: Vec<&str> = watch.thresholds.iter().map(|t| t.metric.as_str()).collect();
            format!(
                "watch {} for {}, every {}",
                metrics.join(", "),
                watch.r#for,
                watch.every
            )
        }
        Action::Notify(notify) => format!("tell {}: {}", notify.channel, notify.subject),
        Action::Wait(wait) => format!("let {} pass", wait.r#for),
    };
    mask(&text)
}

fn command(run: &Run) -> String {
    match &run.directory {
        Some(directory) => format!("{} (in {directory})", run.command),
        None => run.command.clone(),
    }
}

fn request(http: &Http) -> String {
    format!("{} {}{}", http.method, http.source, http.path)
}

fn sql_text(sql: &Sql) -> String {
    if let Some(query) = &sql.query {
        let must_fail = if sql.must_fail {
            " (must be refused)"
        } else {
            ""
        };
        return format!("query {}: {query}{must_fail}", sql.source);
    }
    let mut parts = Vec::new();
    for (name, script) in [
        ("deploy", &sql.deploy),
        ("verify", &sql.verify),
        ("revert", &sql.revert),
    ] {
        if let Some(script) = script {
            parts.push(match script {
                Script::File { file, .. } => format!("{name} {file}"),
                Script::Text(text) => format!("{name} `{text}`"),
            });
        }
    }
    let alone = match sql.transaction {
        Transaction::One => "",
        Transaction::None => ", each statement by itself",
    };
    format!("{}: {}{alone}", sql.source, parts.join(", "))
}

fn target(target: &FlagTarget) -> String {
    match target {
        FlagTarget::On => "on".to_owned(),
        FlagTarget::Off => "off".to_owned(),
        FlagTarget::Safe => "its safe value".to_owned(),
        FlagTarget::Parallel => "parallel".to_owned(),
        FlagTarget::Percentage(share) => format!("{share} %"),
        FlagTarget::Beta(labels) => format!("beta {}", labels.join(", ")),
    }
}

fn asked(gate: &Gate) -> String {
    let mut parts: Vec<String> = gate
        .sign_offs
        .iter()
        .map(|rule| match rule.quorum {
            1 => format!("signed by {}", rule.role),
            quorum => format!("signed by {quorum} of {}", rule.role),
        })
        .collect();
    parts.extend(gate.checks.iter().cloned());
    if parts.is_empty() {
        "asks for nothing".to_owned()
    } else {
        parts.join("; ")
    }
}

fn undo(step: &Step) -> Option<String> {
    if !has_effect(step) {
        return None;
    }
    Some(shown(&mask(&match effective_undo(step) {
        EffectiveUndo::Nothing => return None,
        EffectiveUndo::None => "none".to_owned(),
        EffectiveUndo::Irreversible => "irreversible".to_owned(),
        EffectiveUndo::RestoreFlag { key } => format!("restore {key}"),
        EffectiveUndo::Revert { revert, .. } => match revert {
            Script::File { file, .. } => format!("revert {file}"),
            Script::Text(text) => format!("revert `{text}`"),
        },
        EffectiveUndo::Run(run) => command(run),
        EffectiveUndo::Http(http) => request(http),
        EffectiveUndo::Sql(sql) => sql_text(sql),
        EffectiveUndo::Manual(text) => format!("by hand: {text}"),
    })))
}

/// Describes a check, in the same words as [`what`].
pub fn what_check(check: &Check) -> String {
    mask(&match check {
        Check::Run(run) => command(run),
        Check::Http(http) => request(http),
        Check::Sql(sql) => sql_text(sql),
    })
}

/// Joins the text to one line and shortens it.
fn shown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= SHOWN_CHARS {
        line
    } else {
        let mut short: String = line.chars().take(SHOWN_CHARS).collect();
        short.push('…');
        short
    }
}

/// Removes the password from `scheme://user:password@host`.
fn mask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\''))
            .unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority
            .rsplit_once('@')
            .and_then(|(user, host)| user.split_once(':').map(|(name, _)| (name, host)))
        {
            Some((name, host)) => {
                out.push_str(name);
                out.push_str(":***@");
                out.push_str(host);
            }
            None => out.push_str(authority),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_masked() {
        assert_eq!(
            mask("psql postgres://bob:se:cr@et@db/x && curl http://h/p?u=a@b ftp://a:b@c"),
            "psql postgres://bob:***@db/x && curl http://h/p?u=a@b ftp://a:***@c"
        );
        assert_eq!(mask("no url: a@b"), "no url: a@b");
    }
}

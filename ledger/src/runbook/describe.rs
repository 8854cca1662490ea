//! Describes what a plan would do, in order, without doing it: the output of `plan`.

use serde::Serialize;

use super::kind::StepKind;
use super::model::Gate;
use super::plan::{EffectiveUndo, Plan, effective_undo, has_effect};
use super::step::Step;

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
    /// What else a reader needs to know, such as the thresholds of a watch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// The environment, if it is not the rollout's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Steps (`1.2`) and phases (`phase 0`) that come first.
    pub needs: Vec<String>,
    /// It changes something outside the ledger.
    pub effect: bool,
    /// Something is lost for good when it runs.
    pub destructive: bool,
    /// What is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<String>,
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

/// Lists every step and gate in plan order. The result holds no secrets: a plan has only references
/// to credentials, and passwords in a command's URLs are masked.
pub fn describe(plan: &Plan) -> Vec<PlannedItem> {
    let mut items = Vec::new();
    for (phase_id, phase) in plan.phases() {
        for planned in plan.steps().filter(|s| s.phase_id == phase_id) {
            let (needs, kind) = (plan.needs(planned.id), planned.step.action.kind());
            items.push(PlannedItem {
                phase: phase.id.clone(),
                id: planned.step.id.clone(),
                title: planned.step.title.clone(),
                kind: kind.name().to_owned(),
                what: shown(&masked(&kind.describe())),
                details: kind.details(),
                environment: planned.step.environment.clone(),
                needs: needs
                    .into_iter()
                    .flat_map(|needs| {
                        let steps = needs.steps.iter().map(ToString::to_string);
                        steps.chain(needs.phases.iter().map(|p| format!("phase {p}")))
                    })
                    .collect(),
                effect: has_effect(planned.step),
                destructive: loss(planned.step).is_some(),
                loss: loss(planned.step),
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
                details: Vec::new(),
                environment: None,
                needs: phase.steps.iter().map(|s| s.id.clone()).collect(),
                effect: false,
                destructive: false,
                loss: None,
                undo: None,
                window: None,
                when: None,
            });
        }
    }
    items
}

/// Returns what is lost for good when the step runs; `None` if the plan does not call its effect
/// irreversible and no script of it removes data.
pub fn loss(step: &Step) -> Option<String> {
    if !has_effect(step) {
        return None;
    }
    if matches!(effective_undo(step), EffectiveUndo::Irreversible) {
        return Some("it cannot be undone".to_owned());
    }
    let statement = step.action.kind().removes_data()?;
    Some(format!("{statement} removes data"))
}

/// Returns the whole step as it would be written in a runbook, with its scripts inlined and
/// passwords in URLs masked.
pub fn written(step: &Step) -> String {
    let options = serde_saphyr::ser_options! {
        // Commands are shown with their own line breaks only.
        folded_wrap_chars: usize::MAX,
        empty_as_braces: true,
    };
    // Serialization cannot fail: the step was read from such a text.
    let text = serde_saphyr::to_string_with_options(step, options).unwrap_or_default();
    masked(&text)
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
    Some(shown(&masked(&match effective_undo(step) {
        EffectiveUndo::Nothing => return None,
        EffectiveUndo::None => "none".to_owned(),
        EffectiveUndo::Irreversible => "irreversible".to_owned(),
        EffectiveUndo::RestoreFlag { key } => format!("restore {key}"),
        EffectiveUndo::Revert { revert, .. } => format!("revert {}", revert.shown()),
        EffectiveUndo::Run(run) => run.describe(),
        EffectiveUndo::Http(http) => http.describe(),
        EffectiveUndo::Sql(sql) => sql.describe(),
        EffectiveUndo::Manual(text) => format!("by hand: {text}"),
    })))
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

/// Returns the text with `***` in place of the password of each `scheme://user:password@host`.
pub fn masked(text: &str) -> String {
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
            masked("psql postgres://bob:se:cr@et@db/x && curl http://h/p?u=a@b ftp://a:b@c"),
            "psql postgres://bob:***@db/x && curl http://h/p?u=a@b ftp://a:***@c"
        );
        assert_eq!(masked("no url: a@b"), "no url: a@b");
    }
}

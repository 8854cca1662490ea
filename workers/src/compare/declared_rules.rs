//! Rules as a domain's declaration completes them: read with the declared guard, and found for the
//! types that the domain knows.

use rollbook_ledger::runbook::positioned::{Misplaced, Positioned};
use serde::Deserialize;

use super::declaration::Declaration;
use super::rules::{Rule, Rules, Scope, matches_pattern};
use crate::snapshot::MetricInfo;
use crate::snapshot::row::NULL_TYPE;

/// The class of a stored type; `NULL` stands for no type.
pub(super) fn class_of(declared: &dyn Declaration, stored: &str) -> Option<&'static str> {
    let is_null = stored.trim().eq_ignore_ascii_case(NULL_TYPE);
    declared.class_of((!is_null).then_some(stored))
}

/// Whether a word in a rule means a deal's type, either as stored or by the class it was computed
/// as.
fn names(
    declared: &dyn Declaration,
    word: &str,
    stored: &str,
    computed: Option<&'static str>,
) -> bool {
    word.trim().eq_ignore_ascii_case(stored.trim())
        || computed.is_some() && class_of(declared, word) == computed
}

/// Rules as a person writes them: without a guard, the declared one applies.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "struct Rules")]
struct Written {
    guard: Option<Vec<String>>,
    #[serde(default)]
    allow_model_change: bool,
    rules: Vec<Rule>,
}

impl Written {
    fn complete(self, declared: &dyn Declaration) -> Rules {
        Rules {
            guard: self.guard.unwrap_or_else(|| declared.default_guard()),
            allow_model_change: self.allow_model_change,
            rules: self.rules,
        }
    }
}

impl Rules {
    /// Parses rules from YAML or JSON; every error has a line and a column.
    pub fn from_text(text: &str, declared: &dyn Declaration) -> Result<Self, Misplaced> {
        Self::from_text_for(text, &[], declared)
    }

    /// Like [`Rules::from_text`], for snapshots with these metrics: see [`Rules::check_texts`].
    pub fn from_text_for(
        text: &str,
        metrics: &[MetricInfo],
        declared: &dyn Declaration,
    ) -> Result<Self, Misplaced> {
        let document = Positioned::parse(text)?;
        let rules = document.read::<Written>()?.complete(declared);
        rules
            .check_each()
            .and_then(|()| rules.check_each_text(metrics))
            .map_err(|(index, error)| document.complain("rules", index, error.to_string()))?;
        Ok(rules)
    }

    /// Parses the rules of a plan.
    pub fn from_plan(
        rules: &serde_json::Value,
        declared: &dyn Declaration,
    ) -> Result<Self, serde_json::Error> {
        Written::deserialize(rules).map(|written| written.complete(declared))
    }

    /// Whether deals of this type before, computed as this class, are guarded.
    pub fn guards(
        &self,
        declared: &dyn Declaration,
        deal_type: &str,
        computed: Option<&'static str>,
    ) -> bool {
        let mut guard = self.guard.iter();
        guard.any(|word| names(declared, word, deal_type, computed))
    }

    /// The index of the rule for a metric of deals of a type; `guarded` says whether they are
    /// guarded.
    pub(super) fn find(
        &self,
        declared: &dyn Declaration,
        (deal_type, computed): (&str, Option<&'static str>),
        guarded: bool,
        metric: &str,
    ) -> Option<usize> {
        self.rules.iter().position(|rule| {
            let in_scope = match rule.scope {
                Scope::Any => true,
                Scope::Guarded => guarded,
                Scope::Unguarded => !guarded,
            };
            let of_type = rule.deal_types.is_empty()
                || rule
                    .deal_types
                    .iter()
                    .any(|word| names(declared, word, deal_type, computed));
            in_scope && of_type && matches_pattern(&rule.metric, metric)
        })
    }
}

//! The `flag` step: sets a flag of the plan.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Referent, StepKind};
use crate::runbook::diagnostic::Path;
use crate::runbook::lint::{Linter, StepPart, flags};
use crate::runbook::model::FlagTarget;
use crate::runbook::plan::EffectiveUndo;
use crate::runbook::step::Changes;

/// A flag change. Its undo writes the value before it; verify reads the flag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlagStep {
    /// A flag of `flags`.
    pub key: String,
    /// What to set.
    pub to: FlagTarget,
}

impl StepKind for FlagStep {
    fn name(&self) -> &'static str {
        Self::KEY
    }

    fn describe(&self) -> String {
        let target = match &self.to {
            FlagTarget::On => "on".to_owned(),
            FlagTarget::Off => "off".to_owned(),
            FlagTarget::Safe => "its safe value".to_owned(),
            FlagTarget::Parallel => "parallel".to_owned(),
            FlagTarget::Percentage(share) => format!("{share} %"),
            FlagTarget::Beta(labels) => format!("beta {}", labels.join(", ")),
        };
        format!("set {} to {target}", self.key)
    }

    fn references(&self, path: &Path) -> Vec<(Path, Referent<'_>)> {
        vec![(path.key("key"), Referent::Flag(&self.key))]
    }

    fn lint(&self, linter: &mut Linter<'_>, part: &StepPart<'_>) {
        flags::setting(linter, &self.to, &part.path.key("to"));
    }

    fn has_effect(&self, _: Option<Changes>) -> bool {
        true
    }

    fn derived_undo(&self) -> Option<EffectiveUndo<'_>> {
        Some(EffectiveUndo::RestoreFlag { key: &self.key })
    }

    fn verified_undo(&self) -> Option<&'static str> {
        Some("the flag is read")
    }

    fn flag(&self) -> Option<&FlagStep> {
        Some(self)
    }
}

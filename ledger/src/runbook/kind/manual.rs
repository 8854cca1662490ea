//! The `manual` step: something that a person does.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DoneBy, Referent, StepKind};
use crate::person;
use crate::runbook::diagnostic::{Code, Path};
use crate::runbook::lint::{Linter, StepPart};
use crate::runbook::step::Changes;

/// Something a person does, with a checklist.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manual {
    /// What to do.
    pub instructions: String,
    /// Each item must be answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checklist: Vec<String>,
    /// Who may complete it; absent: anyone in any role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// At least one piece of evidence must be attached.
    #[serde(default)]
    pub evidence_required: bool,
    /// Items and the step itself may be answered "not applicable" (reviewed by another person).
    #[serde(default)]
    pub accept_not_applicable: bool,
}

impl StepKind for Manual {
    fn name(&self) -> &'static str {
        Self::KEY
    }

    fn describe(&self) -> String {
        let items = match self.checklist.len() {
            0 => "nothing to answer".to_owned(),
            1 => "1 item to answer".to_owned(),
            items => format!("{items} items to answer"),
        };
        match &self.role {
            Some(role) => format!("by {role}, {items}"),
            None => format!("by anyone in a role, {items}"),
        }
    }

    fn references(&self, path: &Path) -> Vec<(Path, Referent<'_>)> {
        let role = self.role.iter();
        role.map(|role| (path.key("role"), Referent::Role(role)))
            .collect()
    }

    /// Each item of the checklist is answered on its own, so each must be distinct.
    fn lint(&self, linter: &mut Linter<'_>, part: &StepPart<'_>) {
        let path = part.path.key("checklist");
        let mut seen: HashMap<String, usize> = HashMap::new();
        for (i, item) in self.checklist.iter().enumerate() {
            let normal = person::normal(item);
            if normal.is_empty() {
                linter.error(
                    Code::Checklist,
                    &path.index(i),
                    format!("item {} says nothing", i + 1),
                    None,
                );
            } else if let Some(first) = seen.insert(normal, i) {
                linter.error(
                    Code::Checklist,
                    &path.index(i),
                    format!("item {} is the same as item {}: `{item}`", i + 1, first + 1),
                    None,
                );
            }
        }
    }

    fn done_by(&self) -> DoneBy<'_> {
        DoneBy::Person(self)
    }

    /// What a person does changes something if the step says so.
    fn has_effect(&self, changes: Option<Changes>) -> bool {
        changes.is_some()
    }
}

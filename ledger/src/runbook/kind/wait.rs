//! The `wait` step: lets time pass.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DoneBy, StepKind};
use crate::runbook::diagnostic::Code;
use crate::runbook::lint::{Linter, MAX_SPAN_MS, StepPart};
use crate::runbook::span::Span;

/// Let time pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// How long.
    pub r#for: Span,
}

impl StepKind for Wait {
    fn name(&self) -> &'static str {
        Self::KEY
    }

    fn describe(&self) -> String {
        format!("let {} pass", self.r#for)
    }

    fn lint(&self, linter: &mut Linter<'_>, part: &StepPart<'_>) {
        if !(0..=MAX_SPAN_MS).contains(&self.r#for.as_millis()) {
            linter.error(
                Code::Bounds,
                &part.path.key("for"),
                format!(
                    "the wait of {} is not between nothing and 400 days",
                    self.r#for
                ),
                None,
            );
        }
    }

    fn done_by(&self) -> DoneBy<'_> {
        DoneBy::Time(self.r#for)
    }
}

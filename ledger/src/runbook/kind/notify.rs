//! The `notify` step: sends a message to a channel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Referent, StepKind};
use crate::runbook::diagnostic::Path;

/// Tell someone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// A channel of `channels`.
    pub channel: String,
    /// Subject line.
    pub subject: String,
    /// Text.
    pub body: String,
}

impl StepKind for Notify {
    fn name(&self) -> &'static str {
        Self::KEY
    }

    fn describe(&self) -> String {
        format!("tell {}: {}", self.channel, self.subject)
    }

    fn references(&self, path: &Path) -> Vec<(Path, Referent<'_>)> {
        vec![(path.key("channel"), Referent::Channel(&self.channel))]
    }

    /// A message proves nothing, and sent again it disturbs people.
    fn is_check(&self) -> bool {
        false
    }
}

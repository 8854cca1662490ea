//! Texts that stand in the runbook or in a file beside it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A script or document kept in a file beside the runbook; inlined at load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum Script {
    /// The text itself.
    Text(String),
    /// A file, relative to the runbook.
    File {
        /// Path.
        file: String,
        /// Its content, filled in at load.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(skip)]
        text: Option<String>,
    },
}

impl Script {
    /// The content; `None` when a file has not been inlined.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::File { text, .. } => text.as_deref(),
        }
    }

    /// The name of the file, or else the text in backticks.
    pub fn shown(&self) -> String {
        match self {
            Self::File { file, .. } => file.clone(),
            Self::Text(text) => format!("`{text}`"),
        }
    }
}

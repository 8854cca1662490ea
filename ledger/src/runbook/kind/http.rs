//! The `http` step: a request to an endpoint.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Referent, StepKind};
use crate::runbook::diagnostic::{Code, Path};
use crate::runbook::lint::{Linter, StepPart, measures};
use crate::runbook::recorded::HTTP_STATUS;
use crate::runbook::step::Changes;

/// An HTTP request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Source name.
    pub source: String,
    /// Path below the source's URL.
    pub path: String,
    /// Method, default GET.
    #[serde(default = "get")]
    pub method: String,
    /// JSON body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<serde_json::Value>,
    /// Expected status, default any 2xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Measurements from the JSON answer: name → JSON pointer.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub measure: IndexMap<String, String>,
}

fn get() -> String {
    "GET".to_owned()
}

impl StepKind for Http {
    fn name(&self) -> &'static str {
        Self::KEY
    }

    fn describe(&self) -> String {
        format!("{} {}{}", self.method, self.source, self.path)
    }

    fn references(&self, path: &Path) -> Vec<(Path, Referent<'_>)> {
        vec![(path.key("source"), Referent::Endpoint(&self.source))]
    }

    fn lint(&self, linter: &mut Linter<'_>, part: &StepPart<'_>) {
        self.check_method(linter, &part.path.key("method"));
        if !part.is_action() {
            return;
        }
        for (name, pointer) in &self.measure {
            let path = part.path.key("measure").key(name);
            measures::metric_name(linter, name, &path);
            measures::json_pointer(linter, pointer, &path);
        }
    }

    /// A request by a safe method changes nothing unless the step says otherwise.
    fn has_effect(&self, changes: Option<Changes>) -> bool {
        changes.is_some() || !self.is_safe()
    }

    fn only_reads(&self) -> bool {
        self.is_safe()
    }

    fn records(&self) -> Vec<&str> {
        let measured = self.measure.keys().map(String::as_str);
        [HTTP_STATUS].into_iter().chain(measured).collect()
    }
}

impl Http {
    /// True for the methods that RFC 9110 §9.2.1 calls safe.
    fn is_safe(&self) -> bool {
        ["GET", "HEAD", "OPTIONS"].contains(&self.method.to_ascii_uppercase().as_str())
    }

    fn check_method(&self, linter: &mut Linter<'_>, path: &Path) {
        let name = &self.method;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            linter.error(
                Code::InvalidId,
                path,
                format!("`{name}` is no method that a request can carry"),
                Some("use GET, HEAD, OPTIONS, POST, PUT, PATCH or DELETE".to_owned()),
            );
        }
    }
}

//! The `run` step: a shell command.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Referent, StepKind};
use crate::runbook::diagnostic::{Code, Path};
use crate::runbook::environment::Env;
use crate::runbook::lint::{Linter, StepPart, measures, programs};
use crate::runbook::recorded::EXIT_CODE;
use crate::runbook::step::Changes;

/// A command, run by `sh -c`, with parameters also as `ROLLBOOK_PARAM_<NAME>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Shell text.
    pub command: String,
    /// Working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Its environment variables, besides the few that every program gets.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub env: Env,
    /// Environment variables from sources: variable → source name (its URL).
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub env_sources: IndexMap<String, String>,
    /// Measurements from its output: name → regular expression with one group, the last match.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub measure: IndexMap<String, String>,
}

impl StepKind for Run {
    fn name(&self) -> &'static str {
        Self::KEY
    }

    fn describe(&self) -> String {
        match &self.directory {
            Some(directory) => format!("{} (in {directory})", self.command),
            None => self.command.clone(),
        }
    }

    fn references(&self, path: &Path) -> Vec<(Path, Referent<'_>)> {
        let path = path.key("env_sources");
        self.env_sources
            .iter()
            .map(|(variable, source)| (path.key(variable), Referent::Source(source)))
            .collect()
    }

    fn lint(&self, linter: &mut Linter<'_>, part: &StepPart<'_>) {
        programs::environment(linter, &self.env, &self.env_sources, &part.path);
        if part.is_action() {
            self.measures(linter, &part.path.key("measure"));
        }
    }

    /// Any command may change something; only the author knows better.
    fn has_effect(&self, _: Option<Changes>) -> bool {
        true
    }

    fn records(&self) -> Vec<&str> {
        let measured = self.measure.keys().map(String::as_str);
        [EXIT_CODE].into_iter().chain(measured).collect()
    }

    fn env(&self) -> Option<&Env> {
        Some(&self.env)
    }
}

impl Run {
    fn measures(&self, linter: &mut Linter<'_>, path: &Path) {
        for (name, pattern) in &self.measure {
            let path = path.key(name);
            measures::metric_name(linter, name, &path);
            let problem = match regex::Regex::new(pattern) {
                Ok(regex) if regex.captures_len() == 2 => continue,
                Ok(regex) => format!(
                    "`{pattern}` has {} groups, not one",
                    regex.captures_len() - 1
                ),
                Err(_) => format!("`{pattern}` is not a regular expression"),
            };
            linter.error(
                Code::Pattern,
                &path,
                problem,
                Some(r"write one group around the number, as in `(\d+) passed`".to_owned()),
            );
        }
    }
}

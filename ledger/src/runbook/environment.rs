//! Environment variables that a plan gives to the programs it starts.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::calculator::CalculatorSpec;
use super::model::{Runbook, SecretRef};
use super::step::Step;
use super::undo::Check;

/// The value of an environment variable: a text, or a reference that the worker resolves. What a
/// reference stands for is a secret: it is taken out of everything that is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EnvValue {
    /// The text itself.
    Text(String),
    /// `{env: NAME}`, a variable of the worker, or `{file: PATH}`, a file it can read.
    Reference(SecretRef),
}

/// Environment variables, by name.
pub type Env = IndexMap<String, EnvValue>;

impl Runbook {
    /// Returns the variables of every program that the plan starts, in file order.
    pub fn environments_of_programs(&self) -> Vec<&Env> {
        let calculators = self
            .snapshots
            .values()
            .filter_map(|spec| match &spec.calculator {
                Some(CalculatorSpec::Exec(exec)) => Some(&exec.env),
                _ => None,
            });
        let metrics = self
            .metrics
            .values()
            .filter_map(|metric| metric.run.as_ref().map(|run| &run.env));
        let steps = self
            .phases
            .iter()
            .flat_map(|phase| phase.steps.iter().flat_map(Step::envs));
        calculators.chain(metrics).chain(steps).collect()
    }
}

impl Step {
    /// Returns the variables of its programs: action, verify and undo.
    fn envs(&self) -> impl Iterator<Item = &Env> {
        let verify = self.verify.as_ref().map(Check::kind);
        let kinds = [Some(self.action.kind()), verify, self.undo.kind()];
        kinds.into_iter().flatten().filter_map(|kind| kind.env())
    }
}

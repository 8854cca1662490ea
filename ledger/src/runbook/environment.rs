//! Environment variables that a plan gives to the programs it starts.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::{Check, Run, Undo};
use super::calculator::CalculatorSpec;
use super::model::{Runbook, SecretRef};
use super::step::{Action, Step};

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
            .flat_map(|phase| phase.steps.iter().flat_map(Step::commands))
            .map(|run| &run.env);
        calculators.chain(metrics).chain(steps).collect()
    }
}

impl Step {
    /// Returns its commands: action, verify and undo.
    pub fn commands(&self) -> impl Iterator<Item = &Run> {
        let action = match &self.action {
            Action::Run(run) => Some(run),
            _ => None,
        };
        let verify = match &self.verify {
            Some(Check::Run(run)) => Some(run),
            _ => None,
        };
        let undo = match &self.undo {
            Undo::Run(run) => Some(run),
            _ => None,
        };
        action.into_iter().chain(verify).chain(undo)
    }
}

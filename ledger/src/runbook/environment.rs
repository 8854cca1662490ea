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
    /// Returns the variables of its programs: those of its action, its undo and its checks.
    fn envs(&self) -> impl Iterator<Item = &Env> {
        let [verify, undo_verify] =
            [&self.verify, &self.undo_verify].map(|check| check.as_ref().map(Check::kind));
        let kinds = [
            Some(self.action.kind()),
            verify,
            self.undo.kind(),
            undo_verify,
        ];
        kinds.into_iter().flatten().filter_map(|kind| kind.env())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::{NoFiles, Origin, load};
    use super::*;

    const TEXT: &str = r#"apiVersion: rollbook/v1
kind: Runbook
metadata: {name: p, version: "1", owner: o}
environments: {staging: {}}
phases:
  - id: "0"
    title: Zero
    steps:
      - id: "0.1"
        title: t
        run: {command: do, env: {ACTION: a}}
        verify: {run: {command: check, env: {VERIFY: b}}}
        undo:
          run: {command: undo, env: {UNDO: c}}
          verify: {run: {command: check, env: {GONE: d}}}
"#;

    #[test]
    fn the_variables_of_every_program_of_a_step_are_found() {
        let origin = Origin::new("test", &NoFiles);
        let plan = load(TEXT, &origin, &Default::default(), None).unwrap();
        let found = plan.runbook().environments_of_programs();
        let names: Vec<&String> = found.into_iter().flat_map(Env::keys).collect();
        assert_eq!(names, ["ACTION", "VERIFY", "UNDO", "GONE"]);
    }
}

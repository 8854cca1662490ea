//! The inputs of the plan's programs, and the files kept as evidence of steps.

use indexmap::IndexMap;

use super::super::calculator::CalculatorSpec;
use super::super::diagnostic::{Code, Path};
use super::super::environment::{Env, EnvValue};
use super::super::files::stays_below;
use super::super::model::SecretRef;
use super::references::carries_password;
use super::{Linter, Placed};

pub(super) fn check(linter: &mut Linter<'_>) {
    let runbook = linter.runbook;
    for (name, spec) in &runbook.snapshots {
        if let Some(CalculatorSpec::Exec(exec)) = &spec.calculator {
            let path = Path::root().key("snapshots").key(name);
            let path = path.key("calculator").key("exec");
            environment(linter, &exec.env, &exec.env_sources, &path);
        }
    }
    for (name, metric) in &runbook.metrics {
        if let Some(run) = &metric.run {
            let path = Path::root().key("metrics").key(name).key("run");
            environment(linter, &run.env, &run.env_sources, &path);
        }
    }
    for placed in linter.steps() {
        evidence(linter, &placed);
    }
}

fn evidence(linter: &mut Linter<'_>, placed: &Placed<'_>) {
    let (step, path) = (placed.step, &placed.path);
    for (i, pattern) in step.evidence.iter().enumerate() {
        if !stays_below(pattern) {
            linter.error(
                Code::OutsideDirectory,
                &path.key("evidence").index(i),
                format!("`{pattern}` leaves the step's directory"),
                Some("name files below `directory`, without a leading `/` and `..`".to_owned()),
            );
        }
    }
}

/// Checks the variables given to a program at `path`.
pub(in crate::runbook) fn environment(
    linter: &mut Linter<'_>,
    env: &Env,
    sources: &IndexMap<String, String>,
    path: &Path,
) {
    for (key, name) in env
        .keys()
        .map(|name| ("env", name))
        .chain(sources.keys().map(|name| ("env_sources", name)))
    {
        if name.is_empty() || name.contains(['=', '\0']) {
            linter.error(
                Code::InvalidId,
                &path.key(key).key(name),
                format!("`{name}` cannot name an environment variable"),
                None,
            );
        }
    }
    for name in sources.keys().filter(|name| env.contains_key(*name)) {
        linter.error(
            Code::Duplicate,
            &path.key("env_sources").key(name),
            format!("`{name}` stands in `env` too"),
            None,
        );
    }
    for (name, value) in env {
        let (EnvValue::Text(text) | EnvValue::Reference(SecretRef::Value(text))) = value else {
            continue;
        };
        if carries_password(text) {
            linter.error(
                Code::Credential,
                &path.key("env").key(name),
                "the URL carries a password",
                Some(format!(
                    "refer to it: `{name}: {{env: NAME}}` or `{{file: PATH}}`"
                )),
            );
        }
    }
}

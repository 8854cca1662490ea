//! The `run` action: a shell command.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use regex::bytes::{Captures, Regex};
use rollbook_ledger::runbook::step::Run;
use rollbook_ledger::runbook::{Env, EnvValue, recorded};
use rollbook_proto::v1::Verdict;

use super::capture::OUTPUT_CAP_BYTES;
use super::command::{self, Ending, Ran, Shell};
use super::context::{Scope, StepContext};
use super::error::ExecutorError;
use super::outcome::Outcome;
use super::secret::resolve_source;

/// The end of the output that goes into the message of a failure, in characters.
const MESSAGE_TAIL_CHARS: usize = 400;

/// Runs the command. `pass` means exit code 0.
pub async fn execute(
    context: &StepContext,
    run: &Run,
    timeout: Option<Duration>,
) -> Result<Outcome, ExecutorError> {
    let shell = shell(context, run, timeout)?;
    let measures = measures(run)?;
    let ran = command::run(context, &shell).await?;
    let mut outcome = judge(&ran);
    outcome.measurements.push(match ran.ending {
        Ending::Exited(code) => context.number(recorded::EXIT_CODE, f64::from(code), ""),
        _ => context.no_data(recorded::EXIT_CODE),
    });
    let mut cut = Vec::new();
    for (name, pattern) in measures {
        outcome.measurements.push(match find(&pattern, &ran) {
            Found::Last(text) => context.text_or_number(name, &text),
            Found::Nothing => context.no_data(name),
            Found::Cut => {
                cut.push(name);
                context.no_data(name)
            }
        });
    }
    if !cut.is_empty() {
        outcome.message = format!(
            "{}; no data for {}: the output was longer than {OUTPUT_CAP_BYTES} bytes, its middle was cut, and what is left at its end does not say",
            outcome.message,
            cut.join(", ")
        );
    }
    for (name, captured) in [("stdout", ran.stdout), ("stderr", ran.stderr)] {
        let kept = context
            .keep(
                captured.bytes,
                "text/plain; charset=utf-8",
                name,
                captured.truncated,
            )
            .await?;
        outcome.evidence.extend(kept);
    }
    Ok(outcome)
}

/// The command with its environment.
pub fn shell(
    context: &StepContext,
    run: &Run,
    timeout: Option<Duration>,
) -> Result<Shell, ExecutorError> {
    if run.command.contains('\0') {
        return Err(ExecutorError::Plan {
            reason: "the command contains a NUL character".to_owned(),
        });
    }
    Ok(Shell {
        text: run.command.clone(),
        directory: run.directory.as_ref().map(PathBuf::from),
        env: environment(&context.scope(), &run.env, &run.env_sources)?,
        timeout,
    })
}

/// What the environment of a program says besides what every program gets: parameters, the rollout
/// and step, the variables that the plan names, source URLs.
pub fn environment(
    scope: &Scope<'_>,
    named: &Env,
    sources: &IndexMap<String, String>,
) -> Result<Vec<(String, String)>, ExecutorError> {
    let mut env: Vec<(String, String)> = scope
        .params
        .iter()
        .map(|(name, value)| (param_variable(name), value.clone()))
        .collect();
    env.push(("ROLLBOOK_ROLLOUT".to_owned(), scope.rollout.to_string()));
    env.push(("ROLLBOOK_STEP".to_owned(), scope.step.to_string()));
    env.push(("ROLLBOOK_ATTEMPT".to_owned(), scope.attempt.to_string()));
    env.push((
        "ROLLBOOK_ENVIRONMENT".to_owned(),
        scope.environment.to_owned(),
    ));
    for (variable, value) in named {
        let value = match value {
            EnvValue::Text(text) => text.clone(),
            EnvValue::Reference(reference) => scope.secrets.resolve(reference)?,
        };
        env.push((variable.clone(), value));
    }
    for (variable, source) in sources {
        let resolved = resolve_source(
            scope.plan.runbook(),
            source,
            scope.environment,
            scope.secrets,
        )?;
        env.push((variable.clone(), resolved.url));
    }
    // The system refuses these by panicking in no defined way; name them instead.
    for (name, value) in &env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(ExecutorError::Plan {
                reason: format!("`{name}` cannot be set as an environment variable"),
            });
        }
    }
    Ok(env)
}

/// `deal-count` → `ROLLBOOK_PARAM_DEAL_COUNT`.
pub fn param_variable(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    format!("ROLLBOOK_PARAM_{name}")
}

fn judge(ran: &Ran) -> Outcome {
    const RULE: &str = "exit code 0";
    match &ran.ending {
        Ending::Exited(0) => Outcome::new(Verdict::Pass, RULE, "exit code 0"),
        Ending::Exited(code) => Outcome::new(
            Verdict::Fail,
            RULE,
            format!("exit code {code}{}", last_words(ran)),
        ),
        Ending::Signalled(signal) => Outcome::new(
            Verdict::Error,
            RULE,
            format!("ended by signal {signal}{}", last_words(ran)),
        ),
        Ending::TimedOut(after) => Outcome::error(
            RULE,
            &ExecutorError::TimedOut {
                after: super::seconds(*after),
            },
        ),
        Ending::Cancelled(reason) => Outcome::error(
            RULE,
            &ExecutorError::Cancelled {
                reason: reason.clone(),
            },
        ),
    }
}

/// The last line of standard error, else of standard output.
fn last_words(ran: &Ran) -> String {
    [&ran.stderr, &ran.stdout]
        .into_iter()
        .find_map(|captured| {
            let text = String::from_utf8_lossy(&captured.bytes);
            let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
            Some(format!(
                ": {}",
                line.chars().take(MESSAGE_TAIL_CHARS).collect::<String>()
            ))
        })
        .unwrap_or_default()
}

fn measures(run: &Run) -> Result<Vec<(&str, Regex)>, ExecutorError> {
    run.measure
        .iter()
        .map(|(name, pattern)| {
            let pattern = Regex::new(pattern).map_err(|error| ExecutorError::Plan {
                reason: format!("`measure.{name}` is not a regular expression: {error}"),
            })?;
            Ok((name.as_str(), pattern))
        })
        .collect()
}

/// What a pattern found in the output.
enum Found {
    /// The group of the last match in standard output, else in standard error.
    Last(String),
    /// Nothing.
    Nothing,
    /// Nothing that is known to be the last match: the output was cut.
    Cut,
}

/// A match counts only where nothing that was cut can come after it, or belong to it.
fn find(pattern: &Regex, ran: &Ran) -> Found {
    for captured in [&ran.stdout, &ran.stderr] {
        let last = pattern.captures_iter(captured.end()).last();
        let begins = |groups: &Captures<'_>| groups.get(0).map_or(0, |whole| whole.start());
        match last {
            Some(groups) if !captured.is_cut_at(begins(&groups)) => {
                let group = groups.get(1).or_else(|| groups.get(0));
                let bytes = group.map_or(&[][..], |group| group.as_bytes());
                return Found::Last(String::from_utf8_lossy(bytes).into_owned());
            }
            _ if captured.truncated => return Found::Cut,
            _ => {}
        }
    }
    Found::Nothing
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn parameters_become_variables() {
        assert_eq!(param_variable("deal-count"), "ROLLBOOK_PARAM_DEAL_COUNT");
        assert_eq!(param_variable("a.b"), "ROLLBOOK_PARAM_A_B");
    }
}

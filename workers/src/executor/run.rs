//! The `run` step: a shell command.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use indexmap::IndexMap;
use regex::bytes::Regex;
use rollbook_ledger::decimal::Decimal;
use rollbook_ledger::runbook::kind::Run;
use rollbook_ledger::runbook::{Env, EnvValue, recorded};
use rollbook_ledger::trace;
use rollbook_proto::v1::{self, Verdict};
use tracing::Span;

use super::capture::OUTPUT_CAP_BYTES;
use super::command::{self, CommandOutput, ExitReason, ShellCommand};
use super::context::{StepContext, StepScope};
use super::error::ExecutorError;
use super::kind::Executor;
use super::outcome::Outcome;
use super::secret::resolve_source;

/// How many characters of the end of the output go into the message of a failure.
const MESSAGE_TAIL_CHARS: usize = 400;

#[async_trait]
impl Executor for Run {
    fn intent(&self, _: &StepContext) -> String {
        format!("run `{}`", self.command.trim())
    }

    /// Runs the command. `pass` means exit code 0.
    async fn execute(
        &self,
        context: &StepContext,
        limit: Duration,
    ) -> Result<Outcome, ExecutorError> {
        let shell = shell(context, self, Some(limit))?;
        let measures = measures(self)?;
        let ran = command::run(context, &shell).await?;
        let mut outcome = judge(&ran);
        outcome.measurements.push(match ran.ending {
            ExitReason::Exited(code) => {
                context.number(recorded::EXIT_CODE, Decimal::from(code), "")
            }
            _ => context.no_data(recorded::EXIT_CODE),
        });
        for (name, pattern) in measures {
            outcome
                .measurements
                .push(measure(context, name, &pattern, &ran));
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

    fn ends_itself(&self) -> bool {
        true
    }

    fn directory(&self) -> Option<&str> {
        self.directory.as_deref()
    }
}

/// Makes the command with its environment.
pub fn shell(
    context: &StepContext,
    run: &Run,
    timeout: Option<Duration>,
) -> Result<ShellCommand, ExecutorError> {
    if run.command.contains('\0') {
        return Err(ExecutorError::Plan {
            reason: "the command contains a NUL character".to_owned(),
        });
    }
    Ok(ShellCommand {
        text: run.command.clone(),
        directory: run.directory.as_ref().map(PathBuf::from),
        env: environment(&context.scope(), &run.env, &run.env_sources)?,
        timeout,
    })
}

/// The environment variables a program gets besides those that every program gets: parameters, the
/// rollout and step, the variables that the plan names, source URLs.
pub fn environment(
    scope: &StepScope<'_>,
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
    let traceparent = trace::context_of(&Span::current(), "");
    if !traceparent.is_empty() {
        env.push(("TRACEPARENT".to_owned(), traceparent));
    }
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
    // The system refuses these without a defined error, so name them here.
    for (name, value) in &env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(ExecutorError::Plan {
                reason: format!("`{name}` cannot be set as an environment variable"),
            });
        }
    }
    Ok(env)
}

/// The variable of a parameter: `deal-count` → `ROLLBOOK_PARAM_DEAL_COUNT`.
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

fn judge(ran: &CommandOutput) -> Outcome {
    const RULE: &str = "exit code 0";
    match &ran.ending {
        ExitReason::Exited(0) => Outcome::new(Verdict::Pass, RULE, "exit code 0"),
        ExitReason::Exited(code) => Outcome::new(
            Verdict::Fail,
            RULE,
            format!("exit code {code}{}", last_words(ran)),
        ),
        ExitReason::Signalled(signal) => Outcome::new(
            Verdict::Error,
            RULE,
            format!("ended by signal {signal}{}", last_words(ran)),
        ),
        ExitReason::TimedOut(after) => Outcome::error(
            RULE,
            &ExecutorError::TimedOut {
                after: super::seconds(*after),
            },
        ),
        ExitReason::Cancelled(reason) => Outcome::error(
            RULE,
            &ExecutorError::Cancelled {
                reason: reason.clone(),
            },
        ),
    }
}

/// The last line of standard error, or of standard output if there is none.
fn last_words(ran: &CommandOutput) -> String {
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

/// Measures the last match in standard output, or in standard error if there is none; no match is
/// no data.
///
/// If output was cut, or the command did not run to its end, the last match may be in the missing
/// part: that is no data either, and the measurement says so.
fn measure(
    context: &StepContext,
    name: &str,
    pattern: &Regex,
    ran: &CommandOutput,
) -> v1::Measurement {
    if let Some(why) = ran.ending.unfinished() {
        return context.incomplete(name, &why);
    }
    for (stream, captured) in [
        ("standard output", &ran.stdout),
        ("standard error", &ran.stderr),
    ] {
        let last = last_match(pattern, &captured.bytes, captured.whole_from());
        match last {
            Some(text) => return context.text_or_number(name, &text),
            None if captured.truncated => return context.incomplete(name, &cut(stream)),
            None => {}
        }
    }
    context.no_data(name)
}

/// Why output that was cut gives no measurement.
pub fn cut(stream: &str) -> String {
    format!(
        "{stream} was longer than {OUTPUT_CAP_BYTES} bytes, and what was cut may hold the last figure; write less, or the figure at its end"
    )
}

/// The last match that begins at or after `from`: its group, or the whole match.
fn last_match(pattern: &Regex, bytes: &[u8], from: usize) -> Option<String> {
    let (mut at, mut last) = (from, None);
    while let Some(found) = pattern.captures_at(bytes, at) {
        let whole = found.get(0)?;
        at = whole.end() + usize::from(whole.is_empty());
        last = found.get(1).or(Some(whole));
        if at > bytes.len() {
            break;
        }
    }
    last.map(|group| String::from_utf8_lossy(group.as_bytes()).into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn the_last_match_behind_a_place_is_taken() {
        let last = |pattern: &str, text: &str, from: usize| {
            last_match(&Regex::new(pattern).unwrap(), text.as_bytes(), from)
        };
        let text = "rows 1\nrows 22\n";
        assert_eq!(last(r"rows (\d+)", text, 0).as_deref(), Some("22"));
        assert_eq!(last(r"rows (\d+)", text, 8), None);
        assert_eq!(last(r"(?m)^rows (\d+)$", text, 7).as_deref(), Some("22"));
        assert_eq!(last(r"x*()", text, 0).as_deref(), Some(""));
        assert_eq!(last(r"rows (\d+)", text, text.len()), None);
    }

    #[test]
    fn parameters_become_variables() {
        assert_eq!(param_variable("deal-count"), "ROLLBOOK_PARAM_DEAL_COUNT");
        assert_eq!(param_variable("a.b"), "ROLLBOOK_PARAM_A_B");
    }
}

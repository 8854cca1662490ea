//! The `flag` step: sets a flag of the plan in the step's environment.

use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use rollbook_ledger::flag::FlagUndo;
use rollbook_ledger::ids::FlagKey;
use rollbook_ledger::runbook::RollbackLevel;
use rollbook_ledger::runbook::kind::FlagStep;
use rollbook_ledger::runbook::model::{FlagSpec, FlagTarget};
use rollbook_proto::v1::{FlagMode, FlagSetting, UndoVerification, Verdict};

use super::context::{FlagCause, FlagReading, PortError, StepContext};
use super::error::ExecutorError;
use super::kind::Executor;
use super::outcome::Outcome;

/// The setting that a target of the plan means. `safe` is the flag's own safe value.
pub fn setting_of(target: &FlagTarget, safe: &FlagTarget) -> FlagSetting {
    let mode = |mode: FlagMode| FlagSetting {
        mode: mode.into(),
        ..FlagSetting::default()
    };
    match target {
        FlagTarget::On => mode(FlagMode::On),
        FlagTarget::Off => mode(FlagMode::Off),
        FlagTarget::Parallel => mode(FlagMode::Parallel),
        // A safe value that refers to itself means nothing; `off` is the old path.
        FlagTarget::Safe if *safe == FlagTarget::Safe => mode(FlagMode::Off),
        FlagTarget::Safe => setting_of(safe, &FlagTarget::Off),
        FlagTarget::Percentage(percent) => FlagSetting {
            percentage_millis: millis(*percent),
            ..mode(FlagMode::Percentage)
        },
        FlagTarget::Beta(labels) => FlagSetting {
            beta_labels: labels.clone(),
            ..mode(FlagMode::Beta)
        },
    }
}

/// Converts a percentage to thousandths of a percent, at most 100 %. Lint refuses other values
/// first.
fn millis(percent: f64) -> u32 {
    let millis = (percent * 1000.0).round().clamp(0.0, 100_000.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let millis = millis as u32;
    millis
}

/// A setting in readable form: `on`, `25 %`, `beta (internal, partners)`.
pub fn describe(setting: &FlagSetting) -> String {
    match setting.mode() {
        FlagMode::Unspecified => "unset".to_owned(),
        FlagMode::Off => "off".to_owned(),
        FlagMode::On => "on".to_owned(),
        FlagMode::Parallel => "parallel".to_owned(),
        FlagMode::Percentage => format!("{} %", f64::from(setting.percentage_millis) / 1000.0),
        FlagMode::Beta => format!("beta ({})", setting.beta_labels.join(", ")),
    }
}

/// A target in readable form, as written in the plan.
fn target_words(target: &FlagTarget) -> String {
    match target {
        FlagTarget::Safe => "its safe value".to_owned(),
        other => describe(&setting_of(other, &FlagTarget::Off)),
    }
}

struct Flag<'a> {
    key: FlagKey,
    spec: &'a FlagSpec,
    target: FlagSetting,
}

fn flag_of<'a>(context: &'a StepContext, step: &FlagStep) -> Result<Flag<'a>, ExecutorError> {
    let key = FlagKey::new(&step.key).map_err(|error| ExecutorError::Plan {
        reason: error.to_string(),
    })?;
    let spec = context
        .plan
        .runbook()
        .flags
        .get(&step.key)
        .ok_or_else(|| ExecutorError::Plan {
            reason: format!("flag `{key}` is not declared; add it to `flags`"),
        })?;
    let target = setting_of(&step.to, &spec.safe);
    Ok(Flag { key, spec, target })
}

fn failed<'a>(
    context: &'a StepContext,
    key: &'a FlagKey,
) -> impl Fn(PortError) -> ExecutorError + 'a {
    move |error| ExecutorError::Flag {
        key: key.to_string(),
        environment: context.environment.to_string(),
        reason: error.to_string(),
    }
}

fn cause(context: &StepContext, what: &str) -> FlagCause {
    FlagCause {
        rollout: context.rollout.clone(),
        step: context.step.clone(),
        request: format!(
            "{}/{}/{what}/{}",
            context.rollout, context.step, context.attempt
        ),
        reason: format!("{what} rollout {} step {}", context.rollout, context.step),
        causation_id: context.causation_id.clone(),
    }
}

async fn read(context: &StepContext, key: &FlagKey) -> Result<Option<FlagReading>, ExecutorError> {
    context
        .tools
        .flags
        .read(&context.environment, key)
        .await
        .map_err(failed(context, key))
}

/// Maximum attempts to write while others write as well.
const MAX_TRIES: u32 = 5;

#[async_trait]
impl Executor for FlagStep {
    fn intent(&self, context: &StepContext) -> String {
        format!(
            "set flag {} to {} in {}",
            self.key,
            target_words(&self.to),
            context.environment
        )
    }

    /// Defines the flag if necessary, sets it, and reads it back.
    async fn execute(&self, context: &StepContext, _: Duration) -> Result<Outcome, ExecutorError> {
        let flag = flag_of(context, self)?;
        let before = match read(context, &flag.key).await? {
            Some(before) => before,
            None => {
                context
                    .tools
                    .flags
                    .define(
                        &context.environment,
                        &flag.key,
                        flag.spec,
                        &cause(context, "define"),
                    )
                    .await
                    .map_err(failed(context, &flag.key))?;
                read(context, &flag.key)
                    .await?
                    .ok_or_else(|| ExecutorError::Flag {
                        key: flag.key.to_string(),
                        environment: context.environment.to_string(),
                        reason: "it does not exist after it was defined".to_owned(),
                    })?
            }
        };
        change(context, &flag.key, &before.setting, &flag.target).await
    }

    /// Whether the flag has the setting that the step gives it.
    fn verify<'a>(
        &'a self,
        context: &'a StepContext,
        _: Duration,
    ) -> Option<BoxFuture<'a, Result<Outcome, ExecutorError>>> {
        Some(Box::pin(async move {
            let flag = flag_of(context, self)?;
            let now = read(context, &flag.key).await?.map(|now| now.setting);
            Ok(judge(&flag.key, now.as_ref(), &flag.target))
        }))
    }

    /// Writes back the setting from before this step's change or, in a rollback of level `flags`,
    /// the flag's safe value.
    ///
    /// It writes only if the flag is still as it was read. A later change by somebody else is kept,
    /// and the outcome says so.
    async fn undo(&self, context: &StepContext, _: Duration) -> Result<Outcome, ExecutorError> {
        let flag = flag_of(context, self)?;
        let to_safe = context.facts.rollback.is_some_and(RollbackLevel::is_urgent);
        let failed = failed(context, &flag.key);
        let mut tries = 0;
        loop {
            let found = context
                .tools
                .flags
                .flag_undo(
                    &context.environment,
                    &flag.key,
                    &cause(context, "set"),
                    &flag.target,
                    to_safe,
                )
                .await
                .map_err(&failed)?;
            let Some((now, way)) = found else {
                let why = format!("it was never defined in {}", context.environment);
                return Ok(left(&flag.key, "not there", &why));
            };
            let to = match way {
                FlagUndo::Leave(why) => return Ok(left(&flag.key, &describe(&now.setting), &why)),
                FlagUndo::LeaveOn(why) => {
                    let mut outcome = left(&flag.key, &describe(&now.setting), &why);
                    outcome.verdict = Verdict::Inconclusive;
                    outcome.verification = Some((UndoVerification::Left, outcome.message.clone()));
                    return Ok(outcome);
                }
                FlagUndo::Write(to) => to,
            };
            context.effect.raise();
            tries += 1;
            let written = context
                .tools
                .flags
                .set(
                    &context.environment,
                    &flag.key,
                    to.clone(),
                    Some(&now.setting),
                    &cause(context, "undo"),
                )
                .await;
            match written {
                // Somebody else wrote first: read again and decide anew.
                Err(PortError::Refused { .. }) if tries < MAX_TRIES => continue,
                Err(error) => return Err(failed(error)),
                Ok(()) => {}
            }
            let read = read(context, &flag.key).await?.map(|now| now.setting);
            let mut outcome = judge(&flag.key, read.as_ref(), &to);
            outcome.message = format!("{}, was {}", outcome.message, describe(&now.setting));
            outcome.effect = true;
            if outcome.verdict == Verdict::Pass {
                outcome.verification = Some((UndoVerification::Verified, outcome.message.clone()));
            }
            return Ok(outcome);
        }
    }

    fn undo_intent(&self, context: &StepContext) -> String {
        format!("restore flag {} in {}", self.key, context.environment)
    }
}

/// The outcome when nothing is written: the step's change no longer applies, or the setting is
/// somebody else's.
fn left(key: &FlagKey, now: &str, why: &str) -> Outcome {
    let message = format!("flag {key} is {now} and was left as it is: {why}");
    let mut outcome = Outcome::new(Verdict::Pass, "nothing to undo", message.clone());
    outcome.verification = Some((UndoVerification::Verified, message));
    outcome
}

async fn change(
    context: &StepContext,
    key: &FlagKey,
    from: &FlagSetting,
    to: &FlagSetting,
) -> Result<Outcome, ExecutorError> {
    context.effect.raise();
    if from != to {
        context
            .tools
            .flags
            .set(
                &context.environment,
                key,
                to.clone(),
                None,
                &cause(context, "set"),
            )
            .await
            .map_err(failed(context, key))?;
    }
    let now = read(context, key).await?.map(|now| now.setting);
    let mut outcome = judge(key, now.as_ref(), to);
    outcome.message = format!("{}, was {}", outcome.message, describe(from));
    outcome.effect = true;
    Ok(outcome)
}

fn judge(key: &FlagKey, now: Option<&FlagSetting>, target: &FlagSetting) -> Outcome {
    let rule = format!("flag {key} reads {}", describe(target));
    let verdict = if now == Some(target) {
        Verdict::Pass
    } else {
        Verdict::Fail
    };
    let reading = now.map_or_else(|| "not defined".to_owned(), describe);
    Outcome::new(verdict, rule, format!("flag {key} is {reading}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn targets_become_settings() {
        let safe = FlagTarget::Percentage(12.345);
        let setting = setting_of(&FlagTarget::Safe, &safe);
        assert_eq!(setting.mode(), FlagMode::Percentage);
        assert_eq!(setting.percentage_millis, 12_345);
        assert_eq!(describe(&setting), "12.345 %");
        assert_eq!(
            setting_of(&FlagTarget::Safe, &FlagTarget::Safe).mode(),
            FlagMode::Off
        );
        assert_eq!(millis(250.0), 100_000);
        assert_eq!(millis(f64::NAN), 0);
        let beta = FlagTarget::Beta(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(target_words(&beta), "beta (a, b)");
    }
}

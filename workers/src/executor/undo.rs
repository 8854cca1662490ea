//! Undoes the effects of steps, and checks that they are gone.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use rollbook_ledger::runbook::plan::{EffectiveUndo, effective_undo};
use rollbook_ledger::runbook::step::Step;
use rollbook_proto::v1::{UndoVerification, Verdict};

use super::context::StepContext;
use super::kind::{Executor, of_action, of_check};
use super::outcome::Outcome;
use super::truncate::truncate_with_digest;
use super::{Bound, bounded, limit_of, verify};

/// Undoes a step's effect and checks that it is gone.
pub async fn undo(step: &Step, context: &StepContext) -> Outcome {
    let limit = limit_of(step);
    let tells = tells(step, context).await;
    let work = async {
        match effective_undo(step) {
            EffectiveUndo::Run(run) => run.execute(context, limit).await,
            EffectiveUndo::Http(http) => http.execute(context, limit).await,
            EffectiveUndo::Sql(sql) => sql.execute(context, limit).await,
            EffectiveUndo::Revert { .. } | EffectiveUndo::RestoreFlag { .. } => {
                of_action(&step.action).undo(context, limit).await
            }
            EffectiveUndo::Manual(instructions) => Ok(Outcome::new(
                Verdict::Inconclusive,
                "a person undoes it",
                format!("a person must do this: {instructions}"),
            )),
            EffectiveUndo::Nothing => Ok(Outcome::new(
                Verdict::Pass,
                "nothing to undo",
                "the step has no effect to undo",
            )),
            EffectiveUndo::None | EffectiveUndo::Irreversible => Ok(Outcome::new(
                Verdict::Fail,
                "the plan says how to undo",
                "the plan says that this step cannot be undone",
            )),
        }
    };
    let mut outcome = bounded("undo", context, Bound::ends_itself(limit), work).await;
    if outcome.verdict == Verdict::Pass && outcome.verification.is_none() {
        outcome = apply_undo_check(outcome, verify_undo(step, context, tells).await);
    }
    outcome.effect |= context.effect.is_raised();
    outcome
}

/// Checks whether an undo that a person carried out removed the step's effect.
pub async fn verify_undo_by_hand(step: &Step, context: &StepContext) -> Outcome {
    let begun = Instant::now();
    let done = Outcome::new(Verdict::Pass, "the effect is gone", "undone manually");
    let tells = context.facts.has_passed;
    let mut outcome = apply_undo_check(done, verify_undo(step, context, tells).await);
    outcome.duration = begun.elapsed();
    outcome
}

/// Turns the outcome of an undo into the final one, given what the check of its effect found.
fn apply_undo_check(mut outcome: Outcome, looked: UndoCheck) -> Outcome {
    let (verdict, message) = match &looked {
        UndoCheck::EffectGone(message) => (Verdict::Pass, message.clone()),
        UndoCheck::EffectPresent(message) => (Verdict::Fail, message.clone()),
        UndoCheck::NotVerifiable(why) => (Verdict::Inconclusive, (*why).to_owned()),
        UndoCheck::Failed(message) => (Verdict::Error, message.clone()),
    };
    outcome.verdict = verdict;
    outcome.message = format!("{}; {message}", outcome.message);
    outcome.verification = looked.verification().map(|found| (found, message));
    outcome
}

/// The time between two checks whether an effect is gone.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The message when the plan has nothing to check an undo with.
const NOTHING_TELLS: &str = "not verified: the step has neither `verify` nor `undo.verify`, so nothing can verify whether its effect is gone";

/// The message when `verify` never passed, so that it cannot check the undo.
const NEVER_PASSED: &str = "not verified: the step's `verify` did not pass before the undo either, so it cannot tell whether what the step left is gone; `undo.verify` could";

/// Whether `verify` can tell that the effect is gone: it must have passed in the step's last
/// attempt, or now, before the undo. For a step that failed half-way it proves nothing otherwise.
async fn tells(step: &Step, context: &StepContext) -> bool {
    let is_asked = step.undo_verify.is_none() && step.action.kind().flag().is_none();
    if !is_asked || context.facts.has_passed {
        return true;
    }
    match verify(step, context).await {
        Some(before) => before.verdict == Verdict::Pass,
        None => true,
    }
}

/// The result of checking for a step's effect after its undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UndoCheck {
    /// The effect is gone.
    EffectGone(String),
    /// The effect is still there.
    EffectPresent(String),
    /// The plan has nothing to check with, for this reason.
    NotVerifiable(&'static str),
    /// The check itself failed: the state is unknown.
    Failed(String),
}

impl UndoCheck {
    fn verification(&self) -> Option<UndoVerification> {
        match self {
            Self::EffectGone(_) => Some(UndoVerification::Verified),
            Self::EffectPresent(_) => Some(UndoVerification::Stands),
            Self::NotVerifiable(_) => Some(UndoVerification::NotVerified),
            Self::Failed(_) => None,
        }
    }
}

/// Checks whether a step's effect is gone: its `undo.verify` holds or, where there is none, its
/// `verify` no longer passes. The latter proves something only with `tells`: if `verify` passed
/// while the effect was there.
pub async fn verify_undo(step: &Step, context: &StepContext, tells: bool) -> UndoCheck {
    if let Some(check) = &step.undo_verify {
        let limit = limit_of(step);
        let within = step
            .undo_verify_within
            .map_or(Duration::ZERO, |span| span.to_std());
        let within = SignedDuration::try_from(within).unwrap_or(SignedDuration::MAX);
        let clock = &context.tools.clock;
        let begun = clock.now();
        let looked = loop {
            let work = of_check(check).execute(context, limit);
            let looked = bounded("verify", context, Bound::ends_itself(limit), work).await;
            // An undo may take a while to become visible.
            if looked.verdict == Verdict::Pass || clock.now().duration_since(begun) >= within {
                break looked;
            }
            clock.sleep(ASKED_AGAIN_AFTER).await;
        };
        return match looked.verdict {
            Verdict::Pass => {
                UndoCheck::EffectGone(format!("`undo.verify` holds: {}", looked.message))
            }
            Verdict::Fail => UndoCheck::EffectPresent(format!(
                "the effect is still there: `undo.verify` does not hold: {}",
                looked.message
            )),
            _ => UndoCheck::Failed(format!("`undo.verify` gave no result: {}", looked.message)),
        };
    }
    match verify(step, context).await {
        None => UndoCheck::NotVerifiable(NOTHING_TELLS),
        Some(looked) => match looked.verdict {
            Verdict::Fail if !tells => UndoCheck::NotVerifiable(NEVER_PASSED),
            Verdict::Pass => UndoCheck::EffectPresent(format!(
                "the effect is still there: the step's `verify` passes as before ({}); where it passes without the effect too, say with `undo.verify` what holds afterwards",
                looked.message
            )),
            Verdict::Fail => UndoCheck::EffectGone(format!(
                "the step's `verify` no longer passes: {}",
                looked.message
            )),
            _ => UndoCheck::Failed(format!("`verify` gave no result: {}", looked.message)),
        },
    }
}

/// Describes what an undo will run, for the recorded intent.
pub fn undo_intent(step: &Step, context: &StepContext) -> String {
    let text = match effective_undo(step) {
        EffectiveUndo::Run(run) => run.intent(context),
        EffectiveUndo::Http(http) => http.intent(context),
        EffectiveUndo::Sql(sql) => sql.intent(context),
        EffectiveUndo::Revert { .. } | EffectiveUndo::RestoreFlag { .. } => {
            of_action(&step.action).undo_intent(context)
        }
        EffectiveUndo::Manual(_) => "a person's work".to_owned(),
        EffectiveUndo::Nothing => "nothing to undo".to_owned(),
        EffectiveUndo::None | EffectiveUndo::Irreversible => "not possible".to_owned(),
    };
    truncate_with_digest(&context.redactor.text(&format!("undo: {text}")))
}

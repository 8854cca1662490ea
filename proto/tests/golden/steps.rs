//! Examples: steps and their undos.

use rollbook_proto::v1::event::Kind;
use rollbook_proto::v1::{
    EffectKind, NotApplicableProposed, NotApplicableReviewed, StepFinished, StepInterrupted,
    StepMeasured, StepRetried, StepSkipped, StepStarted, UndoFinished, UndoStarted,
    UndoVerification, Verdict,
};

use crate::values::Distinct;

pub(crate) fn step_started(d: &mut Distinct) -> Kind {
    Kind::StepStarted(StepStarted {
        step_id: d.text("step"),
        attempt: d.small(),
        worker: d.text("worker"),
        intent: d.text("intent"),
    })
}

pub(crate) fn step_measured(d: &mut Distinct) -> Kind {
    Kind::StepMeasured(StepMeasured {
        step_id: d.text("step"),
        attempt: d.small(),
        measurement: Some(d.measurement(Verdict::Pass)),
    })
}

pub(crate) fn step_finished(d: &mut Distinct) -> Kind {
    Kind::StepFinished(StepFinished {
        step_id: d.text("step"),
        attempt: d.small(),
        verdict: Verdict::Error.into(),
        rule: d.text("rule"),
        message: d.text("message"),
        measurements: vec![
            d.measurement(Verdict::Pass),
            d.measurement_without_value(),
            d.measurement_of_zero(),
        ],
        evidence: vec![d.evidence(), d.evidence()],
        duration: Some(d.duration()),
        by_verification: true,
        checklist: vec![
            d.answer(Verdict::Pass),
            d.answer(Verdict::Fail),
            d.answer(Verdict::NotApplicable),
        ],
        effect: true,
        ..StepFinished::default()
    })
}

pub(crate) fn step_finished_partly(d: &mut Distinct) -> Kind {
    Kind::StepFinished(StepFinished {
        step_id: d.text("step"),
        attempt: d.small(),
        verdict: Verdict::Fail.into(),
        message: d.text("message"),
        effect: true,
        effect_kind: EffectKind::Partial.into(),
        statements_done: d.small(),
        last_statement: d.text("statement"),
        ..StepFinished::default()
    })
}

/// A result with exact numbers.
pub(crate) fn step_finished_exactly(d: &mut Distinct) -> Kind {
    Kind::StepFinished(StepFinished {
        step_id: d.text("step"),
        verdict: Verdict::Warning.into(),
        measurements: vec![d.measurement_of_digits(), d.measurement_of_cut_output()],
        ..StepFinished::default()
    })
}

pub(crate) fn step_interrupted(d: &mut Distinct) -> Kind {
    Kind::StepInterrupted(StepInterrupted {
        step_id: d.text("step"),
        attempt: d.small(),
        reason: d.text("reason"),
        retry: true,
        ..StepInterrupted::default()
    })
}

pub(crate) fn step_interrupted_and_resumed(d: &mut Distinct) -> Kind {
    Kind::StepInterrupted(StepInterrupted {
        step_id: d.text("step"),
        attempt: d.small(),
        reason: d.text("reason"),
        resumed_by: d.text("worker"),
        ..StepInterrupted::default()
    })
}

pub(crate) fn step_retried(d: &mut Distinct) -> Kind {
    Kind::StepRetried(StepRetried {
        step_id: d.text("step"),
        reason: d.text("reason"),
        not_before: Some(d.time()),
        recheck: true,
    })
}

pub(crate) fn step_skipped(d: &mut Distinct) -> Kind {
    Kind::StepSkipped(StepSkipped {
        step_id: d.text("step"),
        reason: d.text("reason"),
    })
}

pub(crate) fn not_applicable_proposed(d: &mut Distinct) -> Kind {
    Kind::NotApplicableProposed(NotApplicableProposed {
        step_id: d.text("step"),
        reason: d.text("reason"),
    })
}

pub(crate) fn not_applicable_reviewed(d: &mut Distinct) -> Kind {
    Kind::NotApplicableReviewed(NotApplicableReviewed {
        step_id: d.text("step"),
        accepted: true,
        reason: d.text("reason"),
    })
}

pub(crate) fn undo_started(d: &mut Distinct) -> Kind {
    Kind::UndoStarted(UndoStarted {
        step_id: d.text("step"),
        attempt: d.small(),
        worker: d.text("worker"),
        intent: d.text("intent"),
    })
}

pub(crate) fn undo_verified(d: &mut Distinct) -> Kind {
    Kind::UndoFinished(UndoFinished {
        step_id: d.text("step"),
        verdict: Verdict::Inconclusive.into(),
        verification: UndoVerification::NotVerified.into(),
        verification_message: d.text("verification"),
        ..UndoFinished::default()
    })
}

pub(crate) fn undo_finished_partly(d: &mut Distinct) -> Kind {
    Kind::UndoFinished(UndoFinished {
        step_id: d.text("step"),
        attempt: d.small(),
        verdict: Verdict::Error.into(),
        message: d.text("message"),
        effect_kind: EffectKind::Partial.into(),
        statements_done: d.small(),
        last_statement: d.text("statement"),
        ..UndoFinished::default()
    })
}

pub(crate) fn undo_finished(d: &mut Distinct) -> Kind {
    Kind::UndoFinished(UndoFinished {
        step_id: d.text("step"),
        attempt: d.small(),
        verdict: Verdict::Skipped.into(),
        message: d.text("message"),
        evidence: vec![d.evidence(), d.evidence()],
        duration: Some(d.duration()),
        ..UndoFinished::default()
    })
}

//! Examples: a rollout as a whole, its plan and its rollbacks.

use rollbook_proto::v1::event::Kind;
use rollbook_proto::v1::{
    EffectLeft, PlanOutline, PlanRevised, PlanRevisionAccepted, RollbackFinished, RollbackLevel,
    RollbackPointRecorded, RollbackStarted, RolloutAborted, RolloutClosed, RolloutOpened,
    RolloutOutcome, RolloutPaused, RolloutResumed, RolloutStarted, Verdict,
};

use crate::values::Distinct;

pub(crate) fn rollout_opened(d: &mut Distinct) -> Kind {
    Kind::RolloutOpened(RolloutOpened {
        name: d.text("name"),
        runbook: d.text("runbook"),
        runbook_version: d.text("version"),
        plan: Some(d.evidence()),
        outline: Some(d.outline()),
        environment: d.text("environment"),
        protected: true,
        params: d.text_map("param"),
    })
}

pub(crate) fn rollout_started(_: &mut Distinct) -> Kind {
    Kind::RolloutStarted(RolloutStarted {})
}

pub(crate) fn rollout_paused(d: &mut Distinct) -> Kind {
    Kind::RolloutPaused(RolloutPaused {
        reason: d.text("reason"),
    })
}

pub(crate) fn rollout_resumed(d: &mut Distinct) -> Kind {
    Kind::RolloutResumed(RolloutResumed {
        reason: d.text("reason"),
    })
}

pub(crate) fn rollout_aborted(d: &mut Distinct) -> Kind {
    Kind::RolloutAborted(RolloutAborted {
        reason: d.text("reason"),
    })
}

pub(crate) fn rollout_closed(d: &mut Distinct) -> Kind {
    Kind::RolloutClosed(RolloutClosed {
        outcome: RolloutOutcome::RolledBack.into(),
        summary: d.text("summary"),
    })
}

pub(crate) fn plan_revised(d: &mut Distinct) -> Kind {
    Kind::PlanRevised(PlanRevised {
        revision: d.small(),
        plan: Some(d.evidence()),
        outline: Some(d.outline()),
        reason: d.text("reason"),
        ..PlanRevised::default()
    })
}

pub(crate) fn plan_revised_with_its_runbook(d: &mut Distinct) -> Kind {
    Kind::PlanRevised(PlanRevised {
        outline: Some(PlanOutline {
            runbook: d.text("runbook"),
            runbook_version: d.text("version"),
            ..PlanOutline::default()
        }),
        ..PlanRevised::default()
    })
}

pub(crate) fn plan_revision_accepted(d: &mut Distinct) -> Kind {
    Kind::PlanRevisionAccepted(PlanRevisionAccepted {
        revision: d.small(),
    })
}

pub(crate) fn rollback_point_recorded(d: &mut Distinct) -> Kind {
    Kind::RollbackPointRecorded(RollbackPointRecorded {
        point_id: d.text("point"),
        phase_id: d.text("phase"),
        description: d.text("description"),
    })
}

pub(crate) fn rollback_started(d: &mut Distinct) -> Kind {
    Kind::RollbackStarted(RollbackStarted {
        rollback_id: d.text("rollback"),
        level: RollbackLevel::Migrations.into(),
        reason: d.text("reason"),
        undo_steps: d.texts("step"),
        ..RollbackStarted::default()
    })
}

pub(crate) fn rollback_finished(d: &mut Distinct) -> Kind {
    Kind::RollbackFinished(RollbackFinished {
        rollback_id: d.text("rollback"),
        verdict: Verdict::Pass.into(),
        summary: d.text("summary"),
        ..RollbackFinished::default()
    })
}

pub(crate) fn rollback_started_with_all(d: &mut Distinct) -> Kind {
    Kind::RollbackStarted(RollbackStarted {
        running: d.texts("running"),
        left: vec![effect_left(d), effect_left(d)],
        ..RollbackStarted::default()
    })
}

fn effect_left(d: &mut Distinct) -> EffectLeft {
    EffectLeft {
        step_id: d.text("step"),
        why: d.text("why"),
    }
}

pub(crate) fn rollback_finished_with_all(d: &mut Distinct) -> Kind {
    Kind::RollbackFinished(RollbackFinished {
        not_verified: d.texts("step"),
        left: d.texts("left"),
        ..RollbackFinished::default()
    })
}

//! The rollback list: what a rollback does, computed by the rules that execute it. It is shown
//! before the rollback, recorded at its start, and then worked off.

use serde::{Deserialize, Serialize};

use super::super::state::{Effect, RolloutState, StepStatus};
use super::effects;
use crate::ids::StepId;
use crate::runbook::Plan;
use crate::runbook::RollbackLevel;
use crate::runbook::plan::{EffectiveUndo, has_effect, undo_verified_by};

/// Everything a rollback would do, as of one state of a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RollbackPreview {
    /// The level.
    pub level: RollbackLevel,
    /// The undos, in execution order: the reverse of the order in which the effects were made.
    pub undo: Vec<UndoItem>,
    /// Running steps within the level; their effects are undone once they have ended.
    pub running: Vec<StepId>,
    /// Effects that stay in place.
    pub left: Vec<LeftItem>,
}

/// One undo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UndoItem {
    /// The step whose effect it undoes.
    pub step: StepId,
    /// The step's title.
    pub title: String,
    /// A description of the undo.
    pub how: String,
    /// A person has to do it.
    pub by_hand: bool,
    /// What verifies it; empty if nothing can, which is recorded as not verified.
    pub verified_by: String,
}

/// An effect that stays in place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftItem {
    /// The step.
    pub step: StepId,
    /// Why it stays.
    pub why: String,
}

impl RollbackPreview {
    /// Iterates over the steps to undo, in order.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &StepId> {
        self.undo.iter().map(|item| &item.step)
    }
}

/// Returns what a rollback of this level would do now; `named` lists the steps of a partial one.
pub(crate) fn list(
    state: &RolloutState,
    plan: &Plan,
    level: RollbackLevel,
    named: &[StepId],
) -> RollbackPreview {
    let belongs = |id: &StepId| {
        plan.step(id)
            .is_some_and(|(_, step)| level.selector(named).takes(id, step))
    };
    let undo: Vec<UndoItem> = effects::to_undo(state, plan, level, named)
        .into_iter()
        .filter_map(|step| item(plan, step, level))
        .collect();
    let running: Vec<StepId> = state
        .steps
        .iter()
        .filter(|(_, at)| at.status == StepStatus::Running && !at.recheck)
        .map(|(id, _)| id)
        .filter(|id| plan.undo(id).is_some_and(|undo| undo.is_possible()) && belongs(id))
        .cloned()
        .collect();
    let left = state
        .effects
        .iter()
        .filter(|id| !undo.iter().any(|item| item.step == **id))
        .filter_map(|id| {
            let why = reason_left(state, plan, id, level, belongs(id))?;
            let step = id.clone();
            Some(LeftItem { step, why })
        })
        .collect();
    RollbackPreview {
        level,
        undo,
        running,
        left,
    }
}

/// Returns why the effect stays in place; `None` if the plan knows of no effect.
fn reason_left(
    state: &RolloutState,
    plan: &Plan,
    id: &StepId,
    level: RollbackLevel,
    belongs: bool,
) -> Option<String> {
    let at = state.step(id)?;
    let Some((_, step)) = plan.step(id) else {
        return Some("the plan in force no longer has the step".to_owned());
    };
    if at.effect == Effect::None || at.effect == Effect::Unknown && !has_effect(step) {
        return None;
    }
    Some(match plan.undo(id)? {
        EffectiveUndo::Irreversible => "the plan says that it cannot be undone".to_owned(),
        EffectiveUndo::None => "the plan says that nothing undoes it".to_owned(),
        EffectiveUndo::Nothing => return None,
        _ if !belongs && level.names_steps() => "it is not named".to_owned(),
        _ => format!("a rollback of level {} does not undo it", level.as_str()),
    })
}

fn item(plan: &Plan, id: StepId, level: RollbackLevel) -> Option<UndoItem> {
    let (_, step) = plan.step(&id)?;
    let undo = plan.undo(&id)?;
    let how = match &undo {
        EffectiveUndo::RestoreFlag { key } if level.is_urgent() => {
            format!("flag {key} to its safe value")
        }
        EffectiveUndo::RestoreFlag { key } => {
            format!("flag {key} to what it was before the step")
        }
        EffectiveUndo::Revert { source, .. } => format!("revert script on source {source}"),
        EffectiveUndo::Run(_) => "its undo command".to_owned(),
        EffectiveUndo::Http(http) => {
            format!("{} {} of source {}", http.method, http.path, http.source)
        }
        EffectiveUndo::Sql(sql) => format!("undo script on source {}", sql.source),
        EffectiveUndo::Manual(text) => format!("by hand: {text}"),
        EffectiveUndo::Nothing | EffectiveUndo::None | EffectiveUndo::Irreversible => return None,
    };
    Some(UndoItem {
        title: step.title.clone(),
        how,
        by_hand: matches!(undo, EffectiveUndo::Manual(_)),
        verified_by: undo_verified_by(step).unwrap_or_default().to_owned(),
        step: id,
    })
}

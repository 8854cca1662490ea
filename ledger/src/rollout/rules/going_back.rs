//! What a rollback does, listed by the rules that carry it out: shown before, recorded when it
//! starts, and worked off.

use serde::{Deserialize, Serialize};

use super::super::state::{Effect, RolloutState, StepStatus};
use super::effects;
use crate::ids::StepId;
use crate::runbook::Plan;
use crate::runbook::RollbackLevel;
use crate::runbook::plan::{EffectiveUndo, has_effect, undo_verified_by};

/// All that a rollback comes to, as of one state of a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RollbackList {
    /// How far it goes.
    pub level: RollbackLevel,
    /// What is undone, in this order: the reverse of what was done.
    pub undo: Vec<UndoItem>,
    /// Steps of the level that run: what they do is undone when they have ended.
    pub running: Vec<StepId>,
    /// Effects that stand and stay.
    pub left: Vec<LeftItem>,
}

/// One undo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UndoItem {
    /// Whose effect it takes back.
    pub step: StepId,
    /// The step's title.
    pub title: String,
    /// What is done.
    pub how: String,
    /// A person does it.
    pub by_hand: bool,
    /// What proves it; empty: nothing, it will be recorded as not verified.
    pub verified_by: String,
}

/// An effect that stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftItem {
    /// Whose.
    pub step: StepId,
    /// Why it stays.
    pub why: String,
}

impl RollbackList {
    /// The steps to undo, in order.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &StepId> {
        self.undo.iter().map(|item| &item.step)
    }
}

/// What a rollback of this level would do now. `named` are the steps of a partial one.
pub(crate) fn list(
    state: &RolloutState,
    plan: &Plan,
    level: RollbackLevel,
    named: &[StepId],
) -> RollbackList {
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
            let why = why_left(state, plan, id, level, belongs(id))?;
            let step = id.clone();
            Some(LeftItem { step, why })
        })
        .collect();
    RollbackList {
        level,
        undo,
        running,
        left,
    }
}

/// Why the effect stays; `None`: there is none, as far as the plan can tell.
fn why_left(
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
        EffectiveUndo::Irreversible => "the plan says that it cannot be taken back".to_owned(),
        EffectiveUndo::None => "the plan says that nothing takes it back".to_owned(),
        EffectiveUndo::Nothing => return None,
        _ if !belongs && level.names_steps() => "it is not named".to_owned(),
        _ => format!(
            "a rollback of level {} does not take it back",
            level.as_str()
        ),
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

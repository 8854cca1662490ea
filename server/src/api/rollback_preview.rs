//! The dry run of a rollback: the list that the real one starts from.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use rollbook_ledger::flag::{ChangeToUndo, FlagUndo, flag_undo};
use rollbook_ledger::handler::HandlerError;
use rollbook_ledger::ids::{EnvironmentId, FlagKey, RolloutId, StepId};
use rollbook_ledger::rollout::{self, Refusal, RollbackPreview};
use rollbook_ledger::runbook::RollbackLevel;
use rollbook_proto::v1;
use rollbook_workers::executor::{describe_flag, setting_of};
use serde::{Deserialize, Serialize};

use super::{Api, ApiError};

/// The dry run of a rollback.
#[derive(Debug, Serialize, Deserialize)]
pub struct RollbackAnswer {
    /// The rollout.
    pub rollout: RolloutId,
    /// Sequence of its last commit, as of which this is true.
    pub sequence: u64,
    /// The target time, from the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What a person should know first, from the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What is undone, what is running, what stays.
    #[serde(flatten)]
    pub list: RollbackPreview,
}

/// The steps of a partial rollback.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RollbackQuery {
    /// Comma-separated ids.
    steps: String,
}

pub(super) async fn list(
    State(api): State<Api>,
    Path((id, level)): Path<(RolloutId, RollbackLevel)>,
    Query(query): Query<RollbackQuery>,
) -> Result<Json<RollbackAnswer>, ApiError> {
    let loaded = api.handler.rollout(&id).await?;
    let mut steps = Vec::new();
    for step in query.steps.split(',').filter(|step| !step.is_empty()) {
        let step = StepId::new(step)
            .map_err(|_| HandlerError::from(Refusal::no_such_step(&loaded.state, step)))?;
        steps.push(step);
    }
    let mut list = rollout::preview_rollback(&loaded.state, &loaded.plan, level, &steps)
        .map_err(HandlerError::from)?;
    // Flags that earlier undos of the list will have written.
    let mut written: HashMap<(EnvironmentId, FlagKey), v1::FlagSetting> = HashMap::new();
    for item in &mut list.undo {
        let Some((_, step)) = loaded.plan.step(&item.step) else {
            continue;
        };
        let Some(flag) = step.action.kind().flag() else {
            continue;
        };
        let environment = loaded.plan.environment_of(step, &loaded.state.environment);
        let (Ok(environment), Ok(key), Some(spec)) = (
            EnvironmentId::new(environment),
            FlagKey::new(&flag.key),
            loaded.plan.runbook().flags.get(&flag.key),
        ) else {
            continue;
        };
        let Some((state, history)) = api.handler.flag_history(&environment, &key).await? else {
            continue;
        };
        let place = (environment, key);
        let now = written.get(&place).unwrap_or(&state.setting).clone();
        let change = ChangeToUndo {
            rollout: &id,
            step: &item.step,
            target: &setting_of(&flag.to, &spec.safe),
            to_safe: level.is_urgent(),
        };
        let shown = describe_flag(&now);
        item.how = match flag_undo(&history, &now, &state.safe, &change) {
            FlagUndo::Write(to) => {
                let how = format!("flag {}: {shown} → {}", place.1, describe_flag(&to));
                written.insert(place, to);
                how
            }
            FlagUndo::Leave(why) | FlagUndo::LeaveOn(why) => {
                format!("flag {} stays {shown}: {why}", place.1)
            }
        };
    }
    let spec = loaded.plan.runbook().rollbacks.get(&level);
    Ok(Json(RollbackAnswer {
        rollout: id,
        sequence: loaded.sequence,
        target: spec
            .and_then(|spec| spec.target)
            .map(|target| target.to_string()),
        description: spec.and_then(|spec| spec.description.clone()),
        list,
    }))
}

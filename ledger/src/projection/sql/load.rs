//! Loads the existing rows onto which a batch is projected.

use std::collections::HashMap;

use super::{Tx, select};
use crate::projection::row::{Column, ColumnValue};
use crate::projection::rows::{
    AlertRow, AuditRow, ComparisonRow, EnvironmentRow, FlagRow, GateRow, HealthRow, PhaseRow,
    RequestRow, RevisionRow, RollbackRow, RolloutRow, SignOffRow, StepRow, SuccessMetricRow,
    WorkerRow,
};
use crate::projection::state::{NeededRows, RolloutRows, State};
use crate::projection::store::ViewError;

/// Maximum number of ids per statement.
const MAX_IDS: usize = 200;

pub(super) async fn load<T: Tx>(
    tx: &mut T,
    state: &mut State,
    needs: NeededRows,
) -> Result<(), ViewError> {
    let rollouts: Vec<ColumnValue> = needs.rollouts.iter().map(Column::to_value).collect();
    for ids in rollouts.chunks(MAX_IDS) {
        load_rollouts(tx, state, ids).await?;
    }
    let flags: Vec<(String, String)> = needs.flags.into_iter().collect();
    for ids in flags.chunks(MAX_IDS) {
        let places = vec!["(?, ?)"; ids.len()].join(", ");
        let args = ids
            .iter()
            .flat_map(|(environment, key)| [environment.to_value(), key.to_value()])
            .collect();
        let rest = format!("WHERE (t.environment, t.\"key\") IN (VALUES {places})");
        for row in select::<FlagRow, T>(tx, &rest, args).await? {
            state
                .flags
                .insert((row.environment.clone(), row.key.clone()), row);
        }
        let args = ids
            .iter()
            .flat_map(|(environment, key)| [environment.to_value(), key.to_value()])
            .collect();
        let rest = format!(
            "WHERE (t.environment, t.flag) IN (VALUES {places}) AND t.status IN ('waiting', 'open', 'overdue') ORDER BY t.made_sequence, t.request"
        );
        for row in select::<RequestRow, T>(tx, &rest, args).await? {
            state
                .flag_requests
                .entry((row.environment.clone(), row.flag.clone()))
                .or_default()
                .push(row);
        }
    }
    let workers: Vec<ColumnValue> = needs.workers.iter().map(Column::to_value).collect();
    for names in workers.chunks(MAX_IDS) {
        let places = vec!["?"; names.len()].join(", ");
        let rest = format!("WHERE t.worker IN ({places})");
        for row in select::<WorkerRow, T>(tx, &rest, names.to_vec()).await? {
            state.workers.insert(row.worker.clone(), row);
        }
    }
    let environments: Vec<ColumnValue> = needs.environments.iter().map(Column::to_value).collect();
    for names in environments.chunks(MAX_IDS) {
        let places = vec!["?"; names.len()].join(", ");
        let rest = format!("WHERE t.environment IN ({places})");
        for row in select::<EnvironmentRow, T>(tx, &rest, names.to_vec()).await? {
            state.environments.insert(row.environment.clone(), row);
        }
    }
    Ok(())
}

async fn load_rollouts<T: Tx>(
    tx: &mut T,
    state: &mut State,
    ids: &[ColumnValue],
) -> Result<(), ViewError> {
    let places = vec!["?"; ids.len()].join(", ");
    let of = |more: &str| format!("WHERE t.rollout IN ({places}) {more}");
    let args = || ids.to_vec();
    let mut loaded: HashMap<String, RolloutRows> = select::<RolloutRow, T>(tx, &of(""), args())
        .await?
        .into_iter()
        .map(|row| (row.rollout.clone(), RolloutRows::new(row)))
        .collect();
    if loaded.is_empty() {
        return Ok(());
    }
    macro_rules! rows {
        ($row:ty, $rest:expr, |$rollout:ident, $loaded_row:ident| $put:expr) => {
            for $loaded_row in select::<$row, T>(tx, &of($rest), args()).await? {
                if let Some($rollout) = loaded.get_mut(&$loaded_row.rollout) {
                    $put;
                }
            }
        };
    }
    let in_order = "ORDER BY t.sequence, t.idx";
    rows!(HealthRow, "", |rollout, row| rollout.health = row);
    rows!(PhaseRow, "", |rollout, row| rollout
        .phases
        .insert(row.phase.clone(), row));
    rows!(StepRow, "", |rollout, row| rollout
        .steps
        .insert(row.step.clone(), row));
    rows!(GateRow, "", |rollout, row| rollout
        .gates
        .insert(row.gate.clone(), row));
    rows!(
        SignOffRow,
        &format!("AND t.status <> 'voided' {in_order}"),
        |rollout, row| rollout.sign_offs.push(row)
    );
    rows!(
        AlertRow,
        &format!("AND t.status <> 'resolved' {in_order}"),
        |rollout, row| rollout.alerts.push(row)
    );
    rows!(
        RollbackRow,
        "ORDER BY t.started_sequence, t.rollback",
        |rollout, row| rollout.rollbacks.push(row)
    );
    rows!(
        ComparisonRow,
        &format!("AND t.superseded_by IS NULL {in_order}"),
        |rollout, row| rollout.comparisons.push(row)
    );
    rows!(AuditRow, in_order, |rollout, row| rollout.audit = Some(row));
    rows!(SuccessMetricRow, "", |rollout, row| rollout
        .metrics
        .insert(row.metric.clone(), row));
    rows!(
        RevisionRow,
        "AND t.status = 'proposed' ORDER BY t.revision",
        |rollout, row| rollout.revision = Some(row)
    );
    rows!(
        RequestRow,
        "AND t.status IN ('waiting', 'open', 'overdue') ORDER BY t.made_sequence, t.request",
        |rollout, row| rollout.requests.push(row)
    );
    state.rollouts.extend(loaded);
    Ok(())
}

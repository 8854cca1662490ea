//! Projects plan revisions: proposed, then accepted or withdrawn. Only acceptance changes the plan
//! in force.

use rollbook_proto::v1::{PlanOutline, PlanRevised};

use super::{At, Out};
use crate::projection::row::{Json, clean};
use crate::projection::rows::RevisionRow;
use crate::projection::state::RolloutRows;
use crate::projection::words::RevisionStatus;
use crate::runbook::difference;

pub(super) fn proposed(
    rollout: &mut RolloutRows,
    at: &At<'_>,
    revised: &PlanRevised,
    out: &mut Out,
) -> Result<(), String> {
    if revised.revision <= rollout.rollout.revision {
        return Err(format!(
            "revision {} does not follow revision {}",
            revised.revision, rollout.rollout.revision
        ));
    }
    if let Some(waits) = &rollout.revision {
        return Err(format!("revision {} is already waiting", waits.revision));
    }
    if revised.outline.is_none() {
        out.note("the revision has no outline");
    }
    let difference = revised.difference.as_ref();
    let row = RevisionRow {
        rollout: rollout.rollout.rollout.clone(),
        revision: revised.revision,
        plan_digest: revised
            .plan
            .as_ref()
            .map_or_else(String::new, |plan| clean(&plan.sha256)),
        status: RevisionStatus::Proposed,
        reason: clean(&revised.reason),
        proposed_by: at.actor.clone(),
        proposed_at: at.recorded_at,
        decided_by: String::new(),
        decided_at: None,
        difference: Json(difference.map_or_else(Vec::new, |difference| {
            let changes = difference.changes.iter();
            changes
                .map(|change| clean(&difference::line(change)))
                .collect()
        })),
        changes: difference.map_or(0, |difference| difference.total),
        difference_sha256: difference.map_or_else(String::new, |d| clean(&d.sha256)),
        difference_bytes: difference.map_or(0, |difference| difference.size_bytes),
        params: Json(difference.map(|_| {
            revised
                .params
                .iter()
                .map(|(name, value)| (clean(name), clean(value)))
                .collect()
        })),
        outline: Json(revised.outline.clone()),
        updated_sequence: at.sequence,
    };
    out.put(&row);
    rollout.revision = Some(row);
    rollout.rollout.revision_accepted = false;
    Ok(())
}

/// Returns the outline of the accepted plan.
pub(super) fn accepted(
    rollout: &mut RolloutRows,
    at: &At<'_>,
    revision: u32,
    out: &mut Out,
) -> Result<Option<PlanOutline>, String> {
    let row = decided(rollout, at, revision, RevisionStatus::Accepted, out)?;
    let rollout = &mut rollout.rollout;
    rollout.revision = row.revision;
    rollout.plan_digest = row.plan_digest;
    if let Some(params) = row.params.0 {
        rollout.params = Json(params);
    }
    Ok(row.outline.0)
}

pub(super) fn withdrawn(
    rollout: &mut RolloutRows,
    at: &At<'_>,
    revision: u32,
    out: &mut Out,
) -> Result<(), String> {
    decided(rollout, at, revision, RevisionStatus::Withdrawn, out).map(|_| ())
}

fn decided(
    rollout: &mut RolloutRows,
    at: &At<'_>,
    revision: u32,
    status: RevisionStatus,
    out: &mut Out,
) -> Result<RevisionRow, String> {
    let mut row = rollout
        .revision
        .take_if(|row| row.revision == revision)
        .ok_or_else(|| format!("revision {revision} is not proposed"))?;
    row.status = status;
    row.decided_by.clone_from(&at.actor);
    row.decided_at = at.recorded_at;
    row.updated_sequence = at.sequence;
    out.put(&row);
    rollout.rollout.revision_accepted = true;
    Ok(row)
}

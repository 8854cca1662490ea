//! The plans of a rollout, by revision, and what one changes in another.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use rollbook_ledger::ids::RolloutId;
use rollbook_ledger::runbook::{describe, difference};
use rollbook_proto::v1;
use serde::{Deserialize, Serialize};

use super::{Api, ApiError};

/// How a part of a plan differs between two revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// Only the later one has it.
    Added,
    /// Only the earlier one has it.
    Removed,
    /// Both have it, with different content.
    Changed,
}

/// A part of a plan that differs between two revisions.
#[derive(Debug, Serialize, Deserialize)]
pub struct PartDifference {
    /// How it differs.
    pub change: DifferenceKind,
    /// The part, such as `step 1.1: run.command`.
    pub what: String,
    /// Its content in the earlier revision, uncut, passwords in URLs masked; empty if added.
    pub before: String,
    /// Its content in the later revision, likewise; empty if removed.
    pub after: String,
}

/// What one revision of a plan changes in another.
#[derive(Debug, Serialize, Deserialize)]
pub struct DifferenceAnswer {
    /// The rollout.
    pub rollout: RolloutId,
    /// The earlier revision; 1 is the plan with which the rollout was opened.
    pub from: u32,
    /// SHA-256 of its canonical plan.
    pub from_digest: String,
    /// The later revision.
    pub to: u32,
    /// SHA-256 of its canonical plan.
    pub to_digest: String,
    /// Everything that differs: parameters, people, then the plan in its order.
    pub changes: Vec<PartDifference>,
}

/// Which revision.
#[derive(Debug, Deserialize)]
pub(super) struct RevisionQuery {
    /// The one in force if absent.
    revision: Option<u32>,
}

/// `GET /v1/rollouts/{id}/plan`: the canonical JSON, whose SHA-256 is the plan's digest.
pub(super) async fn plan(
    State(api): State<Api>,
    Path(id): Path<RolloutId>,
    Query(query): Query<RevisionQuery>,
) -> Result<impl IntoResponse, ApiError> {
    let plan = match query.revision {
        Some(revision) => api.handler.revision(&id, revision).await?,
        None => api.handler.rollout(&id).await?.plan,
    };
    let bytes = plan.canonical_json().to_vec();
    Ok(([(header::CONTENT_TYPE, "application/json")], bytes))
}

/// The two revisions.
#[derive(Debug, Deserialize)]
pub(super) struct DifferenceQuery {
    from: u32,
    to: u32,
}

/// `GET /v1/rollouts/{id}/difference`.
pub(super) async fn difference(
    State(api): State<Api>,
    Path(id): Path<RolloutId>,
    Query(query): Query<DifferenceQuery>,
) -> Result<Json<DifferenceAnswer>, ApiError> {
    let from = api.handler.revision(&id, query.from).await?;
    let to = api.handler.revision(&id, query.to).await?;
    let changes = difference::between(&from, &to)
        .changes()
        .iter()
        .map(|change| PartDifference {
            change: match change.change() {
                v1::ChangeKind::Added => DifferenceKind::Added,
                v1::ChangeKind::Removed => DifferenceKind::Removed,
                v1::ChangeKind::Changed | v1::ChangeKind::Unspecified => DifferenceKind::Changed,
            },
            what: change.what.clone(),
            before: describe::masked(&change.before),
            after: describe::masked(&change.after),
        })
        .collect();
    Ok(Json(DifferenceAnswer {
        rollout: id,
        from: query.from,
        from_digest: from.digest().to_owned(),
        to: query.to,
        to_digest: to.digest().to_owned(),
        changes,
    }))
}

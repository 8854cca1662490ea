//! Plans in the evidence store, by digest and by the revisions of a rollout.

use std::sync::Arc;

use bytes::Bytes;
use rollbook_proto::v1;

use super::error::HandlerError;
use super::{Handler, fold_rollout, no_rollout};
use crate::evidence::EvidenceError;
use crate::ids::{Aggregate, RolloutId};
use crate::journal::execute::load;
use crate::runbook::Plan;

impl Handler {
    /// Stores a plan's canonical form as evidence. Durable on return; storing twice is harmless.
    pub async fn store_plan(&self, plan: &Plan) -> Result<v1::Evidence, HandlerError> {
        let bytes = Bytes::from(plan.canonical_json().to_vec());
        Ok(self.evidence.put(bytes, "application/json", "plan").await?)
    }

    /// Returns a revision of a rollout's plan: accepted, proposed or withdrawn; 1 is the plan with
    /// which it was opened.
    pub async fn revision(&self, id: &RolloutId, revision: u32) -> Result<Arc<Plan>, HandlerError> {
        let aggregate = Aggregate::Rollout(id.clone());
        let (state, _) = load(&*self.journal, &aggregate, &self.rollouts, fold_rollout).await?;
        let state = state.ok_or_else(|| no_rollout(id))?;
        match state.plans.get(&revision) {
            Some(digest) => self.pinned(digest).await,
            None => Err(HandlerError::NoSuchRevision {
                rollout: id.clone(),
                revision,
                last: state.last_revision,
            }),
        }
    }

    /// Returns the plan that a rollout is pinned to, which was stored before the rollout was
    /// opened.
    pub(super) async fn pinned(&self, digest: &str) -> Result<Arc<Plan>, HandlerError> {
        self.plan(digest).await.map_err(|error| match error {
            HandlerError::Evidence(EvidenceError::NotFound { .. }) => HandlerError::EvidenceLost {
                sha256: digest.to_owned(),
            },
            error => error,
        })
    }

    /// Returns a plan by its digest, from the cache or the evidence store.
    pub async fn plan(&self, digest: &str) -> Result<Arc<Plan>, HandlerError> {
        if let Some((plan, _)) = self.plans.get(&digest.to_owned()) {
            return Ok(plan);
        }
        let bytes = self.evidence.get(digest).await?;
        let plan = Arc::new(Plan::from_canonical(&bytes)?);
        self.plans.put(digest.to_owned(), plan.clone(), 0);
        Ok(plan)
    }
}

//! Tells running actions that their rollout has changed: one follower of the ledger for a worker, in
//! place of a poll for each action.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rollbook_ledger::ids::{Aggregate, RolloutId};
use rollbook_ledger::journal::StoredCommit;
use rollbook_proto::v1::event::Kind;
use tokio::sync::watch;

/// Who waits for changes of which rollout. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct RolloutChanges(Arc<Mutex<HashMap<RolloutId, watch::Sender<()>>>>);

impl RolloutChanges {
    /// Changes of a rollout from now on.
    pub(super) fn of(&self, rollout: &RolloutId) -> watch::Receiver<()> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, sender| sender.receiver_count() > 0);
        waiting.entry(rollout.clone()).or_default().subscribe()
    }

    /// Wakes those who wait for the commit's rollout, where it may end what they do.
    pub fn notify(&self, stored: &StoredCommit) {
        let commit = &stored.commit;
        if commit
            .events
            .iter()
            .all(|event| is_progress(event.kind.as_ref()))
        {
            return;
        }
        if let Some(Aggregate::Rollout(id)) = Aggregate::of(&commit.aggregate, &commit.aggregate_id)
        {
            self.wake(&id);
        }
    }

    /// Wakes all: nobody knows what was missed.
    pub fn notify_all(&self) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in waiting.values() {
            sender.send_replace(());
        }
    }

    fn wake(&self, rollout: &RolloutId) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = waiting.get(rollout) {
            sender.send_replace(());
        }
    }
}

/// What steps record as they run ends no other step: whatever follows from it is an event of its own.
fn is_progress(kind: Option<&Kind>) -> bool {
    matches!(
        kind,
        Some(Kind::StepStarted(_) | Kind::StepMeasured(_) | Kind::StepFinished(_))
    )
}

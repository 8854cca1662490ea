//! Waits for a condition on a rollout; new commits wake it.

use std::time::Duration;

use rollbook_ledger::handler::LoadedRollout;
use rollbook_ledger::ids::RolloutId;

use super::Api;

/// Delay after the ledger could not be asked.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Returns when the condition holds. While the ledger is unreachable nothing is known, so the
/// caller keeps waiting.
pub(super) async fn until(api: &Api, rollout: &RolloutId, holds: impl Fn(&LoadedRollout) -> bool) {
    let feed = &api.live.feed;
    loop {
        // Taken before the check, so that commits recorded during it cause another check.
        let seen = feed.begun().await;
        match api.handler.rollout(rollout).await {
            Ok(loaded) if holds(&loaded) => return,
            Ok(_) => {
                if feed.changed(rollout.as_str(), seen).await.is_ok() {
                    continue;
                }
            }
            Err(_) => {}
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

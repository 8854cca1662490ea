//! Waiting for something to hold of a rollout, woken by what is recorded.

use std::time::Duration;

use rollbook_ledger::handler::Loaded;
use rollbook_ledger::ids::RolloutId;

use super::Api;

/// After the ledger could not be asked.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Returns when it holds. While the ledger is out of reach nothing is known, so the caller waits on.
pub(super) async fn until(api: &Api, rollout: &RolloutId, holds: impl Fn(&Loaded) -> bool) {
    let feed = &api.live.feed;
    loop {
        // Before the look: what is recorded during it is looked at again.
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

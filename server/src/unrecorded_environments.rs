//! Environments that open rollouts protect but an older ledger does not record.

use rollbook_ledger::handler::Handler;
use rollbook_ledger::ids::RolloutId;
use rollbook_ledger::projection::store::ViewStore;
use rollbook_ledger::projection::views::RolloutFilter;

/// How many of the newest open rollouts are checked.
const MAX_ROLLOUTS: u32 = 100;

/// Each unrecorded environment, with the command that records it. `Err`: why the check was
/// impossible.
pub(crate) async fn find(handler: &Handler, views: &dyn ViewStore) -> Result<Vec<String>, String> {
    let filter = RolloutFilter {
        open_only: true,
        limit: MAX_ROLLOUTS,
        ..RolloutFilter::default()
    };
    let open = views
        .rollouts(&filter)
        .await
        .map_err(|error| error.to_string())?;
    let ids: Vec<RolloutId> = open
        .data
        .iter()
        .filter_map(|row| RolloutId::new(&*row.rollout).ok())
        .collect();
    let found = handler
        .unrecorded(&ids)
        .await
        .map_err(|error| error.to_string())?;
    Ok(found.iter().map(|it| it.text()).collect())
}

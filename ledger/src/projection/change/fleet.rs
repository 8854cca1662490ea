//! Projects workers that join and leave the fleet.

use rollbook_proto::v1::event::Kind;

use super::{At, Out};
use crate::projection::row::{Json, clean};
use crate::projection::rows::WorkerRow;
use crate::projection::state::State;
use crate::projection::words::{WorkerStatus, time};

pub(super) fn apply(
    state: &mut State,
    name: &str,
    at: &At<'_>,
    kind: &Kind,
    out: &mut Out,
) -> Result<(), String> {
    match kind {
        Kind::WorkerJoined(joined) => {
            let before = state.workers.get(name);
            if before.is_some_and(|worker| worker.status == WorkerStatus::Present) {
                return Err("the worker is there already".to_owned());
            }
            if joined.name != name {
                out.note("the event names another worker than its aggregate");
            }
            let worker = WorkerRow {
                worker: name.to_owned(),
                session: clean(&joined.session),
                status: WorkerStatus::Present,
                labels: Json(joined.labels.iter().map(|label| clean(label)).collect()),
                concurrency: joined.concurrency,
                threads: joined.threads,
                version: clean(&joined.version),
                started_at: time(joined.started_at.as_ref()),
                joined_at: at.recorded_at,
                left_at: None,
                joins: before.map_or(0, |worker| worker.joins).saturating_add(1),
                updated_sequence: at.sequence,
            };
            out.put(&worker);
            state.workers.insert(name.to_owned(), worker);
            Ok(())
        }
        Kind::WorkerLeft(left) => {
            let worker = state
                .workers
                .get_mut(name)
                .ok_or("the worker has not joined")?;
            if worker.status != WorkerStatus::Present {
                return Err("the worker has left already".to_owned());
            }
            if clean(&left.session) != worker.session {
                return Err("another run of the worker is there".to_owned());
            }
            worker.status = WorkerStatus::of_leaving(left.reason)
                .ok_or("the worker left for a reason not known to this version")?;
            worker.left_at = at.recorded_at;
            worker.updated_sequence = at.sequence;
            out.put(worker);
            Ok(())
        }
        _ => Err("an event of a rollout or a flag in a worker".to_owned()),
    }
}

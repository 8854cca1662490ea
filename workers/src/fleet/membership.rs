//! Records who joined the fleet and who left it.
//!
//! A worker itself reports that it has started and that it has drained; [`watch`] on the server
//! reports that a worker was lost or is back. Only the aggregate decides, so any number of watchers
//! records each fact once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rollbook_ledger::fleet::FleetCommand;
use rollbook_ledger::handler::{Caller, Handler, HandlerError};
use rollbook_ledger::ids::WorkerName;
use rollbook_ledger::projection::store::ViewStore;
use rollbook_ledger::projection::views::{WorkerRow, WorkerStatus};
use rollbook_proto::v1::{ActorKind, WorkerLeaveReason};
use tokio_util::sync::CancellationToken;

use super::presence::{BEAT, FleetPresence, Presence};
use super::worker::WorkerConfig;

/// How long a worker tries to report itself; after that it works without, and the server notices
/// it.
const SAY_WITHIN: Duration = Duration::from_secs(5);

/// The number of consecutive checks in which a worker's presence must be missing. Presence is kept
/// in memory: after a restart a NATS server has none until the workers' next heartbeat.
const LOOKS: u32 = 3;

/// Maximum number of records after one check; the rest waits for the next.
const MAX_RECORDED: usize = 100;

/// Records that a worker has started. If the ledger does not respond, nothing is recorded and
/// [`watch`] makes up for it.
pub async fn joined(handler: &Handler, config: &WorkerConfig) {
    let command = FleetCommand::Join {
        session: config.session.clone(),
        labels: config.labels.clone(),
        concurrency: small(config.concurrency),
        threads: small(config.shard_slots()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: handler.now(),
    };
    say(handler, config, command).await;
}

/// Records that a worker has drained after being told to stop.
pub async fn drained(handler: &Handler, config: &WorkerConfig) {
    let command = FleetCommand::Leave {
        session: config.session.clone(),
        reason: WorkerLeaveReason::Drained,
    };
    say(handler, config, command).await;
}

async fn say(handler: &Handler, config: &WorkerConfig, command: FleetCommand) {
    let said = record(
        handler,
        &config.name,
        &command,
        ActorKind::Worker,
        &config.name,
    );
    match tokio::time::timeout(SAY_WITHIN, said).await {
        Ok(Ok(())) => {}
        Ok(Err(reason)) => tracing::warn!(worker = config.name, %reason, "not recorded"),
        Err(_) => tracing::warn!(worker = config.name, "not recorded: no answer in time"),
    }
}

async fn record(
    handler: &Handler,
    name: &str,
    command: &FleetCommand,
    kind: ActorKind,
    by: &str,
) -> Result<(), String> {
    let name = WorkerName::new(name).map_err(|error| error.to_string())?;
    let caller = Caller::process(by, kind);
    match handler.fleet_request(&name, command, &caller).await {
        Ok(_) => Ok(()),
        // Reported too early or too late; the record is right.
        Err(HandlerError::FleetRefused(refusal)) => {
            tracing::debug!(%refusal, "not recorded");
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Compares the workers' presence with the record until `stop`, and records what is missing:
/// workers that are present but not recorded, and recorded ones that are gone.
pub async fn watch(
    fleet: Arc<dyn FleetPresence>,
    handler: Handler,
    views: Arc<dyn ViewStore>,
    stop: CancellationToken,
) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = compare_always(fleet, handler, views) => {}
    }
}

async fn compare_always(
    fleet: Arc<dyn FleetPresence>,
    handler: Handler,
    views: Arc<dyn ViewStore>,
) {
    let mut silent = Silent::default();
    loop {
        tokio::time::sleep(BEAT).await;
        let looked = tokio::join!(fleet.workers(), views.workers());
        let (there, on_record) = match looked {
            (Ok(there), Ok(on_record)) => (there, on_record.data),
            (Err(error), _) => {
                tracing::debug!(%error, "no signs of presence");
                silent = Silent::default();
                continue;
            }
            (_, Err(error)) => {
                tracing::debug!(%error, "no view of the workers");
                continue;
            }
        };
        let news = silent.compare(&there, &on_record);
        for (name, command) in news.into_iter().take(MAX_RECORDED) {
            let by = "orchestrator";
            let recorded = record(&handler, &name, &command, ActorKind::Orchestrator, by).await;
            if let Err(reason) = recorded {
                tracing::debug!(worker = name, %reason, "not recorded");
            }
        }
    }
}

/// For each recorded worker, by name and session, in how many consecutive checks it was missing.
#[derive(Debug, Default)]
struct Silent(HashMap<(String, String), u32>);

impl Silent {
    /// What is missing from the record. If the views are behind, the aggregate finds nothing to do.
    fn compare(
        &mut self,
        there: &[Presence],
        on_record: &[WorkerRow],
    ) -> Vec<(String, FleetCommand)> {
        let present: HashMap<&str, &str> = on_record
            .iter()
            .filter(|row| row.status == WorkerStatus::Present)
            .map(|row| (row.worker.as_str(), row.session.as_str()))
            .collect();
        let heard: HashSet<&str> = there.iter().map(|worker| worker.name.as_str()).collect();
        let mut news = Vec::new();
        for worker in there {
            // A worker of a version that does not report its session.
            if worker.session.is_empty()
                || present.get(worker.name.as_str()) == Some(&worker.session.as_str())
            {
                continue;
            }
            let command = FleetCommand::Join {
                session: worker.session.clone(),
                labels: worker.labels.clone(),
                concurrency: small(worker.concurrency),
                threads: small(worker.threads),
                version: worker.version.clone(),
                started_at: worker.since,
            };
            news.push((worker.name.clone(), command));
        }
        let mut silent = HashMap::new();
        for (name, session) in present {
            if heard.contains(name) {
                continue;
            }
            let key = (name.to_owned(), session.to_owned());
            let looks = self.0.get(&key).copied().unwrap_or(0).saturating_add(1);
            if looks >= LOOKS {
                let command = FleetCommand::Leave {
                    session: session.to_owned(),
                    reason: WorkerLeaveReason::Lost,
                };
                news.push((name.to_owned(), command));
            }
            silent.insert(key, looks);
        }
        self.0 = silent;
        news
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rollbook_ledger::projection::views::Json;

    use super::*;

    fn there(name: &str, session: &str) -> Presence {
        Presence {
            name: name.to_owned(),
            session: session.to_owned(),
            labels: Vec::new(),
            version: "1".to_owned(),
            concurrency: 1,
            threads: 1,
            steps: 0,
            shards: 0,
            deals: 0,
            deals_per_second: 0,
            since: Timestamp::UNIX_EPOCH,
            seen: Timestamp::UNIX_EPOCH,
        }
    }

    fn row(name: &str, session: &str, status: WorkerStatus) -> WorkerRow {
        WorkerRow {
            worker: name.to_owned(),
            session: session.to_owned(),
            status,
            labels: Json(Vec::new()),
            concurrency: 1,
            threads: 1,
            version: "1".to_owned(),
            started_at: None,
            joined_at: None,
            left_at: None,
            joins: 1,
            updated_sequence: 1,
        }
    }

    fn words(news: Vec<(String, FleetCommand)>) -> Vec<String> {
        let word = |(name, command)| match command {
            FleetCommand::Join { session, .. } => format!("{name} {session} joins"),
            FleetCommand::Leave { session, .. } => format!("{name} {session} leaves"),
        };
        news.into_iter().map(word).collect()
    }

    #[test]
    fn only_changes_missing_from_the_record_are_proposed() {
        let on_record = [
            row("known", "a", WorkerStatus::Present),
            row("restarted", "a", WorkerStatus::Present),
            row("back", "a", WorkerStatus::Lost),
        ];
        let heard = [
            there("known", "a"),
            there("restarted", "b"),
            there("back", "a"),
            there("new", "a"),
            there("old-version", ""),
        ];
        let mut silent = Silent::default();
        assert_eq!(
            words(silent.compare(&heard, &on_record)),
            ["restarted b joins", "back a joins", "new a joins"]
        );
    }

    #[test]
    fn a_worker_is_lost_after_several_looks_without_it() {
        let on_record = [row("w", "a", WorkerStatus::Present)];
        let mut silent = Silent::default();
        for _ in 1..LOOKS {
            assert!(silent.compare(&[], &on_record).is_empty());
        }
        // A worker that was present once starts counting anew.
        assert!(silent.compare(&[there("w", "a")], &on_record).is_empty());
        for _ in 1..LOOKS {
            assert!(silent.compare(&[], &on_record).is_empty());
        }
        assert_eq!(words(silent.compare(&[], &on_record)), ["w a leaves"]);
        let gone = [row("w", "a", WorkerStatus::Lost)];
        assert!(silent.compare(&[], &gone).is_empty());
    }
}

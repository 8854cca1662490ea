//! Runs the loops and the HTTP API until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rollbook_ledger::error_code::Coded;
use rollbook_ledger::handler::Handler;
use rollbook_ledger::ids::LedgerId;
use rollbook_ledger::journal::integrity::{Damage, Position, compare};
use rollbook_ledger::journal::{Journal, ReportSource, SharedJournal};
use rollbook_ledger::projection::projector::{Projector, ProjectorError, Waiter};
use rollbook_ledger::projection::replay::{PastBounds, PastViews};
use rollbook_ledger::projection::store::{ViewError, ViewStore};
use rollbook_workers::executor::SecretResolver;
use rollbook_workers::fleet::presence::FleetPresence;
use rollbook_workers::fleet::{DeadLetters, NoticeQueue, Signals, TaskQueue, membership};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::alarm::Alarm;
use crate::api::{self, Api, Followers, HealthMemory};
use crate::auth::Authenticator;
use crate::http::{self, Limits};
use crate::live::{Feed, Live, SignalHub};
use crate::notices::Notices;
use crate::orchestrator::{Liveness, Orchestrator};
use crate::unrecorded_environments;

/// Default interval between comparisons of the views' position with the ledger.
pub const GUARD_EVERY: Duration = Duration::from_secs(10);

/// How long the first check of environments waits for the views.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(60);

/// The dependencies of a server.
#[derive(Debug, Clone)]
pub struct Dependencies {
    /// Identifies who makes a request.
    pub authenticator: Arc<dyn Authenticator>,
    /// Decides and records commands.
    pub handler: Handler,
    /// The views, which it maintains and queries.
    pub views: Arc<dyn ViewStore>,
    /// The queue for tasks.
    pub queue: Arc<dyn TaskQueue>,
    /// The queue for due notices.
    pub notices: NoticeQueue,
    /// Resolves webhook URLs of notices.
    pub secrets: Arc<dyn SecretResolver>,
    /// Sends notices.
    pub http: reqwest::Client,
    /// Reports tasks that no worker could carry out to their rollouts.
    pub dead_letters: DeadLetters,
    /// The live output and the progress of steps.
    pub signals: Arc<dyn Signals>,
    /// Which workers are present.
    pub fleet: Arc<dyn FleetPresence>,
    /// The ledger served.
    pub ledger: LedgerId,
    /// Reports on the server behind the ledger.
    pub reports: Arc<dyn ReportSource>,
    /// Limits on the number and duration of connections.
    pub limits: Limits,
    /// Interval between comparisons of the views' position with the ledger.
    pub guard_every: Duration,
    /// That the views were found damaged and were rebuilt, and when; shown by `/health`.
    pub rebuilt: Option<String>,
}

/// Why a server could not start or had to stop.
#[derive(Debug, thiserror::Error, Coded)]
pub enum ServeError {
    /// Callers are not authenticated, so only this machine may call.
    #[error(
        "RB-SERVE-1: {address} is not a loopback address; callers are not authenticated, so listen on 127.0.0.1 or [::1] and put an authenticating proxy in front"
    )]
    NotLoopback {
        /// The refused address.
        address: SocketAddr,
    },
    /// The address is taken or not ours.
    #[error("RB-SERVE-2: cannot listen on {address}: {source}; choose another with --listen")]
    Listen {
        /// The address.
        address: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The views can no longer follow the ledger.
    #[error(transparent)]
    Projector(#[from] ProjectorError),
    /// The ledger has lost something it acknowledged.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// A loop panicked: a bug.
    #[error(
        "RB-SERVE-4: a part of the server ended unexpectedly: {reason}; restart it and report this"
    )]
    Ended {
        /// What is known about it.
        reason: String,
    },
}

impl ServeError {
    /// Whether stored history is damaged.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Projector(error) => error.is_damage(),
            Self::Damage(damage) => !damage.is_retryable(),
            _ => false,
        }
    }

    /// Whether the views' database is damaged, or contains what Rollbook never wrote; then it can
    /// be replaced.
    pub fn is_damaged_views(&self) -> bool {
        matches!(
            self,
            Self::Projector(ProjectorError::View(
                ViewError::Damaged { .. } | ViewError::Row(_) | ViewError::Schema { .. }
            ))
        )
    }
}

/// Compares the views' position with the ledger periodically. Nothing else detects a NATS server
/// that returned with less than it had acknowledged and then reused the sequences. The earlier
/// position, initially `known`, is compared too, because views that have already followed another
/// journal agree with that one. Also ends when somebody has found damage in the views' database.
async fn stand_guard(
    handler: Handler,
    views: Arc<dyn ViewStore>,
    ledger: LedgerId,
    every: Duration,
    mut known: Position,
    alarm: Alarm,
) -> Result<(), ServeError> {
    let damaged = |reason: String| {
        let damaged = ViewError::Damaged { reason };
        Err(ServeError::Projector(damaged.into()))
    };
    let holds = async |position: &Position| match compare(
        &**handler.journal(),
        &ledger,
        position,
        "the views stand",
    )
    .await
    {
        Err(damage) if !damage.is_retryable() => Err(ServeError::from(damage)),
        found => Ok(found.is_ok()),
    };
    loop {
        tokio::select! {
            reason = alarm.raised() => return damaged(reason),
            () = tokio::time::sleep(every) => {}
        }
        holds(&known).await?;
        let position = match views.standing().await {
            Ok(position) => position,
            Err(ViewError::Damaged { reason }) => return damaged(reason),
            // The comparison is repeated later.
            Err(_) => continue,
        };
        if holds(&position).await? {
            known = position;
        }
    }
}

/// Says once, when the views have caught up, which environments should be recorded; then waits for
/// shutdown, because the server ends when one of its parts ends.
async fn warn_about_unrecorded(
    handler: Handler,
    views: Arc<dyn ViewStore>,
    applied: Waiter,
    stop: CancellationToken,
) {
    let warn = async {
        let Ok(last) = handler.journal().last_sequence().await else {
            return;
        };
        if applied.wait_for(last, CAUGHT_UP_WITHIN).await.is_err() {
            return;
        }
        for text in unrecorded_environments::find(&handler, &*views)
            .await
            .unwrap_or_default()
        {
            tracing::warn!("{text}");
        }
    };
    tokio::select! {
        () = warn => stop.cancelled().await,
        () = stop.cancelled() => {}
    }
}

/// Binds the API's address. Does not serve yet.
pub async fn listen(address: &str) -> Result<TcpListener, ServeError> {
    let refused = |source| ServeError::Listen {
        address: address.to_owned(),
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    if !bound.ip().is_loopback() {
        return Err(ServeError::NotLoopback { address: bound });
    }
    Ok(listener)
}

/// Serves until `shutdown`: projector, orchestrator, dead letters, record of the fleet, HTTP.
/// Returns when all have stopped. Open streams are cut; a batch of the projector is applied whole
/// or not at all.
pub async fn run(
    listener: TcpListener,
    dependencies: Dependencies,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let shared = SharedJournal::new(dependencies.handler.journal().clone());
    let journal: Arc<dyn Journal> = Arc::new(shared.clone());
    let projector = Projector::new(journal.clone(), dependencies.views.clone());
    let membership = membership::watch(
        dependencies.fleet.clone(),
        dependencies.handler.clone(),
        dependencies.views.clone(),
        shutdown.clone(),
    );
    let alarm = Alarm::default();
    // If it cannot be read now, the projector will report it.
    let known = dependencies.views.standing().await.unwrap_or_default();
    let guard = stand_guard(
        dependencies.handler.clone(),
        dependencies.views.clone(),
        dependencies.ledger.clone(),
        dependencies.guard_every,
        known,
        alarm.clone(),
    );
    let environments = warn_about_unrecorded(
        dependencies.handler.clone(),
        dependencies.views.clone(),
        projector.waiter(),
        shutdown.clone(),
    );
    let liveness = Liveness::default();
    let signals = SignalHub::new(dependencies.signals);
    let live = Live::new(
        Feed::new(shared.clone()),
        projector.waiter(),
        dependencies.views.clone(),
        signals.clone(),
    );
    let environments_of = live.environments.clone();
    let limits = dependencies.limits;
    let views = dependencies.views.clone();
    let api = Api {
        authenticator: dependencies.authenticator,
        handler: dependencies.handler.clone(),
        views: dependencies.views,
        past: PastViews::new(
            dependencies.handler.journal().clone(),
            PastBounds::default(),
        ),
        applied: projector.waiter(),
        fleet: dependencies.fleet,
        ledger: dependencies.ledger,
        reports: dependencies.reports,
        live,
        followers: Followers::default(),
        liveness: liveness.clone(),
        started_at: dependencies.handler.now(),
        health: HealthMemory::default(),
        alarm,
        rebuilt: dependencies.rebuilt,
    };
    let notices = Notices {
        handler: dependencies.handler.clone(),
        queue: dependencies.notices.clone(),
        secrets: dependencies.secrets,
        http: dependencies.http,
    };
    let orchestrator = Orchestrator::new(
        dependencies.handler,
        journal,
        dependencies.queue,
        Arc::new(dependencies.notices),
        views,
        liveness,
    );
    let dead_letters = dependencies.dead_letters;
    let mut parts: JoinSet<Result<(), ServeError>> = JoinSet::new();
    let stop = shutdown.clone();
    parts.spawn(async move { projector.run(stop).await.map_err(ServeError::from) });
    let stop = shutdown.clone();
    parts.spawn(async move {
        orchestrator.run(stop).await;
        Ok(())
    });
    let stop = shutdown.clone();
    parts.spawn(async move {
        shared.run(stop).await;
        Ok(())
    });
    let stop = shutdown.clone();
    parts.spawn(async move {
        signals.run(environments_of, stop).await;
        Ok(())
    });
    let stop = shutdown.clone();
    parts.spawn(async move {
        notices.run(stop).await;
        Ok(())
    });
    let stop = shutdown.clone();
    parts.spawn(async move {
        dead_letters.run(stop).await;
        Ok(())
    });
    parts.spawn(async move {
        membership.await;
        Ok(())
    });
    parts.spawn(async move {
        environments.await;
        Ok(())
    });
    let stop = shutdown.clone();
    parts.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            found = guard => found,
        }
    });
    let stop = shutdown.clone();
    parts.spawn(async move {
        // Followers never end by themselves, so connections are closed, not drained.
        tokio::select! {
            never = http::serve(listener, api::router(api), limits) => match never {},
            () = stop.cancelled() => Ok(()),
        }
    });
    let mut result = Ok(());
    while let Some(ended) = parts.join_next().await {
        let ended = ended.unwrap_or_else(|error| {
            Err(ServeError::Ended {
                reason: error.to_string(),
            })
        });
        if result.is_ok() {
            result = ended;
        }
        shutdown.cancel();
    }
    result
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rollbook_ledger::clock::SystemClock;
    use rollbook_ledger::evidence::EvidenceStore;
    use rollbook_ledger::fleet::FleetCommand;
    use rollbook_ledger::handler::Caller;
    use rollbook_ledger::ids::WorkerName;
    use rollbook_ledger::journal::MemoryJournal;
    use rollbook_ledger::projection::sqlite;
    use rollbook_proto::v1::ActorKind;
    use tempfile::TempDir;

    use super::*;

    const SOON: Duration = Duration::from_millis(10);
    const PATIENCE: Duration = Duration::from_secs(60);

    fn ledger() -> LedgerId {
        LedgerId::new("main").unwrap()
    }

    /// A ledger with this many joined workers.
    async fn ledger_of(workers: usize) -> (Handler, TempDir) {
        let objects = TempDir::new().unwrap();
        let evidence = EvidenceStore::open(objects.path().to_str().unwrap()).unwrap();
        let journal = Arc::new(MemoryJournal::new(ledger()));
        let handler = Handler::new(journal, evidence, Arc::new(SystemClock), ledger());
        for number in 0..workers {
            let name = format!("w{number}");
            let join = FleetCommand::Join {
                session: "s".to_owned(),
                labels: Vec::new(),
                concurrency: 1,
                threads: 1,
                version: "1".to_owned(),
                started_at: handler.now(),
            };
            let caller = Caller::process(&name, ActorKind::Worker);
            let worker = WorkerName::new(&*name).unwrap();
            handler
                .fleet_request(&worker, &join, &caller)
                .await
                .unwrap();
        }
        (handler, objects)
    }

    async fn views_of(handler: &Handler) -> Arc<dyn ViewStore> {
        let views = sqlite::in_memory().await.unwrap();
        let projector = Projector::new(handler.journal().clone(), views.clone());
        projector.catch_up().await.unwrap();
        views
    }

    #[tokio::test]
    async fn a_replaced_ledger_is_noticed_whatever_its_length() {
        let (first, _objects) = ledger_of(2).await;
        let views = views_of(&first).await;
        let known = views.standing().await.unwrap();
        let guard = |handler: &Handler| {
            let (handler, alarm) = (handler.clone(), Alarm::default());
            stand_guard(handler, views.clone(), ledger(), SOON, known.clone(), alarm)
        };
        for (workers, code) in [(1, 1), (2, 2), (3, 2)] {
            let (other, _objects) = ledger_of(workers).await;
            let code = format!("RB-INTEGRITY-{code}");
            let found = guard(&other).await.unwrap_err();
            assert!(found.is_damage(), "{found}");
            assert!(found.to_string().starts_with(&code), "{found}");
        }
        // The correct ledger passes repeatedly.
        let right = tokio::time::timeout(SOON * 20, guard(&first)).await;
        assert!(right.is_err());
        // Views that have already followed the other ledger do not hide it.
        let (other, _objects) = ledger_of(3).await;
        let projector = Projector::new(other.journal().clone(), views.clone());
        projector.catch_up().await.unwrap();
        let found = tokio::time::timeout(PATIENCE, guard(&other)).await;
        let found = found.unwrap().unwrap_err();
        assert!(found.to_string().contains("commits up to"), "{found}");
    }

    #[tokio::test]
    async fn damage_found_in_the_views_ends_the_guard() {
        let (handler, _objects) = ledger_of(1).await;
        let views = views_of(&handler).await;
        let alarm = Alarm::default();
        alarm.raise("malformed");
        alarm.raise("later");
        let hour = Duration::from_secs(3600);
        let known = Position::default();
        let found = stand_guard(handler, views, ledger(), hour, known, alarm)
            .await
            .unwrap_err();
        assert!(found.is_damaged_views() && !found.is_damage(), "{found}");
        assert!(found.to_string().contains("malformed"), "{found}");
    }
}

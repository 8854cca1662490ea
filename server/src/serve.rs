//! Runs the loops and the HTTP API until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;

use rollbook_ledger::handler::Handler;
use rollbook_ledger::ids::LedgerId;
use rollbook_ledger::journal::jetstream::JetStreamJournal;
use rollbook_ledger::projection::projector::{Projector, ProjectorError};
use rollbook_ledger::projection::store::ViewStore;
use rollbook_workers::executor::SecretResolver;
use rollbook_workers::fleet::{DeadLetters, TaskQueue, membership};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Api};
use crate::orchestrator::Orchestrator;

/// What a server works with.
#[derive(Debug, Clone)]
pub struct Dependencies {
    /// Decides and records.
    pub handler: Handler,
    /// The views; followed and asked.
    pub views: Arc<dyn ViewStore>,
    /// Where tasks go.
    pub queue: Arc<dyn TaskQueue>,
    /// Resolves webhook URLs of notices.
    pub secrets: Arc<dyn SecretResolver>,
    /// Sends notices.
    pub http: reqwest::Client,
    /// Tells rollouts of tasks that no worker could carry out.
    pub dead_letters: DeadLetters,
    /// For the live output and the progress of steps.
    pub nats: async_nats::Client,
    /// The ledger served.
    pub ledger: LedgerId,
    /// Its stream, for reports about the server behind it.
    pub stream: JetStreamJournal,
}

/// Why a server could not start or had to stop.
#[derive(Debug, thiserror::Error)]
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
        /// The system's words.
        source: std::io::Error,
    },
    /// The HTTP server ended.
    #[error("RB-SERVE-3: the HTTP server ended: {0}")]
    Http(#[source] std::io::Error),
    /// The views can no longer follow the ledger.
    #[error(transparent)]
    Projector(#[from] ProjectorError),
    /// A loop ended by a panic; a defect.
    #[error(
        "RB-SERVE-4: a part of the server ended unexpectedly: {reason}; restart it and report this"
    )]
    Ended {
        /// What is known.
        reason: String,
    },
}

/// Binds the API's address. Nothing is served yet.
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

/// Serves until `shutdown`: projector, orchestrator, dead letters, record of the fleet, HTTP. Returns when all have stopped; open
/// streams are cut, a batch of the projector is applied whole or not at all.
pub async fn run(
    listener: TcpListener,
    dependencies: Dependencies,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let projector = Projector::new(
        dependencies.handler.journal().clone(),
        dependencies.views.clone(),
    );
    let fleet = membership::watch(
        dependencies.nats.clone(),
        dependencies.ledger.clone(),
        dependencies.handler.clone(),
        dependencies.views.clone(),
        shutdown.clone(),
    );
    let api = Api {
        handler: dependencies.handler.clone(),
        views: dependencies.views,
        applied: projector.waiter(),
        nats: dependencies.nats,
        ledger: dependencies.ledger,
        stream: dependencies.stream,
    };
    let orchestrator = Orchestrator::new(
        dependencies.handler,
        dependencies.queue,
        dependencies.secrets,
        dependencies.http,
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
        dead_letters.run(stop).await;
        Ok(())
    });
    parts.spawn(async move {
        fleet.await;
        Ok(())
    });
    let stop = shutdown.clone();
    parts.spawn(async move {
        // Followers never end by themselves, so connections are cut, not drained.
        tokio::select! {
            served = axum::serve(listener, api::router(api)).into_future() => served.map_err(ServeError::Http),
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

//! The HTTP service: what is shared between requests, the routes and the bounds around them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::error::Error;
use crate::flag::{self, Flag};
use crate::handlers;
use crate::metrics::Metrics;
use crate::store::Store;

/// Requests at once; one more is answered 503.
const MAX_REQUESTS: usize = 256;
/// Longest time for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest request body.
const MAX_BODY_BYTES: usize = 4 << 20;

/// What every request sees.
pub(crate) struct Shared {
    /// The cost model.
    pub(crate) engine: Engine,
    /// The deals.
    pub(crate) store: Store,
    /// The present flag value.
    pub(crate) flag: watch::Receiver<Arc<Flag>>,
    /// The environment this process serves.
    pub(crate) environment: String,
    /// Counters.
    pub(crate) metrics: Metrics,
    room: Semaphore,
}

/// Serves until SIGTERM or Ctrl-C, then lets running requests finish.
pub(crate) async fn run(
    address: SocketAddr,
    engine: Engine,
    store: Store,
    settings: flag::Settings,
) -> Result<(), Error> {
    let stop = CancellationToken::new();
    let environment = settings.environment.clone();
    let flag = flag::follow(settings, stop.clone()).await?;
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|source| Error::Listen { address, source })?;
    let bound = listener
        .local_addr()
        .map_err(|source| Error::Listen { address, source })?;
    println!("listening on http://{bound} (environment {environment})");
    let shared = Arc::new(Shared {
        engine,
        store,
        flag,
        environment,
        metrics: Metrics::default(),
        room: Semaphore::new(MAX_REQUESTS),
    });
    let stopping = wait_for_stop()?;
    let served = axum::serve(listener, router(shared))
        .with_graceful_shutdown(stopping)
        .await;
    stop.cancel();
    served.map_err(|source| Error::Listen { address, source })
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/health", get(handlers::health))
        .route("/metrics", get(handlers::metrics))
        .route("/costs/{deal_id}", get(handlers::costs))
        .route(
            "/api/deals",
            get(handlers::list_deals).post(handlers::create_deal),
        )
        .route(
            "/api/deals/{deal_id}",
            axum::routing::delete(handlers::delete_deal),
        )
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), bound))
        .with_state(shared)
}

/// Bounds each request in number and time, and counts it.
async fn bound(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let response = match shared.room.try_acquire() {
        Ok(_room) => match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Error::TooSlow(REQUEST_TIMEOUT.as_millis()).into_response(),
        },
        Err(_) => Error::Busy.into_response(),
    };
    shared
        .metrics
        .request(started.elapsed(), response.status().is_server_error());
    response
}

fn wait_for_stop() -> Result<impl Future<Output = ()> + Send + 'static, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| Error::Start(format!("signal handler: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

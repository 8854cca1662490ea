//! The API on a journal in memory, called without a connection.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use rollbook_ledger::clock::SystemClock;
use rollbook_ledger::evidence::EvidenceStore;
use rollbook_ledger::handler::Handler;
use rollbook_ledger::ids::{LedgerId, RolloutId, StepId};
use rollbook_ledger::journal::{Journal, MemoryJournal, SharedJournal};
use rollbook_ledger::projection::projector::Projector;
use rollbook_ledger::projection::replay::{PastBounds, PastViews};
use rollbook_ledger::projection::sqlite;
use rollbook_server::Alarm;
use rollbook_server::api::{Api, Followers, HealthMemory, router};
use rollbook_server::auth::Authenticator;
use rollbook_server::live::{Feed, Live, SignalHub};
use rollbook_server::orchestrator::Liveness;
use rollbook_workers::executor::StepProgress;
use rollbook_workers::fleet::presence::{FleetPresence, Presence};
use rollbook_workers::fleet::{QueueError, Signals};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// No step runs and no worker is present.
#[derive(Debug)]
struct Idle;

#[async_trait]
impl FleetPresence for Idle {
    async fn workers(&self) -> Result<Vec<Presence>, QueueError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Signals for Idle {
    async fn progress(&self) -> Result<BoxStream<'static, StepProgress>, QueueError> {
        Ok(stream::pending().boxed())
    }

    async fn progress_of(
        &self,
        _: &RolloutId,
    ) -> Result<BoxStream<'static, StepProgress>, QueueError> {
        self.progress().await
    }

    async fn latest(&self, _: &RolloutId, _: &[StepId]) -> Result<Vec<StepProgress>, QueueError> {
        Ok(Vec::new())
    }

    async fn probe(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn output(
        &self,
        _: &RolloutId,
        _: &StepId,
    ) -> Result<BoxStream<'static, Bytes>, QueueError> {
        Ok(stream::pending().boxed())
    }
}

/// A response, its body as JSON if it is.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
    pub(crate) text: String,
}

/// A running API.
pub(crate) struct Server {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) past: PastViews,
    router: Router,
    _objects: TempDir,
    _reading: AbortOnDropHandle<()>,
    projecting: AbortOnDropHandle<()>,
}

impl Server {
    /// An API that asks this authenticator, on an empty ledger.
    pub(crate) async fn with(authenticator: Arc<dyn Authenticator>, bounds: PastBounds) -> Self {
        let ledger = LedgerId::new("main").unwrap();
        let memory = MemoryJournal::new(ledger.clone());
        let journal: Arc<dyn Journal> = Arc::new(memory.clone());
        let objects = TempDir::new().unwrap();
        let evidence = EvidenceStore::open(objects.path().to_str().unwrap()).unwrap();
        let clock = Arc::new(SystemClock);
        let handler = Handler::new(journal.clone(), evidence, clock, ledger.clone());
        let views = sqlite::in_memory().await.unwrap();
        let shared = SharedJournal::new(journal.clone());
        let projector = Projector::new(Arc::new(shared.clone()), views.clone());
        let signals = SignalHub::new(Arc::new(Idle));
        let feed = Feed::new(shared.clone());
        let live = Live::new(feed, projector.waiter(), views.clone(), signals);
        let past = PastViews::new(journal.clone(), bounds);
        let api = Api {
            authenticator,
            started_at: handler.now(),
            handler,
            views,
            past: past.clone(),
            applied: projector.waiter(),
            fleet: Arc::new(Idle),
            ledger,
            reports: Arc::new(memory),
            live,
            followers: Followers::default(),
            liveness: Liveness::default(),
            health: HealthMemory::default(),
            alarm: Alarm::default(),
            rebuilt: None,
        };
        let stop = CancellationToken::new();
        let reader = tokio::spawn(shared.run(stop.clone()));
        let projecting = tokio::spawn(async move { projector.run(stop).await.unwrap() });
        Self {
            journal,
            past,
            router: router(api),
            _objects: objects,
            _reading: AbortOnDropHandle::new(reader),
            projecting: AbortOnDropHandle::new(projecting),
        }
    }

    /// Lets the views fall behind from now on.
    pub(crate) fn stop_projecting(&self) {
        self.projecting.abort();
    }

    /// Sends a request to the host `localhost`.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Answer {
        let host = "localhost".parse().unwrap();
        request.headers_mut().insert("host", host);
        let router = TowerToHyperService::new(self.router.clone());
        let response = router.call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            json: serde_json::from_slice(&body).unwrap_or_default(),
            text: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }
}

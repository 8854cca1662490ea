//! Signals of running steps for all clients of the live feed: read once, sent to whoever is
//! connected, never stored.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures::StreamExt;
use rollbook_workers::executor::StepProgress;
use rollbook_workers::fleet::{QueueError, Signals};
use serde::Serialize;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::environments::EnvironmentCache;
use super::event::About;

/// The type of a step's progress.
pub(crate) const PROGRESS: &str = "progress";

/// How many signals a client may lag; it misses older ones.
const MAX_BEHIND: usize = 256;
/// Delay after the source of the signals failed.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// One encoded signal.
#[derive(Debug)]
pub(crate) struct Signal {
    pub(crate) name: &'static str,
    pub(crate) about: About,
    /// With `event`, `data` and the empty line that ends it. It has no `id`, so it does not move
    /// the client's position.
    pub(crate) bytes: Bytes,
}

#[derive(Debug, Serialize)]
struct Data<'a> {
    #[serde(rename = "type")]
    name: &'static str,
    environment: Option<&'a str>,
    #[serde(flatten)]
    progress: &'a StepProgress,
}

/// Broadcasts signals. Clones share the clients.
#[derive(Debug, Clone)]
pub struct SignalHub {
    signals: Arc<dyn Signals>,
    clients: broadcast::Sender<Arc<Signal>>,
}

impl SignalHub {
    /// Does not start reading.
    pub fn new(signals: Arc<dyn Signals>) -> Self {
        Self {
            signals,
            clients: broadcast::Sender::new(MAX_BEHIND),
        }
    }

    /// The source of the signals.
    pub(crate) fn source(&self) -> &Arc<dyn Signals> {
        &self.signals
    }

    /// The signals from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<Signal>> {
        self.clients.subscribe()
    }

    /// Reads and broadcasts until `shutdown`.
    pub async fn run(self, environments: EnvironmentCache, shutdown: CancellationToken) {
        let read = async {
            loop {
                if let Err(error) = self.read(&environments).await {
                    tracing::debug!(%error, "progress is not sent");
                }
                tokio::time::sleep(READ_AGAIN).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = read => {}
        }
    }

    async fn read(&self, environments: &EnvironmentCache) -> Result<(), QueueError> {
        let mut states = self.signals.progress().await?;
        while let Some(state) = states.next().await {
            if self.clients.receiver_count() == 0 {
                continue;
            }
            // Without the views the environment is unknown, so no environment filter matches.
            let environment = environments.of(state.rollout.as_str()).await;
            let environment = environment.ok().flatten();
            if let Some(signal) = progress(&state, environment) {
                // There may be no client.
                let _told = self.clients.send(Arc::new(signal));
            }
        }
        Ok(())
    }
}

fn progress(state: &StepProgress, environment: Option<String>) -> Option<Signal> {
    let data = Data {
        name: PROGRESS,
        environment: environment.as_deref(),
        progress: state,
    };
    let data = serde_json::to_string(&data).ok()?;
    Some(Signal {
        name: PROGRESS,
        bytes: format!("event: {PROGRESS}\ndata: {data}\n\n").into(),
        about: About {
            rollout: Some(state.rollout.to_string()),
            environment,
        },
    })
}

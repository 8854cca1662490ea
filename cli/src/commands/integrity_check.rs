//! Checks, before anything is appended, that the ledger still holds what it acknowledged.

use std::sync::Arc;

use rollbook_ledger::ids::LedgerId;
use rollbook_ledger::journal::integrity::{Damage, Extent, Position, compare, inspect};
use rollbook_ledger::journal::jetstream::stream_name;
use rollbook_ledger::journal::{
    JetStreamJournal, JetStreamOptions, Journal, PositionStore, TrackedJournal,
};
use rollbook_ledger::nats::{self, EmbeddedServer, ServerError, ServerOptions};
use rollbook_ledger::projection::store::ViewStore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::exit::{Exit, Failure};
use crate::print;

const ACKNOWLEDGED: &str = "the last acknowledged commit is remembered";
const VIEWS: &str = "the views stand";

/// What is known of a ledger from outside of it.
pub(super) struct Known {
    pub(super) views: Arc<dyn ViewStore>,
    /// The last acknowledged position.
    pub(super) acknowledged: Arc<dyn PositionStore>,
}

impl Known {
    /// Inspects the ledger and compares it with what is known of it. A difference up to the
    /// sequence `accepted` is accepted: what was known is forgotten, and the views are emptied.
    ///
    /// # Errors
    /// Exit 6 names the sequences that are missing or differ. Nothing has been appended.
    pub(super) async fn check(
        &self,
        journal: &dyn Journal,
        ledger: &LedgerId,
        accepted: Option<u64>,
    ) -> Result<(), Failure> {
        inspect(journal).await.map_err(damage)?;
        let known = [
            (ACKNOWLEDGED, self.acknowledged().await),
            (
                VIEWS,
                self.views.standing().await.map_err(Failure::unavailable)?,
            ),
        ];
        let mut differs = false;
        for (who, position) in known {
            match compare(journal, ledger, &position, who).await {
                Ok(()) => {}
                Err(found) if found.acceptable().is_some_and(|at| Some(at) <= accepted) => {
                    print::note(format!("accepted as --accept-loss says: {found}"));
                    differs = true;
                }
                Err(found) => return Err(damage(found)),
            }
        }
        if differs {
            self.acknowledged
                .forget()
                .await
                .map_err(Failure::unavailable)?;
            self.views.reset().await.map_err(Failure::unavailable)?;
        }
        Ok(())
    }

    /// An unreadable one says nothing; the views remember a position too.
    async fn acknowledged(&self) -> Position {
        match self.acknowledged.load().await {
            Ok(position) => position.unwrap_or_default(),
            Err(error) => {
                print::note(format!("{error}; continuing without it"));
                Position::default()
            }
        }
    }

    /// Stores what `journal` acknowledges until the handle is ended.
    pub(super) fn keep(&self, journal: &TrackedJournal) -> Keeping {
        let (journal, store) = (journal.clone(), Arc::clone(&self.acknowledged));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { journal.keep(&*store, stopped).await });
        Keeping {
            stop,
            task: AbortOnDropHandle::new(task),
        }
    }
}

/// If the end of the ledger is torn off and the loss up to the sequence `accepted` is accepted,
/// restarts the server without the lost sequences: the next commit gets the first of them.
pub(super) async fn without_lost_end(
    server: EmbeddedServer,
    options: ServerOptions,
    ledger: &LedgerId,
    accepted: u64,
) -> Result<EmbeddedServer, ServerError> {
    // If it cannot be asked now, opening the ledger reports it.
    let Some(extent) = extent(&server, ledger).await else {
        return Ok(server);
    };
    let Some(after) = extent.torn_after().filter(|_| extent.last <= accepted) else {
        return Ok(server);
    };
    server.stop().await;
    let stamp = jiff::Timestamp::now().as_second().to_string();
    let forgotten = nats::discard_torn_tail(&options.data_dir, &stream_name(ledger), after, &stamp);
    let forgotten = forgotten.map_err(|source| ServerError::Io {
        path: options.data_dir.clone(),
        source,
    })?;
    if let Some(aside) = forgotten {
        print::note(format!(
            "accepted as --accept-loss says: the ledger ends at {after}, and nats-server forgets that it went on to {}; what remembered it is in {}",
            extent.last,
            aside.display()
        ));
    }
    EmbeddedServer::start(options).await
}

async fn extent(server: &EmbeddedServer, ledger: &LedgerId) -> Option<Extent> {
    let client = nats::connect(&server.nats_options("rollbook")).await.ok()?;
    if !JetStreamJournal::exists(&client, ledger).await.ok()? {
        return None;
    }
    let journal = JetStreamJournal::open(client, ledger.clone(), JetStreamOptions::default());
    journal.await.ok()?.extent().await.ok()
}

/// Writes the acknowledged position in the background.
pub(super) struct Keeping {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Keeping {
    /// Writes the last position and ends.
    pub(super) async fn end(self) {
        self.stop.cancel();
        // A panic has been reported already.
        let _ = self.task.await;
    }
}

/// A ledger that merely could not be asked is unavailable, not damaged.
pub(super) fn damage(error: Damage) -> Failure {
    let exit = if error.is_retryable() {
        Exit::Unavailable
    } else {
        Exit::Integrity
    };
    Failure::new(exit, error)
}

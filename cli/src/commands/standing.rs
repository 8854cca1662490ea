//! Before anything is appended: does the ledger still hold what it acknowledged?

use std::sync::Arc;

use rollbook_ledger::ids::LedgerId;
use rollbook_ledger::journal::integrity::{Damage, Position, compare, inspect};
use rollbook_ledger::journal::{Journal, KeptJournal, PositionStore};
use rollbook_ledger::projection::store::ViewStore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::exit::{Exit, Failure};
use crate::print;

const ACKNOWLEDGED: &str = "the last acknowledged commit is remembered";
const VIEWS: &str = "the views stand";

/// What is known of a ledger outside of it.
pub(super) struct Known {
    pub(super) views: Arc<dyn ViewStore>,
    /// The last acknowledged position.
    pub(super) acknowledged: Arc<dyn PositionStore>,
}

impl Known {
    /// Looks through the ledger and compares it with what is known of it. A difference up to the
    /// sequence `accepted` is gone on with: what was known is forgotten, and the views are emptied.
    ///
    /// # Errors
    /// Exit 6 names the sequences that are missing or differ. Nothing was appended.
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
                    print::aside(format!("accepted as --accept-loss says: {found}"));
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

    /// One that does not read says nothing; the views remember too.
    async fn acknowledged(&self) -> Position {
        match self.acknowledged.load().await {
            Ok(position) => position.unwrap_or_default(),
            Err(error) => {
                print::aside(format!("{error}; going on without it"));
                Position::default()
            }
        }
    }

    /// Keeps what `journal` acknowledges until the handle is ended.
    pub(super) fn keep(&self, journal: &KeptJournal) -> Keeping {
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

/// Writes the acknowledged position behind.
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

/// A ledger that only could not be asked is unavailable, not damaged.
pub(super) fn damage(error: Damage) -> Failure {
    let exit = if error.is_retryable() {
        Exit::Unavailable
    } else {
        Exit::Integrity
    };
    Failure::new(exit, error)
}

//! The environment of each rollout, cached from the views, since it never changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rollbook_ledger::projection::store::{ViewError, ViewStore};

/// Size limit of the cache; beyond it, the cache is cleared.
const MAX_KNOWN: usize = 20_000;

/// The cache. Clones share it.
#[derive(Debug, Clone)]
pub struct EnvironmentCache {
    views: Arc<dyn ViewStore>,
    known: Arc<Mutex<HashMap<String, String>>>,
}

impl EnvironmentCache {
    /// An empty cache that queries `views`.
    pub fn new(views: Arc<dyn ViewStore>) -> Self {
        Self {
            views,
            known: Arc::default(),
        }
    }

    /// The environment of a rollout; `None` if the views do not know the rollout.
    pub(crate) async fn of(&self, rollout: &str) -> Result<Option<String>, ViewError> {
        if let Some(known) = self.lock().get(rollout) {
            return Ok(Some(known.clone()));
        }
        let found = self.views.rollout(rollout).await?.data;
        let environment = found.map(|detail| detail.rollout.environment);
        if let Some(environment) = &environment {
            self.learn(rollout, environment);
        }
        Ok(environment)
    }

    /// Stores what a commit says.
    pub(crate) fn learn(&self, rollout: &str, environment: &str) {
        let mut known = self.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(rollout.to_owned(), environment.to_owned());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, String>> {
        // Consistent after every statement, so a panicked holder left nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Stores a ledger's last acknowledged position in the views' database.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use super::store::{ViewError, ViewStore};
use crate::ids::LedgerId;
use crate::journal::tracked::PositionStoreError;
use crate::journal::{Position, PositionStore};

/// A position store beside the views, shared by all servers of the ledger.
#[derive(Debug)]
pub struct AcknowledgedInViews {
    views: RwLock<Arc<dyn ViewStore>>,
    ledger: LedgerId,
}

impl AcknowledgedInViews {
    /// Creates the store for the position of `ledger`.
    pub fn new(views: Arc<dyn ViewStore>, ledger: LedgerId) -> Self {
        Self {
            views: RwLock::new(views),
            ledger,
        }
    }

    /// Switches to these views, which have replaced the earlier ones.
    pub fn move_to(&self, views: Arc<dyn ViewStore>) {
        *self.views.write().unwrap_or_else(PoisonError::into_inner) = views;
    }

    fn views(&self) -> Arc<dyn ViewStore> {
        let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&views)
    }
}

fn failed(action: &'static str) -> impl Fn(ViewError) -> PositionStoreError {
    move |error| PositionStoreError {
        action,
        place: "the views' database".to_owned(),
        reason: error.to_string(),
    }
}

#[async_trait]
impl PositionStore for AcknowledgedInViews {
    async fn load(&self) -> Result<Option<Position>, PositionStoreError> {
        let found = self.views().acknowledged(self.ledger.as_str()).await;
        found.map_err(failed("read"))
    }

    async fn save(&self, position: &Position) -> Result<(), PositionStoreError> {
        let saved = self.views().acknowledge(position).await;
        saved.map_err(failed("written"))
    }

    async fn forget(&self) -> Result<(), PositionStoreError> {
        let forgotten = self.views().forget_acknowledged(self.ledger.as_str()).await;
        forgotten.map_err(failed("written"))
    }
}

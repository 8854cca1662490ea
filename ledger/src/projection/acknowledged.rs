//! The last acknowledged position of a ledger in the views' database.

use std::sync::Arc;

use async_trait::async_trait;

use super::store::{ViewError, ViewStore};
use crate::ids::LedgerId;
use crate::journal::kept::KeepError;
use crate::journal::{Position, PositionStore};

/// Keeps the position beside the views, for all servers of the ledger.
#[derive(Debug, Clone)]
pub struct AcknowledgedInViews {
    views: Arc<dyn ViewStore>,
    ledger: LedgerId,
}

impl AcknowledgedInViews {
    /// The position of `ledger`.
    pub fn new(views: Arc<dyn ViewStore>, ledger: LedgerId) -> Self {
        Self { views, ledger }
    }
}

fn failed(action: &'static str) -> impl Fn(ViewError) -> KeepError {
    move |error| KeepError {
        action,
        place: "the views' database".to_owned(),
        reason: error.to_string(),
    }
}

#[async_trait]
impl PositionStore for AcknowledgedInViews {
    async fn load(&self) -> Result<Option<Position>, KeepError> {
        let found = self.views.acknowledged(self.ledger.as_str()).await;
        found.map_err(failed("read"))
    }

    async fn save(&self, position: &Position) -> Result<(), KeepError> {
        let saved = self.views.acknowledge(position).await;
        saved.map_err(failed("written"))
    }

    async fn forget(&self) -> Result<(), KeepError> {
        let forgotten = self.views.forget_acknowledged(self.ledger.as_str()).await;
        forgotten.map_err(failed("written"))
    }
}

//! Limits the number of streaming responses.

use std::sync::Arc;

use axum::http::StatusCode;
use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ApiError;

/// Followers of events, log, progress and output together.
const MAX_FOLLOWERS: usize = 512;

/// Slots for followers. Clones share them.
#[derive(Debug, Clone)]
pub struct Followers(Arc<Semaphore>);

impl Default for Followers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_FOLLOWERS)))
    }
}

impl Followers {
    /// A slot, held as long as the response lives.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| {
            ApiError::busy(
                StatusCode::TOO_MANY_REQUESTS,
                "RB-API-30",
                format!(
                    "{MAX_FOLLOWERS} readers follow already; close some, or ask without `follow`"
                ),
            )
        })
    }
}

/// Holds the slot until the stream is dropped.
pub(super) fn holding<S: Stream>(
    stream: S,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = S::Item> {
    stream.map(move |item| {
        let _held = &place;
        item
    })
}

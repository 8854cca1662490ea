//! What is told as it happens: events from the one shared reader of the journal, and signals of
//! running steps beside them.
//!
//! ```text
//!   SharedJournal ─▶ Feed ─▶ pages of commits ─▶ /v1/log?follow, waits for a rollout
//!                      └──── those that the views contain ─▶ Client ─▶ /v1/events
//!   Signals ───────▶ Beside ─▶ progress ──────────────────────┘
//! ```

mod beside;
mod client;
mod environments;
mod event;
mod feed;
mod filter;
mod position;

pub(crate) use client::{Client, Dropped};
pub(crate) use feed::{FeedError, Line, line};
pub(crate) use filter::Filter;
pub(crate) use position::EventId;

pub use beside::Beside;
pub use environments::Environments;
pub use feed::Feed;

use std::sync::Arc;
use std::time::Duration;

use rollbook_ledger::projection::projector::Waiter;
use rollbook_ledger::projection::store::ViewStore;

/// A client that is told nothing else is told that the connection is there.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// What every client of the live feed reads from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Live {
    /// New commits.
    pub(crate) feed: Feed,
    /// How far the views are: no event is told before they contain it.
    pub(crate) applied: Waiter,
    /// Signals of running steps.
    pub(crate) beside: Beside,
    /// In which environment a rollout is.
    pub(crate) environments: Environments,
    /// Commits as they are told.
    pub(crate) told: event::Told,
    /// Between two signs of life.
    pub(crate) heartbeat: Duration,
}

impl Live {
    /// A live feed of `feed`, as far as `applied` says that `views` are.
    pub fn new(feed: Feed, applied: Waiter, views: Arc<dyn ViewStore>, beside: Beside) -> Self {
        Self {
            feed,
            applied,
            beside,
            environments: Environments::new(views),
            told: event::Told::default(),
            heartbeat: HEARTBEAT,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

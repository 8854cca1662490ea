//! The live feed: events from the one shared reader of the journal, and signals of running steps.
//!
//! ```text
//!   SharedJournal ─▶ Feed ─▶ pages of commits ─▶ /v1/log?follow, waits for a rollout
//!                      └──── those that the views contain ─▶ Client ─▶ /v1/events
//!   Signals ───────▶ SignalHub ─▶ progress ──────────────────────┘
//! ```

mod client;
mod environments;
mod event;
mod feed;
mod filter;
mod position;
mod signals;

pub(crate) use client::{Client, Dropped};
pub(crate) use event::about;
pub(crate) use feed::{FeedError, Line, line};
pub(crate) use filter::Filter;
pub(crate) use position::EventId;
pub(crate) use signals::PROGRESS;

pub use environments::EnvironmentCache;
pub use feed::Feed;
pub use signals::SignalHub;

use std::sync::Arc;
use std::time::Duration;

use rollbook_ledger::projection::projector::Waiter;
use rollbook_ledger::projection::store::ViewStore;

/// After this long without an event a client gets a heartbeat.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// What every client of the live feed reads from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Live {
    /// New commits.
    pub(crate) feed: Feed,
    /// How far the views have caught up: no event is sent before they contain it.
    pub(crate) applied: Waiter,
    /// Signals of running steps.
    pub(crate) signals: SignalHub,
    /// The environment of each rollout.
    pub(crate) environments: EnvironmentCache,
    /// Commits in the form sent to clients.
    pub(crate) block_cache: event::BlockCache,
    /// Interval between heartbeats.
    pub(crate) heartbeat: Duration,
}

impl Live {
    /// A live feed of `feed`; `applied` says how far `views` have caught up.
    pub fn new(feed: Feed, applied: Waiter, views: Arc<dyn ViewStore>, signals: SignalHub) -> Self {
        Self {
            feed,
            applied,
            signals,
            environments: EnvironmentCache::new(views),
            block_cache: event::BlockCache::default(),
            heartbeat: HEARTBEAT,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

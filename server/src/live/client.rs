//! One client of the live feed: every event after its position, in order, each once, as soon as the
//! views contain it.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, Stream};
use rollbook_ledger::journal::StoredCommit;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::feed::{FeedError, Page};
use super::signals::Signal;
use super::{EventId, Filter, Live};

/// How long a disconnected client waits before it reconnects, in milliseconds.
const RETRY_MS: u32 = 2_000;

/// A client and its position.
pub(crate) struct Client {
    live: Live,
    filter: Filter,
    /// All events up to here were sent or filtered out.
    at: EventId,
    /// Where the client would resume by itself: the last `id` it was sent.
    sent: EventId,
    /// Commits fetched for it that it has not taken yet.
    ready: VecDeque<Arc<StoredCommit>>,
    /// Whether that page was in memory.
    at_hand: bool,
    /// Kept across signals, so that a signal does not restart a long read.
    asking: Option<BoxFuture<'static, Result<Page, FeedError>>>,
    signals: broadcast::Receiver<Arc<Signal>>,
    heartbeat_at: Instant,
}

/// Why a client is disconnected, and where it resumes.
#[derive(Debug)]
pub(crate) struct Dropped {
    pub(crate) error: FeedError,
    pub(crate) at: EventId,
}

impl Client {
    /// A client of `live` that has everything up to `at`.
    pub(crate) fn new(live: Live, filter: Filter, at: EventId) -> Self {
        Self {
            signals: live.signals.listen(),
            heartbeat_at: Instant::now() + live.heartbeat,
            live,
            filter,
            at,
            sent: at,
            ready: VecDeque::new(),
            at_hand: false,
            asking: None,
        }
    }

    /// The stream of the client. Nothing is buffered while the client does not ask.
    pub(crate) fn stream(self) -> impl Stream<Item = Result<Bytes, Dropped>> + Send {
        // A client that is cut off before its first event resumes here.
        let hello = format!("retry: {RETRY_MS}\nid: {}\n\n", self.at);
        stream::unfold((Some(hello), Some(self)), |(hello, client)| async {
            let mut client = client?;
            if let Some(hello) = hello {
                return Some((Ok(hello.into()), (None, Some(client))));
            }
            match client.next().await {
                Ok(bytes) => {
                    client.heartbeat_at = Instant::now() + client.live.heartbeat;
                    Some((Ok(bytes), (None, Some(client))))
                }
                Err(error) => {
                    let dropped = Dropped {
                        error,
                        at: client.at,
                    };
                    Some((Err(dropped), (None, None)))
                }
            }
        })
    }

    async fn next(&mut self) -> Result<Bytes, FeedError> {
        loop {
            while let Some(stored) = self.ready.front() {
                let stored = Arc::clone(stored);
                let rendered = self.render(&stored).await?;
                self.ready.pop_front();
                if !rendered.is_empty() {
                    return Ok(rendered);
                }
            }
            let asking = self.asking.get_or_insert_with(|| {
                let (live, after, at_hand) = (self.live.clone(), self.at.after(), self.at_hand);
                Box::pin(async move { live.feed.viewed(after, &live.applied, at_hand).await })
            });
            tokio::select! {
                biased;
                page = asking => {
                    self.asking = None;
                    let page = page?;
                    self.at_hand = page.at_hand;
                    self.ready = page.commits.into();
                }
                signal = signal(&mut self.signals) => {
                    if self.filter.wants(signal.name, &signal.about) {
                        return Ok(signal.bytes.clone());
                    }
                }
                () = tokio::time::sleep_until(self.heartbeat_at) => return Ok(self.heartbeat()),
            }
        }
    }

    /// The events of a commit that the client wants and has not had; may be empty.
    async fn render(&mut self, stored: &StoredCommit) -> Result<Bytes, FeedError> {
        let (commit, sequence) = (&stored.commit, stored.sequence);
        let whole = EventId::whole(sequence);
        if commit.aggregate == "rollout" && self.filter.leaves_out(&commit.aggregate_id) {
            self.at = whole;
            return Ok(Bytes::new());
        }
        let blocks = self
            .live
            .block_cache
            .blocks(stored, &self.live.environments);
        let blocks = blocks.await?;
        let wanted: Vec<_> = blocks
            .iter()
            .filter(|block| self.at.is_before(sequence, block.index))
            .filter(|block| self.filter.wants(block.name, &block.about))
            .collect();
        if let (Some(last), Some(end)) = (wanted.last(), blocks.last()) {
            self.sent = EventId {
                sequence,
                index: (last.index < end.index).then_some(last.index),
            };
        }
        self.at = whole;
        Ok(match wanted.as_slice() {
            [one] => one.bytes.clone(),
            several => {
                let bytes: Vec<&[u8]> = several.iter().map(|block| &*block.bytes).collect();
                bytes.concat().into()
            }
        })
    }

    /// Shows that the connection is alive, and advances the client past filtered events.
    fn heartbeat(&mut self) -> Bytes {
        if self.sent == self.at {
            return Bytes::from_static(b": heartbeat\n\n");
        }
        self.sent = self.at;
        format!(": heartbeat\nid: {}\n\n", self.at).into()
    }
}

async fn signal(signals: &mut broadcast::Receiver<Arc<Signal>>) -> Arc<Signal> {
    loop {
        match signals.recv().await {
            Ok(signal) => return signal,
            Err(RecvError::Lagged(_)) => {}
            // Unreachable: the client's own `Live` holds a sender.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

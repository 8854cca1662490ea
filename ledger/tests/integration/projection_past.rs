//! Views as of earlier points: replayed once, kept within bounds, never in place of a look at the
//! ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::{self, BoxStream};
use rollbook_ledger::ids::{Aggregate, LedgerId};
use rollbook_ledger::journal::{
    Appended, Journal, JournalError, MemoryJournal, ReadFrom, StoredCommit,
};
use rollbook_ledger::projection::replay::{PastBounds, PastError, PastViews, Until, replay_at};
use rollbook_ledger::projection::store::ViewStore;
use rollbook_proto::v1::Commit;
use tokio::sync::watch;

use crate::projection_history::{mixed, recorded_at};

const ONE_AT_A_TIME: PastBounds = PastBounds {
    stores: 4,
    commits: 200_000,
    replays: 1,
    begins_within: Duration::from_millis(20),
};

/// A journal in memory that delivers only while it is open, and may turn out to be damaged.
#[derive(Debug, Clone)]
struct Gated {
    inner: MemoryJournal,
    open: Arc<watch::Sender<bool>>,
    damaged: Arc<AtomicBool>,
}

impl Gated {
    /// Holds this many commits and is open.
    async fn of(commits: u32) -> Self {
        let inner = MemoryJournal::new(LedgerId::new("main").unwrap());
        for stored in mixed(commits).commits {
            let commit = stored.commit;
            let aggregate = Aggregate::of(&commit.aggregate, &commit.aggregate_id).unwrap();
            inner.append(&aggregate, commit).await.unwrap();
        }
        Self {
            inner,
            open: Arc::new(watch::Sender::new(true)),
            damaged: Arc::default(),
        }
    }

    fn port(&self) -> Arc<dyn Journal> {
        Arc::new(self.clone())
    }

    fn past(&self, bounds: PastBounds) -> PastViews {
        PastViews::new(self.port(), bounds)
    }
}

#[async_trait]
impl Journal for Gated {
    async fn append(&self, of: &Aggregate, commit: Commit) -> Result<Appended, JournalError> {
        self.inner.append(of, commit).await
    }

    async fn read(&self, of: &Aggregate, after: u64) -> Result<Vec<StoredCommit>, JournalError> {
        self.inner.read(of, after).await
    }

    async fn follow(
        &self,
        from: ReadFrom,
    ) -> Result<BoxStream<'static, Result<StoredCommit, JournalError>>, JournalError> {
        if self.damaged.load(Ordering::Relaxed) {
            return Err(JournalError::Corrupt {
                sequence: from.after + 1,
                reason: "flipped".to_owned(),
            });
        }
        let commits = self.inner.follow(from).await?;
        let mut open = self.open.subscribe();
        let opened = async move {
            let _ = open.wait_for(|open| *open).await;
            commits
        };
        Ok(stream::once(opened).flatten().boxed())
    }

    async fn last_sequence(&self) -> Result<u64, JournalError> {
        self.inner.last_sequence().await
    }
}

async fn rows(views: &Arc<dyn ViewStore>) -> Vec<(&'static str, Vec<String>)> {
    views.dump().await.unwrap()
}

#[tokio::test]
async fn a_point_is_replayed_once_for_all_who_ask() {
    let ledger = Gated::of(300).await;
    let past = ledger.past(PastBounds::default());
    let point = Until::Sequence(137);
    let asked = join_all((0..20).map(|_| past.at(point))).await;
    assert_eq!(past.replays(), 1);
    let fresh = replay_at(&ledger.port(), point).await.unwrap();
    for answer in asked {
        assert_eq!(rows(&answer.unwrap()).await, rows(&fresh).await);
    }
    let again = past.at(point).await.unwrap();
    assert_eq!(rows(&again).await, rows(&fresh).await);
    assert_eq!(past.replays(), 1);
}

#[tokio::test]
async fn a_time_is_the_sequence_that_it_stands_for() {
    let ledger = Gated::of(300).await;
    let past = ledger.past(PastBounds::default());
    let half = jiff::SignedDuration::from_millis(500);
    let time = |sequence: u64| Until::Time(recorded_at(sequence) + half);
    let points = [
        time(137),
        Until::Sequence(137),
        Until::Time(recorded_at(137)),
    ];
    let asked = join_all(points.iter().cycle().take(20).map(|point| past.at(*point))).await;
    let fresh = replay_at(&ledger.port(), time(137)).await.unwrap();
    assert_eq!(fresh.position().await.unwrap().sequence, 137);
    for answer in asked {
        assert_eq!(rows(&answer.unwrap()).await, rows(&fresh).await);
    }
    assert_eq!(past.replays(), 1);

    // What a time beyond the end stands for changes with the ledger.
    let late = Until::Time(jiff::Timestamp::MAX);
    for end in [Until::Sequence(9_999), late] {
        let views = past.at(end).await.unwrap();
        assert_eq!(views.position().await.unwrap().sequence, 300);
    }
    assert_eq!(past.replays(), 2);
    let more = mixed(301).commits.remove(300).commit;
    let aggregate = Aggregate::of(&more.aggregate, &more.aggregate_id).unwrap();
    ledger.append(&aggregate, more).await.unwrap();
    let views = past.at(late).await.unwrap();
    assert_eq!(views.position().await.unwrap().sequence, 301);

    let before_all = past.at(Until::Time(jiff::Timestamp::UNIX_EPOCH)).await;
    let before_all = before_all.unwrap().position().await.unwrap();
    assert_eq!(before_all.sequence, 0);
}

#[tokio::test]
async fn the_views_last_used_are_kept_within_bounds() {
    let ledger = Gated::of(300).await;
    let replays = async |bounds: PastBounds, asked: &[u64]| {
        let past = ledger.past(bounds);
        let mut counts = Vec::new();
        for sequence in asked {
            let views = past.at(Until::Sequence(*sequence)).await.unwrap();
            let position = views.position().await.unwrap();
            assert_eq!(position.sequence, *sequence);
            counts.push(past.replays());
        }
        counts
    };
    let two = PastBounds {
        stores: 2,
        ..PastBounds::default()
    };
    // 10 was used after 20, so 30 replaces 20.
    let counts = replays(two, &[10, 20, 10, 30, 10, 20]).await;
    assert_eq!(counts, [1, 2, 2, 3, 3, 4]);
    let few = PastBounds {
        commits: 250,
        ..PastBounds::default()
    };
    // 200 and 100 are too many together, 300 alone.
    let counts = replays(few, &[200, 100, 100, 200, 300, 300, 200]).await;
    assert_eq!(counts, [1, 2, 2, 3, 4, 5, 5]);
}

#[tokio::test]
async fn a_replay_beyond_the_bound_waits_and_is_then_refused() {
    let ledger = Gated::of(300).await;
    let past = ledger.past(ONE_AT_A_TIME);
    ledger.open.send_replace(false);
    let mut first = Box::pin(past.at(Until::Sequence(100)));
    assert!(futures::poll!(&mut first).is_pending());
    let refused = past.at(Until::Sequence(200)).await.unwrap_err();
    assert!(matches!(refused, PastError::Busy { replays: 1, .. }));
    assert!(
        refused.to_string().starts_with("RB-PROJECTOR-4: "),
        "{refused}"
    );
    assert!(!refused.is_damage());
    ledger.open.send_replace(true);
    first.await.unwrap();
    past.at(Until::Sequence(200)).await.unwrap();
}

#[tokio::test]
async fn a_replay_lasts_as_long_as_somebody_waits_for_it() {
    let ledger = Gated::of(300).await;
    let past = ledger.past(ONE_AT_A_TIME);
    ledger.open.send_replace(false);
    let mut first = Box::pin(past.at(Until::Sequence(100)));
    let mut second = Box::pin(past.at(Until::Sequence(100)));
    assert!(futures::poll!(&mut first).is_pending());
    assert!(futures::poll!(&mut second).is_pending());
    drop(first);
    ledger.open.send_replace(true);
    second.await.unwrap();
    assert_eq!(past.replays(), 1);

    // Nobody waits any more, so the next one may begin.
    ledger.open.send_replace(false);
    let mut left = Box::pin(past.at(Until::Sequence(200)));
    assert!(futures::poll!(&mut left).is_pending());
    drop(left);
    ledger.open.send_replace(true);
    past.at(Until::Sequence(250)).await.unwrap();
}

#[tokio::test]
async fn kept_views_do_not_hide_damage() {
    let ledger = Gated::of(300).await;
    let past = ledger.past(PastBounds::default());
    past.at(Until::Sequence(300)).await.unwrap();
    ledger.damaged.store(true, Ordering::Relaxed);
    let refused = past.at(Until::Sequence(300)).await.unwrap_err();
    assert!(refused.is_damage(), "{refused}");
    assert!(refused.to_string().contains("sequence 1 "), "{refused}");
}

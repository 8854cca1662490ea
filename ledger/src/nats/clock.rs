//! The ledger's time: that of its NATS server, so that processes whose machines disagree judge
//! windows and deadlines alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_nats::Client;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::{Clock, SharedClock};

/// Between two looks at the server's time.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// An answer that took longer says too little.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(2);

/// Clocks that differ by less are taken as equal.
const TOLERATED: SignedDuration = SignedDuration::from_millis(250);

/// A clock that follows the NATS server's, from a clock of this machine.
#[derive(Debug)]
pub struct ServerClock {
    base: SharedClock,
    /// How far the server is ahead of `base`, in milliseconds.
    ahead_ms: Arc<AtomicI64>,
    _follower: AbortOnDropHandle<()>,
}

/// What every answer about a stream says.
#[derive(Debug, Deserialize)]
struct Answer {
    ts: Timestamp,
}

impl ServerClock {
    /// Looks at the server's time, and again regularly. `stream` is one that exists. While the
    /// server does not answer, what was last known counts; before that, `base`.
    pub async fn follow(client: Client, stream: &str, base: SharedClock) -> Self {
        let ahead_ms = Arc::new(AtomicI64::new(0));
        let subject = format!("$JS.API.STREAM.INFO.{stream}");
        look(&client, &subject, &base, &ahead_ms).await;
        let (known, clock) = (Arc::clone(&ahead_ms), Arc::clone(&base));
        let follower = AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_INTERVAL).await;
                look(&client, &subject, &clock, &known).await;
            }
        }));
        Self {
            base,
            ahead_ms,
            _follower: follower,
        }
    }

    /// How far the server is ahead of this machine's clock; negative: behind.
    pub fn ahead(&self) -> SignedDuration {
        SignedDuration::from_millis(self.ahead_ms.load(Ordering::Relaxed))
    }
}

impl Clock for ServerClock {
    fn now(&self) -> Timestamp {
        let now = self.base.now();
        now.checked_add(self.ahead()).unwrap_or(now)
    }
}

async fn look(client: &Client, subject: &str, base: &SharedClock, ahead_ms: &AtomicI64) {
    let asked = base.now();
    let request = client.request(subject.to_owned(), Vec::new().into());
    let Ok(Ok(message)) = tokio::time::timeout(MAX_ROUND_TRIP, request).await else {
        return;
    };
    let answered = base.now();
    let Ok(Answer { ts }) = serde_json::from_slice(&message.payload) else {
        return;
    };
    let half = answered.duration_since(asked) / 2;
    let Ok(middle) = asked.checked_add(half) else {
        return;
    };
    let ahead = ts.duration_since(middle);
    let ahead = if ahead.abs() < TOLERATED {
        SignedDuration::ZERO
    } else {
        ahead
    };
    let millis = i64::try_from(ahead.as_millis()).unwrap_or(0);
    if ahead_ms.swap(millis, Ordering::Relaxed) != millis && millis != 0 {
        tracing::warn!(
            ahead_ms = millis,
            "this machine's clock differs from the NATS server's, whose time counts"
        );
    }
}

//! The ledger's clock: that of its NATS server, so that processes on machines with different clocks
//! agree on windows and deadlines.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_nats::Client;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::{Clock, SharedClock};

/// Time between two readings of the server's clock.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// A reading with a longer round trip is too inaccurate to use.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(2);

/// Smaller differences between clocks are ignored.
const TOLERATED: SignedDuration = SignedDuration::from_millis(250);

/// A clock that follows the NATS server's, as an offset from a local clock.
#[derive(Debug)]
pub struct ServerClock {
    base: SharedClock,
    /// How far the server is ahead of `base`, in milliseconds.
    ahead_ms: Arc<AtomicI64>,
    _follower: AbortOnDropHandle<()>,
}

/// The timestamp in every answer about a stream.
#[derive(Debug, Deserialize)]
struct Answer {
    ts: Timestamp,
}

impl ServerClock {
    /// Reads the server's time now and then at regular intervals; `stream` must exist. While the
    /// server does not answer, the last known offset applies, and before the first answer `base`
    /// alone.
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

    /// Returns how far the server is ahead of this machine's clock; negative if behind.
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

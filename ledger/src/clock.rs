//! Time: always UTC, from one injected clock.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The longest single sleep: a clock that is moved while somebody sleeps is followed this soon.
const LONGEST_NAP: Duration = Duration::from_secs(1);

/// The source of the current time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Returns the current time in UTC.
    fn now(&self) -> Timestamp;

    /// Returns once the clock shows `at` or later, also if it is moved meanwhile. Whatever decides by
    /// time waits here, so that a clock owns all time of a rollout.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            while let Some(left) = remaining(self.now(), at) {
                tokio::time::sleep(left.min(LONGEST_NAP)).await;
            }
        })
    }

    /// Returns once this much time has passed. A clock that is set meanwhile, as time servers do,
    /// makes it neither shorter nor longer.
    fn sleep(&self, by: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(by))
    }
}

/// The time from `now` until `at`; `None` if it is over.
fn remaining(now: Timestamp, at: Timestamp) -> Option<Duration> {
    let left = Duration::try_from(at.duration_since(now)).ok()?;
    (!left.is_zero()).then_some(left)
}

/// A clock shared by the parts of one process.
pub type SharedClock = Arc<dyn Clock>;

/// The system clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that runs with the Tokio runtime's own time: while that is paused, it jumps to the next
/// sleeper as soon as nothing else is to be done, so that days pass in milliseconds.
#[derive(Debug)]
pub struct RuntimeClock {
    start: Timestamp,
    begun: Instant,
}

impl RuntimeClock {
    /// A clock that shows `start` now.
    pub fn new(start: Timestamp) -> Self {
        Self {
            start,
            begun: Instant::now(),
        }
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.begun.elapsed()).unwrap_or(SignedDuration::MAX);
        self.start.saturating_add(passed).unwrap_or(Timestamp::MAX)
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            while let Some(left) = remaining(self.now(), at) {
                tokio::time::sleep(left).await;
            }
        })
    }
}

/// Converts a time to its protobuf form.
pub fn to_proto(time: Timestamp) -> rollbook_proto::Timestamp {
    rollbook_proto::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}

/// Returns a time as texts for people have it, to the second.
pub fn shown(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Converts a protobuf timestamp; `None` if it is absent or out of range.
pub fn from_proto(time: Option<&rollbook_proto::Timestamp>) -> Option<Timestamp> {
    let time = time?;
    Timestamp::new(time.seconds, time.nanos).ok()
}

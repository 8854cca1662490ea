//! The lease under which a worker holds its task: the queue gives the task to another worker some
//! time after the last heartbeat that it confirmed.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// A worker's lease on a task, renewed by confirmed heartbeats.
#[derive(Debug, Clone)]
pub struct Lease {
    until: watch::Receiver<Instant>,
}

/// Renews a lease.
#[derive(Debug)]
pub struct Renewal {
    until: watch::Sender<Instant>,
    length: Duration,
}

impl Lease {
    /// Starts a lease; each renewal is for `length`.
    pub fn new(length: Duration) -> (Renewal, Self) {
        let (sender, until) = watch::channel(Instant::now() + length);
        let renewal = Renewal {
            until: sender,
            length,
        };
        (renewal, Self { until })
    }

    /// The time left.
    pub fn left(&self) -> Duration {
        self.until
            .borrow()
            .saturating_duration_since(Instant::now())
    }

    /// Waits for a renewal; `false` means that none will come.
    pub async fn renewed(&mut self) -> bool {
        self.until.changed().await.is_ok()
    }

    /// Returns when the lease has expired.
    pub async fn lost(mut self) {
        loop {
            let until = *self.until.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                renewed = self.until.changed() => if renewed.is_err() {
                    tokio::time::sleep_until(until).await;
                    return;
                },
            }
        }
    }
}

impl Renewal {
    /// Renews the lease from the moment at which the confirmed heartbeat was sent.
    pub fn confirmed(&self, sent: Instant) {
        self.until.send_replace(sent + self.length);
    }
}

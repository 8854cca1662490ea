//! Until when a worker holds its task: the queue gives it to another one some time after the last
//! sign of life that it confirmed.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// A worker's hold on a task, renewed by whoever gives signs of life.
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
    /// A lease from now on; each renewal is for `length`.
    pub fn new(length: Duration) -> (Renewal, Self) {
        let (sender, until) = watch::channel(Instant::now() + length);
        let renewal = Renewal {
            until: sender,
            length,
        };
        (renewal, Self { until })
    }

    /// What is left of it.
    pub fn left(&self) -> Duration {
        self.until
            .borrow()
            .saturating_duration_since(Instant::now())
    }

    /// Waits for a renewal; `false`: there will be none.
    pub async fn renewed(&mut self) -> bool {
        self.until.changed().await.is_ok()
    }

    /// Returns when it has run out.
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
    /// The queue confirmed a sign of life that was sent at this moment.
    pub fn confirmed(&self, sent: Instant) {
        self.until.send_replace(sent + self.length);
    }
}

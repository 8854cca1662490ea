//! The queue in memory: for a single process, and as the model that the JetStream queue is tested
//! against.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::notices::{NoticeSink, QueuedNotice};
use super::queue::{
    Delivery, Published, QueueError, QueueOptions, QueuedTask, TaskFilter, TaskQueue,
};

/// Tasks in memory. Clones share them; nothing survives the process.
#[derive(Debug, Clone)]
pub struct MemoryQueue {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: QueueOptions,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    dead: Vec<(QueuedTask, String)>,
    notices: Vec<QueuedNotice>,
    tickets: u64,
}

#[derive(Debug)]
struct Entry {
    task: QueuedTask,
    deliveries: u32,
    /// Not delivered before this time.
    visible_at: Instant,
    /// Identifies the current delivery; an older delivery can no longer acknowledge the task.
    ticket: u64,
}

impl MemoryQueue {
    /// Makes an empty queue.
    pub fn new(options: QueueOptions) -> Self {
        Self {
            inner: Arc::new(Inner {
                options,
                state: Mutex::new(State::default()),
                changed: Notify::new(),
            }),
        }
    }

    /// Tasks that were given up, each with the reason.
    pub fn dead_letters(&self) -> Vec<(QueuedTask, String)> {
        self.inner.lock().dead.clone()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent after every statement, so a holder that panicked left nothing
        // half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first visible task of a filter, or when to look again.
    fn take(self: &Arc<Self>, filters: &[TaskFilter]) -> Result<MemoryDelivery, Option<Instant>> {
        let now = Instant::now();
        let mut state = self.lock();
        state.move_dead_letters(self.options.max_deliver, now);
        let ticket = state.tickets + 1;
        let mut next: Option<Instant> = None;
        for entry in &mut state.entries {
            if !filters.contains(&entry.task.filter()) {
                continue;
            }
            if entry.visible_at > now {
                next = Some(next.map_or(entry.visible_at, |next| next.min(entry.visible_at)));
                continue;
            }
            entry.deliveries += 1;
            entry.visible_at = now + self.options.ack_wait;
            entry.ticket = ticket;
            let delivery = MemoryDelivery {
                inner: Arc::clone(self),
                task: entry.task.clone(),
                deliveries: entry.deliveries,
                ticket,
            };
            state.tickets = ticket;
            return Ok(delivery);
        }
        Err(next)
    }
}

impl State {
    /// Moves tasks whose last delivery has expired to the dead letters.
    fn move_dead_letters(&mut self, max_deliver: u32, now: Instant) {
        let mut index = 0;
        while let Some(entry) = self.entries.get(index) {
            if entry.deliveries >= max_deliver && entry.visible_at <= now {
                let entry = self.entries.remove(index);
                self.dead
                    .push((entry.task, format!("delivered {} times", entry.deliveries)));
            } else {
                index += 1;
            }
        }
    }
}

#[async_trait]
impl NoticeSink for MemoryQueue {
    async fn publish(&self, notice: &QueuedNotice) -> Result<Published, QueueError> {
        let mut state = self.inner.lock();
        if state.notices.contains(notice) {
            return Ok(Published::Known);
        }
        state.notices.push(notice.clone());
        Ok(Published::New)
    }
}

#[async_trait]
impl TaskQueue for MemoryQueue {
    async fn publish(&self, task: &QueuedTask) -> Result<Published, QueueError> {
        let mut state = self.inner.lock();
        let key = task.key();
        if state.entries.iter().any(|entry| entry.task.key() == key) {
            return Ok(Published::Known);
        }
        let max_tasks = usize::try_from(self.inner.options.max_tasks).unwrap_or(usize::MAX);
        if state.entries.len() >= max_tasks {
            return Err(QueueError::Full {
                reason: format!("it holds {max_tasks} tasks"),
            });
        }
        state.entries.push(Entry {
            task: task.clone(),
            deliveries: 0,
            visible_at: Instant::now(),
            ticket: 0,
        });
        drop(state);
        self.inner.changed.notify_waiters();
        Ok(Published::New)
    }

    async fn pull(
        &self,
        filters: &[TaskFilter],
        wait: Duration,
    ) -> Result<Option<Box<dyn Delivery>>, QueueError> {
        let last = Instant::now() + wait;
        loop {
            // Registered before looking, so that no change in between is missed.
            let changed = self.inner.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let next = match self.inner.take(filters) {
                Ok(delivery) => return Ok(Some(Box::new(delivery))),
                Err(next) => next,
            };
            if Instant::now() >= last {
                return Ok(None);
            }
            let until = next.map_or(last, |next| next.min(last));
            let _ = tokio::time::timeout_at(until, changed).await;
        }
    }
}

#[derive(Debug)]
struct MemoryDelivery {
    inner: Arc<Inner>,
    task: QueuedTask,
    deliveries: u32,
    ticket: u64,
}

impl MemoryDelivery {
    /// Changes the entry if this delivery is still the current one.
    fn acknowledge(&self, change: impl FnOnce(&mut State, usize)) {
        let mut state = self.inner.lock();
        let found = state
            .entries
            .iter()
            .position(|entry| entry.ticket == self.ticket);
        if let Some(index) = found {
            change(&mut state, index);
        }
        drop(state);
        self.inner.changed.notify_waiters();
    }

    fn hide_until(&self, at: Instant) {
        self.acknowledge(|state, index| {
            if let Some(entry) = state.entries.get_mut(index) {
                entry.visible_at = at;
            }
        });
    }
}

#[async_trait]
impl Delivery for MemoryDelivery {
    fn task(&self) -> &QueuedTask {
        &self.task
    }

    fn deliveries(&self) -> u32 {
        self.deliveries
    }

    async fn progress(&self) -> Result<(), QueueError> {
        self.hide_until(Instant::now() + self.inner.options.ack_wait);
        Ok(())
    }

    async fn done(&self) -> Result<(), QueueError> {
        self.acknowledge(|state, index| {
            state.entries.remove(index);
        });
        Ok(())
    }

    async fn redeliver(&self, delay: Duration) -> Result<(), QueueError> {
        self.hide_until(Instant::now() + delay);
        Ok(())
    }

    async fn give_up(&self, reason: &str) -> Result<(), QueueError> {
        self.acknowledge(|state, index| {
            let entry = state.entries.remove(index);
            state.dead.push((entry.task, reason.to_owned()));
        });
        Ok(())
    }
}

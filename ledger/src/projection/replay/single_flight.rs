//! Work that everybody who asks for the same thing at the same time shares.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};

/// The work under way, by key. Work ends early when nobody waits for it any more.
pub(super) struct SingleFlight<K, T: Clone>(Mutex<HashMap<K, WeakShared<BoxFuture<'static, T>>>>);

impl<K, T: Clone> Default for SingleFlight<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, T: Clone> fmt::Debug for SingleFlight<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleFlight").finish_non_exhaustive()
    }
}

impl<K: Eq + Hash, T: Clone> SingleFlight<K, T> {
    /// Joins the work under way for `key`, or begins it.
    pub(super) fn join(
        &self,
        key: K,
        begin: impl FnOnce() -> BoxFuture<'static, T>,
    ) -> Shared<BoxFuture<'static, T>> {
        // Consistent after every statement, so a panicked holder left nothing half done.
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(joined) = flights.get(&key).and_then(WeakShared::upgrade) {
            return joined;
        }
        flights.retain(|_, flight| flight.upgrade().is_some());
        let begun = begin().shared();
        if let Some(flight) = begun.downgrade() {
            flights.insert(key, flight);
        }
        begun
    }
}

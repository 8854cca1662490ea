//! A small bounded map of folded states. Losing an entry costs a longer read, nothing else.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared by its clones; holds at most `limit` entries and starts anew when it is full.
pub(super) struct Cache<K, V> {
    entries: Arc<Mutex<HashMap<K, (V, u64)>>>,
    limit: usize,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            entries: Arc::new(Mutex::new(HashMap::new())),
            limit,
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<(V, u64)> {
        self.lock().get(key).cloned()
    }

    /// Keeps the value with the higher sequence.
    pub(super) fn put(&self, key: K, value: V, sequence: u64) {
        let mut entries = self.lock();
        if entries
            .get(&key)
            .is_some_and(|(_, known)| *known > sequence)
        {
            return;
        }
        if entries.len() >= self.limit && !entries.contains_key(&key) {
            entries.clear();
        }
        entries.insert(key, (value, sequence));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, (V, u64)>> {
        // The map is whole after every statement, so a panicked holder left nothing half done.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        Self {
            entries: Arc::clone(&self.entries),
            limit: self.limit,
        }
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_fold_never_replaces_a_newer_one() {
        let cache = Cache::new(2);
        cache.put("a", 1, 5);
        cache.put("a", 0, 4);
        assert_eq!(cache.get(&"a"), Some((1, 5)));
        cache.put("b", 2, 1);
        cache.put("c", 3, 1);
        assert_eq!(cache.get(&"a"), None, "full: starts anew");
        assert_eq!(cache.get(&"c"), Some((3, 1)));
    }
}

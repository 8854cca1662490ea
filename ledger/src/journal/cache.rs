//! A small bounded map of what was folded or read. Losing an entry costs a longer read, nothing
//! else; any entry may be stale.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared by its clones; holds at most `limit` entries and starts anew when it is full.
pub struct Cache<K, V> {
    entries: Arc<Mutex<HashMap<K, (V, u64)>>>,
    limit: usize,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// An empty cache of at most `limit` entries.
    pub fn new(limit: usize) -> Self {
        Self {
            entries: Arc::new(Mutex::new(HashMap::new())),
            limit,
        }
    }

    /// The value, and the sequence of the last commit in it.
    pub fn get(&self, key: &K) -> Option<(V, u64)> {
        self.lock().get(key).cloned()
    }

    /// Keeps the value with the higher sequence.
    pub fn put(&self, key: K, value: V, sequence: u64) {
        let mut entries = self.lock();
        let known = entries.get(&key).map(|(_, known)| *known);
        if self.limit == 0 || known.is_some_and(|known| known > sequence) {
            return;
        }
        if known.is_none() && entries.len() >= self.limit {
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

//! A small bounded cache of folded or read values. A lost entry only costs a longer read; any entry
//! may be stale.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The cache; clones share it. It holds at most `limit` entries and is emptied when full.
pub struct Cache<K, V> {
    entries: Arc<Mutex<HashMap<K, (V, u64)>>>,
    limit: usize,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// Creates an empty cache of at most `limit` entries.
    pub fn new(limit: usize) -> Self {
        Self {
            entries: Arc::new(Mutex::new(HashMap::new())),
            limit,
        }
    }

    /// Returns the value and the sequence of the last commit in it.
    pub fn get(&self, key: &K) -> Option<(V, u64)> {
        self.lock().get(key).cloned()
    }

    /// Stores the value, unless the cache has one with a higher sequence.
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

    /// Advances a value from sequence `known` with `next` and stores the result with sequence
    /// `newest`. The old entry is dropped first, so that a value without other owners is modified
    /// in place. The lock is held meanwhile, so `next` must be short. If `next` fails, nothing is
    /// stored.
    pub fn continued<E>(
        &self,
        key: K,
        value: V,
        known: u64,
        newest: u64,
        next: impl FnOnce(V) -> Result<V, E>,
    ) -> Result<V, E> {
        let mut entries = self.lock();
        if entries.get(&key).is_some_and(|(_, at)| *at == known) {
            entries.remove(&key);
        }
        let next = next(value)?;
        drop(entries);
        self.put(key, next.clone(), newest);
        Ok(next)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, (V, u64)>> {
        // Every statement leaves the map consistent, so a panic of another holder does no harm.
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
#[allow(clippy::unwrap_used)]
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

    #[test]
    fn a_shared_value_is_continued_in_place() {
        let cache = Cache::new(2);
        cache.put("a", Arc::new(1), 5);
        let (value, known) = cache.get(&"a").unwrap();
        let place = Arc::as_ptr(&value);
        let next = |mut value: Arc<i32>| {
            *Arc::get_mut(&mut value).unwrap() += 1;
            Ok::<_, ()>(value)
        };
        let value = cache.continued("a", value, known, 6, next).unwrap();
        assert_eq!((*value, Arc::as_ptr(&value)), (2, place));
        assert_eq!(cache.get(&"a"), Some((Arc::new(2), 6)));
        let refused = cache.continued("a", value, 6, 7, |_| Err::<Arc<i32>, _>("no"));
        assert_eq!((refused, cache.get(&"a")), (Err("no"), None));
    }
}

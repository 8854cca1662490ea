//! Groups rows into buckets by key range, spilling to a file what does not fit in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Encoded rows by bucket: in memory up to a bound, the others in an unnamed temporary file.
#[derive(Debug)]
pub(super) struct Buckets {
    /// The rows in memory.
    held: Vec<Vec<u8>>,
    held_bytes: usize,
    /// Number of rows of each bucket, in memory and in the file.
    rows: Vec<u64>,
    memory: usize,
    file: Option<File>,
    spills: Vec<Spill>,
}

/// The content of one write to the file: the bytes of the buckets, one after another.
#[derive(Debug)]
struct Spill {
    start: u64,
    /// Where each bucket's bytes end, relative to the start. A spill is little larger than the
    /// memory bound, so four bytes suffice.
    ends: Vec<u32>,
}

impl Spill {
    /// Offset and length of a bucket's bytes.
    fn range(&self, bucket: usize) -> (u64, usize) {
        let end = |index: usize| self.ends.get(index).copied().unwrap_or_default();
        let from = bucket.checked_sub(1).map_or(0, end);
        let length = end(bucket).saturating_sub(from);
        (self.start + u64::from(from), length as usize)
    }

    fn end(&self) -> u64 {
        self.start + u64::from(self.ends.last().copied().unwrap_or_default())
    }
}

impl Buckets {
    /// Makes `count` empty buckets that may hold `memory` bytes in memory.
    pub(super) fn new(count: usize, memory: usize) -> Self {
        // Each bucket is allocated with its share, because growing means copying into fresh memory.
        let share = memory / count.max(1);
        let bucket = || Vec::with_capacity(share + share / 8);
        Self {
            held: std::iter::repeat_with(bucket).take(count).collect(),
            held_bytes: 0,
            rows: vec![0; count],
            memory,
            file: None,
            spills: Vec::new(),
        }
    }

    /// The number of rows of each bucket.
    pub(super) fn rows(&self) -> &[u64] {
        &self.rows
    }

    /// Adds a row to a bucket.
    pub(super) fn add(&mut self, bucket: usize, row: &[u8]) {
        if let (Some(held), Some(rows)) = (self.held.get_mut(bucket), self.rows.get_mut(bucket)) {
            held.extend_from_slice(row);
            self.held_bytes += row.len();
            *rows += 1;
        }
    }

    /// Writes all buckets to the file if they hold more than the bound.
    pub(super) fn spill_if_large(&mut self) -> io::Result<()> {
        if self.held_bytes <= self.memory {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        let start = self.spills.last().map_or(0, Spill::end);
        let (mut ends, mut end) = (Vec::with_capacity(self.held.len()), 0_u32);
        for bytes in &mut self.held {
            file.write_all_at(bytes, start + u64::from(end))?;
            let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            end = end
                .checked_add(length)
                .ok_or_else(|| io::Error::other("the rows of one batch have over 4 GB"))?;
            ends.push(end);
            bytes.clear();
        }
        self.spills.push(Spill { start, ends });
        self.held_bytes = 0;
        Ok(())
    }

    /// Takes out the rows of a bucket, in any order.
    pub(super) fn take(&mut self, bucket: usize) -> io::Result<Vec<u8>> {
        let Some(held) = self.held.get_mut(bucket) else {
            return Ok(Vec::new());
        };
        let mut bytes = std::mem::take(held);
        self.held_bytes -= bytes.len();
        let runs = || self.spills.iter().map(|spill| spill.range(bucket));
        bytes.reserve_exact(runs().map(|(_, length)| length).sum());
        for (place, length) in runs() {
            let start = bytes.len();
            bytes.resize(start + length, 0);
            if let (Some(file), Some(room)) = (&self.file, bytes.get_mut(start..)) {
                file.read_exact_at(room, place)?;
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn buckets_give_back_what_they_were_given(
            rounds in prop::collection::vec(prop::collection::vec((0..5_usize, any::<u8>(), 0..40_usize), 0..12), 0..12),
            memory in 0..200_usize,
        ) {
            let mut buckets = Buckets::new(5, memory);
            let mut expected = vec![Vec::new(); 5];
            for round in rounds {
                for (shard, byte, length) in round {
                    buckets.add(shard, &vec![byte; length]);
                    expected[shard].extend(vec![byte; length]);
                }
                buckets.spill_if_large().unwrap();
                prop_assert!(buckets.held_bytes <= memory);
            }
            for (shard, expected) in expected.iter_mut().enumerate() {
                let mut found = buckets.take(shard).unwrap();
                // Rows still in memory come first; a part is sorted by key anyway.
                found.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(&found, expected);
            }
        }
    }
}

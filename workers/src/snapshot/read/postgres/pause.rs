//! How long a reader sleeps while what a server sends gathers in the kernel's buffer.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A server sends 8 KB at a time. To wake up for each costs as much as to compute what is in it; to
/// sleep until the buffer is full leaves the server waiting, and that of a Unix socket holds less
/// than 200 KB. So many bytes at a time cost neither.
const BYTES: RangeInclusive<usize> = 48 * 1024..=128 * 1024;
const LONGEST: Duration = Duration::from_millis(1);
/// Shorter ones the system does not keep.
const SHORTEST: Duration = Duration::from_micros(50);
/// The first: little is lost if it is too short.
const FIRST: Duration = Duration::from_micros(100);

/// The next sleep, as long as it takes for enough bytes to gather.
#[derive(Debug)]
pub(super) struct Pause {
    length: Duration,
    /// Bytes read since the last one.
    bytes: usize,
}

impl Default for Pause {
    fn default() -> Self {
        Self {
            length: FIRST,
            bytes: 0,
        }
    }
}

impl Pause {
    /// Counts what was read.
    pub(super) fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// How long to sleep, now that all is read.
    pub(super) fn next(&mut self) -> Duration {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes < *BYTES.start() {
            self.length = (self.length * 2).min(LONGEST);
        } else if bytes > *BYTES.end() {
            self.length = (self.length / 2).max(SHORTEST);
        }
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sleep that a server of so many bytes a microsecond leads to.
    fn settled(bytes_per_microsecond: usize) -> Duration {
        let mut pause = Pause::default();
        for _ in 0..10 {
            let length = usize::try_from(pause.next().as_micros()).unwrap_or(usize::MAX);
            pause.count(length * bytes_per_microsecond);
        }
        pause.next()
    }

    #[test]
    fn it_is_as_long_as_enough_bytes_take() {
        for bytes in [50, 100, 200, 500, 1000] {
            let gathered = settled(bytes).as_micros() as usize * bytes;
            assert!(BYTES.contains(&gathered), "{bytes}: {gathered}");
        }
        assert_eq!(settled(0), LONGEST);
        assert_eq!(settled(1), LONGEST);
        assert_eq!(settled(100_000), SHORTEST);
    }
}

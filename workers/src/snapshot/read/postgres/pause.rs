//! Decides how long a reader sleeps while the server's data gathers in the kernel's buffer.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How many bytes a sleep should gather. A server sends 8 KB at a time. Waking up for each of these
/// costs as much as computing their content; sleeping until the buffer is full keeps the server
/// waiting, and the buffer of a Unix socket holds less than 200 KB. This range avoids both costs.
const BYTES: RangeInclusive<usize> = 48 * 1024..=128 * 1024;
const LONGEST: Duration = Duration::from_millis(1);
/// The shortest sleep; the system does not keep shorter ones precisely.
const SHORTEST: Duration = Duration::from_micros(50);
/// The first sleep: little is lost if it is too short.
const FIRST: Duration = Duration::from_micros(100);

/// Adapts the length of the next sleep to the time in which enough bytes gather.
#[derive(Debug)]
pub(super) struct Pause {
    length: Duration,
    /// Bytes read since the last sleep.
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
    /// Counts bytes that were read.
    pub(super) fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// How long to sleep once everything available has been read.
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

    /// The sleep reached with a server that sends this many bytes per microsecond.
    fn converged(bytes_per_microsecond: usize) -> Duration {
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
            let gathered = converged(bytes).as_micros() as usize * bytes;
            assert!(BYTES.contains(&gathered), "{bytes}: {gathered}");
        }
        assert_eq!(converged(0), LONGEST);
        assert_eq!(converged(1), LONGEST);
        assert_eq!(converged(100_000), SHORTEST);
    }
}

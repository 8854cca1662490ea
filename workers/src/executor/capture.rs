//! Captures the output of a command within bounds and forwards its lines while it runs.

use std::collections::VecDeque;

use super::redact::{RedactStream, Redactor};

/// How much of an output stream is kept, in bytes. Longer output loses its middle.
pub const OUTPUT_CAP_BYTES: usize = 8 * 1024 * 1024;

/// How much of the cap is reserved for the end, where commands report their result.
const TAIL_BYTES: usize = 64 * 1024;

/// A live line longer than this many bytes is forwarded in pieces.
const LINE_BYTES: usize = 4 * 1024;

/// The captured output of one stream, redacted and capped.
#[derive(Debug)]
pub struct Capture {
    redact: RedactStream,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_cap_bytes: usize,
    tail_cap_bytes: usize,
    dropped_bytes: u64,
    line: Vec<u8>,
}

/// The output that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// Redacted bytes; a line marks where the middle was cut.
    pub bytes: Vec<u8>,
    /// Whether bytes were cut.
    pub truncated: bool,
    /// Where the kept end begins in `bytes`; `None` when nothing was cut.
    pub tail_at: Option<usize>,
}

impl Captured {
    /// Where the first complete line begins after which nothing is missing; 0 when nothing was cut.
    pub fn whole_from(&self) -> usize {
        let Some(tail) = self.tail_at else {
            return 0;
        };
        let kept = self.bytes.get(tail..).unwrap_or_default();
        let end = kept.iter().position(|byte| *byte == b'\n');
        end.map_or(self.bytes.len(), |end| tail + end + 1)
    }
}

impl Capture {
    /// Makes an empty capture with the standard cap.
    pub fn new(redactor: &Redactor) -> Self {
        Self::with_cap(redactor, OUTPUT_CAP_BYTES)
    }

    /// Makes an empty capture that keeps at most `cap_bytes`.
    pub fn with_cap(redactor: &Redactor, cap_bytes: usize) -> Self {
        let tail_cap_bytes = TAIL_BYTES.min(cap_bytes / 2);
        Self {
            redact: redactor.stream(),
            head: Vec::new(),
            tail: VecDeque::new(),
            head_cap_bytes: cap_bytes - tail_cap_bytes,
            tail_cap_bytes,
            dropped_bytes: 0,
            line: Vec::new(),
        }
    }

    /// Adds what the command wrote and calls `on_line` for each complete line.
    pub fn push(&mut self, chunk: &[u8], on_line: &mut dyn FnMut(String)) {
        let clean = self.redact.push(chunk);
        self.keep(&clean, on_line);
    }

    fn keep(&mut self, clean: &[u8], on_line: &mut dyn FnMut(String)) {
        let room = self.head_cap_bytes.saturating_sub(self.head.len());
        let (head, rest) = clean.split_at(room.min(clean.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(self.tail_cap_bytes);
        self.tail.drain(..excess);
        self.dropped_bytes += excess as u64;
        for byte in clean {
            if *byte == b'\n' || self.line.len() >= LINE_BYTES {
                self.flush_line(on_line);
            }
            if *byte != b'\n' {
                self.line.push(*byte);
            }
        }
    }

    fn flush_line(&mut self, on_line: &mut dyn FnMut(String)) {
        let line = std::mem::take(&mut self.line);
        on_line(
            String::from_utf8_lossy(&line)
                .trim_end_matches('\r')
                .to_owned(),
        );
    }

    /// Ends the stream and returns what was kept.
    pub fn finish(mut self, on_line: &mut dyn FnMut(String)) -> Captured {
        let clean = self.redact.finish();
        self.keep(&clean, on_line);
        if !self.line.is_empty() {
            self.flush_line(on_line);
        }
        let mut bytes = self.head;
        let mut tail_at = None;
        if self.dropped_bytes > 0 {
            bytes.extend_from_slice(
                format!("\n[{} bytes were cut here]\n", self.dropped_bytes).as_bytes(),
            );
            tail_at = Some(bytes.len());
        }
        bytes.extend(self.tail);
        Captured {
            bytes,
            truncated: tail_at.is_some(),
            tail_at,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn capture(cap_bytes: usize, chunks: &[&[u8]]) -> (Captured, Vec<String>) {
        let redactor = Redactor::new(["hunter2"]).unwrap();
        let mut lines = Vec::new();
        let mut capture = Capture::with_cap(&redactor, cap_bytes);
        for chunk in chunks {
            capture.push(chunk, &mut |line| lines.push(line));
        }
        let captured = capture.finish(&mut |line| lines.push(line));
        (captured, lines)
    }

    #[test]
    fn short_output_is_kept_whole_and_handed_on_by_line() {
        let (captured, lines) = capture(1000, &[b"one\ntw", b"o hun", b"ter2\r\nend"]);
        assert_eq!(captured.bytes, b"one\ntwo [redacted]\r\nend");
        assert!(!captured.truncated);
        assert_eq!(lines, ["one", "two [redacted]", "end"]);
    }

    #[test]
    fn long_output_keeps_head_and_tail() {
        let text = "0123456789".repeat(100);
        let (captured, _) = capture(100, &[text.as_bytes()]);
        assert!(captured.truncated);
        let kept = String::from_utf8(captured.bytes).unwrap();
        assert!(kept.starts_with("0123456789"), "{kept}");
        assert!(kept.contains("[900 bytes were cut here]"), "{kept}");
        assert!(kept.ends_with("0123456789"), "{kept}");
    }

    #[test]
    fn whole_lines_begin_behind_the_first_line_end_of_the_tail() {
        let (whole, _) = capture(1000, &[b"one\ntwo"]);
        assert_eq!((whole.tail_at, whole.whole_from()), (None, 0));
        let text = format!("{}\nlast line\n", "x".repeat(1000));
        let (cut, _) = capture(100, &[text.as_bytes()]);
        assert_eq!(&cut.bytes[cut.whole_from()..], b"last line\n");
        let (one_line, _) = capture(100, &["x".repeat(1000).as_bytes()]);
        assert_eq!(one_line.whole_from(), one_line.bytes.len());
    }

    #[test]
    fn bytes_that_are_not_utf8_are_kept_and_shown_lossily() {
        let (captured, lines) = capture(100, &[b"\xff\xfe\n"]);
        assert_eq!(captured.bytes, b"\xff\xfe\n");
        assert_eq!(lines, ["\u{fffd}\u{fffd}"]);
    }

    proptest! {
        #[test]
        fn what_is_kept_is_bounded(text in prop::collection::vec(any::<u8>(), 0..600), cap in 2usize..200) {
            let (captured, lines) = capture(cap, &[&text]);
            prop_assert!(captured.bytes.len() <= cap + 40);
            prop_assert_eq!(captured.truncated, text.len() > cap);
            prop_assert!(lines.len() <= text.len());
        }
    }
}

//! The position of a client of the live feed: `SEQUENCE.INDEX`, the last event that it has, or
//! `SEQUENCE` if it has all events of that commit and of earlier ones.

use std::fmt;
use std::str::FromStr;

/// A position in the order of events, by sequence and index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventId {
    pub(crate) sequence: u64,
    /// The last event of the commit that the client has; `None`: all of them.
    pub(crate) index: Option<u32>,
}

impl EventId {
    /// All of a commit and of earlier ones.
    pub(crate) fn whole(sequence: u64) -> Self {
        Self {
            sequence,
            index: None,
        }
    }

    /// The sequence after which to read commits, so that a partly received commit is read again.
    pub(crate) fn after(self) -> u64 {
        match self.index {
            None => self.sequence,
            Some(_) => self.sequence.saturating_sub(1),
        }
    }

    /// Whether an event comes later.
    pub(crate) fn is_before(self, sequence: u64, index: u32) -> bool {
        sequence > self.sequence
            || (sequence == self.sequence && self.index.is_some_and(|had| index > had))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            None => write!(f, "{}", self.sequence),
            Some(index) => write!(f, "{}.{index}", self.sequence),
        }
    }
}

/// The text is neither `SEQUENCE.INDEX` nor `SEQUENCE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoEventId;

impl FromStr for EventId {
    type Err = NoEventId;

    fn from_str(text: &str) -> Result<Self, NoEventId> {
        let (sequence, index) = match text.split_once('.') {
            Some((sequence, index)) => (sequence, Some(index)),
            None => (text, None),
        };
        // `parse` accepts a sign.
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(sequence) || !index.is_none_or(digits) {
            return Err(NoEventId);
        }
        Ok(Self {
            sequence: sequence.parse().map_err(|_| NoEventId)?,
            index: index.map(str::parse).transpose().map_err(|_| NoEventId)?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_the_round_trip() {
        for text in ["0", "7", "7.0", "7.12"] {
            assert_eq!(text.parse::<EventId>().unwrap().to_string(), text);
        }
        for text in [
            "",
            ".",
            "7.",
            ".1",
            "+7",
            "7.-1",
            "7.1.2",
            "a",
            "99999999999999999999",
        ] {
            assert_eq!(text.parse::<EventId>(), Err(NoEventId), "{text}");
        }
    }

    #[test]
    fn a_partly_sent_commit_is_read_again_for_the_rest() {
        let part: EventId = "7.1".parse().unwrap();
        assert_eq!(part.after(), 6);
        assert!(!part.is_before(6, 5) && !part.is_before(7, 1));
        assert!(part.is_before(7, 2) && part.is_before(8, 0));
        let whole = EventId::whole(7);
        assert_eq!(whole.after(), 7);
        assert!(!whole.is_before(7, 9) && whole.is_before(8, 0));
    }
}

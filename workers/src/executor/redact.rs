//! Takes secret values out of bytes before anything is stored, shown or published.

use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};

/// What stands where a secret stood.
pub const MASK: &str = "[redacted]";

/// Lines of a multi-line secret (a private key) at least this long, in bytes, are secrets of
/// their own, because tools print keys line by line. Shorter ones (`}` of a JSON key file)
/// say nothing.
const MIN_SECRET_LINE_BYTES: usize = 8;

/// Why a redactor could not be built. Terminal: without it nothing may be stored.
#[derive(Debug, thiserror::Error)]
#[error("RB-REDACT-1: the secrets of the plan cannot be searched for: {reason}; shorten them")]
pub struct RedactError {
    reason: String,
}

/// Replaces every occurrence of a set of secrets by [`MASK`]. Cheap to clone.
///
/// Where secrets overlap the leftmost, then longest, is replaced, and the rest of the
/// overlapped one is left: no secret survives whole.
#[derive(Clone)]
pub struct Redactor {
    search: Option<Arc<AhoCorasick>>,
    longest_bytes: usize,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.search.as_ref().map_or(0, |s| s.patterns_len());
        write!(f, "Redactor({count} secrets)")
    }
}

impl Redactor {
    /// A redactor for these values. Of each, its JSON-escaped and percent-encoded spellings and,
    /// when it has several lines, its longer lines are taken out too. Empty values are ignored.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Result<Self, RedactError> {
        let mut patterns: Vec<String> = Vec::new();
        for secret in secrets {
            let secret = secret.as_ref();
            if secret.is_empty() {
                continue;
            }
            patterns.push(secret.to_owned());
            patterns.push(json_escaped(secret));
            patterns.push(url::form_urlencoded::byte_serialize(secret.as_bytes()).collect());
            if secret.contains('\n') {
                let lines = secret.lines().map(str::trim);
                patterns.extend(
                    lines
                        .filter(|line| line.len() >= MIN_SECRET_LINE_BYTES)
                        .map(str::to_owned),
                );
            }
        }
        patterns.sort();
        patterns.dedup();
        let longest_bytes = patterns.iter().map(String::len).max().unwrap_or(0);
        let search = if patterns.is_empty() {
            None
        } else {
            let built = AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(&patterns)
                .map_err(|error| RedactError {
                    reason: error.to_string(),
                })?;
            Some(Arc::new(built))
        };
        Ok(Self {
            search,
            longest_bytes,
        })
    }

    /// A redactor that knows no secrets.
    pub fn none() -> Self {
        Self {
            search: None,
            longest_bytes: 0,
        }
    }

    /// The text without secrets.
    pub fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
    }

    /// The bytes without secrets.
    pub fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.stream();
        let mut out = stream.push(bytes);
        out.extend(stream.finish());
        out
    }

    /// A redactor for bytes that arrive in pieces.
    pub fn stream(&self) -> RedactStream {
        RedactStream {
            redactor: self.clone(),
            held: Vec::new(),
        }
    }
}

fn json_escaped(text: &str) -> String {
    let quoted = serde_json::Value::String(text.to_owned()).to_string();
    quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(&quoted)
        .to_owned()
}

/// Redacts a stream. Holds back at most the length of the longest secret, so that one that is
/// cut by a chunk boundary is still seen whole.
#[derive(Debug)]
pub struct RedactStream {
    redactor: Redactor,
    held: Vec<u8>,
}

impl RedactStream {
    /// Takes a piece; gives what can already be said to hold no secret.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(chunk);
        // A match that starts before this point lies wholly inside the buffer whatever comes
        // next, and so does any longer one at the same place.
        let decided = self
            .held
            .len()
            .saturating_sub(self.redactor.longest_bytes.saturating_sub(1));
        self.emit(decided)
    }

    /// The rest, when no more will come.
    pub fn finish(&mut self) -> Vec<u8> {
        self.emit(self.held.len())
    }

    fn emit(&mut self, decided: usize) -> Vec<u8> {
        let Some(search) = &self.redactor.search else {
            return std::mem::take(&mut self.held);
        };
        let mut out = Vec::with_capacity(self.held.len());
        let mut from = 0;
        for found in search.find_iter(&self.held) {
            if found.start() >= decided {
                break;
            }
            out.extend_from_slice(self.held.get(from..found.start()).unwrap_or_default());
            out.extend_from_slice(MASK.as_bytes());
            from = found.end();
        }
        let to = from.max(decided);
        out.extend_from_slice(self.held.get(from..to).unwrap_or_default());
        self.held.drain(..to);
        out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contains(haystack: &[u8], needle: &str) -> bool {
        haystack
            .windows(needle.len())
            .any(|window| window == needle.as_bytes())
    }

    #[test]
    fn spellings_of_a_secret_are_taken_out() {
        let redactor = Redactor::new(["p@ss \"word\"", "line-one-long\nline-two-long"]).unwrap();
        let text = redactor.text(
            "raw p@ss \"word\", json p@ss \\\"word\\\", url p%40ss+%22word%22, key line-two-long",
        );
        assert_eq!(
            text,
            "raw [redacted], json [redacted], url [redacted], key [redacted]"
        );
    }

    #[test]
    fn an_empty_secret_and_no_secret_change_nothing() {
        assert_eq!(Redactor::new([""]).unwrap().text("abc"), "abc");
        assert_eq!(Redactor::none().text("abc"), "abc");
    }

    proptest! {
        // Upper case and digits cannot be made from the mask and lower-case text around it.
        #[test]
        fn no_secret_survives_however_the_bytes_are_cut(
            secrets in prop::collection::vec("[A-C]{1,6}", 1..4),
            pieces in prop::collection::vec(("[a-cA-C]{0,12}", 0usize..4), 0..12),
            cuts in prop::collection::vec(1usize..9, 1..20),
        ) {
            let redactor = Redactor::new(&secrets).unwrap();
            let mut text = String::new();
            for (piece, which) in &pieces {
                text.push_str(piece);
                if let Some(secret) = secrets.get(*which) {
                    text.push_str(secret);
                }
            }
            let mut stream = redactor.stream();
            let mut out = Vec::new();
            let mut rest = text.as_bytes();
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let (head, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                out.extend(stream.push(head));
                rest = tail;
            }
            out.extend(stream.finish());
            prop_assert_eq!(&out, &redactor.bytes(text.as_bytes()), "cuts do not matter");
            for secret in &secrets {
                prop_assert!(!contains(&out, secret), "{} in {:?}", secret, String::from_utf8_lossy(&out));
            }
        }
    }
}

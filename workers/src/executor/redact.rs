//! Removes secret values from bytes before anything is stored, shown or published.

mod encodings;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};
use rollbook_ledger::error_code::Coded;

/// The text that replaces a secret.
pub const MASK: &str = "[redacted]";

/// Maximum memory for searching all secrets of a plan, in bytes.
const MAX_SEARCH_BYTES: usize = 256 * 1024 * 1024;

/// The latest redactors. Building one takes milliseconds, and the steps of a plan share their secrets.
static LATEST: Mutex<VecDeque<(BTreeSet<String>, Redactor)>> = Mutex::new(VecDeque::new());

/// The most redactors in [`LATEST`].
const MAX_LATEST: usize = 4;

/// Secrets of more bytes in all are searched for by a redactor of one step: what one needs grows with
/// them, up to [`MAX_SEARCH_BYTES`].
const MAX_SHARED_BYTES: usize = 4 * 1024;

/// Why a redactor could not be built. Terminal: without one nothing may be stored.
#[derive(Debug, thiserror::Error, Coded)]
#[error("RB-REDACT-1: the secrets of the plan cannot be searched for: {reason}; shorten them")]
pub struct RedactError {
    reason: String,
}

/// Replaces every occurrence of a set of secrets by [`MASK`], in any spelling programs commonly
/// use. Cheap to clone.
///
/// Where secrets overlap, the leftmost and then longest is replaced and the rest of the other is
/// left: no secret survives whole.
#[derive(Clone)]
pub struct Redactor {
    search: Option<Arc<Search>>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.search.as_ref().map_or(0, |search| search.secrets);
        write!(f, "Redactor({count} secrets)")
    }
}

/// Finds spellings of secrets at a given position.
struct Search {
    secrets: usize,
    dfa: DFA,
    /// The bytes that a spelling can begin with.
    begins: Box<[bool; 256]>,
}

/// What begins at a position.
struct Found {
    /// The length of the longest spelling there, in bytes.
    longest: Option<usize>,
    /// Whether further bytes could make it a spelling, or a longer one.
    is_open: bool,
}

impl Search {
    fn new(secrets: &BTreeSet<String>) -> Result<Self, RedactError> {
        let failed = |error: &dyn std::fmt::Display| RedactError {
            reason: error.to_string(),
        };
        let patterns: Vec<String> = secrets
            .iter()
            .flat_map(|secret| encodings::spellings(secret))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let dfa = DFA::builder()
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .thompson(
                thompson::Config::new()
                    .utf8(false)
                    .nfa_size_limit(Some(MAX_SEARCH_BYTES)),
            )
            .configure(
                DFA::config()
                    .match_kind(MatchKind::All)
                    .skip_cache_capacity_check(true),
            )
            .build_many(&patterns)
            .map_err(|error| failed(&error))?;
        let mut search = Self {
            secrets: secrets.len(),
            dfa,
            begins: Box::new([true; 256]),
        };
        let mut cache = search.dfa.create_cache();
        for (byte, begins) in (0..=u8::MAX).zip(search.begins.clone().iter()) {
            let found = search.at(&mut cache, &[byte]);
            let is_start = *begins && (found.is_open || found.longest.is_some());
            if let Some(begins) = search.begins.get_mut(usize::from(byte)) {
                *begins = is_start;
            }
        }
        Ok(search)
    }

    fn can_begin(&self, byte: u8) -> bool {
        self.begins.get(usize::from(byte)).copied().unwrap_or(true)
    }

    /// Searches at the beginning of these bytes.
    fn at(&self, cache: &mut Cache, bytes: &[u8]) -> Found {
        // The automaton gives up only when configured to; if it ever does, nothing is let through.
        self.walk(cache, bytes).unwrap_or(Found {
            longest: Some(bytes.len()),
            is_open: false,
        })
    }

    fn walk(&self, cache: &mut Cache, bytes: &[u8]) -> Option<Found> {
        let input = Input::new(bytes).anchored(Anchored::Yes);
        let mut state = self.dfa.start_state_forward(cache, &input).ok()?;
        let mut longest = None;
        for (length, byte) in bytes.iter().enumerate() {
            state = self.dfa.next_state(cache, state, *byte).ok()?;
            if state.is_match() {
                // The automaton reports a match one byte late.
                longest = Some(length);
            } else if state.is_dead() {
                return Some(Found {
                    longest,
                    is_open: false,
                });
            } else if state.is_quit() {
                return None;
            }
        }
        let end = self.dfa.next_eoi_state(cache, state).ok()?;
        if end.is_match() {
            longest = Some(bytes.len());
        }
        Some(Found {
            longest,
            is_open: true,
        })
    }
}

impl Redactor {
    /// Makes a redactor for these values: see [`spelling`] for how each is recognised. The longer
    /// lines of a multi-line value are redacted too. Empty values are ignored.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Result<Self, RedactError> {
        let secrets: BTreeSet<String> = secrets
            .into_iter()
            .map(|secret| secret.as_ref().to_owned())
            .filter(|secret| !secret.is_empty())
            .collect();
        if secrets.is_empty() {
            return Ok(Self::none());
        }
        let latest = || LATEST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, redactor)) = latest().iter().find(|(known, _)| *known == secrets) {
            return Ok(redactor.clone());
        }
        let redactor = Self {
            search: Some(Arc::new(Search::new(&secrets)?)),
        };
        if secrets.iter().map(String::len).sum::<usize>() <= MAX_SHARED_BYTES {
            let mut latest = latest();
            latest.truncate(MAX_LATEST - 1);
            latest.push_front((secrets, redactor.clone()));
        }
        Ok(redactor)
    }

    /// A redactor without secrets.
    pub fn none() -> Self {
        Self { search: None }
    }

    /// Redacts a text.
    pub fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
    }

    /// Redacts bytes.
    pub fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.stream();
        let mut out = stream.push(bytes);
        out.extend(stream.finish());
        out
    }

    /// Makes a redactor for bytes that arrive in pieces.
    pub fn stream(&self) -> RedactStream {
        RedactStream {
            search: self
                .search
                .clone()
                .map(|search| (search.dfa.create_cache(), search)),
            held: Vec::new(),
        }
    }
}

/// Redacts a stream. Holds back only what may be the beginning of a secret, so that a secret split
/// by a chunk boundary is still recognised.
#[derive(Debug)]
pub struct RedactStream {
    search: Option<(Cache, Arc<Search>)>,
    held: Vec<u8>,
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Search({} secrets)", self.secrets)
    }
}

impl RedactStream {
    /// Adds a chunk; returns the bytes that cannot contain a secret any more.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(chunk);
        self.emit(false)
    }

    /// Returns the rest at the end of the stream.
    pub fn finish(&mut self) -> Vec<u8> {
        self.emit(true)
    }

    fn emit(&mut self, is_end: bool) -> Vec<u8> {
        let Some((cache, search)) = &mut self.search else {
            return std::mem::take(&mut self.held);
        };
        let mut out = Vec::with_capacity(self.held.len());
        let mut from = 0;
        loop {
            let rest = self.held.get(from..).unwrap_or_default();
            let harmless = rest
                .iter()
                .position(|byte| search.can_begin(*byte))
                .unwrap_or(rest.len());
            let (clean, rest) = rest.split_at(harmless);
            out.extend_from_slice(clean);
            from += harmless;
            let Some(first) = rest.first() else { break };
            let found = search.at(cache, rest);
            if found.is_open && !is_end {
                break;
            }
            match found.longest.filter(|length| *length > 0) {
                Some(length) => {
                    out.extend_from_slice(MASK.as_bytes());
                    from += length;
                }
                None => {
                    out.push(*first);
                    from += 1;
                }
            }
        }
        self.held.drain(..from);
        out
    }
}

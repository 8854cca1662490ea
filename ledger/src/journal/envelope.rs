//! The checks every adapter makes before it sends a commit, and the type names of events.

use bytes::Bytes;
use prost::Message;
use rollbook_proto::SCHEMA_VERSION;
use rollbook_proto::v1::{Commit, Event, event::Kind};
use uuid::Uuid;

use super::{JournalError, MAX_COMMIT_BYTES};
use crate::ids::{Aggregate, LedgerId};

/// Checks a commit against its aggregate and ledger, and encodes it.
///
/// # Errors
/// `Malformed` names the first invalid field, `TooLarge` the size. Nothing was sent.
pub(super) fn seal(
    ledger: &LedgerId,
    aggregate: &Aggregate,
    commit: &Commit,
) -> Result<Bytes, JournalError> {
    if let Some(reason) = fault(ledger, aggregate, commit) {
        return Err(JournalError::Malformed {
            aggregate: aggregate.to_string(),
            reason,
        });
    }
    let bytes = commit.encoded_len();
    if bytes > MAX_COMMIT_BYTES {
        return Err(JournalError::TooLarge {
            aggregate: aggregate.to_string(),
            bytes,
        });
    }
    Ok(Bytes::from(commit.encode_to_vec()))
}

/// Returns what is wrong with a commit, if anything.
fn fault(ledger: &LedgerId, aggregate: &Aggregate, commit: &Commit) -> Option<String> {
    if Uuid::parse_str(&commit.id).is_err() {
        return Some(format!("id `{}` is not a UUID", commit.id));
    }
    if commit.ledger != ledger.as_str() {
        return Some(format!(
            "ledger is `{}`, this journal is `{ledger}`",
            commit.ledger
        ));
    }
    if commit.aggregate != aggregate.kind() || commit.aggregate_id != aggregate.id() {
        return Some(format!(
            "it names {} {}",
            commit.aggregate, commit.aggregate_id
        ));
    }
    if commit.schema_version == 0 || commit.schema_version > SCHEMA_VERSION {
        return Some(format!(
            "schema_version is {}, this build writes 1 to {SCHEMA_VERSION}",
            commit.schema_version
        ));
    }
    if commit.events.is_empty() {
        return Some("it has no event".to_owned());
    }
    commit
        .events
        .iter()
        .position(|event| event.kind.is_none())
        .map(|index| format!("event {index} has no kind"))
}

/// Decodes a stored commit.
///
/// # Errors
/// `Corrupt` with the sequence.
pub(super) fn open(sequence: u64, payload: &[u8]) -> Result<Commit, JournalError> {
    Commit::decode(payload).map_err(|error| JournalError::Corrupt {
        sequence,
        reason: error.to_string(),
    })
}

/// Returns the event type's name as in `commit.proto`; `unknown` for a kind that this build does
/// not know.
pub fn event_type(event: &Event) -> &'static str {
    event.kind.as_ref().map_or("unknown", Kind::field_name)
}

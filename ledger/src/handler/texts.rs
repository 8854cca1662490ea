//! Moves texts of more than a line out of commands into the evidence store. A commit can never be
//! altered without breaking its proof, so a text in it stays for ever; evidence can be erased.

use bytes::Bytes;
use prost::Message;
use rollbook_proto::v1;
use sha2::{Digest, Sha256};

use super::{Handler, HandlerError};
use crate::environment::EnvironmentCommand;
use crate::flag::FlagCommand;
use crate::journal::{CommandDecision, MAX_COMMIT_BYTES};
use crate::person;
use crate::rollout::{Command, Refusal};

/// Maximum length of a text that stays in the command, in bytes.
const MAX_LINE_BYTES: usize = 200;

/// Maximum length of a text that is stored, in bytes. The rules refuse a longer one.
const MAX_TEXT_BYTES: usize = 4_096;

/// What an append still adds to a commit: its trace context and previous sequence, in bytes.
const RESERVE_BYTES: usize = 256;

const MEDIA_TYPE: &str = "text/plain";

/// A command with free text.
pub(super) trait FreeText: Clone {
    /// Its free texts, by field.
    fn texts(&mut self) -> Vec<(String, &mut String)>;
}

impl FreeText for Command {
    fn texts(&mut self) -> Vec<(String, &mut String)> {
        self.texts_mut()
    }
}

impl FreeText for FlagCommand {
    fn texts(&mut self) -> Vec<(String, &mut String)> {
        match self {
            Self::Set { reason, .. }
            | Self::Safe { reason, .. }
            | Self::Archive { reason }
            | Self::Withdraw { reason, .. } => vec![("reason".to_owned(), reason)],
            Self::Review { note, .. } => vec![("note".to_owned(), note)],
            Self::BreakGlass { of } => of.texts(),
            Self::Define { .. } | Self::Confirm { .. } => Vec::new(),
        }
    }
}

impl FreeText for EnvironmentCommand {
    fn texts(&mut self) -> Vec<(String, &mut String)> {
        match self {
            Self::Set { reason, .. } | Self::Withdraw { reason, .. } => {
                vec![("reason".to_owned(), reason)]
            }
            Self::Accept { .. } => Vec::new(),
        }
    }
}

/// A text that was moved out of a command, and is not stored yet.
#[derive(Debug, Clone)]
pub(super) struct MovedText {
    field: String,
    text: Bytes,
    sha256: String,
}

/// What stays of a text that is stored: the beginning of its first line, and where the whole is.
fn beginning(text: &str, sha256: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let end = line.floor_char_boundary(MAX_LINE_BYTES);
    let line = line.get(..end).unwrap_or_default().trim_end();
    format!("{line} … (whole text: evidence {sha256})")
}

/// The person's command with texts of at most a line, and what was moved out of it. A text that the
/// rules refuse, because it is blank or too long, stays.
pub(super) fn moved<C: FreeText>(command: &C, actor: &v1::Actor) -> (C, Vec<MovedText>) {
    let mut command = command.clone();
    let mut moved = Vec::new();
    if actor.kind() != v1::ActorKind::Person {
        return (command, moved);
    }
    for (field, text) in command.texts() {
        let whole = text.trim();
        let is_line = whole.len() <= MAX_LINE_BYTES && !whole.contains('\n');
        if is_line || whole.len() > MAX_TEXT_BYTES || person::is_blank(whole) {
            continue;
        }
        let sha256 = hex::encode(Sha256::digest(whole));
        let stays = beginning(whole, &sha256);
        moved.push(MovedText {
            field,
            text: Bytes::from(whole.to_owned()),
            sha256,
        });
        *text = stays;
    }
    (command, moved)
}

impl Handler {
    /// Stores the texts of a command that is to be recorded, and names them in its commit; stores
    /// nothing for any other decision. The texts are durable on return, so that no commit names one
    /// that was never stored.
    ///
    /// # Errors
    /// [`Refusal::TextTooLong`] if the commit would be too large; a failure of the store.
    pub(super) async fn keep(
        &self,
        moved: &[MovedText],
        decision: CommandDecision,
    ) -> Result<CommandDecision, HandlerError> {
        let CommandDecision::Record(mut commit) = decision else {
            return Ok(decision);
        };
        for text in moved {
            commit.texts.push(v1::LongText {
                field: text.field.clone(),
                evidence: Some(v1::Evidence {
                    sha256: text.sha256.clone(),
                    size_bytes: text.text.len() as u64,
                    media_type: MEDIA_TYPE.to_owned(),
                    ..v1::Evidence::default()
                }),
            });
        }
        let bytes = commit.encoded_len();
        if !moved.is_empty() && bytes > MAX_COMMIT_BYTES - RESERVE_BYTES {
            return Err(HandlerError::Refused(Refusal::TextTooLong {
                field: "command with all its texts",
                bytes,
                limit: MAX_COMMIT_BYTES - RESERVE_BYTES,
            }));
        }
        for MovedText { field, text, .. } in moved {
            self.evidence.put(text.clone(), MEDIA_TYPE, field).await?;
        }
        Ok(CommandDecision::Record(commit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_is_cut_between_characters() {
        let text = format!("{}é", "x".repeat(MAX_LINE_BYTES - 1));
        let kept = beginning(&text, "abc");
        let expected = format!(
            "{} … (whole text: evidence abc)",
            "x".repeat(MAX_LINE_BYTES - 1)
        );
        assert_eq!(kept, expected);
        assert_eq!(
            beginning("first\nsecond", "abc"),
            "first … (whole text: evidence abc)"
        );
    }
}

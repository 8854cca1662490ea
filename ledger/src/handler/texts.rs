//! Moves texts of more than a line out of commands into the evidence store. A commit can never be
//! altered without breaking its proof, so a text in it stays for ever; evidence can be erased.

use bytes::Bytes;
use rollbook_proto::v1;

use super::{Handler, HandlerError};
use crate::environment::EnvironmentCommand;
use crate::flag::FlagCommand;
use crate::rollout::Command;

/// Maximum length of a text that stays in the command, in bytes.
const MAX_LINE_BYTES: usize = 200;

/// Maximum length of a text that is stored, in bytes. The rules refuse a longer one.
const MAX_TEXT_BYTES: usize = 4_096;

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

/// What stays of a text that is stored: the beginning of its first line, and where the whole is.
fn beginning(text: &str, sha256: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let end = line.floor_char_boundary(MAX_LINE_BYTES);
    let line = line.get(..end).unwrap_or_default().trim_end();
    format!("{line} … (whole text: evidence {sha256})")
}

impl Handler {
    /// The command with texts of at most a line, and what was moved out of it. The moved texts are
    /// durable on return, so that no commit names a text that was never stored.
    pub(super) async fn keep_texts<C: FreeText>(
        &self,
        command: &C,
    ) -> Result<(C, Vec<v1::LongText>), HandlerError> {
        let mut command = command.clone();
        let mut kept = Vec::new();
        for (field, text) in command.texts() {
            let trimmed = text.trim();
            let is_line = trimmed.len() <= MAX_LINE_BYTES && !trimmed.contains('\n');
            if is_line || text.len() > MAX_TEXT_BYTES {
                continue;
            }
            let bytes = Bytes::from(trimmed.to_owned());
            let evidence = self.evidence.put(bytes, "text/plain", &field).await?;
            *text = beginning(trimmed, &evidence.sha256);
            kept.push(v1::LongText {
                field,
                evidence: Some(evidence),
            });
        }
        Ok((command, kept))
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

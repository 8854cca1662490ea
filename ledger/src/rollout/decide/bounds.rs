//! Size limits on what a command may record: every event becomes a commit, view rows and screen
//! text, all of which are bounded. The limits are enforced here for every actor, so that nothing is
//! rejected later where nobody could explain why.

use prost::Message;
use rollbook_proto::v1::{self, event::Kind};

use super::super::limits::MAX_EVENT_BYTES;
use super::super::refusal::Refusal;
use super::optional;

/// Maximum length of a measurement's name or unit, in bytes.
const MAX_NAME_BYTES: usize = 200;

/// Maximum number of measurements in one result.
const MAX_MEASUREMENTS: usize = 200;

/// Checks that the events of one command fit into a commit.
pub(super) fn fit(events: &[v1::Event]) -> Result<(), Refusal> {
    // Each event is preceded by its tag and length.
    let bytes = events
        .iter()
        .map(|event| event.encoded_len().saturating_add(8))
        .sum();
    if bytes > MAX_EVENT_BYTES {
        return Err(Refusal::TextTooLong {
            field: "command with all its texts",
            bytes,
            limit: MAX_EVENT_BYTES,
        });
    }
    Ok(())
}

fn name<'t>(field: &'static str, text: &'t str) -> Result<&'t str, Refusal> {
    if text.len() > MAX_NAME_BYTES {
        return Err(Refusal::TextTooLong {
            field,
            bytes: text.len(),
            limit: MAX_NAME_BYTES,
        });
    }
    Ok(text)
}

/// Checks the texts of a measurement.
pub(super) fn measurement(measured: &v1::Measurement) -> Result<(), Refusal> {
    name("name of a measurement", &measured.metric)?;
    name("unit of a measurement", &measured.unit)?;
    optional("text of a measurement", &measured.text)?;
    optional("rule of a measurement", &measured.rule)?;
    Ok(())
}

/// Checks the texts of evidence items.
pub(super) fn evidence(pieces: &[v1::Evidence]) -> Result<(), Refusal> {
    for piece in pieces {
        name("digest of evidence", &piece.sha256)?;
        name("media type of evidence", &piece.media_type)?;
        optional("name of evidence", &piece.name)?;
    }
    Ok(())
}

/// Checks the texts of a result and its number of measurements.
pub(super) fn result(finished: &v1::StepFinished) -> Result<(), Refusal> {
    optional("message of a result", &finished.message)?;
    optional("rule of a result", &finished.rule)?;
    optional("last statement of a result", &finished.last_statement)?;
    evidence(&finished.evidence)?;
    let measured = finished.measurements.len();
    if measured > MAX_MEASUREMENTS {
        return Err(Refusal::Record {
            step: finished.step_id.clone(),
            problem: format!(
                "{measured} measurements, at most {MAX_MEASUREMENTS} are kept; measure less"
            ),
        });
    }
    finished.measurements.iter().try_for_each(measurement)
}

/// Checks the texts of an undo result.
pub(super) fn undo(finished: &v1::UndoFinished) -> Result<(), Refusal> {
    optional("message of an undo", &finished.message)?;
    optional("verification of an undo", &finished.verification_message)?;
    optional("last statement of an undo", &finished.last_statement)?;
    evidence(&finished.evidence)
}

/// Checks the texts of a fact recorded with a result: names, and the reasons given for deals.
pub(super) fn detail(kind: &Kind) -> Result<(), Refusal> {
    match kind {
        Kind::SnapshotTaken(taken) => {
            name("name of a snapshot", &taken.snapshot)?;
            name("label of a snapshot", &taken.label)?;
        }
        Kind::ComparisonMade(made) => {
            name("name of a snapshot", &made.snapshot)?;
        }
        _ => {}
    }
    Ok(())
}

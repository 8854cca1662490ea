//! How much a command may record: every event ends in a commit, in rows of the views and on
//! screens, and all of these are bounded. What fits is decided here, whoever asks, so that nothing
//! is refused later, where nobody could say why.

use prost::Message;
use rollbook_proto::v1::{self, event::Kind};

use super::super::refusal::Refusal;
use super::optional;

/// The longest name or unit of a measurement, in bytes.
const MAX_NAME_BYTES: usize = 200;

/// The most measurements of one result.
const MAX_MEASUREMENTS: usize = 200;

/// The most bytes of events of one command. A commit holds 65,535; who asked, under which id and
/// in which trace is beside them.
pub(in super::super) const MAX_EVENT_BYTES: usize = 56 * 1024;

/// The events of one command fit into a commit.
pub(super) fn fit(events: &[v1::Event]) -> Result<(), Refusal> {
    // Each is preceded by its kind and its length.
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

/// The texts of a measurement.
pub(super) fn measurement(measured: &v1::Measurement) -> Result<(), Refusal> {
    name("name of a measurement", &measured.metric)?;
    name("unit of a measurement", &measured.unit)?;
    optional("text of a measurement", &measured.text)?;
    optional("rule of a measurement", &measured.rule)?;
    Ok(())
}

/// The texts of pieces of evidence.
pub(super) fn evidence(pieces: &[v1::Evidence]) -> Result<(), Refusal> {
    for piece in pieces {
        name("digest of evidence", &piece.sha256)?;
        name("media type of evidence", &piece.media_type)?;
        optional("name of evidence", &piece.name)?;
    }
    Ok(())
}

/// The texts of a result, and how much it measured.
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

/// The texts of the result of an undo.
pub(super) fn undo(finished: &v1::UndoFinished) -> Result<(), Refusal> {
    optional("message of an undo", &finished.message)?;
    optional("verification of an undo", &finished.verification_message)?;
    optional("last statement of an undo", &finished.last_statement)?;
    evidence(&finished.evidence)
}

/// The texts of a fact that goes with a result: names, and the reasons of deals.
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

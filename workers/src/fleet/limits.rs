//! Fits results into the size of a commit. Texts are cut and keep the digest of the whole, which is
//! stored as evidence; a result that cannot be cut becomes an error that says so.

use prost::Message;
use rollbook_ledger::clock;
use rollbook_proto::v1::{self, Verdict, event::Kind};

use crate::executor::truncate::{TEXT_BYTES, truncate_with_digest};
use crate::executor::{Outcome, StepContext};

/// Maximum number of measurements in one result.
const MAX_MEASUREMENTS: usize = 200;

/// The longest name of a measurement, in bytes.
const MAX_METRIC_BYTES: usize = 200;

/// Maximum size of everything in a result, in bytes: a commit holds 65,535 bytes, and its other
/// content needs a few thousand.
const MAX_RESULT_BYTES: usize = 48 * 1024;

/// The outcome in a form that can be recorded.
pub(super) async fn fit_to_commit(context: &StepContext, mut outcome: Outcome) -> Outcome {
    for (name, text) in [("message", &outcome.message), ("rule", &outcome.rule)] {
        if text.len() > TEXT_BYTES {
            keep(context, text, name, &mut outcome.evidence).await;
        }
    }
    outcome.message = truncate_with_digest(&outcome.message);
    outcome.rule = truncate_with_digest(&outcome.rule);
    let Some(problem) = excess(&outcome) else {
        return outcome;
    };
    let mut error = Outcome::new(
        Verdict::Error,
        "the result can be recorded",
        format!("{problem}; before that: {}", outcome.message),
    );
    error.message = truncate_with_digest(&error.message);
    error.effect = outcome.effect;
    error.partial.clone_from(&outcome.partial);
    error.duration = outcome.duration;
    // The whole result is stored as text first; earlier evidence is listed after it as far as it
    // fits.
    let whole = written(&outcome);
    keep(context, &whole, "result", &mut error.evidence).await;
    for evidence in outcome.evidence {
        error.evidence.push(evidence);
        if size(&error) > MAX_RESULT_BYTES {
            error.evidence.pop();
            break;
        }
    }
    error
}

/// Why an outcome cannot be recorded as it is; `None` if it can.
fn excess(outcome: &Outcome) -> Option<String> {
    let measured = outcome.measurements.len();
    if measured > MAX_MEASUREMENTS {
        return Some(format!(
            "the step measured {measured} figures, at most {MAX_MEASUREMENTS} can be recorded: name fewer columns or metrics"
        ));
    }
    let long = outcome
        .measurements
        .iter()
        .find(|measurement| measurement.metric.len() > MAX_METRIC_BYTES);
    if let Some(measurement) = long {
        let name: String = measurement.metric.chars().take(60).collect();
        return Some(format!(
            "the name of the figure `{name}…` has {} bytes, at most {MAX_METRIC_BYTES} can be recorded",
            measurement.metric.len()
        ));
    }
    let bytes = size(outcome);
    (bytes > MAX_RESULT_BYTES).then(|| {
        format!(
            "the result has {bytes} bytes, at most {MAX_RESULT_BYTES} can be recorded: measure or attach less"
        )
    })
}

/// The approximate size of an outcome in a commit, in bytes.
fn size(outcome: &Outcome) -> usize {
    let framed = |bytes: usize| bytes + 8;
    let measured: usize = outcome
        .measurements
        .iter()
        .map(|measurement| framed(measurement.encoded_len()))
        .sum();
    let kept: usize = outcome
        .evidence
        .iter()
        .map(|evidence| framed(evidence.encoded_len()))
        .sum();
    let details: usize = outcome
        .details
        .iter()
        .map(|kind| framed(event(kind).encoded_len()))
        .sum();
    outcome.message.len() + outcome.rule.len() + measured + kept + details
}

fn event(kind: &Kind) -> v1::Event {
    v1::Event {
        kind: Some(kind.clone()),
    }
}

/// All measurements and findings, one line each.
fn written(outcome: &Outcome) -> String {
    let mut text = String::new();
    for measurement in &outcome.measurements {
        let value = match &measurement.decimal {
            none if none.is_empty() => &measurement.text,
            number => number,
        };
        let at = clock::from_proto(measurement.measured_at.as_ref())
            .map_or_else(String::new, |at| at.to_string());
        text.push_str(&format!(
            "{}\t{value}\t{}\t{at}\n",
            measurement.metric, measurement.unit
        ));
    }
    for kind in &outcome.details {
        text.push_str(&serde_json::to_string(&event(kind)).unwrap_or_default());
        text.push('\n');
    }
    text
}

/// Stores a text as evidence; if that fails, its digest is recorded anyway.
async fn keep(context: &StepContext, text: &str, name: &str, into: &mut Vec<v1::Evidence>) {
    let bytes = text.as_bytes().to_vec();
    match context
        .keep(bytes, "text/plain; charset=utf-8", name, false)
        .await
    {
        Ok(kept) => into.extend(kept),
        Err(error) => tracing::warn!(%error, name, "a text that was cut is not kept whole"),
    }
}

//! What can go wrong with a comparison.

use rollbook_ledger::error_code::Coded;

use crate::snapshot::SnapshotError;
use crate::snapshot::row::KeyOrder;

/// Why snapshots could not be compared. A regression is not an error but a result.
#[derive(Debug, thiserror::Error, Coded)]
pub enum CompareError {
    /// The tolerance is not a usable number.
    #[error(
        "RB-COMPARE-1: the tolerance `{text}` cannot be used: {reason}; give a percentage such as 5 or 0.25"
    )]
    Tolerance {
        /// The refused text.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// A rule is not valid.
    #[error("RB-COMPARE-2: rule `{rule}`: {reason}")]
    Rule {
        /// The rule's id.
        rule: String,
        /// What is wrong.
        reason: String,
    },
    /// The snapshots do not have the same metrics.
    #[error(
        "RB-COMPARE-3: the snapshots have different metrics: {reason}; compare snapshots of the same metric set"
    )]
    Metrics {
        /// What differs.
        reason: String,
    },
    /// The snapshots come from different models.
    #[error(
        "RB-COMPARE-4: the snapshots were made by different models: before {before}, after {after}; pass --allow-model-change, or set allow_model_change in the rules, if the new model is what is being compared"
    )]
    Model {
        /// Name and digest of the model before.
        before: String,
        /// Name and digest of the model after.
        after: String,
    },
    /// A snapshot could not be read, or the result could not be stored.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The result could not be written as JSON.
    #[error("RB-COMPARE-5: the result cannot be encoded: {reason}")]
    Encode {
        /// What is wrong.
        reason: String,
    },
    /// The deal to explain is in neither snapshot.
    #[error("RB-COMPARE-6: deal {deal_id:?} is in neither snapshot; check the id")]
    NoSuchDeal {
        /// The id.
        deal_id: String,
    },
    /// The stored bytes are not a comparison result that this version can read.
    #[error(
        "RB-COMPARE-7: {sha256} is not a comparison that this version reads: {reason}; give the address of a comparison's result, or compare the snapshots again"
    )]
    Result {
        /// The address.
        sha256: String,
        /// What is wrong.
        reason: String,
    },
    /// The deals of the snapshots are in different orders, so they cannot be merged.
    #[error(
        "RB-COMPARE-8: the snapshots order their deals differently: before {before:?}, after {after:?}; take both from tables whose ids have the same type"
    )]
    Keys {
        /// The order before.
        before: KeyOrder,
        /// The order after.
        after: KeyOrder,
    },
    /// A rule that measures a distance applies to a text.
    #[error(
        "RB-COMPARE-9: rule `{rule}` measures how far figures differ, but metric `{metric}` is a text, which is equal or different; before it, write a rule for `{metric}` with test `exact`, `ignore`, or `expected` without bounds"
    )]
    TextRule {
        /// The rule's id.
        rule: String,
        /// The text metric.
        metric: String,
    },
}

impl CompareError {
    /// Whether the same call may succeed if retried later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Snapshot(error) => error.is_retryable(),
            _ => false,
        }
    }
}

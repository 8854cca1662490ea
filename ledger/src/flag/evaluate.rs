//! Evaluates a flag for one caller. Order and reasons follow OpenFeature; the reasons are those
//! that released OFREP clients understand.

use rollbook_proto::v1::FlagMode;

use super::bucket::{BUCKETING, TOTAL_MILLIS, bucket};
use super::state::FlagState;
use crate::error_code::Coded;

/// The caller's evaluation context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EvaluationContext<'a> {
    /// OpenFeature's targeting key; an empty one counts as absent.
    pub targeting_key: Option<&'a str>,
    /// Labels, matched in mode `BETA`.
    pub labels: &'a [String],
}

/// Why a flag has the value it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The flag is off.
    Disabled,
    /// The value is the same for everyone.
    Static,
    /// A label matched.
    TargetingMatch,
    /// No label matched.
    Default,
    /// The value depends on the bucket.
    Split,
}

impl Reason {
    /// Returns the reason's name in OpenFeature and OFREP.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "DISABLED",
            Self::Static => "STATIC",
            Self::TargetingMatch => "TARGETING_MATCH",
            Self::Default => "DEFAULT",
            Self::Split => "SPLIT",
        }
    }
}

/// The result of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evaluation {
    /// The new path is authoritative.
    pub value: bool,
    /// `on`, `off` or `parallel` (both run, the old one is authoritative).
    pub variant: &'static str,
    /// Why it has this value.
    pub reason: Reason,
    /// The flag's mode.
    pub mode: FlagMode,
}

/// Why a flag cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
pub enum EvaluationError {
    /// The flag was archived.
    #[error("RB-FLAG-20: flag {key} is archived; remove it from the application")]
    Archived {
        /// The flag.
        key: String,
    },
    /// A percentage between 0 and 100 needs a targeting key to bucket by.
    #[error(
        "RB-FLAG-21: flag {key} is at {percentage_millis} of {TOTAL_MILLIS} thousandths of a percent and the context has no targetingKey; give one"
    )]
    TargetingKeyMissing {
        /// The flag.
        key: String,
        /// Its percentage.
        percentage_millis: u32,
    },
    /// The flag's bucketing algorithm is from a newer version.
    #[error(
        "RB-FLAG-22: flag {key} buckets by `{bucketing}`, this version knows `{BUCKETING}`; update it"
    )]
    UnknownBucketing {
        /// The flag.
        key: String,
        /// Its algorithm.
        bucketing: String,
    },
}

impl EvaluationError {
    /// Returns the OFREP error code.
    pub fn ofrep_code(&self) -> &'static str {
        match self {
            Self::Archived { .. } => "FLAG_NOT_FOUND",
            Self::TargetingKeyMissing { .. } => "TARGETING_KEY_MISSING",
            Self::UnknownBucketing { .. } => "GENERAL",
        }
    }
}

/// Evaluates a flag for one caller.
pub fn evaluate(
    state: &FlagState,
    context: &EvaluationContext<'_>,
) -> Result<Evaluation, EvaluationError> {
    if state.archived.is_some() {
        return Err(EvaluationError::Archived {
            key: state.key.to_string(),
        });
    }
    let mode = state.setting.mode();
    let (value, reason) = match mode {
        FlagMode::Unspecified | FlagMode::Off => (false, Reason::Disabled),
        FlagMode::On => (true, Reason::Static),
        FlagMode::Parallel => (false, Reason::Static),
        FlagMode::Beta => {
            let matches = context
                .labels
                .iter()
                .any(|label| state.setting.beta_labels.contains(label));
            if matches {
                (true, Reason::TargetingMatch)
            } else {
                (false, Reason::Default)
            }
        }
        FlagMode::Percentage => (in_percentage(state, context)?, Reason::Split),
    };
    Ok(Evaluation {
        value,
        variant: match (mode, value) {
            (FlagMode::Parallel, _) => "parallel",
            (_, true) => "on",
            (_, false) => "off",
        },
        reason,
        mode,
    })
}

fn in_percentage(
    state: &FlagState,
    context: &EvaluationContext<'_>,
) -> Result<bool, EvaluationError> {
    let percentage_millis = state.setting.percentage_millis;
    if percentage_millis == 0 || percentage_millis >= TOTAL_MILLIS {
        return Ok(percentage_millis != 0);
    }
    if state.bucketing != BUCKETING {
        return Err(EvaluationError::UnknownBucketing {
            key: state.key.to_string(),
            bucketing: state.bucketing.clone(),
        });
    }
    match context.targeting_key.filter(|key| !key.is_empty()) {
        Some(key) => Ok(bucket(&state.salt, key) < percentage_millis),
        None => Err(EvaluationError::TargetingKeyMissing {
            key: state.key.to_string(),
            percentage_millis,
        }),
    }
}

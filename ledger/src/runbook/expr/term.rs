//! The terms of expressions: the numbers they read.

use std::fmt;

use jiff::SignedDuration;

use crate::sampled::Statistic;

/// The name by which a watch's threshold, or a success metric's target, reads the value it judges.
pub const VALUE: &str = "value";

/// The time unit of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// `second`, the default.
    Second,
    /// `minute`
    Minute,
    /// `hour`
    Hour,
    /// `day`: 24 hours.
    Day,
}

impl TimeUnit {
    pub(super) const ALL: [Self; 4] = [Self::Second, Self::Minute, Self::Hour, Self::Day];

    /// Returns the unit's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Returns the unit's length.
    pub fn span(self) -> SignedDuration {
        match self {
            Self::Second => SignedDuration::from_secs(1),
            Self::Minute => SignedDuration::from_mins(1),
            Self::Hour => SignedDuration::from_hours(1),
            Self::Day => SignedDuration::from_hours(24),
        }
    }
}

/// What is computed from a measurement, if not its last value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FigureTerm {
    /// The growth of a counter since its first value.
    Delta,
    /// The growth of a counter within the last unit of time.
    Rate(TimeUnit),
    /// A statistic over the samples of the attempt that measured last.
    Over(Statistic),
    /// The growth of a counter as a percentage of another one's growth.
    Share {
        /// The other counter.
        total: String,
    },
    /// The final value from the first step of the plan that measured it.
    Baseline,
}

/// A number read by an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The name of the measurement.
    pub name: String,
    /// What is computed from its values; `None` means the last value.
    pub figure: Option<FigureTerm>,
}

impl Term {
    /// Returns the names it reads: one, or two for a share.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let total = match &self.figure {
            Some(FigureTerm::Share { total }) => Some(total.as_str()),
            _ => None,
        };
        std::iter::once(self.name.as_str()).chain(total)
    }

    /// True if it reads the value before the change instead of the current one.
    pub fn is_baseline(&self) -> bool {
        self.figure == Some(FigureTerm::Baseline)
    }

    /// Returns this term with [`VALUE`] replaced by the measurement's name.
    #[must_use]
    pub fn about(&self, measured: &str) -> Self {
        let named = |name: &str| if name == VALUE { measured } else { name }.to_owned();
        Self {
            name: named(&self.name),
            figure: match &self.figure {
                Some(FigureTerm::Share { total }) => Some(FigureTerm::Share {
                    total: named(total),
                }),
                other => other.clone(),
            },
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.figure {
            None => f.write_str(name),
            Some(FigureTerm::Delta) => write!(f, "delta({name})"),
            Some(FigureTerm::Rate(unit)) => write!(f, "rate({name}, {})", unit.as_str()),
            Some(FigureTerm::Over(statistic)) => write!(f, "{}({name})", statistic.as_str()),
            Some(FigureTerm::Share { total }) => write!(f, "share({name}, {total})"),
            Some(FigureTerm::Baseline) => write!(f, "baseline({name})"),
        }
    }
}

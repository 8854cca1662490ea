//! The numbers that expressions read.

use std::fmt;

use jiff::SignedDuration;

use crate::sampled::Statistic;

/// The name by which the threshold of a watch, or the target of a success metric, reads what it
/// judges.
pub const VALUE: &str = "value";

/// A unit of time that a rate counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// `second`, where none is named.
    Second,
    /// `minute`
    Minute,
    /// `hour`
    Hour,
    /// `day`: 24 hours.
    Day,
}

impl Unit {
    pub(super) const ALL: [Self; 4] = [Self::Second, Self::Minute, Self::Hour, Self::Day];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// How long it is.
    pub fn span(self) -> SignedDuration {
        match self {
            Self::Second => SignedDuration::from_secs(1),
            Self::Minute => SignedDuration::from_mins(1),
            Self::Hour => SignedDuration::from_hours(1),
            Self::Day => SignedDuration::from_hours(24),
        }
    }
}

/// What is asked of a measurement besides its last value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Figure {
    /// What was added to a counter since its first value.
    Delta,
    /// What was added to a counter within the last unit of time.
    Rate(Unit),
    /// A statistic over the samples of the attempt that measured it last.
    Over(Statistic),
    /// What a counter has grown by, in percent of the growth of another.
    Share {
        /// The other counter.
        total: String,
    },
    /// What the first step of the plan that measured it ended with.
    Baseline,
}

/// A number that an expression reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The name of the measurement.
    pub name: String,
    /// What is asked of its values; `None`: the last one.
    pub figure: Option<Figure>,
}

impl Term {
    /// The names it reads: one, of a share two.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let total = match &self.figure {
            Some(Figure::Share { total }) => Some(total.as_str()),
            _ => None,
        };
        std::iter::once(self.name.as_str()).chain(total)
    }

    /// What was there before the change is asked, not what is there now.
    pub fn is_baseline(&self) -> bool {
        self.figure == Some(Figure::Baseline)
    }

    /// The same, where [`VALUE`] is the measurement of this name.
    #[must_use]
    pub fn about(&self, measured: &str) -> Self {
        let named = |name: &str| if name == VALUE { measured } else { name }.to_owned();
        Self {
            name: named(&self.name),
            figure: match &self.figure {
                Some(Figure::Share { total }) => Some(Figure::Share {
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
            Some(Figure::Delta) => write!(f, "delta({name})"),
            Some(Figure::Rate(unit)) => write!(f, "rate({name}, {})", unit.as_str()),
            Some(Figure::Over(statistic)) => write!(f, "{}({name})", statistic.as_str()),
            Some(Figure::Share { total }) => write!(f, "share({name}, {total})"),
            Some(Figure::Baseline) => write!(f, "baseline({name})"),
        }
    }
}

//! Statistics over the samples of one metric taken by one attempt of a step.
//!
//! A statistic needs every sample: if one has no data, or was cut, there is none. The mean is exact
//! except for its quotient, which is rounded like every quotient (see [`crate::decimal`]); a
//! percentile uses the nearest rank and is therefore always one of the samples.

use crate::decimal::Decimal;

/// A statistic over samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// `avg`: the arithmetic mean.
    Average,
    /// `min`: the smallest sample.
    Least,
    /// `max`: the largest sample.
    Most,
    /// `p95`: the smallest sample that is at least as large as 95 % of all samples.
    Percentile95,
}

impl Statistic {
    /// All statistics.
    pub const ALL: [Self; 4] = [Self::Average, Self::Least, Self::Most, Self::Percentile95];

    /// Returns the name used in expressions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Average => "avg",
            Self::Least => "min",
            Self::Most => "max",
            Self::Percentile95 => "p95",
        }
    }
}

/// The samples of one attempt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampled {
    values: Vec<Decimal>,
    gaps: usize,
}

impl Sampled {
    /// Adds a sample; `None` means no data.
    pub fn push(&mut self, value: Option<Decimal>) {
        match value {
            Some(value) => self.values.push(value),
            None => self.gaps += 1,
        }
    }

    /// Returns the number of samples with data.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// Returns the number of samples without data.
    pub fn gaps(&self) -> usize {
        self.gaps
    }

    /// Computes a statistic; `None` if there are no samples, if one has no data, or if the sum has
    /// too many digits.
    pub fn figure(&self, statistic: Statistic) -> Option<Decimal> {
        if self.gaps > 0 {
            return None;
        }
        match statistic {
            Statistic::Average => self.average(),
            Statistic::Least => self.values.iter().min().copied(),
            Statistic::Most => self.values.iter().max().copied(),
            Statistic::Percentile95 => self.percentile(95),
        }
    }

    fn average(&self) -> Option<Decimal> {
        let count = Decimal::from(u64::try_from(self.values.len()).ok()?);
        let sum = self
            .values
            .iter()
            .try_fold(Decimal::ZERO, |sum, value| sum.checked_add(*value))
            .ok()?;
        // Without samples this is a division by zero, which gives `None`.
        sum.checked_div(count).ok()
    }

    /// Percentile by nearest rank: of n sorted samples the one at ⌈n × percent / 100⌉, counted from
    /// 1.
    fn percentile(&self, percent: usize) -> Option<Decimal> {
        let rank = self.values.len().checked_mul(percent)?.div_ceil(100);
        let index = rank.checked_sub(1)?;
        let mut values = self.values.clone();
        let (_, found, _) = values.select_nth_unstable(index);
        Some(*found)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: impl IntoIterator<Item = Decimal>) -> Sampled {
        let mut sampled = Sampled::default();
        values.into_iter().for_each(|it| sampled.push(Some(it)));
        sampled
    }

    #[test]
    fn figures_are_exact_and_rounded_as_quotients_are() {
        let sampled = of(["0.1", "0.2", "0.7"].map(|it| it.parse().unwrap()));
        let shown = |statistic| sampled.figure(statistic).unwrap().to_string();
        assert_eq!(shown(Statistic::Average), "0.333333333333");
        assert_eq!(shown(Statistic::Least), "0.1");
        assert_eq!(shown(Statistic::Most), "0.7");
        assert_eq!(shown(Statistic::Percentile95), "0.7");
        // Of 20 samples it is the 19th, not a value between it and the last.
        let twenty = of((1..=20_i64).map(Decimal::from));
        let p95 = twenty.figure(Statistic::Percentile95);
        assert_eq!(p95, Some(Decimal::from(19)));
    }

    #[test]
    fn without_samples_or_with_a_gap_there_is_no_figure() {
        let mut gap = of([Decimal::ONE]);
        gap.push(None);
        for statistic in Statistic::ALL {
            assert_eq!(Sampled::default().figure(statistic), None);
            assert_eq!(gap.figure(statistic), None);
        }
        let far = of(["1e30", "1e-30"].map(|it| it.parse().unwrap()));
        assert_eq!(far.figure(Statistic::Average), None, "61 digits");
    }

    proptest! {
        #[test]
        fn figures_are_those_of_the_sorted_samples(values in prop::collection::vec(-1_000_i64..1_000, 1..300)) {
            let sampled = of(values.iter().map(|it| Decimal::from(*it)));
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let p95 = sampled.figure(Statistic::Percentile95).unwrap();
            // The smallest sample that is at least as large as 95 % of all.
            let reference = sorted.iter().find(|candidate| {
                let covered = sorted.iter().filter(|it| it <= candidate).count();
                covered * 100 >= sorted.len() * 95
            });
            prop_assert_eq!(p95, Decimal::from(*reference.unwrap()));
            prop_assert_eq!(sampled.figure(Statistic::Least).unwrap(), Decimal::from(sorted[0]));
            prop_assert_eq!(sampled.figure(Statistic::Most).unwrap(), Decimal::from(*sorted.last().unwrap()));
            let average = sampled.figure(Statistic::Average).unwrap();
            let count = Decimal::from(u64::try_from(values.len()).unwrap());
            let sum = Decimal::from(values.iter().sum::<i64>());
            let off = average.checked_mul(count).unwrap().checked_sub(sum).unwrap().abs();
            // At most half a unit of the twelfth decimal place, times the count.
            let bound: Decimal = "5e-13".parse().unwrap();
            prop_assert!(off <= bound.checked_mul(count).unwrap(), "{}", off);
        }
    }
}

//! Figures that gates and the decision tree ask for and that no rule counts. Pure.
//!
//! While merging, the deals that stand out are kept by their two costs and compared as integers;
//! each figure is divided once, at the end.

use rollbook_ledger::decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A cost before and after, in cents.
type Pair = (i64, i64);

/// The deals that stand out. `None`: there was no deal to measure on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Extremes {
    worst_change: Option<Pair>,
    least_carveout: Option<Pair>,
    most_carveout: Option<Pair>,
    pub(super) tsa_deals: Option<u64>,
    pub(super) tsa_elsewhere: Option<u64>,
}

/// What they come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// The largest change of a guarded deal's `cost_total`, in percent, without sign. A cost that
    /// was zero has no change in percent.
    #[serde(with = "as_number")]
    pub worst_change_percent: Option<Decimal>,
    /// Smallest after / before of a carve-out's one-time cost.
    #[serde(with = "as_number")]
    pub carveout_ratio_min: Option<Decimal>,
    /// Largest after / before of a carve-out's one-time cost.
    #[serde(with = "as_number")]
    pub carveout_ratio_max: Option<Decimal>,
    /// Deals with a TSA cost in the later snapshot. `None`: it has no such metric.
    #[serde(default)]
    pub tsa_deals: Option<u64>,
    /// Those of them that are no carve-outs: the rule that only carve-outs pay for transition
    /// services is broken unless this is 0.
    #[serde(default)]
    pub tsa_elsewhere: Option<u64>,
}

impl Extremes {
    /// The total of a guarded deal.
    #[inline]
    pub(super) fn total(&mut self, before: i64, after: i64) {
        if before != 0 {
            let larger = match self.worst_change {
                // Most deals do not change.
                Some(_) if before == after => false,
                Some(worst) => is_larger_change((before, after), worst),
                None => true,
            };
            if larger {
                self.worst_change = Some((before, after));
            }
        }
    }

    /// The one-time cost of a carve-out.
    pub(super) fn carveout(&mut self, before: i64, after: i64) {
        let pair = (before, after);
        if before != 0 {
            if self
                .least_carveout
                .is_none_or(|least| is_larger_ratio(least, pair))
            {
                self.least_carveout = Some(pair);
            }
            if self
                .most_carveout
                .is_none_or(|most| is_larger_ratio(pair, most))
            {
                self.most_carveout = Some(pair);
            }
        }
    }

    /// Counts a deal that has a TSA cost in the later snapshot.
    pub(super) fn tsa(&mut self, is_carveout: bool) {
        self.tsa_deals = self.tsa_deals.map(|deals| deals + 1);
        if !is_carveout {
            self.tsa_elsewhere = self.tsa_elsewhere.map(|deals| deals + 1);
        }
    }

    /// Adds those of the key range after this one; of equals the first stays.
    pub(super) fn add(&mut self, later: &Self) {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (one, other) => one.or(other),
        };
        self.tsa_deals = sum(self.tsa_deals, later.tsa_deals);
        self.tsa_elsewhere = sum(self.tsa_elsewhere, later.tsa_elsewhere);
        if let Some((before, after)) = later.worst_change {
            self.total(before, after);
        }
        for (before, after) in later.least_carveout.into_iter().chain(later.most_carveout) {
            self.carveout(before, after);
        }
    }

    pub(super) fn figures(&self) -> Figures {
        let ratio = |pair: Option<Pair>| {
            let (before, after) = pair?;
            Decimal::from(after).checked_div(before.into()).ok()
        };
        let percent = |pair: Option<Pair>| {
            let (before, after) = pair?;
            let change = Decimal::from(after.abs_diff(before)).checked_mul(100.into());
            change.ok()?.checked_div(before.unsigned_abs().into()).ok()
        };
        Figures {
            worst_change_percent: percent(self.worst_change),
            carveout_ratio_min: ratio(self.least_carveout),
            carveout_ratio_max: ratio(self.most_carveout),
            tsa_deals: self.tsa_deals,
            tsa_elsewhere: self.tsa_elsewhere,
        }
    }
}

/// |Δa| ÷ |before a| > |Δb| ÷ |before b|; no before is zero. Products of 64-bit numbers fit 128.
fn is_larger_change(a: Pair, b: Pair) -> bool {
    let change = |(before, after): Pair| u128::from(after.abs_diff(before));
    let size = |(before, _): Pair| u128::from(before.unsigned_abs());
    change(a) * size(b) > change(b) * size(a)
}

/// after a ÷ before a > after b ÷ before b; no before is zero.
fn is_larger_ratio(a: Pair, b: Pair) -> bool {
    // The sign of what is divided by goes to what is divided.
    let over = |(before, after): Pair| i128::from(after) * i128::from(before.signum());
    let under = |(before, _): Pair| i128::from(before.unsigned_abs());
    over(a) * under(b) > over(b) * under(a)
}

/// A decimal as a JSON number, for whoever reads the result; the step records it exactly.
mod as_number {
    use super::*;

    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(super) fn serialize<S: Serializer>(
        figure: &Option<Decimal>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        figure.map(Decimal::to_f64).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Decimal>, D::Error> {
        let number: Option<f64> = Option::deserialize(from)?;
        Ok(number.and_then(|number| Decimal::from_f64(number).ok()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(figure: Option<Decimal>) -> String {
        figure.unwrap().to_string()
    }

    #[test]
    fn figures_are_those_of_the_integers() {
        let mut extremes = Extremes::default();
        assert_eq!(extremes.figures().worst_change_percent, None);
        for (before, after) in [(0, 500), (100, 107), (300, 290), (-200, -210), (100, 107)] {
            extremes.total(before, after);
        }
        // 1.07 − 1 of doubles is more than 0.07.
        assert_eq!(text(extremes.figures().worst_change_percent), "7");
        for (before, after) in [(3, 4), (200, 300), (0, 9), (10, 30)] {
            extremes.carveout(before, after);
        }
        let figures = extremes.figures();
        assert_eq!(text(figures.carveout_ratio_min), "1.333333333333");
        assert_eq!(text(figures.carveout_ratio_max), "3");
        let json = serde_json::to_string(&figures).unwrap();
        assert!(
            json.starts_with(r#"{"worst_change_percent":7.0,"#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Figures>(&json).unwrap(), figures);
    }

    proptest! {
        #[test]
        fn ranges_merge_to_what_one_range_finds(
            pairs in prop::collection::vec((any::<i64>(), any::<i64>()), 0..8), cut in 0_usize..8,
        ) {
            let found = |pairs: &[Pair]| {
                let mut extremes = Extremes::default();
                for (before, after) in pairs {
                    extremes.total(*before, *after);
                    extremes.carveout(*before, *after);
                }
                extremes
            };
            let (first, second) = pairs.split_at(cut.min(pairs.len()));
            let mut merged = found(first);
            merged.add(&found(second));
            prop_assert_eq!(merged.figures(), found(&pairs).figures());
        }
    }
}

//! Figures that gates and the decision tree use and that no rule counts. Pure.
//!
//! While merging, the extreme deals are kept as pairs of figures and compared as integers; each
//! ratio is divided once, at the end.

use indexmap::IndexMap;
use rollbook_ledger::decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::declaration::Measures;

/// A figure before and after.
type Pair = (i64, i64);

/// The extreme deals for each measured figure. `None`: there was no deal to measure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Extremes {
    worst_change: Option<Pair>,
    /// By name: for each ratio its least and most, then for each presence the count of all deals
    /// and of those outside the class.
    #[serde(flatten)]
    marks: IndexMap<String, Option<Mark>>,
}

/// What was found for one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Mark {
    /// A number of deals.
    Deals(u64),
    /// The figures of the deal with the most extreme ratio.
    Pair(Pair),
}

/// The names of a ratio's entries: the least, and the most.
fn ratio_marks(name: &str) -> [String; 2] {
    ["least", "most"].map(|end| format!("{end}_{name}"))
}

/// The resulting figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedFigures {
    /// The largest change of a guarded deal's total, in percent, without sign. A total that was
    /// zero is left out, as its change has no percentage.
    #[serde(with = "as_number")]
    pub worst_change_percent: Option<Decimal>,
    /// The declared figures by name. `None`: there was no deal to measure, or the snapshots lack
    /// the metric.
    #[serde(flatten)]
    declared: IndexMap<String, Option<Figure>>,
}

/// One declared figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Figure {
    /// A number of deals.
    Deals(u64),
    /// The figure after divided by the figure before.
    Ratio(#[serde(with = "as_number::one")] Decimal),
}

impl NamedFigures {
    /// A declared figure by its name.
    pub fn get(&self, name: &str) -> Option<Figure> {
        self.declared.get(name).copied().flatten()
    }

    /// The number of deals that a declared figure counts.
    pub fn deals(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Figure::Deals(deals) => Some(deals),
            Figure::Ratio(_) => None,
        }
    }

    /// A declared ratio by its name.
    pub fn ratio(&self, name: &str) -> Option<Decimal> {
        match self.get(name)? {
            Figure::Ratio(ratio) => Some(ratio),
            Figure::Deals(_) => None,
        }
    }
}

impl Extremes {
    /// Starts with nothing found. `counts` says for each presence whether the snapshots have its
    /// metric; only then does "no deal" mean zero.
    pub(super) fn new(measures: &Measures, counts: impl Fn(&str) -> bool) -> Self {
        let ratios = measures.ratios.iter().flat_map(|r| ratio_marks(r.name));
        let presences = measures.presences.iter().flat_map(|presence| {
            let none = counts(presence.metric).then_some(Mark::Deals(0));
            presence.figures().map(|name| (name, none))
        });
        Self {
            worst_change: None,
            marks: ratios.map(|name| (name, None)).chain(presences).collect(),
        }
    }

    /// Records the total of a guarded deal.
    #[inline]
    pub(super) fn total(&mut self, before: i64, after: i64) {
        if before != 0 {
            let larger = match self.worst_change {
                // A shortcut, as most deals do not change.
                Some(_) if before == after => false,
                Some(worst) => is_larger_change((before, after), worst),
                None => true,
            };
            if larger {
                self.worst_change = Some((before, after));
            }
        }
    }

    /// Records a figure for the ratio at index `place`.
    pub(super) fn ratio(&mut self, place: usize, before: i64, after: i64) {
        let pair = (before, after);
        if before == 0 {
            return;
        }
        for (mark, is_most) in [(place * 2, false), (place * 2 + 1, true)] {
            if let Some((_, mark)) = self.marks.get_index_mut(mark) {
                widen(mark, pair, is_most);
            }
        }
    }

    /// Counts a deal of the later snapshot that has the figure of a presence. `ratios` is the
    /// number of ratios and `place` the index of the presence, which together locate its entries.
    pub(super) fn presence(&mut self, (ratios, place): (usize, usize), is_elsewhere: bool) {
        let first = (ratios + place) * 2;
        for mark in first..=first + usize::from(is_elsewhere) {
            if let Some((_, Some(Mark::Deals(deals)))) = self.marks.get_index_mut(mark) {
                *deals += 1;
            }
        }
    }

    /// Adds what was found in the following key range; among equals the first stays.
    pub(super) fn add(&mut self, later: &Self) {
        if let Some((before, after)) = later.worst_change {
            self.total(before, after);
        }
        for (name, found) in &later.marks {
            let mark = self.marks.entry(name.clone()).or_default();
            match (mark.as_mut(), *found) {
                (_, None) => {}
                (None, found) => *mark = found,
                (Some(Mark::Deals(sum)), Some(Mark::Deals(deals))) => *sum += deals,
                (_, Some(Mark::Pair(pair))) => widen(mark, pair, name.starts_with("most_")),
                (Some(Mark::Pair(_)), Some(Mark::Deals(_))) => {}
            }
        }
    }

    pub(super) fn figures(&self, measures: &Measures) -> NamedFigures {
        let found = |name: &str| self.marks.get(name).copied().flatten();
        let ratio = |name: String| match found(&name)? {
            Mark::Pair((before, after)) => {
                let ratio = Decimal::from(after).checked_div(before.into());
                ratio.ok().map(Figure::Ratio)
            }
            Mark::Deals(_) => None,
        };
        let deals = |name: &str| match found(name)? {
            Mark::Deals(deals) => Some(Figure::Deals(deals)),
            Mark::Pair(_) => None,
        };
        let percent = |pair: Option<Pair>| {
            let (before, after) = pair?;
            let change = Decimal::from(after.abs_diff(before)).checked_mul(100.into());
            change.ok()?.checked_div(before.unsigned_abs().into()).ok()
        };
        let ratios = measures.ratios.iter().flat_map(|declared| {
            let marks = ratio_marks(declared.name);
            declared.figures().into_iter().zip(marks.map(ratio))
        });
        let presences = measures.presences.iter().flat_map(|declared| {
            let named = |name: String| {
                let found = deals(&name);
                (name, found)
            };
            declared.figures().map(named)
        });
        NamedFigures {
            worst_change_percent: percent(self.worst_change),
            declared: ratios.chain(presences).collect(),
        }
    }
}

/// Keeps the pair if its ratio is more extreme than the one kept so far.
fn widen(mark: &mut Option<Mark>, pair: Pair, is_most: bool) {
    let further = match mark {
        Some(Mark::Pair(known)) if is_most => is_larger_ratio(pair, *known),
        Some(Mark::Pair(known)) => is_larger_ratio(*known, pair),
        Some(Mark::Deals(_)) | None => true,
    };
    if further {
        *mark = Some(Mark::Pair(pair));
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
    // The sign of the divisor moves to the dividend.
    let over = |(before, after): Pair| i128::from(after) * i128::from(before.signum());
    let under = |(before, _): Pair| i128::from(before.unsigned_abs());
    over(a) * under(b) > over(b) * under(a)
}

/// Writes a decimal as a JSON number for readers of the result; the step records it exactly.
mod as_number {
    use rollbook_ledger::decimal::Decimal;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

    /// The same for a decimal that is always present.
    pub(super) mod one {
        use super::*;

        #[allow(clippy::trivially_copy_pass_by_ref)]
        pub(in super::super) fn serialize<S: Serializer>(
            figure: &Decimal,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            figure.to_f64().serialize(to)
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Decimal, D::Error> {
            let number = f64::deserialize(from)?;
            Decimal::from_f64(number).map_err(serde::de::Error::custom)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compare::declaration::{PresenceCount, Ratio};

    const MEASURES: Measures = Measures {
        total: None,
        ratios: &[Ratio {
            name: "square",
            metric: "price",
            class: "square",
        }],
        presences: &[PresenceCount {
            name: "corner",
            metric: "corners",
            class: "square",
        }],
    };

    fn empty() -> Extremes {
        Extremes::new(&MEASURES, |_| true)
    }

    fn figures_of(extremes: &Extremes) -> NamedFigures {
        extremes.figures(&MEASURES)
    }

    fn text(figure: Option<Decimal>) -> String {
        figure.unwrap().to_string()
    }

    #[test]
    fn figures_are_computed_from_integers() {
        let mut extremes = empty();
        assert_eq!(figures_of(&extremes).worst_change_percent, None);
        for (before, after) in [(0, 500), (100, 107), (300, 290), (-200, -210), (100, 107)] {
            extremes.total(before, after);
        }
        // With doubles, 1.07 − 1 is more than 0.07.
        assert_eq!(text(figures_of(&extremes).worst_change_percent), "7");
        for (before, after) in [(3, 4), (200, 300), (0, 9), (10, 30)] {
            extremes.ratio(0, before, after);
        }
        let figures = figures_of(&extremes);
        assert_eq!(text(figures.ratio("square_ratio_min")), "1.333333333333");
        assert_eq!(text(figures.ratio("square_ratio_max")), "3");
        let json = serde_json::to_string(&figures).unwrap();
        assert!(
            json.starts_with(r#"{"worst_change_percent":7.0,"#),
            "{json}"
        );
        assert_eq!(
            serde_json::from_str::<NamedFigures>(&json).unwrap(),
            figures
        );
    }

    #[test]
    fn counted_and_kept_figures_use_the_names_of_the_declaration() {
        let mut extremes = empty();
        extremes.ratio(0, 10, 30);
        extremes.presence((1, 0), false);
        extremes.presence((1, 0), true);
        let kept = serde_json::to_string(&extremes).unwrap();
        assert_eq!(
            kept,
            r#"{"worst_change":null,"least_square":[10,30],"most_square":[10,30],"corner_deals":2,"corner_elsewhere":1}"#
        );
        assert_eq!(serde_json::from_str::<Extremes>(&kept).unwrap(), extremes);
        let figures = serde_json::to_string(&figures_of(&extremes)).unwrap();
        assert_eq!(
            figures,
            r#"{"worst_change_percent":null,"square_ratio_min":3.0,"square_ratio_max":3.0,"corner_deals":2,"corner_elsewhere":1}"#
        );
        // No deals can be counted for a metric that the snapshots lack.
        let none = Extremes::new(&MEASURES, |_| false);
        let figures = figures_of(&none);
        assert_eq!(figures.get("corner_deals"), None);
        assert_eq!(
            serde_json::to_string(&figures).unwrap(),
            r#"{"worst_change_percent":null,"square_ratio_min":null,"square_ratio_max":null,"corner_deals":null,"corner_elsewhere":null}"#
        );
    }

    proptest! {
        #[test]
        fn merged_ranges_equal_one_range(
            pairs in prop::collection::vec((any::<i64>(), any::<i64>()), 0..8), cut in 0_usize..8,
        ) {
            let found = |pairs: &[Pair]| {
                let mut extremes = empty();
                for (before, after) in pairs {
                    extremes.total(*before, *after);
                    extremes.ratio(0, *before, *after);
                    extremes.presence((1, 0), before < after);
                }
                extremes
            };
            let (first, second) = pairs.split_at(cut.min(pairs.len()));
            // The sum of a whole comparison also starts without any figures.
            let mut merged = Extremes::default();
            merged.add(&found(first));
            merged.add(&found(second));
            prop_assert_eq!(figures_of(&merged), figures_of(&found(&pairs)));
        }
    }
}

//! Cuts the keys of two snapshots into ranges that are merged separately. Pure.

use std::cmp::Ordering;

use crate::snapshot::Part;
use crate::snapshot::task::KeyRange;

/// Maximum number of ranges in a comparison: more than any machine has threads, so that all threads
/// stay busy to the end, and few enough that a range's fixed cost does not matter.
pub(super) const MAX_RANGES: usize = 64;

/// A key range that is merged on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// Its keys.
    pub(super) keys: KeyRange,
    /// Deals of the larger snapshot in it.
    pub(super) deals: u64,
}

/// Cuts ranges that together contain every key exactly once, in key order.
///
/// The cuts are where parts of the larger snapshot begin, so they depend on the manifests alone and
/// never on the number of threads: the same snapshots are always cut the same way.
pub(super) fn plan(
    before: &[Part],
    after: &[Part],
    order: fn(&[u8], &[u8]) -> Ordering,
) -> Vec<Range> {
    let rows = |parts: &[Part]| parts.iter().fold(0u64, |sum, p| sum.saturating_add(p.rows));
    let parts = if rows(before) >= rows(after) {
        before
    } else {
        after
    };
    let parts_per_range = parts.len().div_ceil(MAX_RANGES).max(1);
    let mut cuts: Vec<&str> = parts
        .iter()
        .step_by(parts_per_range)
        .skip(1)
        .map(|part| part.first_id.as_str())
        .collect();
    // A manifest keeps its parts in order, but ranges must not overlap even if one does not.
    cuts.sort_by(|left, right| order(left.as_bytes(), right.as_bytes()));
    cuts.dedup();
    let starts = std::iter::once(None).chain(cuts.iter().map(|cut| Some((*cut).to_owned())));
    let ends = cuts
        .iter()
        .map(|cut| Some((*cut).to_owned()))
        .chain(std::iter::once(None));
    let begins_in = |keys: &KeyRange, part: &Part| {
        keys.touches(&part.first_id, &part.first_id, order)
            .then_some(part.rows)
    };
    starts
        .zip(ends)
        .map(|(from, below)| {
            let keys = KeyRange { from, below };
            let deals = parts.iter().filter_map(|part| begins_in(&keys, part)).sum();
            Range { keys, deals }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parts(ranges: impl IntoIterator<Item = (u32, u32)>) -> Vec<Part> {
        let part = |(first, last): (u32, u32)| Part {
            sha256: String::new(),
            size_bytes: 1,
            rows: u64::from(last - first + 1),
            first_id: format!("{first:04}"),
            last_id: format!("{last:04}"),
            errors: 0,
        };
        ranges.into_iter().map(part).collect()
    }

    fn planned(before: &[Part], after: &[Part]) -> Vec<(Option<String>, Option<String>)> {
        plan(before, after, |left, right| left.cmp(right))
            .into_iter()
            .map(|range| (range.keys.from, range.keys.below))
            .collect()
    }

    #[test]
    fn ranges_are_cut_by_the_larger_side() {
        let small = parts([(0, 9)]);
        let large = parts([(0, 4), (5, 9), (10, 30)]);
        let cut = |text: &str| Some(text.to_owned());
        let expected = [
            (None, cut("0005")),
            (cut("0005"), cut("0010")),
            (cut("0010"), None),
        ];
        assert_eq!(planned(&small, &large), expected);
        assert_eq!(planned(&large, &small), expected);
        assert_eq!(planned(&small, &small), [(None, None)]);
        assert_eq!(planned(&[], &[]), [(None, None)]);
        let deals = plan(&small, &large, |left, right| left.cmp(right));
        let deals: Vec<u64> = deals.iter().map(|range| range.deals).collect();
        assert_eq!(deals, [5, 5, 21]);
    }

    #[test]
    fn many_parts_make_a_bounded_number_of_ranges() {
        for count in [1, 63, 64, 65, 200, 1_000] {
            let many = parts((0..count).map(|n| (n * 2, n * 2 + 1)));
            let ranges = planned(&many, &many);
            assert!(
                ranges.len() <= MAX_RANGES,
                "{count} parts: {}",
                ranges.len()
            );
            assert!(ranges.windows(2).all(|pair| pair[0].1 == pair[1].0));
        }
    }
}

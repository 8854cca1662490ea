//! The distribution of the relative change of the total. Pure.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// Upper edges below zero, in percent; the first bucket has no lower edge.
const FALLS: [i64; 5] = [-50, -25, -10, -5, -1];
/// Upper edges above zero, in percent; one more bucket follows the last.
const RISES: [i64; 7] = [1, 5, 10, 25, 50, 100, 200];

/// One bucket of the histogram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// The range in words: `-5 % … -1 %`.
    pub label: String,
    /// Number of deals in the range.
    pub deals: u64,
}

/// Deals per range of relative change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Histogram {
    falls: [u64; FALLS.len() + 1],
    none: u64,
    rises: [u64; RISES.len() + 1],
    no_base: u64,
}

impl Histogram {
    /// Counts a deal. A range includes its edge farther from zero, so that exactly 5 % is not
    /// "above 5 %".
    pub(super) fn count(&mut self, before: i64, after: i64) {
        let change = i128::from(after) - i128::from(before);
        let base = i128::from(before);
        let bar = match change.cmp(&0) {
            Ordering::Equal => Some(&mut self.none),
            _ if before <= 0 => Some(&mut self.no_base),
            Ordering::Less => {
                let place = FALLS.partition_point(|edge| change * 100 >= i128::from(*edge) * base);
                self.falls.get_mut(place)
            }
            Ordering::Greater => {
                let place = RISES.partition_point(|edge| change * 100 > i128::from(*edge) * base);
                self.rises.get_mut(place)
            }
        };
        if let Some(bar) = bar {
            *bar += 1;
        }
    }

    /// Adds the counts of another histogram.
    pub(super) fn add(&mut self, other: &Self) {
        let add = |to: &mut [u64], from: &[u64]| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        };
        add(&mut self.falls, &other.falls);
        add(&mut self.rises, &other.rises);
        self.none += other.none;
        self.no_base += other.no_base;
    }

    /// Every bucket, from the largest fall to the largest rise.
    pub(super) fn buckets(&self, called: &str) -> Vec<Bucket> {
        let mut buckets = Vec::new();
        let mut bar = |label: String, deals: u64| buckets.push(Bucket { label, deals });
        let mut lower: Option<i64> = None;
        for (deals, upper) in self.falls.iter().zip(FALLS.iter().chain(&[0])) {
            match lower {
                None => bar(format!("below {upper} %"), *deals),
                Some(lower) => bar(format!("{lower} % … {upper} %"), *deals),
            }
            lower = Some(*upper);
        }
        bar("unchanged".to_owned(), self.none);
        let mut lower = 0;
        for (index, deals) in self.rises.iter().enumerate() {
            match RISES.get(index) {
                Some(upper) => bar(format!("{lower} % … {upper} %"), *deals),
                None => bar(format!("above {lower} %"), *deals),
            }
            lower = RISES.get(index).copied().unwrap_or(lower);
        }
        bar(format!("no {called} before"), self.no_base);
        buckets
    }
}

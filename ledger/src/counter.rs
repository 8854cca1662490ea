//! Computes the growth of a cumulative counter.
//!
//! A counter only rises; a value below the previous one means that it restarted at zero (with its
//! process), so the value itself is what was added since: 5, 9, 2 is a growth of 4 + 2. What was
//! added between the last value and the restart is not seen.
//!
//! Growth needs at least two values.

use jiff::{SignedDuration, Timestamp};

use crate::decimal::Decimal;

/// The growth of a counter since its first value, in constant space.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counter {
    first: Decimal,
    last: Decimal,
    /// The growth counted before restarts; `None` if it has too many digits.
    carried: Option<Decimal>,
    values: u64,
}

impl Counter {
    /// Creates a counter at its first value.
    pub fn new(first: Decimal) -> Self {
        Self {
            first,
            last: first,
            carried: Some(Decimal::ZERO),
            values: 1,
        }
    }

    /// Adds the next value.
    pub fn add(&mut self, value: Decimal) {
        if value < self.last {
            self.carried = self
                .carried
                .and_then(|carried| carried.checked_add(self.last).ok());
        }
        self.last = value;
        self.values = self.values.saturating_add(1);
    }

    /// Returns the growth since the first value; `None` if there is only one value or the sum has
    /// too many digits.
    pub fn delta(&self) -> Option<Decimal> {
        self.grown().filter(|_| self.values > 1)
    }

    fn grown(&self) -> Option<Decimal> {
        let counted = self.carried?.checked_add(self.last).ok()?;
        counted.checked_sub(self.first).ok()
    }
}

/// Returns one counter's growth as a percentage of another's: 100 × errors / requests. `None` if
/// either is unknown, or if the other has not grown.
pub fn share(part: Option<Decimal>, total: Option<Decimal>) -> Option<Decimal> {
    let total = total.filter(|total| *total > Decimal::ZERO)?;
    let hundredfold = part?.checked_mul(Decimal::from(100)).ok()?;
    hundredfold.checked_div(total).ok()
}

/// A counter with the times of its values, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    counter: Option<Counter>,
    /// The growth since the first value, by time.
    points: Vec<(Timestamp, Option<Decimal>)>,
}

impl Trail {
    /// Adds the next value. A time earlier than the previous one is replaced by it.
    pub fn push(&mut self, value: Decimal, at: Timestamp) {
        let counter = match &mut self.counter {
            Some(counter) => {
                counter.add(value);
                counter
            }
            none => none.insert(Counter::new(value)),
        };
        let at = self.points.last().map_or(at, |(last, _)| at.max(*last));
        self.points.push((at, counter.grown()));
    }

    /// Returns the growth since the first value, see [`Counter::delta`].
    pub fn delta(&self) -> Option<Decimal> {
        self.counter.as_ref().and_then(Counter::delta)
    }

    /// Returns the growth per `unit` of time: since the latest value that is at least one unit old,
    /// scaled down to one unit, or since the first value if none is so old. It never extrapolates:
    /// one error in ten seconds is a rate of one per hour, not 360.
    pub fn rate(&self, unit: SignedDuration) -> Option<Decimal> {
        let (now, grown) = *self.points.last().filter(|_| self.points.len() > 1)?;
        let from = now.checked_sub(unit).unwrap_or(Timestamp::MIN);
        let older = self.points.partition_point(|(at, _)| *at <= from);
        let (since, before) = *self.points.get(older.saturating_sub(1))?;
        let added = grown?.checked_sub(before?).ok()?;
        let elapsed = now.duration_since(since);
        if elapsed <= unit {
            return Some(added);
        }
        let micros = |span: SignedDuration| Decimal::new(span.as_micros(), 0).ok();
        let scaled = added.checked_mul(micros(unit)?).ok()?;
        scaled.checked_div(micros(elapsed)?).ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn trail(points: &[(i64, i64)]) -> Trail {
        let mut trail = Trail::default();
        for (minute, value) in points {
            let at = Timestamp::from_second(minute * 60).unwrap();
            trail.push(Decimal::from(*value), at);
        }
        trail
    }

    fn delta(values: &[i64]) -> Option<i64> {
        let points: Vec<(i64, i64)> = (0..).zip(values.iter().copied()).collect();
        let found = trail(&points).delta()?;
        Some(found.to_string().parse().unwrap())
    }

    #[test]
    fn the_first_value_does_not_count() {
        assert_eq!(delta(&[]), None);
        assert_eq!(delta(&[7]), None, "one value says nothing of growth");
        assert_eq!(delta(&[7, 7, 7]), Some(0));
        assert_eq!(delta(&[7, 9]), Some(2));
    }

    #[test]
    fn a_counter_that_restarts_continues_from_zero() {
        assert_eq!(delta(&[5, 9, 2]), Some(6));
        assert_eq!(delta(&[5, 9, 0, 3, 1]), Some(4 + 3 + 1));
        assert_eq!(delta(&[5, 0]), Some(0));
    }

    #[test]
    fn a_share_is_a_percentage_of_growth() {
        let of = |part: Option<i64>, total: Option<i64>| {
            share(part.map(Decimal::from), total.map(Decimal::from)).map(|it| it.to_string())
        };
        assert_eq!(of(Some(1), Some(3)).as_deref(), Some("33.333333333333"));
        assert_eq!(of(Some(0), Some(7)).as_deref(), Some("0"));
        assert_eq!(of(Some(3), Some(2)).as_deref(), Some("150"));
        assert_eq!(of(Some(0), Some(0)), None, "of nothing there is no share");
        assert_eq!(of(None, Some(3)), None);
        assert_eq!(of(Some(3), None), None);
    }

    #[test]
    fn a_rate_is_what_was_added_in_the_last_unit() {
        let rate = |points: &[(i64, i64)]| trail(points).rate(HOUR).map(|it| it.to_string());
        assert_eq!(rate(&[(0, 3)]), None);
        // Less than an hour is not extrapolated.
        assert_eq!(rate(&[(0, 3), (1, 4)]).as_deref(), Some("1"));
        // 9 were added in total, 2 of them in the last hour.
        let long = [(0, 0), (10, 7), (60, 7), (90, 8), (120, 9)];
        assert_eq!(rate(&long).as_deref(), Some("2"));
        // Sampled less often than once an hour: scaled down to one hour.
        assert_eq!(rate(&[(0, 0), (90, 3)]).as_deref(), Some("2"));
        assert_eq!(rate(&[(0, 8), (30, 1)]).as_deref(), Some("1"));
        // A clock that went back does not disturb the order.
        assert_eq!(rate(&[(60, 1), (0, 2), (61, 4)]).as_deref(), Some("3"));
    }
}

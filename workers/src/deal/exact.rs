//! Exact integer arithmetic on cents and basis points.

use super::error::DealError;

/// One whole, in basis points.
pub(super) const ONE_BP: i64 = 10_000;
/// $1, in cents.
pub(super) const DOLLAR_CENTS: i64 = 100;
/// $1,000, in cents: what work items and synergies round to (deal rules, decisions).
pub(super) const THOUSAND_CENTS: i64 = 100_000;
/// $100, in cents: what licences round to (deal rules, decisions).
pub(super) const HUNDRED_CENTS: i64 = 10_000;
/// One whole, in millionths: the resolution of inventory quantities.
pub(super) const ONE_MICRO: i64 = 1_000_000;

/// An exact non-negative fraction `numerator / denominator` of cents. Every step is checked; the
/// one rounding is at the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exact {
    numerator: i128,
    denominator: i128,
    what: &'static str,
}

impl Exact {
    /// Starts from whole cents; `what` names the figure in an overflow error.
    pub(super) fn cents(cents: i128, what: &'static str) -> Self {
        Self {
            numerator: cents,
            denominator: 1,
            what,
        }
    }

    fn overflow(self) -> DealError {
        DealError::Overflow { what: self.what }
    }

    /// Adds `quantity · cents_each`.
    pub(super) fn plus(self, quantity: i64, cents_each: i64) -> Result<Self, DealError> {
        self.plus_scaled(quantity, cents_each, ONE_BP)
    }

    /// Adds `quantity · cents_each · factor_bp / 10,000`.
    pub(super) fn plus_scaled(
        self,
        quantity: i64,
        cents_each: i64,
        factor_bp: i64,
    ) -> Result<Self, DealError> {
        self.plus_ratio(quantity, cents_each, factor_bp, ONE_BP)
    }

    /// Adds `quantity · cents_each · over / under`. `under` is positive.
    pub(super) fn plus_ratio(
        self,
        quantity: i64,
        cents_each: i64,
        over: i64,
        under: i64,
    ) -> Result<Self, DealError> {
        let (over, under) = reduced(over, under);
        let term = i128::from(quantity)
            .checked_mul(i128::from(cents_each))
            .and_then(|product| product.checked_mul(i128::from(over)));
        let (over, under) = (term.ok_or(self.overflow())?, i128::from(under));
        // Kept whole when it divides, so that denominators stay small.
        let (whole, rest) = divided(over, under);
        if rest == 0 {
            let scaled = whole.checked_mul(self.denominator);
            let numerator = scaled.and_then(|term| self.numerator.checked_add(term));
            return Ok(Self {
                numerator: numerator.ok_or(self.overflow())?,
                ..self
            });
        }
        let left = self.numerator.checked_mul(under);
        let right = over.checked_mul(self.denominator);
        let numerator = left.zip(right).and_then(|(l, r)| l.checked_add(r));
        let denominator = self.denominator.checked_mul(under);
        Ok(Self {
            numerator: numerator.ok_or(self.overflow())?,
            denominator: denominator.ok_or(self.overflow())?,
            what: self.what,
        })
    }

    /// Multiplies by `over / under`. `under` is positive.
    pub(super) fn times(self, over: i64, under: i64) -> Result<Self, DealError> {
        let (over, under) = reduced(over, under);
        let numerator = self.numerator.checked_mul(i128::from(over));
        let denominator = self.denominator.checked_mul(i128::from(under));
        Ok(Self {
            numerator: numerator.ok_or(self.overflow())?,
            denominator: denominator.ok_or(self.overflow())?,
            what: self.what,
        })
    }

    /// Multiplies by basis points.
    pub(super) fn times_bp(self, factor_bp: i64) -> Result<Self, DealError> {
        self.times(factor_bp, ONE_BP)
    }

    /// Rounds half up to a multiple of `step_cents` and leaves the exact world.
    pub(super) fn round(self, step_cents: i64) -> Result<i64, DealError> {
        let step = i128::from(step_cents);
        let unit = self.denominator.checked_mul(step).ok_or(self.overflow())?;
        let doubled = self.numerator.checked_mul(2);
        let shifted = doubled.and_then(|twice| twice.checked_add(unit));
        let unit = unit.checked_mul(2).ok_or(self.overflow())?;
        let (steps, _) = divided(shifted.ok_or(self.overflow())?, unit);
        let cents = steps.checked_mul(step).ok_or(self.overflow())?;
        i64::try_from(cents).map_err(|_| self.overflow())
    }
}

/// The same ratio without common factors of ten, which is what factors in basis points have:
/// small numerators and denominators divide fast.
fn reduced(mut over: i64, mut under: i64) -> (i64, i64) {
    if over == under {
        return (1, 1);
    }
    while under % 10 == 0 && over % 10 == 0 && under > 1 {
        over /= 10;
        under /= 10;
    }
    (over, under)
}

/// Quotient and remainder, in 64 bits where both fit: several times as fast.
fn divided(value: i128, by: i128) -> (i128, i128) {
    match (u64::try_from(value), u64::try_from(by)) {
        (Ok(value), Ok(by)) if by > 0 => (i128::from(value / by), i128::from(value % by)),
        _ => (value / by, value % by),
    }
}

/// Adds up, refusing to leave the range.
pub(super) fn sum(
    values: impl IntoIterator<Item = i64>,
    what: &'static str,
) -> Result<i64, DealError> {
    values.into_iter().try_fold(0_i64, |total, value| {
        total.checked_add(value).ok_or(DealError::Overflow { what })
    })
}

/// The length of a list as a count.
pub(super) fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_up_once_at_the_end() {
        let half = Exact::cents(28_750_000, "test");
        assert_eq!(half.round(THOUSAND_CENTS), Ok(28_800_000));
        let below = Exact::cents(28_749_999, "test");
        assert_eq!(below.round(THOUSAND_CENTS), Ok(28_700_000));
        // 1/3 three times is one whole again: nothing was lost between.
        let third = Exact::cents(0, "test").plus_ratio(1, 100, 1, 3).unwrap();
        let whole = third.plus_ratio(2, 100, 1, 3).unwrap();
        assert_eq!(whole.round(1), Ok(100));
    }

    #[test]
    fn leaving_the_range_is_an_error_with_a_name() {
        let huge = Exact::cents(i128::from(i64::MAX), "test");
        assert_eq!(huge.round(1), Ok(i64::MAX));
        let beyond = huge.plus(1, 1).unwrap().round(1);
        assert_eq!(beyond, Err(DealError::Overflow { what: "test" }));
        assert!(sum([i64::MAX, 1], "test").is_err());
    }
}

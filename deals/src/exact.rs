//! Exact integer arithmetic on cents and basis points.

use super::error::DealError;

/// The factor 1.0, in basis points.
pub(super) const ONE_BP: i64 = 10_000;
/// $1, in cents.
pub(super) const DOLLAR_CENTS: i64 = 100;
/// $1,000, in cents: the step that work items and synergies are rounded to (deal rules, decisions).
pub(super) const THOUSAND_CENTS: i64 = 100_000;
/// $100, in cents: the step that licences are rounded to (deal rules, decisions).
pub(super) const HUNDRED_CENTS: i64 = 10_000;
/// One unit, in millionths: the resolution of inventory quantities.
pub(super) const ONE_MICRO: i64 = 1_000_000;

/// An exact non-negative fraction of cents. It is rounded once, at the end, which also reports an
/// overflow of any earlier step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exact {
    /// `None` after an overflow.
    ratio: Option<Ratio>,
    what: &'static str,
}

#[derive(Clone, Copy, Debug)]
struct Ratio {
    numerator: i128,
    denominator: i128,
}

impl Ratio {
    #[inline]
    fn plus_whole(self, cents: i128) -> Option<Self> {
        let scaled = multiplied(cents, self.denominator)?;
        Some(Self {
            numerator: self.numerator.checked_add(scaled)?,
            ..self
        })
    }

    /// Adds `term / under`.
    #[inline]
    fn plus(self, term: i128, under: i128) -> Option<Self> {
        // A quotient without remainder is added as a whole number, so that denominators stay small.
        let (whole, rest) = divided(term, under);
        if rest == 0 {
            return self.plus_whole(whole);
        }
        let left = multiplied(self.numerator, under)?;
        Some(Self {
            numerator: left.checked_add(multiplied(term, self.denominator)?)?,
            denominator: multiplied(self.denominator, under)?,
        })
    }

    #[inline]
    fn times(self, over: i64, under: i64) -> Option<Self> {
        Some(Self {
            numerator: multiplied(self.numerator, i128::from(over))?,
            denominator: multiplied(self.denominator, i128::from(under))?,
        })
    }

    #[inline]
    fn round(self, step: i128) -> Option<i64> {
        let unit = multiplied(self.denominator, step)?;
        let shifted = multiplied(self.numerator, 2)?.checked_add(unit)?;
        let (steps, _) = divided(shifted, multiplied(unit, 2)?);
        i64::try_from(multiplied(steps, step)?).ok()
    }
}

impl Exact {
    /// Starts from whole cents; `what` names the figure in an overflow error.
    #[inline]
    pub(super) fn cents(cents: i64, what: &'static str) -> Self {
        let ratio = Ratio {
            numerator: i128::from(cents),
            denominator: 1,
        };
        Self {
            ratio: Some(ratio),
            what,
        }
    }

    #[inline]
    fn then(self, step: impl FnOnce(Ratio) -> Option<Ratio>) -> Self {
        Self {
            ratio: self.ratio.and_then(step),
            ..self
        }
    }

    /// Adds `quantity · cents_each`.
    #[inline]
    pub(super) fn plus(self, quantity: i64, cents_each: i64) -> Self {
        // The product of two 64-bit numbers fits in 128.
        let cents = i128::from(quantity) * i128::from(cents_each);
        self.then(|ratio| ratio.plus_whole(cents))
    }

    /// Adds `quantity · cents_each · factor_bp / 10,000`.
    #[inline]
    pub(super) fn plus_scaled(self, quantity: i64, cents_each: i64, factor_bp: i64) -> Self {
        match reduced_bp(factor_bp) {
            (1, 1) => self.plus(quantity, cents_each),
            (over, under) => self.plus_ratio(quantity, cents_each, over, under),
        }
    }

    /// Adds `quantity · cents_each · over / under`. `under` is positive.
    #[inline]
    pub(super) fn plus_ratio(self, quantity: i64, cents_each: i64, over: i64, under: i64) -> Self {
        let product = i128::from(quantity) * i128::from(cents_each);
        let term = multiplied(product, i128::from(over));
        self.then(|ratio| ratio.plus(term?, i128::from(under)))
    }

    /// Multiplies by `over / under`. `under` is positive.
    #[inline]
    pub(super) fn times(self, over: i64, under: i64) -> Self {
        self.then(|ratio| ratio.times(over, under))
    }

    /// Multiplies by basis points.
    #[inline]
    pub(super) fn times_bp(self, factor_bp: i64) -> Self {
        match reduced_bp(factor_bp) {
            (1, 1) => self,
            (over, under) => self.times(over, under),
        }
    }

    /// Rounds half up to a multiple of `step_cents`.
    ///
    /// # Errors
    /// [`DealError::Overflow`] when this or an earlier step exceeded the range.
    #[inline]
    pub(super) fn round(self, step_cents: i64) -> Result<i64, DealError> {
        let rounded = self
            .ratio
            .and_then(|ratio| ratio.round(i128::from(step_cents)));
        rounded.ok_or(DealError::Overflow { what: self.what })
    }
}

/// Basis points as a ratio without common factors of ten, which they nearly always have: small
/// numerators and denominators divide fast.
#[inline]
fn reduced_bp(factor_bp: i64) -> (i64, i64) {
    if factor_bp % 10_000 == 0 {
        (factor_bp / 10_000, 1)
    } else if factor_bp % 1_000 == 0 {
        (factor_bp / 1_000, 10)
    } else if factor_bp % 100 == 0 {
        (factor_bp / 100, 100)
    } else {
        (factor_bp, ONE_BP)
    }
}

/// The product, computed in one instruction if both factors fit in 64 bits.
#[inline]
fn multiplied(left: i128, right: i128) -> Option<i128> {
    match (i64::try_from(left), i64::try_from(right)) {
        (Ok(left), Ok(right)) => Some(i128::from(left) * i128::from(right)),
        _ => left.checked_mul(right),
    }
}

/// Quotient and remainder, computed in 64 bits if both operands fit, which is several times as
/// fast.
#[inline]
fn divided(value: i128, by: i128) -> (i128, i128) {
    match (u64::try_from(value), u64::try_from(by)) {
        (Ok(value), Ok(by)) if by > 0 => (i128::from(value / by), i128::from(value % by)),
        _ => (value / by, value % by),
    }
}

/// Adds values; fails if the sum exceeds the range.
#[inline]
pub(super) fn sum(
    values: impl IntoIterator<Item = i64>,
    what: &'static str,
) -> Result<i64, DealError> {
    // No list is long enough for its sum to exceed 128 bits.
    let total: i128 = values.into_iter().map(i128::from).sum();
    i64::try_from(total).map_err(|_| DealError::Overflow { what })
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
        // Three times 1/3 is exactly one: nothing is lost in between.
        let third = Exact::cents(0, "test").plus_ratio(1, 100, 1, 3);
        let whole = third.plus_ratio(2, 100, 1, 3);
        assert_eq!(whole.round(1), Ok(100));
    }

    #[test]
    fn overflow_is_an_error_that_names_the_figure() {
        let huge = Exact::cents(i64::MAX, "test");
        assert_eq!(huge.round(1), Ok(i64::MAX));
        let beyond = huge.plus(1, 1).round(1);
        assert_eq!(beyond, Err(DealError::Overflow { what: "test" }));
        assert!(sum([i64::MAX, 1], "test").is_err());
    }
}

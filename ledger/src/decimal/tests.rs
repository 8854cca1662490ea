#![allow(clippy::unwrap_used)]

use num_bigint::BigInt;
use proptest::prelude::*;

use super::*;

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

#[test]
fn texts_are_read_exactly_and_written_in_one_form() {
    for (text, shown) in [
        ("0", "0"),
        ("-0.000", "0"),
        ("0e999999999999", "0"),
        ("007", "7"),
        ("+5", "5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1200", "1200"),
        ("-12.50", "-12.5"),
        ("9007199254740993", "9007199254740993"),
        ("1e-7", "0.0000001"),
        ("1E+3", "1000"),
        ("1.5e300", "1.5e300"),
        ("-5e-324", "-5e-324"),
        (
            "1.1102230246251565e-16",
            "0.00000000000000011102230246251565",
        ),
        (
            "9999999999999999999999999999",
            "9999999999999999999999999999",
        ),
        (
            "0.1234567890123456789012345678",
            "0.1234567890123456789012345678",
        ),
    ] {
        assert_eq!(decimal(text).to_string(), shown, "{text}");
        assert_eq!(decimal(shown), decimal(text), "{text}");
    }
}

#[test]
fn an_inexact_value_is_refused_and_never_rounded() {
    use DecimalError::{NotANumber, OutOfRange, TooManyDigits};
    let long = "1".repeat(MAX_TEXT_BYTES + 1);
    for (text, error) in [
        ("", NotANumber),
        (".", NotANumber),
        ("-", NotANumber),
        ("NaN", NotANumber),
        ("inf", NotANumber),
        ("1e", NotANumber),
        ("1e+", NotANumber),
        ("1e5x", NotANumber),
        ("1.2.3", NotANumber),
        ("1,5", NotANumber),
        (" 5", NotANumber),
        ("0x10", NotANumber),
        ("10000000000000000000000000001", TooManyDigits),
        ("1.0000000000000000000000000001", TooManyDigits),
        (&long, TooManyDigits),
        ("1e401", OutOfRange),
        ("1e-401", OutOfRange),
        ("1e99999999999999999999", OutOfRange),
    ] {
        assert_eq!(text.parse::<Decimal>(), Err(error), "{text}");
    }
    assert_eq!(Decimal::from_f64(f64::NAN), Err(NotANumber));
    assert_eq!(Decimal::from_f64(f64::NEG_INFINITY), Err(NotANumber));
}

#[test]
fn neighbours_beyond_two_to_the_53_differ() {
    let (copied, original) = (decimal("9007199254740992"), decimal("9007199254740993"));
    assert!(copied < original);
    assert_eq!(original.checked_sub(copied), Ok(Decimal::ONE));
}

#[test]
fn quotients_are_rounded_half_to_even_and_sums_and_products_never() {
    let divide = |a: &str, b: &str| decimal(a).checked_div(decimal(b)).unwrap().to_string();
    assert_eq!(divide("1", "3"), "0.333333333333");
    assert_eq!(divide("2", "3"), "0.666666666667");
    assert_eq!(divide("-7", "2"), "-3.5");
    // Exactly half of the twelfth decimal place.
    assert_eq!(divide("1", "2000000000000"), "0");
    assert_eq!(divide("3", "2000000000000"), "0.000000000002");
    // Just above half, beyond the precision of any intermediate rounding.
    assert_eq!(
        divide("1", "1999999999999.999999999999999"),
        "0.000000000001"
    );
    assert_eq!(divide("1e-300", "3"), "0");
    // 28 digits are reached before the twelfth decimal place.
    assert_eq!(
        divide("200000000000000000000", "3"),
        "66666666666666666666.66666667"
    );
    assert_eq!(divide("1e300", "3"), format!("3.{}e299", "3".repeat(27)));
    assert_eq!(
        Decimal::ONE.checked_div(Decimal::ZERO),
        Err(DecimalError::DivisionByZero)
    );
    assert_eq!(
        decimal("1e28").checked_add(Decimal::ONE),
        Err(DecimalError::TooManyDigits)
    );
    assert_eq!(
        decimal("1e400").checked_mul(decimal("10")),
        Err(DecimalError::OutOfRange)
    );
    // 2^80 × 5^40 has few digits besides its trailing zeros.
    let product = Decimal::new(1 << 80, 0)
        .unwrap()
        .checked_mul(Decimal::new(5_i128.pow(40), 0).unwrap());
    assert_eq!(product, Decimal::new(1 << 40, 40));
}

fn power(exponent: i32) -> BigInt {
    BigInt::from(10).pow(exponent.unsigned_abs())
}

fn absolute(number: &BigInt) -> BigInt {
    BigInt::from(number.magnitude().clone())
}

/// Returns the number as a fraction of integers.
fn fraction(number: Decimal) -> (BigInt, BigInt) {
    match number.exponent() {
        exponent if exponent >= 0 => (BigInt::from(number.mantissa()) * power(exponent), 1.into()),
        exponent => (BigInt::from(number.mantissa()), power(exponent)),
    }
}

fn same(number: Decimal, (over, under): &(BigInt, BigInt)) -> bool {
    let (a, b) = fraction(number);
    a * under == over * b
}

/// True if an integer over a power of ten has at most 28 digits, without trailing zeros.
fn fits((over, _): &(BigInt, BigInt)) -> bool {
    let mut digits = absolute(over);
    while digits != BigInt::ZERO && &digits % 10_u8 == BigInt::ZERO {
        digits /= 10_u8;
    }
    digits < power(28)
}

fn any_decimal() -> impl Strategy<Value = Decimal> {
    let small = (any::<i32>(), -12_i32..12).prop_map(|(m, e)| (i128::from(m), e));
    let large = (any::<i128>(), -40_i32..40).prop_map(|(m, e)| (m % 10_i128.pow(28), e));
    let powers = (0_u32..60, 0_u32..25, -30_i32..30)
        .prop_map(|(twos, fives, e)| (2_i128.pow(twos.min(60)) * 5_i128.pow(fives.min(12)), e));
    prop_oneof![small, large, powers].prop_filter_map("too long", |(m, e)| Decimal::new(m, e).ok())
}

proptest! {
    #[test]
    fn texts_and_doubles_survive_the_round_trip(number in any_decimal(), double in proptest::num::f64::NORMAL) {
        prop_assert_eq!(number.to_string().parse(), Ok(number));
        let held = Decimal::from_f64(double).unwrap();
        prop_assert_eq!(held.to_f64().to_bits(), double.to_bits());
        prop_assert_eq!(format!("{double}").parse(), Ok(held));
    }

    #[test]
    fn arithmetic_agrees_with_integers(a in any_decimal(), b in any_decimal()) {
        let ((ax, ay), (bx, by)) = (fraction(a), fraction(b));
        prop_assert_eq!(a.cmp(&b), (&ax * &by).cmp(&(&bx * &ay)));
        let sum = (&ax * &by + &bx * &ay, &ay * &by);
        match a.checked_add(b) {
            Ok(found) => prop_assert!(same(found, &sum)),
            Err(error) => {
                prop_assert_eq!(error, DecimalError::TooManyDigits);
                prop_assert!(!fits(&sum));
            }
        }
        let product = (&ax * &bx, &ay * &by);
        match a.checked_mul(b) {
            Ok(found) => prop_assert!(same(found, &product)),
            Err(_) => prop_assert!(!fits(&product)),
        }
        if b.is_zero() {
            prop_assert_eq!(a.checked_div(b), Err(DecimalError::DivisionByZero));
            return Ok(());
        }
        // |a/b − q| is at most half a unit of the last place, or of the 28th digit.
        let quotient = a.checked_div(b).unwrap();
        let (qx, qy) = fraction(quotient);
        let (over, under) = (&ax * &by, &ay * &bx);
        let off = absolute(&((&over * &qy - &qx * &under) * 2_u8));
        let scale = absolute(&(&under * &qy));
        let at_twelfth = &off * power(12) <= scale;
        let at_28th = &off * power(27) <= absolute(&(&qx * &under));
        prop_assert!(at_twelfth || at_28th, "{} / {} = {}", a, b, quotient);
        let rest = a.checked_rem(b).unwrap();
        let (rx, ry) = fraction(rest);
        // (a − remainder) ÷ b is an integer, and the remainder is smaller than b, with the sign of
        // a.
        let whole = (&ax * &ry - &rx * &ay) * &by;
        prop_assert_eq!(whole % (&ay * &ry * &bx), BigInt::ZERO);
        prop_assert!(rest.abs() < b.abs());
        prop_assert!(rest.is_zero() || rest.is_negative() == a.is_negative());
    }
}

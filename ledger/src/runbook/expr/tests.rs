#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

fn ask(text: &str, values: &[(&str, f64)]) -> Result<bool, ExprOutcome> {
    Expr::parse(text).unwrap().evaluate(&|term| {
        let (_, value) = values.iter().find(|(known, _)| *known == term.name)?;
        Decimal::from_f64(*value).ok()
    })
}

#[test]
fn whole_numbers_and_fractions_compare_as_numbers() {
    assert_eq!(ask("value == 0", &[("value", 0.0)]), Ok(true));
    assert_eq!(ask("value > 5", &[("value", 5.0)]), Ok(false));
    assert_eq!(ask("value >= -1.5", &[("value", -1.5)]), Ok(true));
    assert_eq!(
        ask("100 * bad / total <= 5", &[("bad", 1.0), ("total", 20.0)]),
        Ok(true)
    );
    assert_eq!(ask("!(value < 10) && true", &[("value", 10.0)]), Ok(true));
    assert_eq!(ask("(value > 1) == false", &[("value", 1.0)]), Ok(true));
    assert_eq!(ask("value % 2 == 1", &[("value", 7.0)]), Ok(true));
    assert_eq!(ask("7 / 2 == 3.5", &[]), Ok(true));
}

#[test]
fn operators_bind_as_in_arithmetic() {
    assert_eq!(ask("1 + 2 * 3 == 7", &[]), Ok(true));
    assert_eq!(ask("10 - 4 - 3 == 3", &[]), Ok(true));
    assert_eq!(ask("-2 * -3 == 6", &[]), Ok(true));
    assert_eq!(ask("(1 + 2) * 3 == 9", &[]), Ok(true));
    assert_eq!(ask("false && true || true", &[]), Ok(true));
    assert_eq!(ask("true || true && false", &[]), Ok(true));
    assert_eq!(ask("!false && false", &[]), Ok(false));
    assert_eq!(ask("1 > 2 == false", &[]), Ok(true));
}

#[test]
fn missing_data_decides_nothing_unless_the_rest_decides_alone() {
    let no_data = Err(ExprOutcome::NoData("b".to_owned()));
    assert_eq!(ask("a > 0 || b > 0", &[("a", 1.0)]), Ok(true));
    assert_eq!(ask("b > 0 || a > 0", &[("a", 1.0)]), Ok(true));
    assert_eq!(ask("a > 0 && b > 0", &[("a", 0.0)]), Ok(false));
    assert_eq!(ask("a > 0 && b > 0", &[("a", 1.0)]), no_data);
    assert_eq!(ask("!(b > 0)", &[]), no_data);
    assert_eq!(ask("b == b", &[("b", f64::NAN)]), no_data);
    assert_eq!(ask("b + 1 > 0", &[]), no_data);
}

#[test]
fn arithmetic_without_an_exact_result_has_no_answer() {
    for text in [
        "a / 0 > 1",
        "!(a / 0 > 1)",
        "a / 0 > 1 || a < 0",
        "a % 0 > 1",
        "1e400 * 10 > 1",
        "1e28 + a > 1",
        "1234567890123456789 * 1234567890123456789 > 1",
    ] {
        assert!(
            matches!(ask(text, &[("a", 1.0)]), Err(ExprOutcome::Undefined(_))),
            "{text}"
        );
    }
}

#[test]
fn only_the_small_language_is_accepted() {
    for text in [
        "",
        "value",
        "value >",
        "value = 5",
        "value > 5; true",
        "random() > 0",
        "min(value, 3) > 0",
        "value == \"x\"",
        "(1, 2) == 3",
        "value > 5 5",
        "true > 1",
        "1 == true",
        "!value",
        "1 < 2 < 3",
        "a ^ 2 > 1",
        "1e999 > 1",
        "10000000000000000000000000001 > 1",
        "delta() > 1",
        "delta(1) > 1",
        "delta(a > 1",
        "delta(a, hour) > 1",
        "delta(a + b) > 1",
        "delta(delta(a)) > 1",
        "rate(a, week) > 1",
        "rate(a hour) > 1",
        "rate(a,) > 1",
        "sum(a) > 1",
        "avg() > 1",
        "max(a, b) > 1",
        "p95(95) > 1",
        "share(a) > 1",
        "share(a,) > 1",
        "share(a, b, c) > 1",
        "share(a, delta(b)) > 1",
        "baseline(a, b) > 1",
        "a.b > 1",
        "a & b",
        "value && true",
        "(",
    ] {
        assert!(Expr::parse(text).is_err(), "{text}");
    }
    assert_eq!(Expr::parse(&"(".repeat(900)), Err(ExprError::TooLarge));
    assert_eq!(Expr::parse(&"!".repeat(900)), Err(ExprError::TooLarge));
    assert_eq!(Expr::parse(&"-".repeat(900)), Err(ExprError::TooLarge));
    assert_eq!(Expr::parse(&"1".repeat(2_000)), Err(ExprError::TooLarge));
    let long = format!("{}1 > 0", "1 + ".repeat(200));
    assert!(Expr::parse(&long).is_ok(), "long is not deep");
    assert_eq!(
        Expr::parse("a > 1 && b < a").unwrap().variables(),
        ["a", "b"]
    );
}

#[test]
fn numbers_are_exact() {
    let ask = |text: &str| Expr::parse(text).unwrap().evaluate(&|_| None);
    assert_eq!(ask("9007199254740992 == 9007199254740993"), Ok(false));
    assert_eq!(ask("0.1 + 0.2 == 0.3"), Ok(true));
    assert_eq!(ask("1.1 * 1.1 == 1.21"), Ok(true));
    assert_eq!(ask("1 / 3 == 0.333333333333"), Ok(true));
    assert_eq!(ask("-7 % 3 == -1"), Ok(true));
    assert_eq!(ask("1e30 > 999999999999999999999999999"), Ok(true));
}

#[test]
fn figures_of_counters_are_terms_of_their_own() {
    let expr = Expr::parse("rate(errors, hour) > 5 || delta(errors) - errors > 0 || rate(b) < 1");
    let expr = expr.unwrap();
    let terms: Vec<String> = expr.terms().iter().map(ToString::to_string).collect();
    assert_eq!(
        terms,
        [
            "rate(errors, hour)",
            "delta(errors)",
            "errors",
            "rate(b, second)"
        ]
    );
    assert_eq!(expr.variables(), ["errors", "b"]);
    let of = |wanted: Option<FigureTerm>| {
        expr.evaluate(&|term| match &term.figure {
            found if *found == wanted => Some(Decimal::from(6)),
            _ => Some(Decimal::from(6)).filter(|_| term.name == "b"),
        })
    };
    assert_eq!(of(Some(FigureTerm::Rate(TimeUnit::Hour))), Ok(true));
    assert_eq!(
        of(None),
        Err(ExprOutcome::NoData("rate(errors, hour)".to_owned()))
    );
    // A measurement may have the same name as a function.
    assert_eq!(
        Expr::parse("delta > rate").unwrap().variables(),
        ["delta", "rate"]
    );
}

#[test]
fn every_figure_is_read_as_it_is_shown() {
    let text = "avg(a) > min(a) && max(a) > p95(b) && share(a, c) > 1 && b <= 1.1 * baseline(d)";
    let expr = Expr::parse(text).unwrap();
    let shown: Vec<String> = expr.terms().iter().map(ToString::to_string).collect();
    let expected = [
        "avg(a)",
        "min(a)",
        "max(a)",
        "p95(b)",
        "share(a, c)",
        "b",
        "baseline(d)",
    ];
    assert_eq!(shown, expected);
    assert_eq!(expr.variables(), ["a", "b", "c", "d"]);
    for term in expr.terms() {
        let again = Expr::parse(&format!("{term} > 0")).unwrap();
        assert_eq!(again.terms(), std::slice::from_ref(term));
    }
    let about = |text: &str| Expr::parse(text).unwrap().terms()[0].about("m").to_string();
    assert_eq!(about("share(value, b) > 0"), "share(m, b)");
    assert_eq!(about("share(b, value) > 0"), "share(b, m)");
    assert_eq!(about("baseline(value) > 0"), "baseline(m)");
}

#[test]
fn a_wrong_figure_is_told_how_it_is_written() {
    for (text, says) in [
        ("median(a) > 1", "p95(NAME) and baseline(NAME)"),
        (
            "share(a) > 1",
            "`share` takes two names: write `share(NAME, TOTAL)`",
        ),
        ("min(a, 3) > 1", "otherwise than `min(NAME)`"),
        ("avg(3) > 1", "write `avg(NAME)`"),
        ("share(a, 3) > 1", "write `share(NAME, TOTAL)`"),
    ] {
        let error = Expr::parse(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

//! `expect`: evaluates expressions over what the step itself measured.

use std::collections::BTreeMap;

use rollbook_ledger::decimal::Decimal;
use rollbook_ledger::measurement;
use rollbook_ledger::runbook::expr::{Expr, ExprOutcome, FigureTerm, Term};
use rollbook_proto::v1::{Measurement, Verdict};

use super::outcome::Outcome;

/// Evaluates each expression on an outcome that has passed so far; the first that does not hold
/// decides. An outcome that has not passed is unchanged.
///
/// `baselines` are the values that other steps measured first.
pub fn apply(expressions: &[String], baselines: &BTreeMap<String, Decimal>, outcome: &mut Outcome) {
    if !matches!(outcome.verdict, Verdict::Pass | Verdict::Warning) {
        return;
    }
    for text in expressions {
        let (verdict, reason) = judge(text, baselines, &outcome.measurements);
        if verdict == Verdict::Pass {
            outcome.rule = format!("{} and {text}", outcome.rule);
        } else {
            outcome.verdict = verdict;
            outcome.rule.clone_from(text);
            outcome.message = format!("{reason}; {}", outcome.message);
            return;
        }
    }
}

fn judge(
    text: &str,
    baselines: &BTreeMap<String, Decimal>,
    measurements: &[Measurement],
) -> (Verdict, String) {
    let expression = match Expr::parse(text) {
        Ok(expression) => expression,
        Err(error) => return (Verdict::Error, error.to_string()),
    };
    let last = |name: &str| {
        let mut measured = measurements.iter().rev();
        measured.find(|measurement| measurement.metric == name)
    };
    let lookup = |term: &Term| match term.figure {
        None => last(&term.name).and_then(measurement::number),
        Some(FigureTerm::Baseline) => baselines.get(&term.name).copied(),
        // A single value has no growth and no statistic over several values.
        Some(_) => None,
    };
    match expression.evaluate(&lookup) {
        Ok(true) => (Verdict::Pass, String::new()),
        Ok(false) => {
            let values: Vec<String> = expression
                .terms()
                .iter()
                .map(|term| match lookup(term) {
                    Some(value) => format!("{term} = {value}"),
                    None => format!("{term}: no data"),
                })
                .collect();
            (
                Verdict::Fail,
                format!("`{text}` does not hold: {}", values.join(", ")),
            )
        }
        Err(ExprOutcome::NoData(name)) => {
            let why = last(&name).map_or("", |measured| measured.text.as_str());
            let why = if why.is_empty() {
                String::new()
            } else {
                format!(" ({why})")
            };
            (
                Verdict::Inconclusive,
                format!("`{text}` cannot be judged: no data for `{name}`{why}"),
            )
        }
        Err(ExprOutcome::Undefined(reason)) => (
            Verdict::Inconclusive,
            format!("`{text}` cannot be judged: {reason}"),
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn outcome(values: &[(&str, Option<f64>)]) -> Outcome {
        let mut outcome = Outcome::new(Verdict::Pass, "exit code 0", "ok");
        outcome.measurements = values
            .iter()
            .map(|(metric, value)| Measurement {
                metric: (*metric).to_owned(),
                value: *value,
                ..Measurement::default()
            })
            .collect();
        outcome
    }

    fn verdict(expressions: &[&str], values: &[(&str, Option<f64>)]) -> (Verdict, String) {
        let mut outcome = outcome(values);
        let expressions: Vec<String> = expressions.iter().map(|e| (*e).to_owned()).collect();
        apply(&expressions, &BTreeMap::new(), &mut outcome);
        (outcome.verdict, outcome.message)
    }

    #[test]
    fn all_must_hold_and_the_last_value_counts() {
        let values = [("rows", Some(1.0)), ("rows", Some(3.0))];
        assert_eq!(
            verdict(&["rows == 3", "rows > 2"], &values).0,
            Verdict::Pass
        );
        let (found, message) = verdict(&["rows == 3", "rows > 5"], &values);
        assert_eq!(found, Verdict::Fail);
        assert!(message.contains("rows = 3"), "{message}");
    }

    #[test]
    fn what_was_not_measured_is_inconclusive_and_a_wrong_expression_an_error() {
        assert_eq!(verdict(&["rows > 1"], &[]).0, Verdict::Inconclusive);
        assert_eq!(
            verdict(&["rows > 1"], &[("rows", None)]).0,
            Verdict::Inconclusive
        );
        assert_eq!(
            verdict(&["rows >"], &[("rows", Some(1.0))]).0,
            Verdict::Error
        );
        assert_eq!(
            verdict(&["1 / rows > 1"], &[("rows", Some(0.0))]).0,
            Verdict::Inconclusive
        );
        assert_eq!(
            verdict(&["delta(rows) > 1"], &[("rows", Some(1.0))]).0,
            Verdict::Inconclusive
        );
    }

    #[test]
    fn numbers_are_compared_to_their_last_digit_and_a_reason_is_told() {
        let mut copied = outcome(&[]);
        for (metric, number) in [
            ("copied", "9007199254740992"),
            ("original", "9007199254740993"),
        ] {
            let named = Measurement {
                metric: metric.to_owned(),
                ..Measurement::default()
            };
            let number = Some(number.parse().unwrap());
            copied
                .measurements
                .push(measurement::with_number(named, number));
        }
        apply(
            &["copied == original".to_owned()],
            &BTreeMap::new(),
            &mut copied,
        );
        assert_eq!(copied.verdict, Verdict::Fail, "{}", copied.message);
        assert!(copied.message.contains("original = 9007199254740993"));

        let mut cut = outcome(&[]);
        cut.measurements.push(Measurement {
            metric: "errors".to_owned(),
            text: "output was cut".to_owned(),
            incomplete: true,
            ..Measurement::default()
        });
        apply(&["errors == 0".to_owned()], &BTreeMap::new(), &mut cut);
        assert_eq!(cut.verdict, Verdict::Inconclusive);
        assert!(cut.message.contains("(output was cut)"), "{}", cut.message);
    }

    #[test]
    fn what_was_measured_before_can_be_compared() {
        let text = ["rows >= baseline(rows)".to_owned()];
        for (before, expected) in [
            (Some(3), Verdict::Pass),
            (Some(4), Verdict::Fail),
            (None, Verdict::Inconclusive),
        ] {
            let baselines = before.map(|it: i64| ("rows".to_owned(), Decimal::from(it)));
            let mut measured = outcome(&[("rows", Some(3.0))]);
            apply(&text, &baselines.into_iter().collect(), &mut measured);
            assert_eq!(measured.verdict, expected, "{before:?}");
        }
    }

    #[test]
    fn a_failed_outcome_stays_failed() {
        let mut failed = outcome(&[("rows", Some(1.0))]);
        failed.verdict = Verdict::Fail;
        apply(&["rows == 1".to_owned()], &BTreeMap::new(), &mut failed);
        assert_eq!(
            (failed.verdict, failed.message.as_str()),
            (Verdict::Fail, "ok")
        );
    }
}

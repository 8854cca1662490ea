//! `expect`: expressions over what the step itself measured.

use rollbook_ledger::runbook::expr::{Expr, ExprOutcome};
use rollbook_proto::v1::{Measurement, Verdict};

use super::outcome::Outcome;

/// Judges an outcome that has passed so far by each expression; the first that does not hold
/// decides. Outcomes that have not passed stay as they are.
pub fn apply(expressions: &[String], outcome: &mut Outcome) {
    if outcome.verdict != Verdict::Pass {
        return;
    }
    for text in expressions {
        let (verdict, reason) = judge(text, &outcome.measurements);
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

fn judge(text: &str, measurements: &[Measurement]) -> (Verdict, String) {
    let expression = match Expr::parse(text) {
        Ok(expression) => expression,
        Err(error) => return (Verdict::Error, error.to_string()),
    };
    let lookup = |name: &str| {
        measurements
            .iter()
            .rev()
            .find(|measurement| measurement.metric == name)
            .and_then(|measurement| measurement.value)
    };
    match expression.evaluate(&lookup) {
        Ok(true) => (Verdict::Pass, String::new()),
        Ok(false) => {
            let values: Vec<String> = expression
                .variables()
                .iter()
                .map(|name| match lookup(name) {
                    Some(value) => format!("{name} = {value}"),
                    None => format!("{name}: no data"),
                })
                .collect();
            (
                Verdict::Fail,
                format!("`{text}` does not hold: {}", values.join(", ")),
            )
        }
        Err(ExprOutcome::NoData(name)) => (
            Verdict::Inconclusive,
            format!("`{text}` cannot be judged: no data for `{name}`"),
        ),
        Err(ExprOutcome::Error(reason)) => (
            Verdict::Error,
            format!("`{text}` cannot be evaluated: {reason}"),
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
        apply(&expressions, &mut outcome);
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
            Verdict::Error
        );
    }

    #[test]
    fn a_failed_outcome_stays_failed() {
        let mut failed = outcome(&[("rows", Some(1.0))]);
        failed.verdict = Verdict::Fail;
        apply(&["rows == 1".to_owned()], &mut failed);
        assert_eq!(
            (failed.verdict, failed.message.as_str()),
            (Verdict::Fail, "ok")
        );
    }
}

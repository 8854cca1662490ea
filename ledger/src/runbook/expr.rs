//! Expressions over measurements: `value > 5`, `regressions == 0 && health_percent >= 99.5`.
//!
//! Numbers, `true`, `false`, names, `+ - * / %`, `== != < <= > >=`, `&& || !`, parentheses.
//! No functions, no texts, no assignment. Deterministic: numbers are IEEE 754 doubles, the
//! same inputs give the same answer everywhere. Logic is three-valued (Kleene): a missing
//! measurement decides nothing unless the rest of the expression decides without it, so
//! `true || missing` is true and `missing > 0` is [`ExprOutcome::NoData`].
//!
//! Own code because the language is this small and the one crate that fits it is under a
//! licence (AGPL) that this program cannot take on.

mod parse;

use parse::{Arithmetic, Comparison, Condition, Number};

/// The longest expression, in bytes.
pub const MAX_EXPR_BYTES: usize = 1_024;

/// Why a text is not an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    /// Longer than [`MAX_EXPR_BYTES`], or nested too deeply.
    #[error("RB-EXPR-1: the expression is too long or nested too deeply; split it")]
    TooLarge,
    /// Not of the grammar.
    #[error("RB-EXPR-2: `{text}` is not an expression: {reason}")]
    Syntax {
        /// The refused text.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// Numbers where a condition is needed, or the other way round.
    #[error("RB-EXPR-3: `{text}` is not a condition: {reason}")]
    Kind {
        /// The refused text.
        text: String,
        /// What is wrong.
        reason: String,
    },
}

/// Why an expression has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExprOutcome {
    /// This name has no measurement, and the answer depends on it.
    #[error("no data for `{0}`")]
    NoData(String),
    /// The arithmetic has no finite result, for example a division by zero.
    #[error("{0}")]
    Error(String),
}

/// A parsed, checked condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    text: String,
    root: Condition,
    variables: Vec<String>,
}

impl Expr {
    /// Parses a condition. The result evaluates without type errors.
    pub fn parse(text: &str) -> Result<Self, ExprError> {
        if text.len() > MAX_EXPR_BYTES {
            return Err(ExprError::TooLarge);
        }
        let (root, variables) = parse::parse(text)?;
        Ok(Self {
            text: text.to_owned(),
            root,
            variables,
        })
    }

    /// The text as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names it reads, each once, in order of appearance.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// The answer for the values that `lookup` gives. A value that is not finite counts as
    /// no data.
    pub fn evaluate(&self, lookup: &dyn Fn(&str) -> Option<f64>) -> Result<bool, ExprOutcome> {
        condition(&self.root, lookup)
    }
}

/// A word that an expression can read as a name.
pub fn is_name(text: &str) -> bool {
    parse::is_name(text)
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<f64>;

fn condition(node: &Condition, lookup: Lookup<'_>) -> Result<bool, ExprOutcome> {
    match node {
        Condition::Constant(answer) => Ok(*answer),
        Condition::Not(inner) => condition(inner, lookup).map(|answer| !answer),
        Condition::And(left, right) => {
            either(condition(left, lookup), condition(right, lookup), false)
        }
        Condition::Or(left, right) => {
            either(condition(left, lookup), condition(right, lookup), true)
        }
        Condition::Same { left, right, same } => {
            Ok((condition(left, lookup)? == condition(right, lookup)?) == *same)
        }
        Condition::Compare(comparison, left, right) => {
            let (left, right) = (number(left, lookup)?, number(right, lookup)?);
            // Exact equality is meant: counts are whole, and a plan that wants a margin says so.
            #[allow(clippy::float_cmp)]
            Ok(match comparison {
                Comparison::Equal => left == right,
                Comparison::NotEqual => left != right,
                Comparison::Less => left < right,
                Comparison::LessOrEqual => left <= right,
                Comparison::Greater => left > right,
                Comparison::GreaterOrEqual => left >= right,
            })
        }
    }
}

/// Kleene's and/or: a side equal to `decides` decides alone; otherwise a missing side is
/// missing.
fn either(
    left: Result<bool, ExprOutcome>,
    right: Result<bool, ExprOutcome>,
    decides: bool,
) -> Result<bool, ExprOutcome> {
    match (left, right) {
        (Ok(answer), _) | (_, Ok(answer)) if answer == decides => Ok(decides),
        (Err(error @ ExprOutcome::Error(_)), _) | (_, Err(error @ ExprOutcome::Error(_))) => {
            Err(error)
        }
        (Err(no_data), _) | (_, Err(no_data)) => Err(no_data),
        (Ok(_), Ok(_)) => Ok(!decides),
    }
}

fn number(node: &Number, lookup: Lookup<'_>) -> Result<f64, ExprOutcome> {
    let value = match node {
        Number::Constant(value) => *value,
        Number::Name(name) => {
            return lookup(name)
                .filter(|value| value.is_finite())
                .ok_or_else(|| ExprOutcome::NoData(name.clone()));
        }
        Number::Negative(inner) => -number(inner, lookup)?,
        Number::Arithmetic(operator, left, right) => {
            let (left, right) = (number(left, lookup)?, number(right, lookup)?);
            match operator {
                Arithmetic::Add => left + right,
                Arithmetic::Subtract => left - right,
                Arithmetic::Multiply => left * right,
                Arithmetic::Divide => left / right,
                Arithmetic::Remainder => left % right,
            }
        }
    };
    if value.is_finite() {
        Ok(value)
    } else {
        Err(ExprOutcome::Error(
            "the arithmetic has no finite result (division by zero?)".to_owned(),
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn ask(text: &str, values: &[(&str, f64)]) -> Result<bool, ExprOutcome> {
        Expr::parse(text).unwrap().evaluate(&|name| {
            values
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| *value)
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
    fn arithmetic_without_a_finite_result_is_an_error_and_never_an_answer() {
        for text in [
            "a / 0 > 1",
            "!(a / 0 > 1)",
            "a / 0 > 1 || a < 0",
            "a % 0 > 1",
            "1e308 * 10 > 1",
        ] {
            assert!(
                matches!(ask(text, &[("a", 1.0)]), Err(ExprOutcome::Error(_))),
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
}

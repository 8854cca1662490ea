//! Expressions over measurements: `value > 5`, `regressions == 0 && health_percent >= 99.5`.
//!
//! The grammar has numbers, `true`, `false`, names, `+ - * / %`, `== != < <= > >=`, `&& || !` and
//! parentheses. `delta(NAME)`, `rate(NAME, UNIT)` and `share(NAME, TOTAL)` give the growth of
//! cumulative counters (see [`crate::counter`]), `avg min max p95` of a name statistics over an
//! attempt's samples (see [`crate::sampled`]), and `baseline(NAME)` the value measured first. There
//! are no other functions, no texts and no assignments. Numbers are exact decimals (see
//! [`crate::decimal`]): the same inputs give the same answer everywhere, and if an exact result
//! would need too many digits there is none. Logic is three-valued (Kleene): a missing measurement
//! is missing unless the rest of the expression decides without it, so `true || missing` is true
//! and `missing > 0` is [`ExprOutcome::NoData`].
//!
//! This is our own code because the language is small and the one crate that fits has a licence
//! (AGPL) that this program cannot use.

mod parse;
mod term;

use parse::{Arithmetic, Comparison, Condition, Number};
pub use term::{FigureTerm, Term, TimeUnit, VALUE};

use crate::decimal::{Decimal, DecimalError};
use crate::error_code::Coded;

/// Maximum length of an expression, in bytes.
pub const MAX_EXPR_BYTES: usize = 1_024;

/// Why a text is not a valid expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
pub enum ExprError {
    /// It is longer than [`MAX_EXPR_BYTES`], or nested too deeply.
    #[error("RB-EXPR-1: the expression is too long or nested too deeply; split it")]
    TooLarge,
    /// It does not match the grammar.
    #[error("RB-EXPR-2: `{text}` is not an expression: {reason}")]
    Syntax {
        /// The text.
        text: String,
        /// The problem.
        reason: String,
    },
    /// It has a number where a condition is needed, or vice versa.
    #[error("RB-EXPR-3: `{text}` is not a condition: {reason}")]
    Kind {
        /// The text.
        text: String,
        /// The problem.
        reason: String,
    },
}

/// Why an expression cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExprOutcome {
    /// This term has no measurement, and the result depends on it.
    #[error("no data for `{0}`")]
    NoData(String),
    /// The arithmetic has no exact result: division by zero, or too many digits.
    #[error("{0}")]
    Undefined(#[from] DecimalError),
}

/// A parsed and type-checked condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    text: String,
    root: Condition,
    terms: Vec<Term>,
    variables: Vec<String>,
}

impl Expr {
    /// Parses a condition; the result evaluates without type errors.
    pub fn parse(text: &str) -> Result<Self, ExprError> {
        if text.len() > MAX_EXPR_BYTES {
            return Err(ExprError::TooLarge);
        }
        let (root, terms) = parse::parse(text)?;
        let mut variables: Vec<String> = Vec::new();
        for name in terms.iter().flat_map(Term::names) {
            if !variables.iter().any(|known| known == name) {
                variables.push(name.to_owned());
            }
        }
        Ok(Self {
            text: text.to_owned(),
            root,
            terms,
            variables,
        })
    }

    /// Returns the original text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the names it reads, without duplicates, in order of appearance.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// Returns the terms it reads, without duplicates, in order of appearance.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Evaluates the condition with the numbers that `lookup` returns.
    pub fn evaluate(&self, lookup: &dyn Fn(&Term) -> Option<Decimal>) -> Result<bool, ExprOutcome> {
        condition(&self.root, lookup)
    }
}

/// True if an expression can read the text as a name.
pub fn is_name(text: &str) -> bool {
    parse::is_name(text)
}

type Lookup<'a> = &'a dyn Fn(&Term) -> Option<Decimal>;

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

/// Kleene's and/or: a side equal to `decides` decides alone; otherwise a missing side makes the
/// result missing.
fn either(
    left: Result<bool, ExprOutcome>,
    right: Result<bool, ExprOutcome>,
    decides: bool,
) -> Result<bool, ExprOutcome> {
    match (left, right) {
        (Ok(answer), _) | (_, Ok(answer)) if answer == decides => Ok(decides),
        (Err(error @ ExprOutcome::Undefined(_)), _)
        | (_, Err(error @ ExprOutcome::Undefined(_))) => Err(error),
        (Err(no_data), _) | (_, Err(no_data)) => Err(no_data),
        (Ok(_), Ok(_)) => Ok(!decides),
    }
}

fn number(node: &Number, lookup: Lookup<'_>) -> Result<Decimal, ExprOutcome> {
    match node {
        Number::Constant(value) => Ok(*value),
        Number::Term(term) => lookup(term).ok_or_else(|| ExprOutcome::NoData(term.to_string())),
        Number::Negative(inner) => Ok(-number(inner, lookup)?),
        Number::Arithmetic(operator, left, right) => {
            let (left, right) = (number(left, lookup)?, number(right, lookup)?);
            let result = match operator {
                Arithmetic::Add => left.checked_add(right),
                Arithmetic::Subtract => left.checked_sub(right),
                Arithmetic::Multiply => left.checked_mul(right),
                Arithmetic::Divide => left.checked_div(right),
                Arithmetic::Remainder => left.checked_rem(right),
            };
            Ok(result?)
        }
    }
}

#[cfg(test)]
mod tests;

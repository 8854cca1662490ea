//! The grammar of expressions, parsed by precedence climbing.
//!
//! From lowest to highest precedence: `||`, `&&`, `== !=`, `< <= > >=`, `+ -`, `* / %`, then `! -`.
//! Conditions and numbers are separate types while parsing, so everything that parses can be
//! evaluated.

use super::{ExprError, FigureTerm, Term, TimeUnit};
use crate::decimal::Decimal;
use crate::sampled::Statistic;

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    Constant(bool),
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    /// `==` (if `same`) or `!=` between conditions.
    Same {
        left: Box<Condition>,
        right: Box<Condition>,
        same: bool,
    },
    Compare(Comparison, Box<Number>, Box<Number>),
}

/// A number.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Number {
    Constant(Decimal),
    Term(Term),
    Negative(Box<Number>),
    Arithmetic(Arithmetic, Box<Number>, Box<Number>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// The existing functions.
const FUNCTIONS: &str = "delta(NAME), rate(NAME, UNIT), share(NAME, TOTAL), avg(NAME), min(NAME), \
     max(NAME), p95(NAME) and baseline(NAME)";

/// Maximum nesting of signs, negations and parentheses.
const MAX_DEPTH: usize = 64;

/// Longest first, so that `<=` is not read as `<` and `=`.
const SYMBOLS: [&str; 17] = [
    "||", "&&", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "(", ")", ",",
];

enum Token<'a> {
    Number(Decimal),
    Name(&'a str),
    Symbol(&'static str),
}

enum Value {
    Condition(Condition),
    Number(Number),
}

pub(super) fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !matches!(text, "true" | "false")
}

pub(super) fn parse(text: &str) -> Result<(Condition, Vec<Term>), ExprError> {
    let mut parser = Parser {
        text,
        tokens: tokens(text)?,
        at: 0,
        depth: 0,
        terms: Vec::new(),
    };
    let value = parser.binary(0)?;
    if let Some(token) = parser.tokens.get(parser.at) {
        let found = describe(token);
        return Err(parser.syntax(&format!("{found} stands after its end")));
    }
    match value {
        Value::Condition(condition) => Ok((condition, parser.terms)),
        Value::Number(_) => {
            Err(parser.kind("it is a number; compare it with something, as in `value > 5`"))
        }
    }
}

fn describe(token: &Token<'_>) -> String {
    match token {
        Token::Number(number) => format!("`{number}`"),
        Token::Name(name) => format!("`{name}`"),
        Token::Symbol(symbol) => format!("`{symbol}`"),
    }
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, ExprError> {
    let syntax = |reason: String| ExprError::Syntax {
        text: text.to_owned(),
        reason,
    };
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_ascii_digit() || first == '.' {
            let length = number_length(rest);
            let (digits, _) = rest.split_at(length);
            let number: Decimal = digits
                .parse()
                .map_err(|error| syntax(format!("`{digits}`: {error}")))?;
            tokens.push(Token::Number(number));
            length
        } else if first.is_ascii_alphabetic() || first == '_' {
            let length = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .unwrap_or(rest.len());
            let (name, _) = rest.split_at(length);
            tokens.push(Token::Name(name));
            length
        } else if let Some(symbol) = SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
            tokens.push(Token::Symbol(symbol));
            symbol.len()
        } else if first == '=' {
            return Err(syntax("`=` is not a comparison; write `==`".to_owned()));
        } else {
            return Err(syntax(format!(
                "it contains `{first}`; allowed are numbers, names, + - * / %, comparisons, && || ! and parentheses"
            )));
        };
        let (_, tail) = rest.split_at(length);
        rest = tail.trim_start();
    }
    Ok(tokens)
}

/// Returns the length of digits with an optional fraction and exponent.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let mut at = digits(0);
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1);
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        if bytes.get(at + 1 + sign).is_some_and(u8::is_ascii_digit) {
            at = digits(at + 1 + sign);
        }
    }
    at
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token<'a>>,
    at: usize,
    depth: usize,
    terms: Vec<Term>,
}

fn precedence(symbol: &str) -> Option<u8> {
    Some(match symbol {
        "||" => 1,
        "&&" => 2,
        "==" | "!=" => 3,
        "<" | "<=" | ">" | ">=" => 4,
        "+" | "-" => 5,
        "*" | "/" | "%" => 6,
        _ => return None,
    })
}

impl Parser<'_> {
    fn syntax(&self, reason: &str) -> ExprError {
        ExprError::Syntax {
            text: self.text.to_owned(),
            reason: reason.to_owned(),
        }
    }

    fn kind(&self, reason: &str) -> ExprError {
        ExprError::Kind {
            text: self.text.to_owned(),
            reason: reason.to_owned(),
        }
    }

    fn binary(&mut self, loosest: u8) -> Result<Value, ExprError> {
        let mut left = self.unary()?;
        while let Some(Token::Symbol(symbol)) = self.tokens.get(self.at) {
            let symbol = *symbol;
            let Some(tightness) = precedence(symbol).filter(|p| *p > loosest) else {
                break;
            };
            self.at += 1;
            let right = self.binary(tightness)?;
            left = self.join(symbol, left, right)?;
        }
        Ok(left)
    }

    fn join(&self, symbol: &str, left: Value, right: Value) -> Result<Value, ExprError> {
        let condition = match (symbol, left, right) {
            ("||", Value::Condition(l), Value::Condition(r)) => {
                Condition::Or(Box::new(l), Box::new(r))
            }
            ("&&", Value::Condition(l), Value::Condition(r)) => {
                Condition::And(Box::new(l), Box::new(r))
            }
            ("==" | "!=", Value::Condition(l), Value::Condition(r)) => Condition::Same {
                left: Box::new(l),
                right: Box::new(r),
                same: symbol == "==",
            },
            (_, Value::Number(l), Value::Number(r)) => {
                return self.join_numbers(symbol, Box::new(l), Box::new(r));
            }
            _ => {
                return Err(self.kind(&format!(
                    "`{symbol}` stands between a number and a condition, or between conditions that it cannot join"
                )));
            }
        };
        Ok(Value::Condition(condition))
    }

    fn join_numbers(
        &self,
        symbol: &str,
        left: Box<Number>,
        right: Box<Number>,
    ) -> Result<Value, ExprError> {
        let comparison = match symbol {
            "==" => Comparison::Equal,
            "!=" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            "&&" | "||" => {
                return Err(self.kind(&format!(
                    "`{symbol}` stands between numbers; compare each with something"
                )));
            }
            _ => {
                let operator = match symbol {
                    "+" => Arithmetic::Add,
                    "-" => Arithmetic::Subtract,
                    "*" => Arithmetic::Multiply,
                    "/" => Arithmetic::Divide,
                    _ => Arithmetic::Remainder,
                };
                return Ok(Value::Number(Number::Arithmetic(operator, left, right)));
            }
        };
        Ok(Value::Condition(Condition::Compare(
            comparison, left, right,
        )))
    }

    fn unary(&mut self) -> Result<Value, ExprError> {
        if self.depth >= MAX_DEPTH {
            return Err(ExprError::TooLarge);
        }
        self.depth += 1;
        let value = self.operand();
        self.depth -= 1;
        value
    }

    /// Consumes a symbol if it is the next token.
    fn passes(&mut self, symbol: &str) -> bool {
        let is_next = matches!(self.tokens.get(self.at), Some(Token::Symbol(it)) if *it == symbol);
        self.at += usize::from(is_next);
        is_next
    }

    /// Parses what follows `delta(` and the other functions.
    fn figure(&mut self, function: &str) -> Result<Term, ExprError> {
        let over = Statistic::ALL
            .into_iter()
            .find(|it| it.as_str() == function);
        let shape = match (function, over) {
            ("rate", _) => "rate(NAME, UNIT)".to_owned(),
            ("share", _) => "share(NAME, TOTAL)".to_owned(),
            ("delta" | "baseline", _) | (_, Some(_)) => format!("{function}(NAME)"),
            _ => {
                return Err(self.syntax(&format!(
                    "there is no function `{function}`; there are {FUNCTIONS}"
                )));
            }
        };
        let name = self.name(&shape)?;
        let figure = match (function, over) {
            (_, Some(statistic)) => FigureTerm::Over(statistic),
            ("delta", _) => FigureTerm::Delta,
            ("baseline", _) => FigureTerm::Baseline,
            ("share", _) => {
                if !self.passes(",") {
                    return Err(self.syntax(&format!("`share` takes two names: write `{shape}`")));
                }
                FigureTerm::Share {
                    total: self.name(&shape)?,
                }
            }
            _ => FigureTerm::Rate(self.unit()?),
        };
        if !self.passes(")") {
            let reason = format!("`{function}({name}` goes on otherwise than `{shape}`");
            return Err(self.syntax(&reason));
        }
        Ok(Term {
            name,
            figure: Some(figure),
        })
    }

    /// Parses the name in a function's parentheses.
    fn name(&mut self, shape: &str) -> Result<String, ExprError> {
        let Some(Token::Name(name)) = self.tokens.get(self.at) else {
            let reason =
                format!("a name is missing, and figures are of names only: write `{shape}`");
            return Err(self.syntax(&reason));
        };
        let name = (*name).to_owned();
        self.at += 1;
        Ok(name)
    }

    fn unit(&mut self) -> Result<TimeUnit, ExprError> {
        if !self.passes(",") {
            return Ok(TimeUnit::Second);
        }
        let found = match self.tokens.get(self.at) {
            Some(Token::Name(word)) => TimeUnit::ALL
                .into_iter()
                .find(|unit| unit.as_str() == *word),
            _ => None,
        };
        self.at += 1;
        found.ok_or_else(|| self.syntax("the unit of a rate is second, minute, hour or day"))
    }

    fn operand(&mut self) -> Result<Value, ExprError> {
        let Some(token) = self.tokens.get(self.at) else {
            return Err(self.syntax("a value is missing at its end"));
        };
        self.at += 1;
        match token {
            Token::Number(number) => Ok(Value::Number(Number::Constant(*number))),
            Token::Name("true") => Ok(Value::Condition(Condition::Constant(true))),
            Token::Name("false") => Ok(Value::Condition(Condition::Constant(false))),
            Token::Name(name) => {
                let name = *name;
                let term = if self.passes("(") {
                    self.figure(name)?
                } else {
                    Term {
                        name: name.to_owned(),
                        figure: None,
                    }
                };
                if !self.terms.contains(&term) {
                    self.terms.push(term.clone());
                }
                Ok(Value::Number(Number::Term(term)))
            }
            Token::Symbol("!") => match self.unary()? {
                Value::Condition(inner) => Ok(Value::Condition(Condition::Not(Box::new(inner)))),
                Value::Number(_) => Err(self.kind("`!` stands before a number")),
            },
            Token::Symbol("-") => match self.unary()? {
                Value::Number(inner) => Ok(Value::Number(Number::Negative(Box::new(inner)))),
                Value::Condition(_) => Err(self.kind("`-` stands before a condition")),
            },
            Token::Symbol("(") => {
                let inner = self.binary(0)?;
                if self.passes(")") {
                    Ok(inner)
                } else {
                    Err(self.syntax("a `)` is missing"))
                }
            }
            other => {
                let found = describe(other);
                Err(self.syntax(&format!("a value is missing before {found}")))
            }
        }
    }
}

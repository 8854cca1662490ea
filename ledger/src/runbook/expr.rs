//! Expressions over measurements: `value > 5`, `regressions == 0 && health_percent >= 99.5`.
//!
//! Numbers, `true`, `false`, names, `+ - * / % ^`, `== != < <= > >=`, `&& || !`, parentheses.
//! No functions, no texts, no assignment. Deterministic: numbers are IEEE 754 doubles, the
//! same inputs give the same answer everywhere. Logic is three-valued (Kleene): a missing
//! measurement decides nothing unless the rest of the expression decides without it, so
//! `true || missing` is true and `missing > 0` is [`ExprOutcome::NoData`].

use evalexpr::{
    Context, DefaultNumericTypes, EvalexprError, EvalexprResult, Node, Operator, Value,
};

/// The longest expression, in bytes.
pub const MAX_EXPR_BYTES: usize = 1_024;

/// The deepest nesting of operators and parentheses.
const MAX_DEPTH: usize = 64;

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
    /// Uses something that is not part of the language.
    #[error(
        "RB-EXPR-3: `{text}` uses {what}; allowed are numbers, names, arithmetic, comparisons, && || ! and parentheses"
    )]
    NotAllowed {
        /// The refused text.
        text: String,
        /// The construct.
        what: String,
    },
    /// Numbers where a condition is needed, or the other way round.
    #[error("RB-EXPR-4: `{text}` is not a condition: {reason}")]
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
    root: Node<DefaultNumericTypes>,
    variables: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Condition,
}

impl Expr {
    /// Parses a condition. The result evaluates without type errors.
    pub fn parse(text: &str) -> Result<Self, ExprError> {
        if text.len() > MAX_EXPR_BYTES {
            return Err(ExprError::TooLarge);
        }
        // Checked before parsing, so that the parser's recursion is bounded.
        let open = text
            .bytes()
            .filter(|b| matches!(b, b'(' | b'!' | b'-'))
            .count();
        if open > MAX_DEPTH {
            return Err(ExprError::TooLarge);
        }
        let mut root = evalexpr::build_operator_tree::<DefaultNumericTypes>(text).map_err(|e| {
            ExprError::Syntax {
                text: text.to_owned(),
                reason: e.to_string(),
            }
        })?;
        floats(&mut root);
        match kind(&root, text, 0)? {
            Kind::Condition => {}
            Kind::Number => {
                return Err(ExprError::Kind {
                    text: text.to_owned(),
                    reason: "it is a number; compare it with something, as in `value > 5`"
                        .to_owned(),
                });
            }
        }
        let mut variables: Vec<String> = Vec::new();
        for name in root.iter_variable_identifiers() {
            if !variables.iter().any(|known| known == name) {
                variables.push(name.to_owned());
            }
        }
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
        let values: Vec<(String, Value<DefaultNumericTypes>)> = self
            .variables
            .iter()
            .filter_map(|name| {
                let value = lookup(name).filter(|v| v.is_finite())?;
                Some((name.clone(), Value::Float(value)))
            })
            .collect();
        condition(&self.root, &Values { values })
    }
}

struct Values {
    values: Vec<(String, Value<DefaultNumericTypes>)>,
}

impl Context for Values {
    type NumericTypes = DefaultNumericTypes;

    fn get_value(&self, identifier: &str) -> Option<&Value<DefaultNumericTypes>> {
        self.values
            .iter()
            .find(|(name, _)| name == identifier)
            .map(|(_, value)| value)
    }

    fn call_function(
        &self,
        identifier: &str,
        _: &Value<DefaultNumericTypes>,
    ) -> EvalexprResult<Value<DefaultNumericTypes>, DefaultNumericTypes> {
        Err(EvalexprError::FunctionIdentifierNotFound(
            identifier.to_owned(),
        ))
    }

    fn are_builtin_functions_disabled(&self) -> bool {
        true
    }

    fn set_builtin_functions_disabled(
        &mut self,
        _: bool,
    ) -> EvalexprResult<(), DefaultNumericTypes> {
        Err(EvalexprError::ContextNotMutable)
    }
}

/// Every number a double: the parser reads `0` as an integer, which equals no double.
fn floats(node: &mut Node<DefaultNumericTypes>) {
    if let Operator::Const {
        value: value @ Value::Int(_),
    } = node.operator_mut()
        && let Value::Int(int) = *value
    {
        #[allow(clippy::cast_precision_loss)]
        let float = int as f64;
        *value = Value::Float(float);
    }
    for child in node.children_mut() {
        floats(child);
    }
}

fn kind(node: &Node<DefaultNumericTypes>, text: &str, depth: usize) -> Result<Kind, ExprError> {
    if depth > MAX_DEPTH * 2 {
        return Err(ExprError::TooLarge);
    }
    let syntax = |reason: &str| ExprError::Syntax {
        text: text.to_owned(),
        reason: reason.to_owned(),
    };
    let not_allowed = |what: &str| ExprError::NotAllowed {
        text: text.to_owned(),
        what: what.to_owned(),
    };
    let children = node.children();
    let all = |wanted: Kind, count: usize| -> Result<(), ExprError> {
        if children.len() != count {
            return Err(syntax("an operator lacks one of its sides"));
        }
        for child in children {
            if kind(child, text, depth + 1)? != wanted {
                return Err(ExprError::Kind {
                    text: text.to_owned(),
                    reason: match wanted {
                        Kind::Number => "a condition stands where a number is needed",
                        Kind::Condition => {
                            "a number stands where a condition is needed; compare it with something"
                        }
                    }
                    .to_owned(),
                });
            }
        }
        Ok(())
    };
    match node.operator() {
        Operator::RootNode => match children {
            [only] => kind(only, text, depth + 1),
            [] => Err(syntax("it is empty")),
            _ => Err(syntax("two values stand side by side")),
        },
        Operator::Add
        | Operator::Sub
        | Operator::Mul
        | Operator::Div
        | Operator::Mod
        | Operator::Exp => all(Kind::Number, 2).map(|()| Kind::Number),
        Operator::Neg => all(Kind::Number, 1).map(|()| Kind::Number),
        Operator::Gt | Operator::Lt | Operator::Geq | Operator::Leq => {
            all(Kind::Number, 2).map(|()| Kind::Condition)
        }
        Operator::Eq | Operator::Neq => match children {
            [left, right] => {
                if kind(left, text, depth + 1)? == kind(right, text, depth + 1)? {
                    Ok(Kind::Condition)
                } else {
                    Err(ExprError::Kind {
                        text: text.to_owned(),
                        reason: "a number is compared with a condition".to_owned(),
                    })
                }
            }
            _ => Err(syntax("an operator lacks one of its sides")),
        },
        Operator::And | Operator::Or => all(Kind::Condition, 2).map(|()| Kind::Condition),
        Operator::Not => all(Kind::Condition, 1).map(|()| Kind::Condition),
        Operator::Const { value } => match value {
            Value::Float(number) if number.is_finite() => Ok(Kind::Number),
            Value::Float(_) | Value::Int(_) => Err(not_allowed("a number that is not finite")),
            Value::Boolean(_) => Ok(Kind::Condition),
            Value::String(_) => Err(not_allowed("a text")),
            Value::Tuple(_) => Err(not_allowed("a list")),
            Value::Empty => Err(syntax("a value is missing")),
        },
        Operator::VariableIdentifierRead { .. } => Ok(Kind::Number),
        Operator::VariableIdentifierWrite { .. }
        | Operator::Assign
        | Operator::AddAssign
        | Operator::SubAssign
        | Operator::MulAssign
        | Operator::DivAssign
        | Operator::ModAssign
        | Operator::ExpAssign
        | Operator::AndAssign
        | Operator::OrAssign => Err(not_allowed("an assignment (`=`); compare with `==`")),
        Operator::Tuple => Err(not_allowed("a list (`,`)")),
        Operator::Chain => Err(not_allowed("a chain (`;`)")),
        Operator::FunctionIdentifier { identifier } => {
            Err(not_allowed(&format!("the function `{identifier}`")))
        }
    }
}

fn condition(node: &Node<DefaultNumericTypes>, values: &Values) -> Result<bool, ExprOutcome> {
    let broken = || ExprOutcome::Error("the expression is not a condition".to_owned());
    match (node.operator(), node.children()) {
        (Operator::RootNode, [only]) => condition(only, values),
        (Operator::Not, [only]) => condition(only, values).map(|answer| !answer),
        (Operator::And, [left, right]) => {
            either(condition(left, values), condition(right, values), false)
        }
        (Operator::Or, [left, right]) => {
            either(condition(left, values), condition(right, values), true)
        }
        (
            Operator::Const {
                value: Value::Boolean(answer),
            },
            _,
        ) => Ok(*answer),
        (operator @ (Operator::Eq | Operator::Neq), [left, right]) if is_condition(left) => {
            let same = condition(left, values)? == condition(right, values)?;
            Ok(same == matches!(operator, Operator::Eq))
        }
        (operator, [left, right]) => {
            let (left, right) = (number(left, values)?, number(right, values)?);
            match operator {
                #[allow(clippy::float_cmp)]
                Operator::Eq => Ok(left == right),
                #[allow(clippy::float_cmp)]
                Operator::Neq => Ok(left != right),
                Operator::Gt => Ok(left > right),
                Operator::Lt => Ok(left < right),
                Operator::Geq => Ok(left >= right),
                Operator::Leq => Ok(left <= right),
                _ => Err(broken()),
            }
        }
        _ => Err(broken()),
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

fn is_condition(node: &Node<DefaultNumericTypes>) -> bool {
    match node.operator() {
        Operator::RootNode => node.children().first().is_some_and(is_condition),
        Operator::Const { value } => matches!(value, Value::Boolean(_)),
        Operator::Eq
        | Operator::Neq
        | Operator::Gt
        | Operator::Lt
        | Operator::Geq
        | Operator::Leq
        | Operator::And
        | Operator::Or
        | Operator::Not => true,
        _ => false,
    }
}

fn number(node: &Node<DefaultNumericTypes>, values: &Values) -> Result<f64, ExprOutcome> {
    if let Some(missing) = node_variables(node)
        .into_iter()
        .find(|name| values.get_value(name).is_none())
    {
        return Err(ExprOutcome::NoData(missing.to_owned()));
    }
    let value = node
        .eval_number_with_context(values)
        .map_err(|e| ExprOutcome::Error(e.to_string()))?;
    if value.is_finite() {
        Ok(value)
    } else {
        Err(ExprOutcome::Error(
            "the arithmetic has no finite result (division by zero?)".to_owned(),
        ))
    }
}

/// The names in a node, itself included (the crate's iterator leaves the node itself out).
fn node_variables(node: &Node<DefaultNumericTypes>) -> Vec<&str> {
    let mut names: Vec<&str> = node.iter_variable_identifiers().collect();
    if let Operator::VariableIdentifierRead { identifier } = node.operator() {
        names.push(identifier);
    }
    names
}

#[cfg(test)]
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
            "10 ^ 999 > 1",
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
            "value && true",
            "(",
        ] {
            assert!(Expr::parse(text).is_err(), "{text}");
        }
        assert_eq!(Expr::parse(&"(".repeat(900)), Err(ExprError::TooLarge));
        assert_eq!(Expr::parse(&"1".repeat(2_000)), Err(ExprError::TooLarge));
        assert_eq!(
            Expr::parse("a > 1 && b < a").unwrap().variables(),
            ["a", "b"]
        );
    }
}

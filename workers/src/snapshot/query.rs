//! The `sql` calculator: figures and texts are the columns of a query.
//!
//! The query takes the place of the query for inventories in a child table. It is thus read by
//! shard, in key order and as of the same moment as the deals; the single item of a deal is the
//! list of its figures as the database writes them.

use rollbook_ledger::database::Dialect;
use rollbook_ledger::runbook::calculator::{MetricDeclaration, SqlCalculatorSpec, check_metrics};
use sha2::{Digest, Sha256};

use super::SnapshotError;
use super::calculator::{Calculator, CalculatorDescription, MetricInfo, RawDeal};
use super::figure;
use super::sql::quoted_part;
use super::values::{Values, checked_text};

/// A calculator whose figures come from a query.
#[derive(Debug)]
pub struct QueryCalculator {
    declared: Vec<MetricDeclaration>,
    description: CalculatorDescription,
}

impl QueryCalculator {
    /// Checks the declaration; reads nothing. `awareness` is only recorded: what it means for the
    /// figures is up to the query.
    pub fn new(spec: &SqlCalculatorSpec, awareness: bool) -> Result<Self, SnapshotError> {
        check_metrics(&spec.metrics).map_err(|fault| refuse(fault.describe(&spec.metrics)))?;
        if spec.query.trim().is_empty() || spec.key.is_empty() {
            return Err(refuse("the query or its key is empty".to_owned()));
        }
        let model = serde_json::json!({
            "calculator": "sql",
            "query": spec.query,
            "key": spec.key,
            "metrics": spec.metrics,
        });
        let model = serde_json_canonicalizer::to_vec(&model)
            .map_err(|error| refuse(format!("it has no canonical form: {error}")))?;
        Ok(Self {
            description: CalculatorDescription {
                name: "sql".to_owned(),
                digest: hex::encode(Sha256::digest(model)),
                deal_type_awareness: awareness,
                metrics: spec.metrics.iter().map(MetricInfo::of).collect(),
            },
            declared: spec.metrics.clone(),
        })
    }
}

fn refuse(reason: String) -> SnapshotError {
    SnapshotError::Request {
        field: "calculator",
        reason,
    }
}

/// The query to use as [`super::SnapshotSource::inventory_query`] for the database at a URL.
pub fn figures_query(spec: &SqlCalculatorSpec, database: &str) -> Result<String, SnapshotError> {
    let (list, text) = match Dialect::of(database) {
        Some(Dialect::Sqlite) => ("json_array", "TEXT"),
        Some(Dialect::Postgres) => ("json_build_array", "text"),
        None => {
            return Err(refuse(
                "a query needs a database; the source is a file".to_owned(),
            ));
        }
    };
    let column = |name: &str| format!("rollbook_figures.{}", quoted_part(name));
    let figures: Vec<String> = spec
        .metrics
        .iter()
        .map(|metric| format!("CAST({} AS {text})", column(&metric.name)))
        .collect();
    Ok(format!(
        "SELECT {}, {list}({}) FROM (\n{}\n) AS rollbook_figures",
        column(&spec.key),
        figures.join(", "),
        spec.query.trim().trim_end_matches(';'),
    ))
}

impl Calculator for QueryCalculator {
    fn description(&self) -> &CalculatorDescription {
        &self.description
    }

    fn compute(&self, deal: &RawDeal) -> Result<Values, String> {
        let rows: Vec<Vec<Option<String>>> = serde_json::from_slice(&deal.inventory)
            .map_err(|error| format!("the query's row cannot be read: {error}"))?;
        let mut rows = rows.into_iter();
        let row = match (rows.next(), rows.len()) {
            (Some(row), 0) => row,
            (None, _) => return Err("the query has no row of this deal".to_owned()),
            (_, more) => return Err(format!("the query has {} rows of this deal", more + 1)),
        };
        if row.len() != self.declared.len() {
            return Err(format!("the query's row has {} figures", row.len()));
        }
        let mut values = Values::default();
        for (metric, value) in self.declared.iter().zip(row) {
            let name = &metric.name;
            let wrong = |error: String| format!("{name}: {error}");
            match figure::places(metric.unit) {
                None => {
                    let text = value.map(checked_text).transpose();
                    values.texts.push(text.map_err(wrong)?);
                }
                Some(places) => {
                    let text = value
                        .ok_or_else(|| format!("{name} is NULL; give a number in the query"))?;
                    let number = figure::parse(&text, places).map_err(wrong)?;
                    values.numbers.push(number);
                }
            }
        }
        Ok(values)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use rollbook_ledger::runbook::calculator::MetricUnit;

    use super::*;

    fn spec() -> SqlCalculatorSpec {
        SqlCalculatorSpec {
            query: "SELECT id, price, n FROM figures;".to_owned(),
            key: "id".to_owned(),
            metrics: [("price", MetricUnit::Cents), ("n", MetricUnit::Count)]
                .map(|(name, unit)| MetricDeclaration {
                    name: name.to_owned(),
                    unit,
                })
                .to_vec(),
        }
    }

    fn computed(items: &str) -> Result<Values, String> {
        computed_by(&spec(), items)
    }

    fn computed_by(spec: &SqlCalculatorSpec, items: &str) -> Result<Values, String> {
        let calculator = QueryCalculator::new(spec, true).unwrap();
        calculator.compute(&RawDeal {
            id: "1".to_owned(),
            deal_type: None,
            inventory: items.to_owned().into(),
        })
    }

    #[test]
    fn a_deal_has_exactly_one_row_of_exact_figures() {
        assert_eq!(computed(r#"[["12.5","3"]]"#), Ok(vec![1250, 3].into()));
        for (items, reason) in [
            ("[]", "no row"),
            (r#"[["1","2"],["1","2"]]"#, "2 rows"),
            (r#"[["1"]]"#, "1 figures"),
            (r#"[["1",null]]"#, "n is NULL"),
            (r#"[["0.30000000000000004","1"]]"#, "decimal places"),
            (r#"[["NaN","1"]]"#, "not a decimal"),
            (r#"[{"price":1}]"#, "cannot be read"),
        ] {
            let error = computed(items).unwrap_err();
            assert!(error.contains(reason), "{items}: {error}");
        }
    }

    #[test]
    fn texts_are_taken_as_they_are_and_may_be_null() {
        let mut spec = spec();
        let state = MetricDeclaration {
            name: "state".to_owned(),
            unit: MetricUnit::Text,
        };
        spec.metrics.insert(1, state);
        let values = |text: Option<&str>| {
            let texts = vec![text.map(str::to_owned)];
            let numbers = vec![1250, 3];
            Ok(Values { numbers, texts })
        };
        for text in ["", "12.5", "NULL", "a \"b\"\n\u{1f600}\0"] {
            let items = serde_json::json!([["12.5", text, "3"]]).to_string();
            assert_eq!(computed_by(&spec, &items), values(Some(text)), "{text:?}");
        }
        assert_eq!(computed_by(&spec, r#"[["12.5",null,"3"]]"#), values(None));
        let long = serde_json::json!([["1", "x".repeat(1025), "1"]]).to_string();
        let error = computed_by(&spec, &long).unwrap_err();
        assert!(
            error.starts_with("state: the text has 1025 bytes"),
            "{error}"
        );
    }

    #[test]
    fn columns_are_named_and_quoted_part() {
        assert_eq!(
            figures_query(&spec(), "sqlite:x.db").unwrap(),
            "SELECT rollbook_figures.\"id\", json_array(CAST(rollbook_figures.\"price\" AS TEXT), \
             CAST(rollbook_figures.\"n\" AS TEXT)) FROM (\nSELECT id, price, n FROM figures\n) AS \
             rollbook_figures"
        );
        let mut odd = spec();
        odd.key = "the.\"id".to_owned();
        let query = figures_query(&odd, "postgres://db/deals").unwrap();
        assert!(query.contains("rollbook_figures.\"the.\"\"id\""), "{query}");
        assert!(figures_query(&spec(), "jsonl:deals.jsonl").is_err());
    }
}

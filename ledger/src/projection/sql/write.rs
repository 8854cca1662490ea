//! Writes rows with multi-row statements. In sqlx on SQLite a statement costs some 50 µs whatever
//! its size, so rows are grouped; statement sizes are powers of two, so that each text is prepared
//! once and reused.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::Tx;
use crate::projection::row::{ColumnValue, Kind, RowChange, TableSpec};
use crate::projection::store::ViewError;

/// Maximum number of values bound by one statement, below the limits of SQLite (32,766) and
/// PostgreSQL (65,535).
const MAX_STATEMENT_VALUES: usize = 16_384;

/// Writes rows, reusing statement texts.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// The texts of insert statements, by table and number of rows.
    statements: Mutex<HashMap<(&'static str, usize), Arc<str>>>,
}

impl Writer {
    /// Writes rows of any tables, at most `max_rows` per statement; no two may have the same key.
    pub(super) async fn write_rows<T: Tx>(
        &self,
        tx: &mut T,
        max_rows: usize,
        changes: Vec<RowChange>,
    ) -> Result<(), ViewError> {
        let mut tables: BTreeMap<&'static str, (&'static TableSpec, Vec<Vec<ColumnValue>>)> =
            BTreeMap::new();
        for change in changes {
            tables
                .entry(change.table.name)
                .or_insert_with(|| (change.table, Vec::new()))
                .1
                .push(change.values);
        }
        for (table, rows) in tables.into_values() {
            self.write_table(tx, max_rows, table, rows).await?;
        }
        Ok(())
    }

    async fn write_table<T: Tx>(
        &self,
        tx: &mut T,
        max_rows: usize,
        table: &'static TableSpec,
        rows: Vec<Vec<ColumnValue>>,
    ) -> Result<(), ViewError> {
        let kinds: Vec<Kind> = table.columns.iter().map(|column| column.kind).collect();
        let limit = (MAX_STATEMENT_VALUES / kinds.len().max(1)).clamp(1, max_rows.max(1));
        let mut left = rows.len();
        let mut rows = rows.into_iter();
        while left > 0 {
            let size = power_of_two_within(left.min(limit));
            let args: Vec<ColumnValue> = rows.by_ref().take(size).flatten().collect();
            tx.execute(self.statement(table, size), args, &kinds)
                .await?;
            left -= size;
        }
        Ok(())
    }

    fn statement(&self, table: &'static TableSpec, rows: usize) -> Arc<str> {
        let mut statements = self
            .statements
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        statements
            .entry((table.name, rows))
            .or_insert_with(|| upsert(table, rows).into())
            .clone()
    }
}

/// Rows of tables that later commits change; of rows with the same key only the last is kept.
#[derive(Debug, Default)]
pub(super) struct Latest {
    places: HashMap<(&'static str, String), usize>,
    rows: Vec<RowChange>,
}

impl Latest {
    /// Adds a row, replacing any with the same key.
    pub(super) fn put(&mut self, change: RowChange) {
        let key = (change.table.name, key_of(change.table, &change.values));
        let next = self.rows.len();
        let place = *self.places.entry(key).or_insert(next);
        match self.rows.get_mut(place) {
            Some(row) => *row = change,
            None => self.rows.push(change),
        }
    }

    /// Returns the rows in the order in which their keys first appeared.
    pub(super) fn into_rows(self) -> Vec<RowChange> {
        self.rows
    }
}

fn key_of(table: &TableSpec, row: &[ColumnValue]) -> String {
    let mut key = String::new();
    for value in row.iter().take(table.key) {
        match value {
            ColumnValue::Text(text) => {
                key.push_str(&text.len().to_string());
                key.push(':');
                key.push_str(text);
            }
            ColumnValue::Int(number) => key.push_str(&number.to_string()),
            // No key column has another type.
            other => key.push_str(other.type_name()),
        }
        key.push(',');
    }
    key
}

fn power_of_two_within(limit: usize) -> usize {
    1 << (usize::BITS - 1 - limit.max(1).leading_zeros())
}

/// Builds an upsert of `rows` rows: a newer row replaces the stored one; append-only tables keep
/// theirs.
fn upsert(table: &TableSpec, rows: usize) -> String {
    let quoted = |name: &str| format!("\"{name}\"");
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| quoted(column.name))
        .collect();
    let key = columns.get(..table.key).unwrap_or_default().join(", ");
    let row = format!("({})", vec!["?"; columns.len()].join(", "));
    let values = vec![row.as_str(); rows].join(", ");
    let conflict = if table.is_updated() {
        let set: Vec<String> = columns
            .iter()
            .skip(table.key)
            .map(|column| format!("{column} = excluded.{column}"))
            .collect();
        format!(
            "DO UPDATE SET {} WHERE excluded.updated_sequence >= {}.updated_sequence",
            set.join(", "),
            table.name
        )
    } else {
        "DO NOTHING".to_owned()
    };
    format!(
        "INSERT INTO {} ({}) VALUES {values} ON CONFLICT ({key}) {conflict}",
        table.name,
        columns.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_sizes_are_powers_of_two_that_fit() {
        for limit in 1..300 {
            let size = power_of_two_within(limit);
            assert!(size.is_power_of_two() && size <= limit && size * 2 > limit);
        }
    }
}

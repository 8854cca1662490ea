//! Protects SQLite's foreign keys when a script rebuilds a table.
//!
//! Dropping a table deletes its rows first; with enforcement on, that affects the rows that refer
//! to them. SQLite's documentation advises switching enforcement off outside the transaction and
//! checking before the commit.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::Refusal;

/// Maximum number of tables named in a message.
const NAMED: usize = 5;

/// The number of rows whose parent is missing, by child and parent table, or why they cannot be
/// counted.
pub(super) type Orphans = Result<BTreeMap<(String, String), i64>, String>;

/// Whether enforcement is on for this connection.
pub(super) fn are_enforced(connection: &Connection) -> Result<bool, Refusal> {
    connection
        .query_row("PRAGMA foreign_keys", [], |row| row.get(0))
        .map_err(|error| Refusal::of_sqlite(&error))
}

/// The tables with rows that refer to one of `dropped`.
pub(super) fn referring(
    connection: &Connection,
    dropped: &[(String, String)],
) -> Result<Vec<String>, Refusal> {
    let read = |schema: &str, table: &str| -> rusqlite::Result<Vec<String>> {
        let mut found = connection.prepare(
            "SELECT DISTINCT t.name FROM pragma_table_list AS t
             JOIN pragma_foreign_key_list(t.name, t.schema) AS k
             WHERE t.schema = ?1 COLLATE NOCASE AND t.type = 'table'
               AND k.\"table\" = ?2 COLLATE NOCASE AND t.name <> ?2 COLLATE NOCASE",
        )?;
        let names = found.query_map([schema, table], |row| row.get::<_, String>(0))?;
        let mut with_rows = Vec::new();
        for name in names {
            let name = name?;
            let quoted = |text: &str| text.replace('"', "\"\"");
            let any = format!(
                "SELECT EXISTS (SELECT 1 FROM \"{}\".\"{}\")",
                quoted(schema),
                quoted(&name)
            );
            if connection.query_row(&any, [], |row| row.get(0))? {
                with_rows.push(name);
            }
        }
        Ok(with_rows)
    };
    let mut all = Vec::new();
    for (schema, table) in dropped {
        all.extend(read(schema, table).map_err(|error| Refusal::of_sqlite(&error))?);
    }
    all.truncate(NAMED);
    Ok(all)
}

/// Counts the rows whose parent is missing.
pub(super) fn orphans(connection: &Connection) -> Result<Orphans, Refusal> {
    let count = || -> rusqlite::Result<BTreeMap<(String, String), i64>> {
        let mut check = connection.prepare(
            "SELECT \"table\", parent, count(*) FROM pragma_foreign_key_check GROUP BY 1, 2",
        )?;
        let rows = check.query_map([], |row| {
            Ok(((row.get(0)?, row.get(1)?), row.get::<_, i64>(2)?))
        })?;
        rows.collect()
    };
    match count() {
        Ok(orphans) => Ok(Ok(orphans)),
        // A key that matches no parent ("foreign key mismatch") is a state of the schema.
        Err(rusqlite::Error::SqliteFailure(_, Some(words))) => Ok(Err(words)),
        Err(rusqlite::Error::SqlInputError { msg, .. }) => Ok(Err(msg)),
        Err(error) => Err(Refusal::of_sqlite(&error)),
    }
}

/// Refuses the commit when rows have lost their parent since `before`.
pub(super) fn refuse_new(connection: &Connection, before: &Orphans) -> Result<(), Refusal> {
    let after = orphans(connection)?;
    let lost = match (before, &after) {
        (Ok(before), Ok(after)) => after
            .iter()
            .filter(|(key, rows)| before.get(key).copied().unwrap_or(0) < **rows)
            .take(NAMED)
            .map(|((child, parent), rows)| {
                format!("{rows} rows of {child} without their row of {parent}")
            })
            .collect::<Vec<_>>()
            .join(", "),
        (before, Err(words)) if before.as_ref().err() != Some(words) => words.clone(),
        _ => String::new(),
    };
    if lost.is_empty() {
        return Ok(());
    }
    Err(Refusal {
        is_constraint: true,
        reason: format!(
            "the check of foreign keys before the commit found {lost}; keep the parents' keys, or \
             change these rows in the script as well"
        ),
        ..Refusal::default()
    })
}

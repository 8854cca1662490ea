//! Builds SQL text: safely quoted names and literals, and the conditions that select deals.

use super::source::{DealTable, SnapshotSource};

/// Quotes an identifier; dots separate schema and table.
pub fn quoted(name: &str) -> String {
    let parts: Vec<String> = name.split('.').map(quoted_part).collect();
    parts.join(".")
}

/// Quotes a single name; a dot in it is part of the name.
pub(super) fn quoted_part(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A column of the deals, qualified with its table, because SQLite reads an unknown quoted name
/// that stands alone as a string.
pub fn column(table: &DealTable, name: &str) -> String {
    format!("{}.{}", quoted(&table.table), quoted_part(name))
}

/// Quotes a string literal. PostgreSQL must have `standard_conforming_strings` on.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The filter on its own lines, so that a comment at its end cannot hide what follows.
pub fn sql_filter(source: &SnapshotSource) -> Option<String> {
    let filter = source.filter.as_deref()?.trim();
    (!filter.is_empty()).then(|| format!("(\n{filter}\n)"))
}

/// The condition for deals of the source, deleted or not: filter and tenant. Never empty.
pub(super) fn scope(source: &SnapshotSource) -> String {
    let tenant = source.tenant.as_deref().map(|tenant| {
        let column = column(&source.table, &source.table.tenant_id);
        format!("{column} = {}", literal(tenant))
    });
    let both: Vec<String> = tenant.into_iter().chain(sql_filter(source)).collect();
    if both.is_empty() {
        "1=1".to_owned()
    } else {
        both.join(" AND ")
    }
}

/// The condition for deals a snapshot reads: those in scope that are not deleted.
pub(super) fn live(source: &SnapshotSource) -> String {
    match source.table.deleted_at.as_deref() {
        Some(deleted) => format!(
            "{} IS NULL AND {}",
            column(&source.table, deleted),
            scope(source)
        ),
        None => scope(source),
    }
}

/// The query that counts deals in scope: live, deleted, and live ones without an id.
pub(super) fn count(source: &SnapshotSource) -> String {
    let table = quoted(&source.table.table);
    let id = column(&source.table, &source.table.id);
    let scope = scope(source);
    match source.table.deleted_at.as_deref() {
        Some(deleted) => {
            let deleted = column(&source.table, deleted);
            format!(
                "SELECT count(*) - count({deleted}), count({deleted}), \
                 count(CASE WHEN {id} IS NULL AND {deleted} IS NULL THEN 1 END) \
                 FROM {table} WHERE {scope}"
            )
        }
        None => format!(
            "SELECT count(*), count(*) - count(*), count(*) - count({id}) \
             FROM {table} WHERE {scope}"
        ),
    }
}

/// The query for every `rows`-th live key, starting with the first, ordered by `key`. Keys come as
/// text.
pub(super) fn boundaries(source: &SnapshotSource, key: &str, rows: u64) -> String {
    format!(
        "SELECT CAST(k AS text) FROM \
         (SELECT {key} AS k, row_number() OVER (ORDER BY {key}) AS n FROM {} WHERE {}) keys \
         WHERE (n - 1) % {rows} = 0 ORDER BY n",
        quoted(&source.table.table),
        live(source),
    )
}

/// The query for items in a child table, in a form that can stand in parentheses.
pub(super) fn item_query(source: &SnapshotSource) -> Option<&str> {
    let query = source.inventory_query.as_deref()?;
    Some(query.trim().trim_end_matches(';'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_cannot_leave_their_quotes() {
        assert_eq!(quoted("public.deals"), "\"public\".\"deals\"");
        assert_eq!(quoted("a\"; drop"), "\"a\"\"; drop\"");
        assert_eq!(literal("O'Brien \\"), "'O''Brien \\'");
    }

    #[test]
    fn a_filter_cannot_widen_the_tenant() {
        let mut source = SnapshotSource::new("sqlite:x");
        source.tenant = Some("t'1".to_owned());
        source.filter = Some("a = 1 OR b = 2 -- all".to_owned());
        assert_eq!(
            live(&source),
            "\"deals\".\"deleted_at\" IS NULL AND \"deals\".\"tenant_id\" = 't''1' \
             AND (\na = 1 OR b = 2 -- all\n)"
        );
    }
}

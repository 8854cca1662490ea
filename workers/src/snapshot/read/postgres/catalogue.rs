//! Looks up the columns of a source in PostgreSQL's catalogue.

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::fetch_one;
use crate::snapshot::source::SnapshotSource;
use crate::snapshot::sql::{self, column, quoted};
use crate::snapshot::task::{InventoryForm, KeyKind};

/// For a column: its type, whether its own collation orders by bytes, and whether an index returns
/// its rows in byte order (or by value, for numbers).
const COLUMN: &str = r#"
SELECT format_type(a.atttypid, NULL) AS type,
       coalesce(a.attcollation = 0 OR b.bytes, true) AS bytes,
       EXISTS (
           SELECT 1 FROM pg_index i LEFT JOIN pg_collation ic ON ic.oid = i.indcollation[0]
           WHERE i.indrelid = a.attrelid AND i.indkey[0] = a.attnum AND i.indisvalid
             AND (a.attcollation = 0 OR i.indcollation[0] = a.attcollation AND b.bytes
                  OR ic.collname IN ('C', 'POSIX'))
       ) AS indexed
FROM pg_attribute a
LEFT JOIN pg_collation c ON c.oid = a.attcollation
LEFT JOIN LATERAL (
    SELECT c.collname IN ('C', 'POSIX')
        OR c.collname = 'default' AND (
            SELECT d.datcollate IN ('C', 'POSIX')
                   AND coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'c'
                OR coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'b'
            FROM pg_database d WHERE d.datname = current_database()) AS bytes
) b ON true
WHERE a.attrelid = to_regclass($1) AND a.attname = $2 AND a.attnum > 0 AND NOT a.attisdropped"#;

/// The kind of the id column, and whether an index serves ranges of it.
pub(super) async fn key_of(
    connection: &mut PgConnection,
    source: &SnapshotSource,
) -> Result<(KeyKind, bool), sqlx::Error> {
    let table = &source.table;
    let row = sqlx::query(COLUMN)
        .bind(quoted(&table.table))
        .bind(&table.id)
        .fetch_optional(connection)
        .await?;
    // If the column is missing, the count reports it.
    let Some(row) = row else {
        return Ok((KeyKind::Cast, false));
    };
    let bytes: bool = row.try_get(1)?;
    let indexed: bool = row.try_get(2)?;
    Ok(match key_kind(row.try_get(0)?, bytes) {
        KeyKind::Cast => (KeyKind::Cast, false),
        kind => (kind, indexed),
    })
}

fn key_kind(type_name: &str, bytes: bool) -> KeyKind {
    match type_name {
        "smallint" | "integer" | "bigint" => KeyKind::Integer,
        "uuid" => KeyKind::Uuid,
        "text" | "character varying" if bytes => KeyKind::Text,
        "text" | "character varying" => KeyKind::CollatedText,
        _ => KeyKind::Cast,
    }
}

/// The form of the inventory and, if it matches the id column, the kind of the deal's id in the
/// child query.
pub(super) async fn forms(
    connection: &mut PgConnection,
    source: &SnapshotSource,
    key: KeyKind,
) -> Result<(InventoryForm, Option<KeyKind>), sqlx::Error> {
    // Selects no rows, so that nothing is read: a query's types are known without them.
    let type_of = |value: &str, from: String| {
        format!("pg_typeof((SELECT {value} FROM {from} LIMIT 0))::text")
    };
    let columns = match sql::item_query(source) {
        None => {
            let inventory = column(&source.table, &source.table.inventory);
            let of_inventory = type_of(&inventory, quoted(&source.table.table));
            format!("{of_inventory}, NULL::text")
        }
        Some(query) => {
            let items = || format!("(\n{query}\n) i(deal_id, item)");
            format!(
                "{}, {}",
                type_of("item", items()),
                type_of("deal_id", items())
            )
        }
    };
    let row = fetch_one(connection, format!("SELECT {columns}")).await?;
    let form = match row.try_get::<&str, _>(0)? {
        "json" | "text" | "character varying" => InventoryForm::Text,
        "jsonb" => InventoryForm::Jsonb,
        _ => InventoryForm::Cast,
    };
    let item_type: Option<&str> = row.try_get(1)?;
    // Texts always use an explicit collation: the child's own may differ from the parent's.
    let item_key = item_type.map(|item| key_kind(item, false));
    let item_key = match (key, item_key) {
        (KeyKind::Text | KeyKind::CollatedText, Some(KeyKind::CollatedText)) => item_key,
        (KeyKind::Integer | KeyKind::Uuid, Some(item)) if item == key => item_key,
        _ => None,
    };
    Ok((form, item_key))
}

//! Both databases have one schema: what their migrations made is read back from the databases
//! themselves and compared with the row types and with each other.

use std::collections::{BTreeMap, BTreeSet};

use rollbook_ledger::projection::row::Kind;
use rollbook_ledger::projection::rows::TABLES;
use rollbook_ledger::projection::{postgres, sqlite};
use sqlx::{PgPool, Row, SqlitePool};

use crate::postgres::Postgres;

const SCHEMA: &str = "rollbook_schema";

/// Tables without a row type: the position, the server's notes.
const OTHERS: [&str; 3] = ["acknowledged", "rollouts_over", "view_position"];

/// A table as a database describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Table {
    /// Name, type and whether it may hold NULL, in order.
    columns: Vec<(String, String, bool)>,
    /// The columns of the primary key, in order.
    key: Vec<String>,
    /// Columns of each other index, in order; the first says whether it is unique.
    indexes: BTreeMap<String, (bool, Vec<String>)>,
}

type Schema = BTreeMap<String, Table>;

/// The type in PostgreSQL.
fn in_postgres(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "boolean",
        Kind::Int => "bigint",
        Kind::Real => "double precision",
        Kind::Text => "text",
    }
}

/// The type in SQLite that stores the same values.
fn in_sqlite(postgres: &str) -> &'static str {
    match postgres {
        "boolean" | "bigint" | "integer" | "smallint" => "INTEGER",
        "double precision" => "REAL",
        "text" => "TEXT",
        other => panic!("no type of SQLite for {other}"),
    }
}

/// The tables as the row types define them, in the words of PostgreSQL, without indexes.
fn of_rows() -> Schema {
    TABLES
        .into_iter()
        .map(|spec| {
            let columns = spec.columns.iter().map(|column| {
                let kind = in_postgres(column.kind).to_owned();
                (column.name.to_owned(), kind, column.nullable)
            });
            let key = spec.columns.iter().take(spec.key);
            let table = Table {
                columns: columns.collect(),
                key: key.map(|column| column.name.to_owned()).collect(),
                indexes: BTreeMap::new(),
            };
            (spec.name.to_owned(), table)
        })
        .collect()
}

async fn of_postgres(url: &str) -> Schema {
    let pool = PgPool::connect(url).await.unwrap();
    let mut schema = Schema::new();
    let columns = sqlx::query(
        "SELECT table_name::text, column_name::text, data_type::text, is_nullable = 'YES', \
         collation_name::text FROM information_schema.columns WHERE table_schema = $1 \
         ORDER BY table_name, ordinal_position",
    );
    for row in columns.bind(SCHEMA).fetch_all(&pool).await.unwrap() {
        let (table, name, kind): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        if kind == "text" && !OTHERS.contains(&table.as_str()) {
            // Otherwise its order would not be that of SQLite.
            let collation: Option<String> = row.get(4);
            assert_eq!(collation.as_deref(), Some("C"), "{table}.{name}");
        }
        let table = schema.entry(table).or_default();
        table.columns.push((name, kind, row.get(3)));
    }
    let indexes = sqlx::query(
        "SELECT t.relname::text, i.relname::text, x.indisprimary, x.indisunique, \
           ARRAY(SELECT a.attname::text FROM unnest(x.indkey::int2[]) WITH ORDINALITY k(number, place) \
             JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.number ORDER BY k.place), \
           x.indpred IS NULL AND x.indexprs IS NULL \
         FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid \
         JOIN pg_namespace n ON n.oid = t.relnamespace WHERE n.nspname = $1",
    );
    for row in indexes.bind(SCHEMA).fetch_all(&pool).await.unwrap() {
        let (table, name): (String, String) = (row.get(0), row.get(1));
        assert!(row.get::<bool, _>(5), "{name} is partial or of expressions");
        let table = schema.get_mut(&table).unwrap();
        if row.get(2) {
            table.key = row.get(4);
        } else {
            table.indexes.insert(name, (row.get(3), row.get(4)));
        }
    }
    pool.close().await;
    schema
}

async fn of_sqlite(pool: &SqlitePool) -> Schema {
    let mut schema = Schema::new();
    let tables = sqlx::query(
        "SELECT name, strict, wr FROM pragma_table_list \
         WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'",
    );
    for row in tables.fetch_all(pool).await.unwrap() {
        let name: String = row.get(0);
        if !OTHERS.contains(&name.as_str()) {
            assert_eq!((row.get(1), row.get(2)), (1, 1), "{name}: strict, no rowid");
        }
        let mut table = Table::default();
        let mut key = BTreeMap::new();
        let columns = sqlx::query(
            "SELECT name, type, \"notnull\", pk FROM pragma_table_info($1) ORDER BY cid",
        );
        for row in columns.bind(&name).fetch_all(pool).await.unwrap() {
            let (column, kind): (String, String) = (row.get(0), row.get(1));
            // In a table that is not strict, BIGINT is another word for INTEGER.
            let kind = kind.replace("BIGINT", "INTEGER");
            table
                .columns
                .push((column.clone(), kind, row.get::<i64, _>(2) == 0));
            if row.get::<i64, _>(3) > 0 {
                key.insert(row.get::<i64, _>(3), column);
            }
        }
        table.key = key.into_values().collect();
        let indexes = sqlx::query(
            "SELECT name, \"unique\", partial FROM pragma_index_list($1) WHERE origin <> 'pk'",
        );
        for row in indexes.bind(&name).fetch_all(pool).await.unwrap() {
            let index: String = row.get(0);
            assert_eq!(row.get::<i64, _>(2), 0, "{index} is partial");
            let columns = sqlx::query("SELECT name FROM pragma_index_info($1) ORDER BY seqno");
            let columns = columns.bind(&index).fetch_all(pool).await.unwrap();
            let columns = columns.iter().map(|row| row.get(0)).collect();
            table
                .indexes
                .insert(index, (row.get::<i64, _>(1) == 1, columns));
        }
        schema.insert(name, table);
    }
    schema
}

#[tokio::test]
async fn both_databases_have_the_schema_of_the_rows() {
    let cluster = Postgres::start();
    let url = cluster.database("schema").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("views.db");
    for store in [
        postgres::open(&url, SCHEMA).await.unwrap(),
        sqlite::open(&file).await.unwrap(),
    ] {
        store.index().await.unwrap();
        store.close().await;
    }
    let in_one = of_postgres(&url).await;
    let address = format!("sqlite:{}", file.display());
    let pool = SqlitePool::connect(&address);
    let pool = pool.await.unwrap();
    let in_other = of_sqlite(&pool).await;
    pool.close().await;

    let rows = of_rows();
    let known: BTreeSet<_> = rows.keys().map(String::as_str).chain(OTHERS).collect();
    let tables: BTreeSet<_> = in_one.keys().map(String::as_str).collect();
    assert_eq!(tables, known);
    for (name, table) in &rows {
        let found = &in_one[name];
        assert_eq!(found.columns, table.columns, "{name}");
        assert_eq!(found.key, table.key, "{name}");
    }
    let mut same = in_one;
    for (_, kind, _) in same.values_mut().flat_map(|table| &mut table.columns) {
        *kind = in_sqlite(kind).to_owned();
    }
    assert_eq!(
        same.keys().collect::<Vec<_>>(),
        in_other.keys().collect::<Vec<_>>()
    );
    for (name, table) in &same {
        assert_eq!(table, &in_other[name], "{name}");
    }
    assert!(same.values().any(|table| !table.indexes.is_empty()));
}

/// `verify` names each column of each table, so that none can be missing without being noticed.
#[test]
fn both_verify_every_column_of_the_rows() {
    for database in ["postgres", "sqlite"] {
        let scripts = [
            format!("{database}/001_views.verify.sql"),
            "004_step_people.verify.sql".to_owned(),
        ]
        .map(|file| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/ledger");
            std::fs::read_to_string(format!("{folder}/{file}")).unwrap()
        });
        for table in TABLES {
            let end = format!("FROM {} t WHERE", table.name);
            let columns: Vec<_> = scripts
                .iter()
                .filter_map(|script| script.split_once(&end))
                .flat_map(|(before, _)| {
                    let (_, columns) = before.rsplit_once("SELECT").unwrap();
                    columns.split(',').map(str::trim)
                })
                .collect();
            let expected: Vec<_> = table
                .columns
                .iter()
                .map(|column| format!("t.\"{}\"", column.name))
                .collect();
            assert_eq!(columns, expected, "{database}: {}", table.name);
        }
    }
}

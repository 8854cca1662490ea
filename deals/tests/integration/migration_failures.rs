//! Runs the migrations of deals with a client that continues after an error, is cut off, or runs a
//! script twice: each takes effect completely or not at all, and no other data is lost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rollbook_deals::migrate::{Dialect, Migration, migrations};
use rollbook_ledger::runbook::sql_text::{self, Dialect as Sql};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::postgres::Postgres;

/// A fault that a client can meet at a statement.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// The client is gone before the statement.
    Cut(usize),
    /// The statement fails and the transaction stays open.
    Fails(usize),
    /// The statement fails and SQLite ends the transaction, as on a full disk.
    Ends(usize),
}

fn statements(script: &str, dialect: Sql) -> Vec<&str> {
    let found = sql_text::statements(script, dialect);
    found.iter().map(|s| &script[s.range.clone()]).collect()
}

/// Runs a script like `sqlite3 FILE < script`, with a fault; returns the errors.
fn feed(path: &Path, script: &str, fault: Fault, keys: bool) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    connection
        .pragma_update(None, "foreign_keys", keys)
        .unwrap();
    connection
        .pragma_update(None, "synchronous", "off")
        .unwrap();
    let mut errors = Vec::new();
    for (index, statement) in statements(script, Sql::Sqlite).iter().enumerate() {
        match fault {
            Fault::Cut(at) if at == index => break,
            Fault::Fails(at) if at == index => continue,
            Fault::Ends(at) if at == index => {
                if !connection.is_autocommit() {
                    connection.execute_batch("ROLLBACK").unwrap();
                }
                continue;
            }
            _ => {}
        }
        if let Err(error) = connection.execute_batch(statement) {
            errors.push(error.to_string());
        }
    }
    errors
}

/// Everything in a database: objects with their text, and every row.
fn contents(path: &Path) -> BTreeMap<String, Vec<String>> {
    let connection = Connection::open(path).unwrap();
    let list = |sql: &str| -> Vec<String> {
        let mut query = connection.prepare(sql).unwrap();
        let columns = query.column_count();
        let rows = query.query_map([], |row| {
            let cells = (0..columns).map(|at| match row.get_ref(at).unwrap() {
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                other => format!("{other:?}"),
            });
            Ok(cells.collect::<Vec<_>>().join("|"))
        });
        let mut rows: Vec<String> = rows.unwrap().map(Result::unwrap).collect();
        rows.sort();
        rows
    };
    // SQLite quotes the name of a table that was renamed and renamed back.
    let schema = "SELECT type, name, replace(replace(sql, '\"', ''), 'deals (', 'deals(') FROM sqlite_schema";
    let mut all = BTreeMap::from([("schema".to_owned(), list(schema))]);
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table'";
    let mut names = connection.prepare(tables).unwrap();
    let names = names.query_map([], |row| row.get::<_, String>(0)).unwrap();
    for name in names.map(Result::unwrap) {
        all.insert(name.clone(), list(&format!("SELECT * FROM \"{name}\"")));
    }
    all
}

/// Rows of other tables that refer to deals, and objects that somebody added to the table.
const OTHERS: &str = "
    CREATE TABLE cost_line (id INTEGER PRIMARY KEY, deal TEXT NOT NULL REFERENCES deals (id) ON DELETE CASCADE);
    INSERT INTO cost_line VALUES (1, 'a'), (2, 'b');
    ALTER TABLE deals ADD COLUMN mine TEXT DEFAULT 'kept';
    CREATE INDEX by_name ON deals (name);
    CREATE VIEW names AS SELECT id, name FROM deals;";

/// Makes a database with the first `count` migrations, deals of every kind, and the content of
/// `others`.
fn database_after(directory: &Path, count: usize, others: &str) -> PathBuf {
    let path = directory.join("deals.db");
    let _ = std::fs::remove_file(&path);
    for migration in &migrations(Dialect::Sqlite)[..count] {
        assert_eq!(
            feed(&path, migration.deploy, Fault::None, true),
            Vec::<String>::new()
        );
    }
    let connection = Connection::open(&path).unwrap();
    let deals = "INSERT INTO deals (id, target_name, deal_type, created_at, updated_at) VALUES
        ('a', 'T', 'merger', 'x', 'x'), ('b', 'T', NULL, 'x', 'x'), ('c', 'T', 'carve-out', 'x', 'x'),
        ('d', 'T', 'acquisition', 'x', 'x'), ('e', 'T', 'divestiture', 'x', 'x');";
    if count > 0 {
        connection.execute_batch(deals).unwrap();
    }
    connection.execute_batch(others).unwrap();
    path
}

/// A copy of a database that is restored before each fault.
struct InitialDatabase {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl InitialDatabase {
    fn of(path: PathBuf) -> Self {
        let bytes = std::fs::read(&path).unwrap();
        Self { path, bytes }
    }

    fn restored(&self) -> &Path {
        std::fs::write(&self.path, &self.bytes).unwrap();
        &self.path
    }
}

/// Injects every fault at every statement: the database must be in the state before or after the
/// script.
fn assert_atomic(start: &InitialDatabase, script: &str) {
    let before = contents(start.restored());
    assert_eq!(
        feed(&start.path, script, Fault::None, true),
        Vec::<String>::new()
    );
    let after = contents(&start.path);
    assert_eq!(before["cost_line"], after["cost_line"]);
    for kept in ["by_name", "names", "mine"] {
        assert!(
            after["schema"].iter().any(|line| line.contains(kept)),
            "{kept}"
        );
    }
    for (index, statement) in statements(script, Sql::Sqlite).iter().enumerate() {
        let mut faults = vec![Fault::Cut(index)];
        // These two write no page, so they cannot fail.
        if !statement.starts_with("SAVEPOINT")
            && !statement.starts_with("DELETE FROM deal_type_alias")
        {
            faults.extend([Fault::Fails(index), Fault::Ends(index)]);
        }
        for fault in faults {
            for keys in [true, false] {
                let errors = feed(start.restored(), script, fault, keys);
                let found = contents(&start.path);
                assert!(
                    found == before || found == after,
                    "{fault:?} at {statement}, foreign keys {keys}: {errors:?}\n{found:#?}"
                );
            }
        }
    }
}

#[test]
fn each_migration_is_atomic_at_every_point_of_failure() {
    let dir = tempfile::tempdir().unwrap();
    for (index, migration) in migrations(Dialect::Sqlite).iter().enumerate().skip(1) {
        let start = InitialDatabase::of(database_after(dir.path(), index, OTHERS));
        assert_atomic(&start, migration.deploy);
        let path = database_after(dir.path(), index, OTHERS);
        assert_eq!(
            feed(&path, migration.deploy, Fault::None, true),
            Vec::<String>::new()
        );
        assert_atomic(&InitialDatabase::of(path), migration.revert);
    }
}

#[test]
fn repeating_a_migration_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (index, migration) in migrations(Dialect::Sqlite).iter().enumerate() {
        let path = database_after(dir.path(), index, "");
        feed(&path, migration.deploy, Fault::None, true);
        let deployed = contents(&path);
        let errors = feed(&path, migration.deploy, Fault::None, true);
        assert!(errors[0].contains("RB-MIGRATE-1"), "{errors:?}");
        assert_eq!(contents(&path), deployed, "{}", migration.id);
        assert_eq!(
            feed(&path, migration.revert, Fault::None, true),
            Vec::<String>::new()
        );
        let reverted = contents(&path);
        assert_ne!(
            feed(&path, migration.revert, Fault::None, true),
            Vec::<String>::new()
        );
        assert_eq!(contents(&path), reverted, "{}", migration.id);
    }
}

#[test]
fn a_refusal_changes_nothing_whatever_the_client_does_next() {
    let dir = tempfile::tempdir().unwrap();
    let [first, lifecycle, counters, constrain] = migrations(Dialect::Sqlite) else {
        panic!("four migrations expected");
    };
    let scripts: [(usize, &str, &str, &str); 10] = [
        (
            3,
            constrain.deploy,
            "INSERT INTO deals (id, target_name, deal_type) VALUES ('z', 'T', 'jv')",
            "RB-MIGRATE-4",
        ),
        (
            3,
            constrain.deploy,
            "CREATE TRIGGER t AFTER UPDATE ON deals BEGIN SELECT 1; END",
            "RB-MIGRATE-6",
        ),
        (
            3,
            constrain.deploy,
            "CREATE VIEW v AS SELECT * FROM deals",
            "RB-MIGRATE-6",
        ),
        (
            3,
            constrain.deploy,
            "CREATE VIEW v AS SELECT deal_type FROM deals",
            "RB-MIGRATE-6",
        ),
        (
            3,
            constrain.deploy,
            "CREATE INDEX i ON deals (name, deal_type)",
            "RB-MIGRATE-6",
        ),
        (
            3,
            constrain.deploy,
            "DROP VIEW names; CREATE VIEW names AS SELECT x FROM nowhere",
            "names",
        ),
        (1, first.revert, "", "RB-MIGRATE-6"),
        (
            2,
            lifecycle.revert,
            "UPDATE deals SET deleted_at = 'x' WHERE id = 'a'",
            "RB-MIGRATE-3",
        ),
        (
            3,
            counters.revert,
            "UPDATE deals SET settings = '[]' WHERE id = 'a'",
            "RB-MIGRATE-3",
        ),
        (3, constrain.revert, "", "RB-MIGRATE-5"),
    ];
    for (count, script, others, said) in scripts {
        let start = InitialDatabase::of(database_after(
            dir.path(),
            count,
            &format!("{OTHERS}\n{others}"),
        ));
        let before = contents(&start.path);
        for keys in [true, false] {
            let errors = feed(start.restored(), script, Fault::None, keys);
            assert!(errors[0].contains(said), "{said}: {errors:?}");
            assert_eq!(
                contents(&start.path),
                before,
                "{others}, foreign keys {keys}"
            );
        }
    }
}

/// psql also continues after an error.
#[tokio::test]
async fn postgres_rolls_back_when_a_client_continues_after_a_refusal() {
    let server = Postgres::start();
    let url = server.database("goes_on").await;
    let shape = async |connection: &mut PgConnection| -> Vec<String> {
        let sql = "SELECT line FROM (
                SELECT 'table ' || relname || ' ' || relkind::text AS line FROM pg_class
                WHERE relnamespace = 'public'::regnamespace
                UNION ALL SELECT attrelid::regclass::text || '.' || attname || ' ' || attnotnull::text FROM pg_attribute
                WHERE attrelid = to_regclass('deals') AND NOT attisdropped
                UNION ALL SELECT conname::text FROM pg_constraint WHERE conrelid = to_regclass('deals')) AS lines
            ORDER BY line";
        sqlx::query_scalar(sql).fetch_all(connection).await.unwrap()
    };
    let go_on = async |script: &str| -> Vec<String> {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let mut errors = Vec::new();
        for statement in statements(script, Sql::Postgres) {
            let query = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
            if let Err(error) = query.execute(&mut connection).await {
                errors.push(error.to_string());
            }
        }
        errors
    };
    let mut looking = PgConnection::connect(&url).await.unwrap();
    let all: &[Migration] = migrations(Dialect::Postgres);
    for (index, migration) in all.iter().enumerate() {
        assert_eq!(go_on(migration.deploy).await, Vec::<String>::new());
        let deployed = shape(&mut looking).await;
        let errors = go_on(migration.deploy).await;
        assert!(errors[0].contains("RB-MIGRATE-1"), "{errors:?}");
        assert_eq!(shape(&mut looking).await, deployed, "{}", migration.id);
        if index == 2 {
            let unknown = "INSERT INTO deals (id, target_name, deal_type) VALUES ('z', 'T', 'jv')";
            sqlx::query(unknown).execute(&mut looking).await.unwrap();
            let errors = go_on(all[3].deploy).await;
            assert!(errors[0].contains("RB-MIGRATE-4"), "{errors:?}");
            assert_eq!(shape(&mut looking).await, deployed);
            let gone = "DELETE FROM deals WHERE id = 'z'";
            sqlx::query(gone).execute(&mut looking).await.unwrap();
        }
    }
    // Reverting 001 does not drop a table that others have built on.
    let deployed = shape(&mut looking).await;
    let errors = go_on(all[0].revert).await;
    assert!(errors[0].contains("RB-MIGRATE-6"), "{errors:?}");
    assert_eq!(shape(&mut looking).await, deployed);
    for migration in all.iter().rev() {
        assert_eq!(go_on(migration.revert).await, Vec::<String>::new());
        let reverted = shape(&mut looking).await;
        assert_ne!(go_on(migration.revert).await, Vec::<String>::new());
        assert_eq!(shape(&mut looking).await, reverted, "{}", migration.id);
    }
}

use proptest::prelude::*;

use super::*;

const PG: Dialect = Dialect::Postgres;
const LITE: Dialect = Dialect::Sqlite;

fn cut(script: &str, dialect: Dialect) -> Vec<&str> {
    let found = statements(script, dialect);
    found.iter().map(|s| &script[s.range.clone()]).collect()
}

#[test]
fn statements_of_postgres_end_where_psql_ends_them() {
    for (script, count) in [
        ("", 0),
        ("-- only a comment; BEGIN;", 0),
        ("-- a comment that ends here\rCOMMIT;", 1),
        (
            "CREATE TABLE cost$eur$2026 (id int);\nCOMMIT;\nSELECT '$eur$'",
            3,
        ),
        ("SELECT 'a;b', \"c;d\", $$e;f$$, $x$ $$;$$ $x$; SELECT 2", 2),
        ("SELECT E'it\\'s; ''x'; SELECT 'it\\'; SELECT 3", 3),
        ("SELECT 1 /* a; /* b; */ c; */; SELECT $1;", 2),
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN 1=1 THEN 1 END; SELECT 2; END; SELECT 1;",
            2,
        ),
        (
            "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 1",
            2,
        ),
        ("DO $$ BEGIN RAISE EXCEPTION 'x'; END $$; ;; SELECT 1", 2),
    ] {
        assert_eq!(
            cut(script, PG).len(),
            count,
            "{script}: {:?}",
            cut(script, PG)
        );
    }
}

#[test]
fn statements_of_sqlite_end_where_its_shell_ends_them() {
    let trigger = "CREATE TRIGGER t AFTER UPDATE ON d WHEN NEW.a OR NEW.b OR NEW.c OR NEW.e OR NEW.f OR NEW.g \
        BEGIN UPDATE x SET y = CASE WHEN 1 THEN 2 END; /* ; END; */ SELECT 1; -- END;\n END; SELECT 1;";
    assert_eq!(cut(trigger, LITE).len(), 2, "{:?}", cut(trigger, LITE));
    assert_eq!(
        cut("SELECT [a;b], `c;d`; SELECT 1 /* /* ; */ ;", LITE).len(),
        2
    );
}

#[test]
fn a_surrounding_transaction_is_taken_off_byte_for_byte() {
    let script = "-- Deploy\nBEGIN;\nALTER TABLE t ADD x int;\nCOMMIT;\n";
    assert_eq!(
        without_transaction(script, PG, Ending::Commit),
        "-- Deploy\n      \nALTER TABLE t ADD x int;\n       \n"
    );
    let verify = "BEGIN TRANSACTION; SELECT 1; ROLLBACK";
    assert_eq!(
        without_transaction(verify, LITE, Ending::Any).trim(),
        "SELECT 1;"
    );
    let lite = "BEGIN IMMEDIATE TRANSACTION; SELECT 1; END;";
    assert_eq!(
        without_transaction(lite, LITE, Ending::Commit).trim(),
        "SELECT 1;"
    );
}

#[test]
fn any_other_transaction_is_left_for_the_database_to_refuse() {
    for script in [
        "SELECT 1; COMMIT; SELECT 2;",
        "BEGIN; SELECT 1;",
        "BEGIN",
        "BEGIN; DELETE FROM t; ROLLBACK;",
        "BEGIN; SELECT 1; COMMIT AND CHAIN;",
        "BEGIN; SAVEPOINT a; ROLLBACK TO a;",
        "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1; COMMIT;",
        "START TRANSACTION READ ONLY; SELECT 1; END;",
    ] {
        assert_eq!(without_transaction(script, PG, Ending::Commit), script);
    }
}

#[test]
fn statements_that_no_transaction_holds_are_named() {
    for (statement, name) in [
        ("vacuum (full) deals", Some("VACUUM")),
        (
            "CREATE UNIQUE INDEX CONCURRENTLY i ON t (x)",
            Some("CREATE INDEX CONCURRENTLY"),
        ),
        ("DROP INDEX CONCURRENTLY i", Some("DROP INDEX CONCURRENTLY")),
        ("ALTER SYSTEM SET work_mem = '1MB'", Some("ALTER SYSTEM")),
        ("CREATE DATABASE x", Some("CREATE DATABASE")),
        ("CREATE TABLE vacuum (id int)", None),
        ("ALTER TABLE t ADD x int", None),
    ] {
        let found = statements(statement, PG);
        assert_eq!(found[0].outside_transactions(), name, "{statement}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_to_its_end(script in "(BEGIN|COMMIT|CREATE TRIGGER|CREATE FUNCTION|END|;|'|\"|\\$|\\$a\\$|--|/\\*|\\*/|\n|\r| |e|E'|é|\\\\|\\(|\\)|\\[){0,30}") {
        for dialect in [PG, LITE] {
            let mut end = 0;
            for statement in statements(&script, dialect) {
                prop_assert!(statement.range.start >= end);
                end = statement.range.end;
                prop_assert!(script.get(statement.range).is_some());
            }
            prop_assert_eq!(without_transaction(&script, dialect, Ending::Any).len(), script.len());
        }
    }
}

#[test]
fn statements_that_remove_data_are_found() {
    for (script, wanted) in [
        ("DROP TABLE t", Some("DROP TABLE")),
        ("delete from t where a = 1", Some("DELETE")),
        (
            "WITH x AS (DELETE FROM t RETURNING *) SELECT 1",
            Some("WITH … DELETE"),
        ),
        (
            "ALTER TABLE t DROP COLUMN c",
            Some("ALTER TABLE … DROP COLUMN"),
        ),
        (
            "ALTER TABLE t DROP \"c\"",
            Some("ALTER TABLE … DROP COLUMN"),
        ),
        (
            "ALTER TABLE t ADD COLUMN a int, ADD COLUMN b int, DROP COLUMN c",
            Some("ALTER TABLE … DROP COLUMN"),
        ),
        (
            "ALTER TABLE t DROP CONSTRAINT k, DROP COLUMN c",
            Some("ALTER TABLE … DROP COLUMN"),
        ),
        ("ALTER TABLE t DROP CONSTRAINT k", None),
        ("ALTER TABLE t ALTER c DROP NOT NULL", None),
        ("DROP INDEX i", None),
        ("ALTER TABLE t ADD COLUMN c text", None),
        ("SELECT 'DROP TABLE t'", None),
    ] {
        let found = statements(script, Dialect::Postgres)
            .iter()
            .find_map(Statement::removes_data);
        assert_eq!(found.as_deref(), wanted, "{script}");
    }
}

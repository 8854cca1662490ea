//! The database's own parser refuses whatever would end a step's transaction, whatever the script
//! looks like, and nothing of the script remains.

use rollbook_proto::v1::Verdict;
use rollbook_workers::executor::{self, Outcome};
use serde_json::json;

use crate::executor_sql::{Database, postgres, sqlite};
use crate::postgres::Postgres;

/// How many of the tables that these scripts create exist.
async fn left(database: &Database) -> i64 {
    let tables = match database.kind {
        "sqlite" => {
            "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'half%' OR name LIKE 'second%' OR name LIKE '%eur%'"
        }
        _ => {
            "SELECT count(*) FROM pg_class WHERE relname LIKE 'half%' OR relname LIKE 'second%' OR relname LIKE '%eur%'"
        }
    };
    database.count(tables).await
}

async fn deploy(database: &Database, script: &str) -> Outcome {
    let step = json!({"sql": {"source": "db", "deploy": script, "verify": "SELECT 1", "revert": "SELECT 1"}});
    database.fixture(step).execute().await
}

/// Asserts that a script is refused with its line and that nothing of it remains.
async fn refused(database: &Database, script: &str, line: usize) {
    let outcome = deploy(database, script).await;
    assert_eq!(outcome.verdict, Verdict::Fail, "{script}: {outcome:?}");
    assert!(!outcome.effect, "{script}: {outcome:?}");
    assert!(
        outcome.message.ends_with("nothing was changed"),
        "{script}: {}",
        outcome.message
    );
    assert!(
        outcome.message.contains(&format!("line {line}")),
        "{script}: line {line}: {}",
        outcome.message
    );
    assert_eq!(left(database).await, 0, "{script}: {}", outcome.message);
}

async fn runs(database: &Database, script: &str) {
    let outcome = deploy(database, script).await;
    assert_eq!(outcome.verdict, Verdict::Pass, "{script}: {outcome:?}");
}

#[tokio::test]
async fn postgres_refuses_transaction_control_however_it_is_hidden() {
    let server = Postgres::start();
    let database = postgres(&server, "hidden").await;
    for (control, line) in [
        ("COMMIT;", 2),
        ("commit and chain;", 2),
        ("COMMIT WORK;", 2),
        ("END;", 2),
        ("ROLLBACK;", 2),
        ("ROLLBACK AND CHAIN;", 2),
        ("ABORT;", 2),
        ("BEGIN;", 2),
        ("START TRANSACTION;", 2),
        ("SAVEPOINT a; RELEASE a;", 2),
        ("ROLLBACK TO rollbook_script;", 2),
        ("RELEASE rollbook_script;", 2),
        ("PREPARE TRANSACTION 'x';", 2),
        ("COMMIT PREPARED 'x';", 2),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;", 2),
        ("-- a comment that a carriage return ends\rCOMMIT;", 2),
        ("/* /* nested */ */ COMMIT;", 2),
        ("/* COMMIT; */\nCOMMIT;", 3),
        ("SELECT 'it\\';\nCOMMIT; SELECT 'x';", 3),
        ("SELECT E'it\\'s';\nCOMMIT;", 3),
        ("SELECT U&'x\\0041';\nCOMMIT;", 3),
        ("SELECT $a$ $b$ $a$;\nCOMMIT;", 3),
        ("SELECT 1 AS \"a\"\"b;\";\nCOMMIT;", 3),
        (
            "CREATE TABLE second$x$1 (id int);\nCOMMIT;\nCREATE TABLE second$x$2 (id int);",
            3,
        ),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END;\nCOMMIT;",
            3,
        ),
        (
            "CREATE RULE r AS ON UPDATE TO deals DO ALSO (SELECT 1; SELECT 2);\nCOMMIT;",
            3,
        ),
        ("DO $$ BEGIN COMMIT; END $$;", 2),
        ("DO $$ BEGIN EXECUTE 'COMMIT'; END $$;", 2),
        (
            "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;\nCALL p();",
            3,
        ),
        ("\\connect other", 2),
        ("COPY deals FROM STDIN;", 2),
        ("VACUUM deals;", 2),
    ] {
        refused(
            &database,
            &format!("CREATE TABLE half (id int);\n{control}\nCREATE TABLE second_part (id int);"),
            line,
        )
        .await;
    }
    refused(
        &database,
        "CREATE TABLE cost$eur$2026 (id int);\nCOMMIT;\nCREATE TABLE second_part (id int);",
        2,
    )
    .await;
    // A transaction around the script that does not commit must not be removed silently.
    refused(
        &database,
        "BEGIN;\nCREATE TABLE half (id int);\nROLLBACK;",
        1,
    )
    .await;
    refused(&database, "BEGIN;\nCREATE TABLE half (id int);", 1).await;
    refused(
        &database,
        "BEGIN ISOLATION LEVEL SERIALIZABLE;\nCREATE TABLE half (id int);\nCOMMIT;",
        1,
    )
    .await;
    refused(
        &database,
        "BEGIN;\nCREATE TABLE half (id int);\nCOMMIT;\nCREATE TABLE second_part (id int);\nCOMMIT;",
        3,
    )
    .await;
    // More statements than are sent one by one.
    let many = format!("{}COMMIT;\n", "SELECT 1;\n".repeat(1_200));
    let outcome = deploy(&database, &format!("CREATE TABLE half (id int);\n{many}")).await;
    assert_eq!(outcome.verdict, Verdict::Fail, "{outcome:?}");
    assert!(
        outcome.message.ends_with("nothing was changed"),
        "{}",
        outcome.message
    );
    assert_eq!(left(&database).await, 0);
}

#[tokio::test]
async fn postgres_runs_text_that_only_looks_like_transaction_control() {
    let server = Postgres::start();
    let database = postgres(&server, "plain").await;
    for script in [
        "\u{feff}CREATE TABLE bom_p (id int);",
        "\u{feff}BEGIN;\nCREATE TABLE bom_t (id int, note text DEFAULT $$a;\nb$$);\nCOMMIT;\n",
        "CREATE FUNCTION body() RETURNS int LANGUAGE plpgsql AS $body$ BEGIN PERFORM 1; RETURN 1; END; $body$; SELECT body();",
        "CREATE FUNCTION atomic() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END; SELECT atomic();",
        "CREATE TABLE t1 (id int); INSERT INTO t1 VALUES (1); ALTER TABLE t1 ADD note text; UPDATE t1 SET note = 'COMMIT;'",
        "SET LOCAL lock_timeout = '5s'; CREATE TABLE t2 AS SELECT 1 AS id",
        "SELECT 1 AS id INTO t3",
        "CREATE RULE twice AS ON INSERT TO t1 DO ALSO (SELECT 1; SELECT 2); INSERT INTO t1 VALUES (2)",
        "DO $$ BEGIN RAISE NOTICE '$rollbook_do$ $rollbook_script$'; END $$;",
        "SELECT '$rollbook_do$', '$rollbook_script$', $rollbook_script1$x$rollbook_script1$;",
        "CREATE TABLE commit_log (id int); -- COMMIT;\n/* ; COMMIT; */",
        "",
    ] {
        runs(&database, script).await;
    }
    let rows = database.count("SELECT count(*) FROM t1").await;
    assert_eq!(rows, 2);
}

#[tokio::test]
async fn an_error_of_postgres_has_its_line_and_statement() {
    let server = Postgres::start();
    let database = postgres(&server, "lines").await;
    for (script, said) in [
        (
            "-- first\nSELECT 1;\n\nINSERT INTO deals (id)\nVALUES (1);",
            "line 4, `INSERT INTO deals (id) VALUES (1)`",
        ),
        (
            "SELECT 1;\nSELECT 'é',\n  no_such_column;",
            "line 3, `SELECT 'é', no_such_column`",
        ),
        ("SELECT 1;\nSELEC 2;\nSELECT 3;", "line 2, `SELEC 2`"),
        ("SELECT 1;\nCREATE TABLE x (id int;\nSELECT 3;", "line 2"),
    ] {
        let outcome = deploy(&database, script).await;
        assert_eq!(outcome.verdict, Verdict::Fail, "{outcome:?}");
        assert!(
            outcome.message.contains(said),
            "{said}: {}",
            outcome.message
        );
    }
}

#[tokio::test]
async fn sqlite_refuses_transaction_control_however_it_is_hidden() {
    let database = sqlite().await;
    for (control, line) in [
        ("COMMIT;", 2),
        ("END TRANSACTION;", 2),
        ("ROLLBACK;", 2),
        ("BEGIN;", 2),
        ("/* /* ; */ COMMIT;", 2),
        (
            "-- a comment that no carriage return ends\rSELECT 1;\nCOMMIT;",
            3,
        ),
        ("SELECT 'it\\';\nCOMMIT;", 3),
        ("CREATE TABLE [half;2] (id int);\nCOMMIT;", 3),
        (
            "CREATE TABLE cost$eur$2026 (id int);\nCOMMIT;\nSELECT '$eur$';",
            3,
        ),
        ("SAVEPOINT rollbook_verify;", 2),
        ("PRAGMA journal_mode = off;", 2),
        ("PRAGMA main . journal_mode ( memory );", 2),
        ("PRAGMA hard_heap_limit = 1000;", 2),
        ("INSERT OR ROLLBACK INTO deals (id) VALUES (1);", 2),
        ("VACUUM;", 2),
        (".schema", 2),
    ] {
        refused(
            &database,
            &format!("CREATE TABLE half (id int);\n{control}\nCREATE TABLE second_part (id int);"),
            line,
        )
        .await;
    }
    refused(
        &database,
        "BEGIN;\nCREATE TABLE half (id int);\nROLLBACK;",
        1,
    )
    .await;
    refused(&database, "BEGIN;\nCREATE TABLE half (id int);", 1).await;
    for script in [
        "\u{feff}BEGIN IMMEDIATE;\nCREATE TABLE bom (id int);\nCOMMIT;",
        "SAVEPOINT a; CREATE TABLE saved (id int); ROLLBACK TO a; RELEASE a; CREATE TABLE saved (id int);",
        "CREATE TABLE deal2 (id INTEGER PRIMARY KEY, a1 INT, \"end\" INT, begin INT);
         CREATE TABLE audit2 (deal INTEGER, what TEXT);
         CREATE TRIGGER deal_audit2 AFTER UPDATE ON deal2 WHEN NEW.begin > 0 OR NEW.a1 > 1 OR NEW.a1 > 2 OR NEW.a1 > 3
           OR NEW.a1 > 4 OR NEW.a1 > 5 OR NEW.a1 > 6 OR NEW.a1 > 7 OR NEW.a1 > 8 OR NEW.a1 > 9 OR NEW.a1 > 10
         BEGIN
           UPDATE deal2 SET \"end\" = CASE WHEN NEW.a1 IS NULL THEN 1 ELSE 2 END WHERE id = NEW.id;
           INSERT INTO audit2 VALUES (NEW.id, 'x'); /* a note ; END; */
           -- END;
         END;",
    ] {
        runs(&database, script).await;
    }
}

#[tokio::test]
async fn a_query_writes_nothing() {
    let server = Postgres::start();
    let databases = [sqlite().await, postgres(&server, "queries").await];
    let function = "CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM deals; RETURN 1; END $$";
    runs(&databases[1], function).await;
    for database in &databases {
        for query in [
            "PRAGMA query_only = off; DELETE FROM deals; SELECT 1 AS one",
            "SELECT 1; COMMIT; DELETE FROM deals",
            "COMMIT; DELETE FROM deals RETURNING id",
            "SELECT 1 AS one; SELECT 2 AS two",
            "DELETE FROM deals RETURNING id",
            "WITH gone AS (DELETE FROM deals RETURNING id) SELECT count(*) AS n FROM gone",
            "SET default_transaction_read_only = off; DELETE FROM deals RETURNING id",
            "SELECT set_config('transaction_read_only', 'off', false), wipe()",
            "SELECT wipe() AS n",
            "CREATE TABLE half (id int)",
            "PRAGMA user_version = 7",
            "VACUUM INTO 'half.db'",
            "ATTACH 'half.db' AS other",
        ] {
            let step = json!({"sql": {"source": "db", "query": query}});
            let outcome = database.fixture(step).execute().await;
            assert_eq!(
                outcome.verdict,
                Verdict::Error,
                "{}: {query}: {outcome:?}",
                database.kind
            );
            assert_eq!(
                database.count("SELECT count(*) FROM deals").await,
                3,
                "{query}"
            );
            assert_eq!(left(database).await, 0, "{query}");
        }
        for (query, number) in [
            (
                "-- a comment\nSELECT count(*) AS n FROM deals; -- and another",
                "3",
            ),
            ("\u{feff}VALUES (7)", "7"),
        ] {
            let step = json!({"sql": {"source": "db", "query": query}});
            let outcome = database.fixture(step).execute().await;
            assert_eq!(
                outcome.verdict,
                Verdict::Pass,
                "{}: {query}: {outcome:?}",
                database.kind
            );
            assert!(
                outcome.message.ends_with(&format!("= {number}")),
                "{}",
                outcome.message
            );
        }
    }
    assert_eq!(
        databases[0]
            .count("SELECT user_version FROM pragma_user_version")
            .await,
        0
    );
    let shown =
        databases[1].fixture(json!({"sql": {"source": "db", "query": "SHOW server_version_num"}}));
    assert_eq!(shown.execute().await.verdict, Verdict::Pass);
}

/// Reads a file in write-ahead mode that the reader may not write.
#[tokio::test]
async fn a_query_reads_a_sqlite_file_with_a_write_ahead_log() {
    let database = sqlite().await;
    let alone = json!({"sql": {
        "source": "db", "deploy": "PRAGMA journal_mode = wal; UPDATE deals SET deal_type = 'x';",
        "verify": "SELECT 1", "revert": "SELECT 1", "transaction": "none",
    }});
    let outcome = database.fixture(alone).execute().await;
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:?}");
    let query = json!({"sql": {"source": "db", "query": "SELECT count(*) AS n FROM deals WHERE deal_type = 'x'"}});
    let outcome = database.fixture(query).execute().await;
    assert_eq!(outcome.message, "n = 3", "{outcome:?}");
}

#[tokio::test]
async fn statements_that_no_transaction_holds_run_one_by_one() {
    let server = Postgres::start();
    let database = postgres(&server, "alone").await;
    let script = "CREATE INDEX CONCURRENTLY by_type ON deals (deal_type);\nVACUUM deals;";
    let outcome = deploy(&database, script).await;
    assert_eq!(outcome.verdict, Verdict::Fail, "{outcome:?}");
    assert!(
        outcome.message.contains("`transaction: none`"),
        "{}",
        outcome.message
    );

    let step = |deploy: &str| {
        database.fixture(json!({"sql": {
            "source": "db", "deploy": deploy, "verify": "SELECT 'by_type'::regclass",
            "revert": "DROP INDEX CONCURRENTLY IF EXISTS by_type", "transaction": "none",
        }}))
    };
    let fixture = step(script);
    let outcome = fixture.execute().await;
    assert_eq!(
        (outcome.verdict, outcome.effect),
        (Verdict::Pass, true),
        "{outcome:?}"
    );
    assert_eq!(outcome.partial, None);
    let undone = executor::undo(&fixture.step, &fixture.context).await;
    assert_eq!(undone.verdict, Verdict::Pass, "{undone:?}");
    assert_eq!(
        database
            .count("SELECT count(*) FROM pg_class WHERE relname = 'by_type'")
            .await,
        0
    );

    let half = step(
        "CREATE TABLE half (id int);\nINSERT INTO half VALUES (1);\nINSERT INTO nowhere VALUES (1);\nCREATE TABLE second_part (id int);",
    );
    let outcome = half.execute().await;
    assert_eq!(
        (outcome.verdict, outcome.effect),
        (Verdict::Fail, true),
        "{outcome:?}"
    );
    let done = outcome.partial.clone().unwrap();
    assert_eq!(
        (done.statements, done.last.as_str()),
        (2, "line 2, `INSERT INTO half VALUES (1)`")
    );
    assert!(
        outcome.message.contains("effect: partial"),
        "{}",
        outcome.message
    );
    assert!(
        !outcome.message.contains("nothing was changed"),
        "{}",
        outcome.message
    );
    assert_eq!(database.count("SELECT count(*) FROM half").await, 1);
    assert_eq!(left(&database).await, 1);

    // With a transaction, "the last statement done" would not be true.
    let block = step("BEGIN;\nCREATE TABLE second_part (id int);\nCOMMIT;\nSELECT 1;");
    let outcome = block.execute().await;
    assert_eq!(outcome.verdict, Verdict::Fail, "{outcome:?}");
    assert_eq!(left(&database).await, 1);
}

#[tokio::test]
async fn sqlite_runs_statements_one_by_one_and_reports_the_last() {
    let database = sqlite().await;
    let step = json!({"sql": {
        "source": "db", "deploy": "VACUUM;\nCREATE TABLE half (id int);\nINSERT INTO nowhere VALUES (1);",
        "verify": "SELECT 1", "revert": "SELECT 1", "transaction": "none",
    }});
    let outcome = database.fixture(step).execute().await;
    assert_eq!(
        (outcome.verdict, outcome.effect),
        (Verdict::Fail, true),
        "{outcome:?}"
    );
    let done = outcome.partial.unwrap();
    assert_eq!(
        (done.statements, done.last.as_str()),
        (2, "line 2, `CREATE TABLE half (id int)`")
    );
    assert_eq!(left(&database).await, 1);
}

const CHILDREN: &str = "CREATE TABLE deal (id INTEGER PRIMARY KEY, kind TEXT);
    CREATE TABLE cost_line (id INTEGER PRIMARY KEY, deal_id INTEGER NOT NULL REFERENCES deal(id) ON DELETE CASCADE, cents INTEGER);
    INSERT INTO deal VALUES (1,'acquisition'),(2,'carveout');
    INSERT INTO cost_line VALUES (10,1,500),(11,1,700),(12,2,900);";

/// Rebuilds a table as SQLite's manual says and expects the rows that refer to it to be kept, both
/// with the pragma, which cannot work inside a transaction, and without it.
#[tokio::test]
async fn a_rebuilt_table_of_sqlite_keeps_its_children() {
    let rebuild = "CREATE TABLE deal_new (id INTEGER PRIMARY KEY, kind TEXT NOT NULL);
        INSERT INTO deal_new SELECT id, kind FROM deal;
        DROP TABLE deal;
        ALTER TABLE deal_new RENAME TO deal;";
    for (script, is_kept) in [
        (format!("PRAGMA foreign_keys=OFF;\n{rebuild}\nPRAGMA foreign_keys=ON;"), true),
        (rebuild.to_owned(), true),
        (format!("BEGIN;\n{rebuild}\nCOMMIT;"), true),
        // A rebuild that removes a parent row is refused and says so.
        (rebuild.replace("FROM deal;", "FROM deal WHERE id = 1;"), false),
        (format!("PRAGMA foreign_keys = 0;\n{}", "DELETE FROM deal WHERE id = 2;"), false),
        ("DROP TABLE deal;".to_owned(), false),
        ("ALTER TABLE deal RENAME TO deal_old; CREATE TABLE deal (id INTEGER PRIMARY KEY, kind TEXT); INSERT INTO deal SELECT * FROM deal_old; DROP TABLE deal_old;".to_owned(), false),
    ] {
        let database = sqlite().await;
        runs(&database, CHILDREN).await;
        let outcome = deploy(&database, &script).await;
        assert_eq!(outcome.verdict == Verdict::Pass, is_kept, "{script}: {outcome:?}");
        if !is_kept {
            assert!(outcome.message.contains("cost_line"), "{}", outcome.message);
            assert!(outcome.message.ends_with("nothing was changed"), "{}", outcome.message);
            assert!(!outcome.effect, "{outcome:?}");
        }
        assert_eq!(database.count("SELECT count(*) FROM cost_line").await, 3, "{script}");
        assert_eq!(database.count("SELECT count(*) FROM deal").await, 2, "{script}");
        assert_eq!(database.count("SELECT count(*) FROM pragma_foreign_key_check").await, 0, "{script}");
    }
    // The schema's own rules for deletion still apply.
    let database = sqlite().await;
    runs(&database, CHILDREN).await;
    runs(&database, "DELETE FROM deal WHERE id = 2").await;
    assert_eq!(database.count("SELECT count(*) FROM cost_line").await, 2);
    // Without a transaction, the script may set the pragma.
    for (script, verdict) in [
        (rebuild.to_owned(), Verdict::Fail),
        (
            format!("PRAGMA foreign_keys=OFF;\n{rebuild}"),
            Verdict::Pass,
        ),
    ] {
        let database = sqlite().await;
        runs(&database, CHILDREN).await;
        let step = json!({"sql": {"source": "db", "deploy": script, "verify": "SELECT 1", "revert": "SELECT 1", "transaction": "none"}});
        let outcome = database.fixture(step).execute().await;
        assert_eq!(outcome.verdict, verdict, "{outcome:?}");
        assert_eq!(database.count("SELECT count(*) FROM cost_line").await, 3);
    }
}

//! Migrations and queries on real SQLite and PostgreSQL: the same behaviour on both.

use rollbook_proto::v1::Verdict;
use rollbook_workers::executor;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection};
use tempfile::TempDir;

use crate::executor_fixture::{Fixture, number};
use crate::postgres::Postgres;

/// A database with a table `deals` of three rows.
pub struct Database {
    url: String,
    pub kind: &'static str,
    _dir: Option<TempDir>,
}

const SCHEMA: &str =
    "CREATE TABLE deals (id integer PRIMARY KEY, deal_type text, price numeric(10,2) DEFAULT 1.50);
    INSERT INTO deals (id, deal_type) VALUES (1, 'acquisition'), (2, NULL), (3, 'carveout');";

pub async fn sqlite() -> Database {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deals.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let mut connection = sqlx::SqliteConnection::connect_with(&options)
        .await
        .unwrap();
    sqlx::raw_sql(SCHEMA)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    Database {
        url: format!("sqlite:{}", path.display()),
        kind: "sqlite",
        _dir: Some(dir),
    }
}

pub async fn postgres(server: &Postgres, name: &str) -> Database {
    let url = server.database(name).await;
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(SCHEMA)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    Database {
        url,
        kind: "postgres",
        _dir: None,
    }
}

impl Database {
    pub fn fixture(&self, step: Value) -> Fixture {
        let sections =
            json!({"sources": {"db": {"kind": "database", "url": {"staging": {"env": "DB"}}}}});
        Fixture::with(step, sections, &[("DB", &self.url)])
    }

    pub async fn count(&self, query: &str) -> i64 {
        let query = AssertSqlSafe(query.to_owned());
        if self.kind == "sqlite" {
            let mut connection = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(query)
                .fetch_one(&mut connection)
                .await
                .unwrap()
        } else {
            let mut connection = sqlx::PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(query)
                .fetch_one(&mut connection)
                .await
                .unwrap()
        }
    }
}

async fn migrations_and_queries(database: &Database) {
    deploy_verify_revert(database).await;
    failed_scripts_leave_nothing(database).await;
    queries(database).await;
    refusals(database).await;
}

async fn deploy_verify_revert(database: &Database) {
    let fixture = database.fixture(json!({"sql": {
        "source": "db",
        "deploy": "-- Deploy\nBEGIN;\nCREATE TABLE kept (id integer, was text);\nINSERT INTO kept SELECT id, deal_type FROM deals;\nUPDATE deals SET deal_type = 'acquisition' WHERE deal_type IS NULL;\nCOMMIT;\n",
        "verify": "SELECT id, was FROM kept WHERE 1 = 0; SELECT 1;",
        "revert": "UPDATE deals SET deal_type = (SELECT was FROM kept WHERE kept.id = deals.id); DROP TABLE kept;",
    }}));
    let before = executor::verify(&fixture.step, &fixture.context)
        .await
        .unwrap();
    assert_eq!(before.verdict, Verdict::Fail, "{before:?}");
    let outcome = fixture.execute().await;
    assert_eq!(
        (outcome.verdict, outcome.effect),
        (Verdict::Pass, true),
        "{outcome:?}"
    );
    assert_eq!(outcome.message, "deployed and verified");
    assert_eq!(
        database
            .count("SELECT count(*) FROM deals WHERE deal_type IS NULL")
            .await,
        0
    );
    let after = executor::verify(&fixture.step, &fixture.context)
        .await
        .unwrap();
    assert_eq!(after.verdict, Verdict::Pass, "{after:?}");
    let undone = executor::undo(&fixture.step, &fixture.context).await;
    assert_eq!(undone.verdict, Verdict::Pass, "{undone:?}");
    assert_eq!(
        database
            .count("SELECT count(*) FROM deals WHERE deal_type IS NULL")
            .await,
        1
    );
    let again = executor::undo(&fixture.step, &fixture.context).await;
    assert_eq!(
        again.verdict,
        Verdict::Fail,
        "there is nothing to revert: {again:?}"
    );
}

async fn failed_scripts_leave_nothing(database: &Database) {
    for (deploy, verify, said) in [
        (
            "CREATE TABLE half (id integer); INSERT INTO nowhere VALUES (1);",
            None,
            "nowhere",
        ),
        (
            "CREATE TABLE half (id integer);",
            Some("SELECT missing FROM half;"),
            "rolled back because",
        ),
        (
            "CREATE TABLE half (id integer); COMMIT; SELECT 1;",
            None,
            "COMMIT",
        ),
    ] {
        let fixture =
            database.fixture(json!({"sql": {"source": "db", "deploy": deploy, "verify": verify}}));
        let outcome = fixture.execute().await;
        assert_ne!(outcome.verdict, Verdict::Pass, "{deploy}");
        assert!(outcome.message.contains(said), "{}", outcome.message);
        assert!(!outcome.effect, "{outcome:?}");
        let table = match database.kind {
            "sqlite" => "SELECT count(*) FROM sqlite_master WHERE name = 'half'",
            _ => "SELECT count(*) FROM pg_tables WHERE tablename = 'half'",
        };
        assert_eq!(database.count(table).await, 0, "{deploy}");
    }
}

async fn queries(database: &Database) {
    let fixture = database.fixture(json!({
        "sql": {"source": "db", "query": "SELECT count(*) AS total, sum(price) AS sum, avg(id) AS mean, max(deal_type) AS last, max(CASE WHEN id > 99 THEN id END) AS none FROM deals"},
        "expect": ["total == 3", "sum == 4.5"],
    }));
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:?}");
    assert_eq!(number(&outcome, "mean"), Some(2.0));
    assert_eq!(number(&outcome, "none"), None);
    assert!(
        outcome
            .measurements
            .iter()
            .any(|m| m.metric == "last" && m.text == "carveout")
    );
    assert!(!outcome.effect);

    let empty = database
        .fixture(json!({"sql": {"source": "db", "query": "SELECT id FROM deals WHERE id > 99"}}));
    assert_eq!(
        empty.execute().await.verdict,
        Verdict::Inconclusive,
        "no row is no data"
    );

    let missing =
        database.fixture(json!({"sql": {"source": "db", "query": "SELECT 1 FROM no_such_table"}}));
    let outcome = missing.execute().await;
    assert_eq!(outcome.verdict, Verdict::Error);
    assert!(
        outcome.message.contains("no_such_table"),
        "{}",
        outcome.message
    );

    // Longer than what is kept, and longer than what the database may return for a query at all.
    let long = "replace(hex(zeroblob(40000)), '00', 'xx')";
    let selects = match database.url.starts_with("sqlite") {
        true => [
            (long.to_owned(), "at most 65536 are kept"),
            ("zeroblob(1000000000)".to_owned(), "too big"),
        ],
        false => [
            ("repeat('x', 80000)".to_owned(), "at most 65536 are kept"),
            (
                "repeat('x', 20000000)".to_owned(),
                "the first row has 20000002 bytes as text, at most 16777216 are read",
            ),
        ],
    };
    for (select, said) in selects {
        let query = format!("SELECT {select} AS long");
        let large = database.fixture(json!({"sql": {"source": "db", "query": query}}));
        let outcome = large.execute().await;
        assert_eq!(outcome.verdict, Verdict::Error, "{select}");
        assert!(outcome.message.contains(said), "{}", outcome.message);
    }
    half_a_secret_is_not_shown(database).await;

    let writes = database
        .fixture(json!({"sql": {"source": "db", "query": "DELETE FROM deals RETURNING id"}}));
    assert_eq!(
        writes.execute().await.verdict,
        Verdict::Error,
        "a query writes nothing"
    );
    assert_eq!(database.count("SELECT count(*) FROM deals").await, 3);
}

/// Places a secret across the point where a message cuts a row: if it were cut before it is
/// redacted, the first half would not be recognised.
async fn half_a_secret_is_not_shown(database: &Database) {
    let query = format!("SELECT '{}tops3' || 'cret-pass' AS row", "x".repeat(490));
    let sections = json!({"sources": {
        "db": {"kind": "database", "url": {"staging": {"env": "DB"}}},
        "other": {"kind": "postgres", "url": {"staging": {"env": "OTHER"}}},
    }});
    let step = json!({"sql": {"source": "db", "query": query}});
    let secrets = [
        ("DB", database.url.as_str()),
        ("OTHER", "postgres://app:tops3cret-pass@h/d"),
    ];
    let outcome = Fixture::with(step, sections, &secrets).execute().await;
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:?}");
    assert_eq!(outcome.message.chars().count(), 500, "{outcome:?}");
    assert!(!outcome.message.contains("top"), "{}", outcome.message);
}

async fn refusals(database: &Database) {
    for (query, expected) in [
        ("INSERT INTO deals (id) VALUES (1)", Verdict::Pass),
        ("INSERT INTO deals (id) VALUES (100)", Verdict::Fail),
        ("INSERT INTO no_such_table VALUES (1)", Verdict::Error),
    ] {
        let fixture =
            database.fixture(json!({"sql": {"source": "db", "query": query, "must_fail": true}}));
        let outcome = fixture.execute().await;
        assert_eq!(outcome.verdict, expected, "{query}: {outcome:?}");
        assert_eq!(database.count("SELECT count(*) FROM deals").await, 3);
    }
}

#[tokio::test]
async fn on_sqlite() {
    migrations_and_queries(&sqlite().await).await;
}

#[tokio::test]
async fn on_postgres() {
    let server = Postgres::start();
    migrations_and_queries(&postgres(&server, "deals").await).await;

    let database = postgres(&server, "refusing").await;
    let raised = "DO $$ BEGIN IF (SELECT count(*) FROM deals) > 0 THEN RAISE EXCEPTION 'unknown deal type'; END IF; END $$;";
    let fixture = database.fixture(json!({"sql": {"source": "db", "deploy": raised}}));
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert!(
        outcome.message.contains("unknown deal type"),
        "{}",
        outcome.message
    );

    let slow = database.fixture(json!({"sql": {"source": "db", "deploy": "CREATE TABLE slow (id int); SELECT pg_sleep(60);"}, "timeout": "300ms"}));
    let outcome = slow.execute().await;
    assert_ne!(outcome.verdict, Verdict::Pass, "{outcome:?}");
    assert_eq!(
        database
            .count("SELECT count(*) FROM pg_tables WHERE tablename = 'slow'")
            .await,
        0
    );

    let nobody = server
        .url("deals")
        .replace("rollbook@", "nobody_here:tops3cret@");
    let database = Database {
        url: nobody,
        kind: "postgres",
        _dir: None,
    };
    let outcome = database
        .fixture(json!({"sql": {"source": "db", "query": "SELECT 1"}}))
        .execute()
        .await;
    assert_eq!(outcome.verdict, Verdict::Error);
    assert!(
        outcome.message.contains("nobody_here"),
        "{}",
        outcome.message
    );
    assert!(
        !outcome.message.contains("tops3cret"),
        "{}",
        outcome.message
    );
}

#[tokio::test]
async fn a_missing_database_is_named_without_its_password() {
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    for (url, said) in [
        (
            format!("postgres://app:tops3cret@127.0.0.1:{port}/deals"),
            "is the server running",
        ),
        (
            "sqlite:/no/such/file.db".to_owned(),
            "there is no file /no/such/file.db",
        ),
        (
            "mysql://app:tops3cret@h/d".to_owned(),
            "neither with postgres:// nor with sqlite:",
        ),
    ] {
        let database = Database {
            url,
            kind: "",
            _dir: None,
        };
        let outcome = database
            .fixture(json!({"sql": {"source": "db", "deploy": "SELECT 1"}}))
            .execute()
            .await;
        assert_eq!((outcome.verdict, outcome.effect), (Verdict::Error, false));
        assert!(outcome.message.contains(said), "{}", outcome.message);
        assert!(
            !outcome.message.contains("tops3cret"),
            "{}",
            outcome.message
        );
    }
}

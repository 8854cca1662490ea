//! Scripts and queries that the database itself, not Rollbook's scanner, must refuse or keep whole:
//! through the built program, with real databases.

use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use crate::harness::Place;
use crate::postgres::Postgres;

const HEAD: &str = "apiVersion: rollbook/v1
kind: Runbook
metadata: {name: scripts, version: \"1\", owner: tests}
environments: {local: {}}
sources:
  lite: {kind: sqlite, url: {local: {value: \"sqlite:deals.db\"}}}
  pg: {kind: database, url: {local: {env: DB_URL}}}
phases:
  - id: \"1\"
    title: Migrate
    steps:
";

/// Independent steps: a failed one does not block the others.
fn book(steps: &[(&str, &str)]) -> String {
    let mut text = HEAD.to_owned();
    for (id, action) in steps {
        text.push_str(&format!(
            "      - {{id: \"{id}\", title: A step, needs: [], sql: {action}}}\n"
        ));
    }
    text
}

const SEED: &str = "CREATE TABLE deal (id INTEGER PRIMARY KEY, kind TEXT);
CREATE TABLE cost_line (id INTEGER PRIMARY KEY, deal_id INTEGER NOT NULL REFERENCES deal(id) ON DELETE CASCADE, cents INTEGER NOT NULL);
INSERT INTO deal VALUES (1,'acquisition'),(2,'carveout');
INSERT INTO cost_line VALUES (10,1,500),(11,1,700),(12,2,900);
CREATE TABLE wide (id INTEGER); INSERT INTO wide VALUES (1);";

const REBUILD: &str = "PRAGMA foreign_keys=OFF;
CREATE TABLE deal_new (id INTEGER PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('acquisition','carveout')));
INSERT INTO deal_new SELECT id, kind FROM deal;
DROP TABLE deal;
ALTER TABLE deal_new RENAME TO deal;
PRAGMA foreign_keys=ON;
";

const TRIGGER: &str = "CREATE TABLE audited (id INTEGER PRIMARY KEY, a1 INT, a2 INT, a3 INT, a4 INT, a5 INT, a6 INT);
CREATE TABLE audit (deal INTEGER, what TEXT);
CREATE TRIGGER deal_audit AFTER UPDATE OF a1, a2, a3, a4, a5, a6 ON audited
WHEN OLD.a1 IS NOT NEW.a1 OR OLD.a2 IS NOT NEW.a2 OR OLD.a3 IS NOT NEW.a3 OR OLD.a4 IS NOT NEW.a4 OR OLD.a5 IS NOT NEW.a5
BEGIN
  INSERT INTO audit VALUES (NEW.id, CASE WHEN NEW.a1 IS NULL THEN 'emptied' ELSE 'changed' END);
  SELECT CASE WHEN NEW.a2 < 0 THEN RAISE(ABORT, 'negative') END; -- END;
END;
";

struct Databases {
    lite: SqliteConnection,
    pg: PgConnection,
}

impl Databases {
    async fn lite(&mut self, query: &str) -> i64 {
        let query = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
        query.fetch_one(&mut self.lite).await.unwrap()
    }

    async fn pg(&mut self, query: &str) -> i64 {
        let query = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
        query.fetch_one(&mut self.pg).await.unwrap()
    }
}

async fn databases(place: &Place, url: &str) -> Databases {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(place.path().join("deals.db"))
        .create_if_missing(true);
    let mut lite = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(SEED).execute(&mut lite).await.unwrap();
    Databases {
        lite,
        pg: PgConnection::connect(url).await.unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_keeps_each_script_in_one_transaction() {
    let server = Postgres::start();
    let url = server.database("scripts").await;
    let mut place = Place::new();
    place.set(vec![("DB_URL", url.clone())]);
    let mut data = databases(&place, &url).await;
    place.write("rebuild.sql", REBUILD);
    place.write("trigger.sql", TRIGGER);
    place.write(
        "hidden.sql",
        "CREATE TABLE cost$eur$2026 (id int);\nCOMMIT;\nCREATE TABLE second_part (id int);\n",
    );
    place.write(
        "bom.sql",
        "\u{feff}BEGIN;\nCREATE TABLE bom_t (id int, note text DEFAULT $$a;\nb$$);\nCOMMIT;\n",
    );
    place.write(
        "bom_verify.sql",
        "\u{feff}-- verify\nSELECT id, note FROM bom_t WHERE false;\n",
    );
    place.write(
        "partial.sql",
        "CREATE INDEX CONCURRENTLY by_id ON big (id);\nSELECT no_such_column;\n",
    );
    place.write(
        "whole.sql",
        "CREATE TABLE vacuumed (id int);\nVACUUM vacuumed;\n",
    );
    place.write(
        "back.sql",
        "DROP INDEX CONCURRENTLY by_id;\nSELECT no_such_column;\n",
    );
    let text = book(&[
        (
            "1.1",
            "{source: lite, deploy: {file: rebuild.sql}, verify: SELECT id FROM deal LIMIT 0, revert: SELECT 1}",
        ),
        (
            "1.2",
            "{source: lite, deploy: {file: trigger.sql}, verify: SELECT 1, revert: DROP TABLE audited}",
        ),
        (
            "1.3",
            "{source: pg, deploy: {file: hidden.sql}, verify: SELECT no_such_column FROM second_part, revert: SELECT 1}",
        ),
        (
            "1.4",
            "{source: pg, deploy: {file: bom.sql}, verify: {file: bom_verify.sql}, revert: DROP TABLE bom_t}",
        ),
        (
            "1.5",
            "{source: lite, query: \"PRAGMA query_only = off; DELETE FROM wide; SELECT 1 AS one\"}",
        ),
        (
            "1.6",
            "{source: lite, query: DELETE FROM wide RETURNING id}",
        ),
        (
            "1.7",
            "{source: pg, deploy: {file: partial.sql}, verify: SELECT 1, revert: {file: back.sql}, transaction: none}",
        ),
        (
            "1.8",
            "{source: pg, deploy: {file: whole.sql}, verify: SELECT 1, revert: SELECT 1}",
        ),
    ]);
    sqlx::raw_sql("CREATE TABLE big (id int)")
        .execute(&mut data.pg)
        .await
        .unwrap();
    // The runbook comes from Windows, too.
    place.write("scripts.yaml", &format!("\u{feff}{text}"));
    place
        .run("lint scripts.yaml")
        .exits(0)
        .complains("line 2 of `deploy`: COMMIT begins, ends or marks a transaction")
        .complains("line 2 of `deploy`: no transaction holds VACUUM");
    let _up = place.up();
    place
        .run("open scripts.yaml --env local --as alice --id s-1 --start")
        .exits(0);
    let shown = |step: &str| place.until_step("s-1", step, &["finished"]);

    let rebuilt = shown("1.1");
    assert_eq!(rebuilt["verdict"], "pass", "{rebuilt}");
    assert_eq!(data.lite("SELECT count(*) FROM cost_line").await, 3);
    let checked = "SELECT count(*) FROM sqlite_schema WHERE name = 'deal' AND sql LIKE '%CHECK%'";
    assert_eq!(data.lite(checked).await, 1);

    let created = shown("1.2");
    assert_eq!(created["verdict"], "pass", "{created}");
    let trigger = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'";
    assert_eq!(data.lite(trigger).await, 1);

    let hidden = shown("1.3");
    assert_eq!(hidden["verdict"], "fail", "{hidden}");
    for said in [
        "hidden.sql:2, `COMMIT`",
        "the step's own transaction",
        "nothing was changed",
    ] {
        assert!(hidden.to_string().contains(said), "{said}: {hidden}");
    }
    let left =
        "SELECT count(*) FROM pg_class WHERE relname LIKE 'cost%' OR relname = 'second_part'";
    assert_eq!(data.pg(left).await, 0);

    let marked = shown("1.4");
    assert_eq!(marked["verdict"], "pass", "{marked}");

    for step in ["1.5", "1.6"] {
        let query = shown(step);
        assert_eq!(query["verdict"], "error", "{query}");
        assert_eq!(data.lite("SELECT count(*) FROM wide").await, 1);
    }

    let partial = shown("1.7");
    assert_eq!(partial["verdict"], "fail", "{partial}");
    for said in [
        "effect: partial",
        "1 statement is done",
        "partial.sql:1, `CREATE INDEX CONCURRENTLY",
    ] {
        assert!(partial.to_string().contains(said), "{said}: {partial}");
    }
    assert_eq!(
        data.pg("SELECT count(*) FROM pg_class WHERE relname = 'by_id'")
            .await,
        1
    );
    let log = place.run("log s-1 --json").exits(0).out;
    for said in ["EFFECT_KIND_PARTIAL", "\"statementsDone\":1"] {
        assert!(log.replace(' ', "").contains(said), "{said}: {log}");
    }
    place.run("status s-1").says("effect: partial");
    place.run("report s-1").exits(0).says("effect: partial");
    assert_eq!(partial["partial"]["statements_done"], 1, "{partial}");
    let last = partial["partial"]["last_statement"].as_str();
    assert!(
        last.is_some_and(|last| last.contains("partial.sql:1")),
        "{partial}"
    );
    place
        .run("show 1.7 s-1")
        .exits(0)
        .says("effect      partial: 1 statement is done, partial.sql:1");

    let whole = shown("1.8");
    assert_eq!(whole["verdict"], "fail", "{whole}");
    assert!(
        whole.to_string().contains("whole.sql:2, `VACUUM vacuumed`"),
        "{whole}"
    );
    assert!(whole.to_string().contains("`transaction: none`"), "{whole}");
    let vacuumed = "SELECT count(*) FROM pg_class WHERE relname = 'vacuumed'";
    assert_eq!(data.pg(vacuumed).await, 0);

    // The undo stops half-way too.
    place
        .run("undo 1.7 s-1 --reason 'no index after all' --as alice")
        .exits(0);
    let undone = place.until_step("s-1", "1.7", &["undo_failed"]);
    assert_eq!(undone["undo_partial"]["statements_done"], 1, "{undone}");
    let last = undone["undo_partial"]["last_statement"].as_str();
    assert!(
        last.is_some_and(|last| last.contains("back.sql:1")),
        "{undone}"
    );
    place
        .run("show 1.7 s-1")
        .exits(0)
        .says("effect of the undo partial: 1 statement is done, back.sql:1");
    place
        .run("report s-1")
        .exits(0)
        .says("effect of the undo: partial");
}

#[test]
fn a_step_without_a_transaction_needs_verify_and_undo() {
    let place = Place::new();
    let text = book(&[("1.1", "{source: pg, deploy: VACUUM, transaction: none}")]);
    place.write("alone.yaml", &text);
    place
        .run("lint alone.yaml")
        .exits(2)
        .says("RB-RUNBOOK-21")
        .says("RB-RUNBOOK-22");
    let text = book(&[("1.1", "{source: pg, query: SELECT 1, transaction: none}")]);
    place.write("alone.yaml", &text);
    place
        .run("lint alone.yaml")
        .exits(2)
        .says("`transaction: none` without `deploy`");
}

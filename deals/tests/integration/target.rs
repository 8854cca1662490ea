//! A target database of either kind, queried in plain SQL.

use rollbook_deals::migrate::{Dialect, Migration, dialect, migrations};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, SqliteConnection};

/// A database that a suite works on.
pub struct Database {
    pub url: String,
}

impl Database {
    pub fn dialect(&self) -> Dialect {
        dialect(&self.url).unwrap()
    }

    pub fn migrations(&self) -> &'static [Migration] {
        migrations(self.dialect())
    }

    async fn sqlite(&self) -> SqliteConnection {
        let options: SqliteConnectOptions = self.url.parse().unwrap();
        options.create_if_missing(true).connect().await.unwrap()
    }

    /// Runs a script on its own connection; the error is the database's message.
    pub async fn run(&self, script: &str) -> Result<(), String> {
        let query = sqlx::raw_sql(AssertSqlSafe(script));
        let outcome = match self.dialect() {
            Dialect::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                query.execute(&mut connection).await.map(drop)
            }
            Dialect::Sqlite => query.execute(&mut self.sqlite().await).await.map(drop),
        };
        outcome.map_err(|error| error.to_string())
    }

    /// The first column of each row, as text.
    pub async fn rows(&self, sql: &str) -> Vec<Option<String>> {
        let sql = AssertSqlSafe(sql);
        match self.dialect() {
            Dialect::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                let query = sqlx::query_scalar(sql);
                query.fetch_all(&mut connection).await.unwrap()
            }
            Dialect::Sqlite => {
                let query = sqlx::query_scalar(sql);
                query.fetch_all(&mut self.sqlite().await).await.unwrap()
            }
        }
    }

    pub async fn count(&self, from: &str) -> i64 {
        let sql = format!("SELECT CAST(count(*) AS varchar(20)) FROM {from}");
        self.rows(&sql).await[0].as_ref().unwrap().parse().unwrap()
    }

    /// Columns, indexes and constraints of deals, in an order independent of their history.
    pub async fn shape(&self) -> Vec<Option<String>> {
        let sql = match self.dialect() {
            Dialect::Postgres => {
                "SELECT concat_ws('|', column_name, data_type, character_maximum_length,
                                  is_nullable, column_default, collation_name) AS line
                 FROM information_schema.columns
                 WHERE table_schema = 'public' AND table_name = 'deals'
                 UNION ALL SELECT indexdef FROM pg_indexes WHERE tablename = 'deals'
                 UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
                   WHERE conrelid = to_regclass('deals')
                 UNION ALL SELECT 'table ' || tablename FROM pg_tables WHERE schemaname = 'public'
                 ORDER BY line"
            }
            // deal_type_alias may remain, empty: SQLite has no conditional DROP.
            Dialect::Sqlite => {
                "SELECT name || '|' || type || '|' || \"notnull\" || '|' || pk || '|'
                        || coalesce(dflt_value, '') AS line
                 FROM pragma_table_info('deals')
                 UNION ALL SELECT 'table ' || name FROM sqlite_schema
                   WHERE type = 'table' AND name <> 'deal_type_alias'
                 UNION ALL SELECT replace(sql, '\"', '') FROM sqlite_schema
                   WHERE type = 'index' AND sql IS NOT NULL
                 UNION ALL SELECT 'checked' FROM sqlite_schema
                   WHERE name = 'deals' AND sql LIKE '%CHECK%'
                 ORDER BY line"
            }
        };
        self.rows(sql).await
    }

    /// Every row of deals, with all columns.
    pub async fn contents(&self) -> Vec<Option<String>> {
        let sql = match self.dialect() {
            Dialect::Postgres => "SELECT deals::text FROM deals ORDER BY id",
            Dialect::Sqlite => {
                "SELECT json_array(id, tenant_id, owner_id, name, target_name, buyer_name,
                   deal_type, industry, sub_industry, deal_value, status, inventory, created_at,
                   updated_at, target_locked, buyer_locked, locked_at, locked_by,
                   last_accessed_at, deleted_at, documents_uploaded, facts_extracted,
                   findings_count, analysis_runs_count, review_percent, context, settings)
                 FROM deals ORDER BY id"
            }
        };
        self.rows(sql).await
    }
}

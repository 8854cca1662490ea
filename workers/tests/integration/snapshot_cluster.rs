//! A PostgreSQL cluster started for a test: Unix socket only, passwords required, and a collation
//! that does not order by bytes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use rollbook_workers::snapshot::SnapshotSource;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection};

use crate::snapshot_deals::deals;

const USER: &str = "rollbook";
const PASSWORD: &str = "correct-horse";

#[derive(Debug)]
pub(crate) struct Cluster {
    directory: tempfile::TempDir,
    server: Mutex<Child>,
}

/// The newest installed server.
fn binaries() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL is needed for this test: install postgresql")
        .map(|entry| entry.unwrap().path().join("bin"))
        .filter(|bin| bin.join("initdb").is_file())
        .collect();
    found.sort();
    found.pop().expect("a PostgreSQL with initdb")
}

/// The server programs refuse to run as root; then they run as the user that Debian created for
/// them.
fn command(program: &Path) -> Command {
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let mut command = if root {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        let word = top.join("password");
        std::fs::write(&word, PASSWORD).unwrap();
        // Owned by the postgres user if this process is root; otherwise it is ours already.
        let _ = Command::new("chown")
            .args(["-R", "postgres"])
            .arg(top)
            .stderr(Stdio::null())
            .status();
        let data = top.join("data");
        let made = command(&binaries().join("initdb"))
            .arg("-D")
            .arg(&data)
            .args([
                "-U",
                USER,
                "--auth=scram-sha-256",
                "--no-sync",
                "--encoding=UTF8",
            ])
            .args([
                "--locale-provider=icu",
                "--icu-locale=en",
                "--locale=C.UTF-8",
            ])
            .arg(format!("--pwfile={}", word.display()))
            .status()
            .unwrap();
        assert!(made.success());
        let server = Mutex::new(Self::spawn(top));
        let cluster = Self { directory, server };
        cluster.wait_until_up().await;
        cluster
    }

    fn spawn(top: &Path) -> Child {
        command(&binaries().join("postgres"))
            .arg("-D")
            .arg(top.join("data"))
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c"])
            .arg(format!("unix_socket_directories={}", top.display()))
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    async fn wait_until_up(&self) {
        for _ in 0..600 {
            if self.try_connect().await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the cluster does not answer");
    }

    /// Stops the server as a crash would.
    pub(crate) fn stop(&self) {
        let data = self.directory.path().join("data");
        let stopped = command(&binaries().join("pg_ctl"))
            .args(["stop", "-m", "immediate", "-D"])
            .arg(&data)
            .status();
        assert!(stopped.unwrap().success());
    }

    /// Stops the server as a crash would and starts it again.
    pub(crate) async fn restart(&self) {
        self.stop();
        self.restart_stopped().await;
    }

    /// Starts the stopped server again.
    pub(crate) async fn restart_stopped(&self) {
        {
            let mut server = self.server.lock().unwrap();
            server.wait().unwrap();
            *server = Self::spawn(self.directory.path());
        }
        self.wait_until_up().await;
    }

    async fn try_connect(&self) -> Result<PgConnection, sqlx::Error> {
        let options: PgConnectOptions = self.url(PASSWORD).parse()?;
        PgConnection::connect_with(&options).await
    }

    pub(crate) fn url(&self, password: &str) -> String {
        let host = self.directory.path().display();
        format!("postgres://{USER}:{password}@localhost/postgres?host={host}")
    }

    pub(crate) fn source(&self) -> SnapshotSource {
        SnapshotSource::new(self.url(PASSWORD))
    }

    pub(crate) async fn execute(&self, sql: &str) {
        let mut connection = self.try_connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut connection)
            .await
            .unwrap();
    }

    /// The number that a query returns.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let mut connection = self.try_connect().await.unwrap();
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&mut connection)
            .await
            .unwrap()
    }

    /// Writes the deals with an inventory column of the given type, and the items as a child table.
    pub(crate) async fn deals(&self, column: &str) {
        self.execute(&format!(
            "DROP TABLE IF EXISTS deals, items;
             CREATE TABLE deals (id varchar(36) PRIMARY KEY, deal_type varchar(50),
                                 inventory {column}, deleted_at timestamptz);
             CREATE TABLE items (deal_id varchar(36), item {column})"
        ))
        .await;
        let mut connection = self.try_connect().await.unwrap();
        sqlx::raw_sql("BEGIN")
            .execute(&mut connection)
            .await
            .unwrap();
        let deal_sql = format!(
            "INSERT INTO deals VALUES ($1, $2, $3::text::{column}, CASE WHEN $4 THEN now() END)"
        );
        let item_sql = format!("INSERT INTO items VALUES ($1, $2::text::{column})");
        for deal in deals() {
            sqlx::query(AssertSqlSafe(deal_sql.clone()))
                .bind(&deal.id)
                .bind(deal.deal_type)
                .bind(deal.inventory())
                .bind(deal.deleted)
                .execute(&mut connection)
                .await
                .unwrap();
            for item in &deal.items {
                sqlx::query(AssertSqlSafe(item_sql.clone()))
                    .bind(&deal.id)
                    .bind(item)
                    .execute(&mut connection)
                    .await
                    .unwrap();
            }
        }
        sqlx::raw_sql("COMMIT")
            .execute(&mut connection)
            .await
            .unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.directory.path().join("data");
        let _ = command(&binaries().join("pg_ctl"))
            .args(["stop", "-m", "immediate", "-D"])
            .arg(&data)
            .status();
        if let Ok(server) = self.server.get_mut() {
            let _ = server.wait();
        }
    }
}

//! The service as a process, its database and a client.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::{Connection, Executor, SqliteConnection};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Longest wait for something that must happen; generous, since machines differ.
const PATIENCE: Duration = Duration::from_secs(30);

/// A SQLite file with the legacy schema, as applications have it before the rollout.
pub(crate) struct Database {
    dir: TempDir,
}

impl Database {
    pub(crate) async fn legacy() -> Self {
        let database = Self {
            dir: TempDir::new().unwrap(),
        };
        let migrations =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/deals/sqlite");
        let mut connection = database.connect().await;
        for script in ["001", "002", "003"] {
            let text = deploy_script(&migrations, script);
            connection.execute(sqlx::AssertSqlSafe(text)).await.unwrap();
        }
        database
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite:{}", self.dir.path().join("deals.db").display())
    }

    pub(crate) async fn connect(&self) -> SqliteConnection {
        SqliteConnection::connect(&format!("{}?mode=rwc", self.url()))
            .await
            .unwrap()
    }

    pub(crate) async fn execute(&self, sql: &'static str) {
        self.connect().await.execute(sql).await.unwrap();
    }

    pub(crate) async fn rows(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM deals")
            .fetch_one(&mut self.connect().await)
            .await
            .unwrap()
    }
}

fn deploy_script(migrations: &Path, number: &str) -> String {
    let found: Vec<PathBuf> = std::fs::read_dir(migrations)
        .unwrap_or_else(|error| panic!("{}: {error}", migrations.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with(number)
        })
        .map(|path| {
            if path.is_dir() {
                path.join("deploy.sql")
            } else {
                path
            }
        })
        .filter(|path| path.to_string_lossy().contains("deploy"))
        .collect();
    assert_eq!(found.len(), 1, "one deploy script of {number}: {found:?}");
    std::fs::read_to_string(&found[0]).unwrap()
}

/// A running service; killed when dropped.
pub(crate) struct Service {
    child: Child,
    pub(crate) url: String,
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cost-service"));
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

impl Service {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let mut child = program()
            .arg("serve")
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = tokio::time::timeout(PATIENCE, lines.next_line())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        // Reading on keeps the pipe open, so that the service may print.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let url = first
            .strip_prefix("listening on ")
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .to_owned();
        Self { child, url }
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.send(client().get(format!("{}{path}", self.url))).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(client().post(format!("{}{path}", self.url)).json(body))
            .await
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        client()
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Asks /health until it is as wanted.
    pub(crate) async fn health_until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let (_, health) = self.get("/health").await;
            if wanted(&health) {
                return health;
            }
            assert!(started.elapsed() < PATIENCE, "still {health}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs `cost-service check` against this service.
    pub(crate) async fn check(&self, expect_flag: &str) -> Output {
        program()
            .args(["check", "--url", &self.url, "--expect-flag", expect_flag])
            .output()
            .await
            .unwrap()
    }

    /// SIGTERM, then the exit code.
    pub(crate) async fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().unwrap().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .await
                .unwrap()
                .success()
        );
        tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .unwrap()
            .unwrap()
            .code()
    }
}

fn client() -> reqwest::Client {
    // Already installed when another test of this process came first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(PATIENCE)
        .build()
        .unwrap()
}

//! Temporary PostgreSQL clusters for tests: in a temporary directory, on a free loopback port,
//! stopped and removed when dropped. Binaries come from `/usr/lib/postgresql/*/bin` or `PATH`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

/// A running cluster.
pub struct Postgres {
    bin: PathBuf,
    /// The user the server runs as if the tests run as root, because PostgreSQL refuses to run as
    /// root.
    run_as: Option<String>,
    dir: TempDir,
    port: u16,
}

/// Returns the directory with `initdb` and `pg_ctl`, newest version first; panics if there is none.
fn binaries() -> PathBuf {
    let mut candidates: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    candidates.sort();
    candidates.reverse();
    let path = std::env::var_os("PATH").unwrap_or_default();
    candidates.extend(std::env::split_paths(&path));
    candidates
        .into_iter()
        .find(|dir| dir.join("initdb").is_file() && dir.join("pg_ctl").is_file())
        .expect("no PostgreSQL in /usr/lib/postgresql/*/bin or PATH: apt-get install postgresql")
}

fn id(args: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(args).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

impl Postgres {
    /// Creates and starts a cluster.
    pub fn start() -> Self {
        let is_root = id(&["-u"]) == Some(0);
        let run_as = is_root.then(|| {
            ["postgres", "nobody"]
                .into_iter()
                .find(|user| id(&["-u", user]).is_some())
                .expect("PostgreSQL refuses to run as root and there is no user postgres or nobody")
                .to_owned()
        });
        let dir = TempDir::with_prefix("rollbook-pg-").unwrap();
        if let Some(user) = &run_as {
            std::os::unix::fs::chown(dir.path(), id(&["-u", user]), id(&["-g", user])).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let cluster = Self {
            bin: binaries(),
            run_as,
            dir,
            port,
        };
        let data = cluster.data();
        cluster.must(
            "initdb",
            &[
                "-D",
                &data,
                "-U",
                "rollbook",
                "-A",
                "trust",
                "--no-sync",
                "-E",
                "UTF8",
                "--locale=C",
            ],
        );
        let sockets = cluster.dir.path().display();
        // Nothing in a temporary cluster has to survive a crash.
        let options = format!(
            "-p {port} -k {sockets} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=50"
        );
        let log = cluster.dir.path().join("log").display().to_string();
        cluster.must(
            "pg_ctl",
            &[
                "-D", &data, "-w", "-t", "60", "-l", &log, "-o", &options, "start",
            ],
        );
        cluster
    }

    fn data(&self) -> String {
        self.dir.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, args: &[&str]) -> Output {
        let program: &Path = &self.bin.join(program);
        let mut command = match &self.run_as {
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        // The server must not inherit our pipes: waiting for their end would wait for the server.
        let errors = self.dir.path().join("errors");
        let file = std::fs::File::create(&errors).unwrap();
        let mut output = Output {
            status: command
                .args(args)
                .current_dir("/")
                .stdin(std::process::Stdio::null())
                .stdout(file.try_clone().unwrap())
                .stderr(file)
                .status()
                .unwrap(),
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        output.stderr = std::fs::read(&errors).unwrap_or_default();
        output
    }

    fn must(&self, program: &str, args: &[&str]) {
        let output = self.run(program, args);
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        assert!(
            output.status.success(),
            "{program} failed: {}\n{log}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Returns the URL of a database of this cluster.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://rollbook@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates a database and returns its URL.
    pub async fn database(&self, name: &str) -> String {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        self.url(name)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.data();
        self.run("pg_ctl", &["-D", &data, "-m", "immediate", "-w", "stop"]);
    }
}

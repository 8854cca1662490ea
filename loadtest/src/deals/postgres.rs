//! A PostgreSQL that a bench starts with `tools/postgres` and the defaults of its distribution.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bar::{BenchError, failed};

/// A running PostgreSQL; on drop it is stopped and its data removed.
#[derive(Debug)]
pub(crate) struct Postgres {
    dir: tempfile::TempDir,
    url: String,
    programs: PathBuf,
}

/// The root of the repository that this bench was built from.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn script() -> Command {
    let mut command = Command::new(repository().join("tools/postgres"));
    command.stdin(Stdio::null());
    command
}

impl Postgres {
    /// Starts one that is reached over TCP.
    pub(crate) fn start() -> Result<Self, BenchError> {
        Self::start_with(None)
    }

    /// Starts one that is reached over a Unix socket.
    pub(crate) fn start_with_socket() -> Result<Self, BenchError> {
        Self::start_with(Some("socket"))
    }

    fn start_with(way: Option<&str>) -> Result<Self, BenchError> {
        let programs = std::env::var_os("ROLLBOOK_PG_BIN")
            .map(PathBuf::from)
            .ok_or_else(|| {
                failed("find PostgreSQL")("ROLLBOOK_PG_BIN is not set; use `make bench`")
            })?;
        let dir = tempfile::tempdir().map_err(failed("make a directory"))?;
        let output = script()
            .arg("start")
            .arg(dir.path())
            .args(way)
            .stderr(Stdio::inherit())
            .output()
            .map_err(failed("start PostgreSQL"))?;
        if !output.status.success() {
            return Err(failed("start PostgreSQL")(output.status));
        }
        let url = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Self {
            dir,
            url: format!("{url}/postgres"),
            programs,
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The URL of another of its databases.
    pub(crate) fn database(&self, name: &str) -> String {
        let server = self.url.strip_suffix("postgres").unwrap_or(&self.url);
        format!("{server}{name}")
    }

    /// The directory of its data, in which its processes run.
    pub(crate) fn cluster(&self) -> PathBuf {
        // `tools/postgres` records a different location in this file.
        let elsewhere = std::fs::read_to_string(self.dir.path().join("location"));
        elsewhere.map_or_else(
            |_| self.dir.path().join("cluster"),
            |place| PathBuf::from(place.trim()),
        )
    }

    /// A psql command with one statement.
    pub(crate) fn psql(&self, statement: &str) -> Command {
        let mut command = Command::new(self.programs.join("psql"));
        command
            .arg(&self.url)
            .args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "-c"])
            .arg(statement)
            .stdin(Stdio::null());
        command
    }

    /// Runs a statement to completion.
    pub(crate) fn execute(&self, statement: &str) -> Result<(), BenchError> {
        let status = self
            .psql(statement)
            .stdout(Stdio::null())
            .status()
            .map_err(failed("run psql"))?;
        if status.success() {
            Ok(())
        } else {
            Err(failed("run psql")(statement))
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Errors cannot be reported here; whatever remains is in the temporary directory.
        let _ = script().arg("stop").arg(self.dir.path()).status();
    }
}

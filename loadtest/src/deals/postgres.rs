//! A PostgreSQL of the bench's own, by `tools/postgres`, with the defaults of its distribution.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bar::{BenchError, failed};

/// Stopped, and its data removed, when dropped.
#[derive(Debug)]
pub(crate) struct Postgres {
    dir: tempfile::TempDir,
    url: String,
    programs: PathBuf,
}

/// The top of the repository this bench was built from.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn script() -> Command {
    let mut command = Command::new(repository().join("tools/postgres"));
    command.stdin(Stdio::null());
    command
}

impl Postgres {
    /// Reached by TCP.
    pub(crate) fn start() -> Result<Self, BenchError> {
        Self::start_with(None)
    }

    /// Reached by a Unix socket.
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

    /// Another database of it.
    pub(crate) fn database(&self, name: &str) -> String {
        let server = self.url.strip_suffix("postgres").unwrap_or(&self.url);
        format!("{server}{name}")
    }

    /// Where it keeps its data, and its processes work.
    pub(crate) fn cluster(&self) -> PathBuf {
        // As `tools/postgres` has it.
        let elsewhere = std::fs::read_to_string(self.dir.path().join("location"));
        elsewhere.map_or_else(
            |_| self.dir.path().join("cluster"),
            |place| PathBuf::from(place.trim()),
        )
    }

    /// psql with one statement.
    pub(crate) fn psql(&self, statement: &str) -> Command {
        let mut command = Command::new(self.programs.join("psql"));
        command
            .arg(&self.url)
            .args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "-c"])
            .arg(statement)
            .stdin(Stdio::null());
        command
    }

    /// Runs a statement to its end.
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
        // There is nobody to tell; what stays behind is in the temporary directory.
        let _ = script().arg("stop").arg(self.dir.path()).status();
    }
}

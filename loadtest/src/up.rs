//! A `rollbook up` of the bench's own, and the commands typed against it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bar::{BenchError, failed};

/// It answers within this time, or never.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A running `rollbook up`, stopped when dropped.
#[derive(Debug)]
pub(crate) struct Up {
    child: Child,
    program: PathBuf,
    base: String,
    dir: tempfile::TempDir,
}

impl Drop for Up {
    fn drop(&mut self) {
        // SIGTERM lets it stop its nats-server; a failure leaves only temporary files.
        let _ = Command::new("kill").arg(self.pid().to_string()).status();
        let _ = self.child.wait();
    }
}

impl Up {
    /// Starts the program built beside this one in an empty directory, and waits until it answers.
    pub(crate) async fn start(options: &[&str]) -> Result<Self, BenchError> {
        Self::start_with(options, &[]).await
    }

    /// The same, with further environment variables.
    pub(crate) async fn start_with(
        options: &[&str],
        env: &[(&str, &str)],
    ) -> Result<Self, BenchError> {
        let here = std::env::current_exe().map_err(failed("find this program"))?;
        let program = here.with_file_name("rollbook");
        if !program.is_file() {
            return Err(failed("find rollbook")(format!(
                "{} is not there; build both with `make bench`",
                program.display()
            )));
        }
        let dir = tempfile::tempdir().map_err(failed("make a directory"))?;
        let data = dir.path().join("ledger");
        let mut command = Command::new(&program);
        command
            .arg("--data-dir")
            .arg(&data)
            .args(["up", "--listen", "127.0.0.1:0"])
            .args(options)
            .current_dir(dir.path())
            .env_remove("ROLLBOOK_SERVER");
        // A bench exports traces only where it says so.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OTEL_") {
                command.env_remove(name);
            }
        }
        let child = command
            .envs(env.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed("start rollbook up"))?;
        let mut up = Self {
            child,
            program,
            base: String::new(),
            dir,
        };
        let endpoint = data.join("endpoint");
        let begun = Instant::now();
        while !endpoint.exists() {
            if begun.elapsed() > READY_WITHIN {
                return Err(failed("start rollbook up")("it does not answer"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let base = std::fs::read_to_string(&endpoint).map_err(failed("read its address"))?;
        base.trim().clone_into(&mut up.base);
        Ok(up)
    }

    /// The id of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its URL.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// A directory of its own.
    pub(crate) fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// Runs a command against it, which must succeed.
    pub(crate) fn call(&self, args: &[&str]) -> Result<(), BenchError> {
        let output = Command::new(&self.program)
            .arg("--data-dir")
            .arg(self.dir.path().join("ledger"))
            .args(args)
            .env_remove("ROLLBOOK_SERVER")
            .output()
            .map_err(failed("call rollbook"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(failed("call rollbook")(String::from_utf8_lossy(
            &output.stderr,
        )))
    }
}

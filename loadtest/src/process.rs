//! Starts the processes of a storm and its judge, and finds others on the machine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rollbook_ledger::error_code::Coded;
use tokio::process::{Child, Command};

/// The interval at which a process that should end is checked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a program may take to install its signal handlers on a busy machine.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// Why a process could not be started.
#[derive(Debug, thiserror::Error, Coded)]
#[error(
    "RB-STORM-2: {program} cannot be started: {reason}; `make build` makes it, `make setup` installs what it needs"
)]
pub(crate) struct StartError {
    program: String,
    reason: String,
}

impl StartError {
    pub(crate) fn new(program: impl std::fmt::Display, reason: impl std::fmt::Display) -> Self {
        Self {
            program: program.to_string(),
            reason: reason.to_string(),
        }
    }
}

/// A child process with its output in a file; killed on drop.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pid: Pid,
    log: PathBuf,
    /// The length of the log when the process was started.
    log_before: usize,
    started_at: Instant,
}

impl Process {
    /// Starts it and appends its output to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self, StartError> {
        let program = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        let failed = |reason: &dyn std::fmt::Display| StartError::new(&program, reason);
        let log_before = std::fs::metadata(log).map_or(0, |log| log.len());
        let open = || File::options().create(true).append(true).open(log);
        let (out, err) = open()
            .and_then(|out| Ok((out, open()?)))
            .map_err(|error| failed(&error))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            // Ctrl-C must reach only the storm, which then ends its children.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(&error))?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .ok_or_else(|| failed(&"it has no process id"))?;
        Ok(Self {
            child,
            pid: Pid::from_raw(pid),
            log: log.to_path_buf(),
            log_before: usize::try_from(log_before).unwrap_or(usize::MAX),
            started_at: Instant::now(),
        })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it was only just started, so that SIGTERM still has its default action.
    pub(crate) fn is_starting(&self) -> bool {
        self.started_at.elapsed() < STARTS_WITHIN && !catches(self.pid, Signal::SIGTERM)
    }

    /// Sends a signal unless it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill(self.pid, signal);
    }

    /// Its exit code once it has ended; `Some(None)` if a signal ended it.
    pub(crate) fn ended(&mut self) -> Option<Option<i32>> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(status.code())
    }

    /// Waits for it to end; `None` if it does not end in time.
    pub(crate) async fn wait(&mut self, at_most: Duration) -> Option<Option<i32>> {
        let deadline = Instant::now() + at_most;
        loop {
            if let Some(code) = self.ended() {
                return Some(code);
            }
            if Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Kills it.
    pub(crate) async fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill().await;
    }

    /// The last lines of its output.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(text.get(self.log_before..).unwrap_or_default());
        let lines: Vec<&str> = text.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// A command without the caller's configuration of Rollbook.
pub(crate) fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let shown = name.to_string_lossy();
        if shown.starts_with("ROLLBOOK_") || shown.starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1");
    command
}

/// Wraps a command in another program, which is started by these words.
pub(crate) fn wrapped_in(words: &[String], command: &Command) -> Command {
    let inner = command.as_std();
    let mut outer = Command::new(words.first().map_or("", String::as_str));
    outer
        .args(words.get(1..).unwrap_or_default())
        .arg(inner.get_program())
        .args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}

/// A process on this machine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Found {
    pub(crate) pid: i32,
    /// Its command line, with words separated by spaces.
    pub(crate) line: String,
    pub(crate) directory: String,
}

/// The processes that belong to a directory because their command line names it or they run in it,
/// except this process and its ancestors.
pub(crate) fn of_directory(directory: &Path) -> Vec<Found> {
    let mut own = Vec::new();
    let mut pid = i32::try_from(std::process::id()).unwrap_or(0);
    while pid > 1 && !own.contains(&pid) {
        own.push(pid);
        pid = parent(pid).unwrap_or(0);
    }
    let here = directory.display().to_string();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| !own.contains(pid))
        .filter_map(found)
        .filter(|found| {
            found.line.contains(&here) || Path::new(&found.directory).starts_with(directory)
        })
        .collect()
}

/// The processes that a step of a rollout started.
pub(crate) fn of_step(rollout: &str, step: &str) -> Vec<i32> {
    let wanted = [
        format!("ROLLBOOK_ROLLOUT={rollout}"),
        format!("ROLLBOOK_STEP={step}"),
    ];
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let bytes = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let variables: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
            wanted
                .iter()
                .all(|wanted| variables.contains(&wanted.as_bytes()))
        })
        .collect()
}

fn found(pid: i32) -> Option<Found> {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    // Kernel threads, and processes that have ended but were not reaped, have no command line.
    if words.is_empty() {
        return None;
    }
    let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).ok();
    Some(Found {
        pid,
        line: String::from_utf8_lossy(&words)
            .replace('\0', " ")
            .trim()
            .to_owned(),
        directory: directory
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
    })
}

/// Whether a process handles a signal.
fn catches(pid: Pid, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The lowest bit is signal 1.
    caught.is_some_and(|mask| mask >> (signal as i32 - 1) & 1 == 1)
}

fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

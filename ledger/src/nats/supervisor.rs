//! The thread that owns the nats-server child: starts it, restarts it when it dies, stops it.
//!
//! One dedicated thread lives as long as the child, because the kernel sends the parent-death
//! signal when the *thread* that started the child ends, and a runtime's threads come and go. Only
//! this thread waits for the child, so a signal can never reach an unrelated process that reuses
//! its process id.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::watch;

use super::binary;

/// How often to poll the child.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long the child may take to stop before it is killed. Killing it loses nothing: everything it
/// acknowledged is synced.
const STOPS_WITHIN: Duration = Duration::from_secs(10);
/// A child that ran at least this long counts as started; its exit is not a failed start.
const STEADY_AFTER: Duration = Duration::from_secs(30);
/// Number of consecutive failures after which the supervisor gives up.
const MAX_FAILURES: u32 = 12;
/// Maximum wait before a start.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The child's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildStatus {
    /// The child is being started.
    Starting {
        /// Number of restarts so far.
        restarts: u32,
    },
    /// The child process is running.
    Running {
        /// Its process id.
        pid: u32,
        /// Number of restarts so far.
        restarts: u32,
    },
    /// It exited too often and is no longer restarted.
    Failed {
        /// How it exited last.
        reason: String,
    },
    /// It was stopped.
    Stopped,
}

/// How to start the child.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    pub(super) binary: PathBuf,
    pub(super) config: PathBuf,
    /// The child's working directory, where its output is also written.
    pub(super) dir: PathBuf,
    /// Let the kernel kill the child when this process dies, if `setpriv` is available to request
    /// it (doing that between fork and exec would need unsafe code).
    pub(super) tie_to_parent: bool,
}

/// The handle of the thread; dropping it stops the child.
#[derive(Debug)]
pub(super) struct Supervisor {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    status: watch::Receiver<ChildStatus>,
}

impl Supervisor {
    pub(super) fn start(launch: Launch) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let (say, status) = watch::channel(ChildStatus::Starting { restarts: 0 });
        let thread = std::thread::Builder::new()
            .name("nats-server".to_owned())
            .spawn(move || run(&launch, &stopped, &say))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
            status,
        })
    }

    pub(super) fn status(&self) -> watch::Receiver<ChildStatus> {
        self.status.clone()
    }

    /// Stops the child and waits for it to exit; blocks for at most about `STOPS_WITHIN`.
    pub(super) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already been reported, and has stopped the child.
            let _ = thread.join();
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(launch: &Launch, stop: &Receiver<()>, say: &watch::Sender<ChildStatus>) {
    let mut failures = 0;
    let mut restarts = 0;
    loop {
        let started = Instant::now();
        let reason = match spawn(launch) {
            Ok(mut child) => {
                let pid = child.id();
                say.send_replace(ChildStatus::Running { pid, restarts });
                match until_end(&mut child, stop) {
                    None => {
                        say.send_replace(ChildStatus::Stopped);
                        return;
                    }
                    Some(reason) => reason,
                }
            }
            Err(error) => format!("cannot be started: {error}"),
        };
        if started.elapsed() >= STEADY_AFTER {
            failures = 0;
        }
        failures += 1;
        if failures > MAX_FAILURES {
            tracing::error!(reason, "nats-server ended {MAX_FAILURES} times; giving up");
            say.send_replace(ChildStatus::Failed { reason });
            return;
        }
        restarts += 1;
        tracing::warn!(reason, restarts, "nats-server ended; starting it again");
        say.send_replace(ChildStatus::Starting { restarts });
        let wait = Duration::from_millis(20 << failures.min(10)).min(MAX_WAIT);
        if stop.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            say.send_replace(ChildStatus::Stopped);
            return;
        }
    }
}

fn spawn(launch: &Launch) -> io::Result<Child> {
    let tied = launch.tie_to_parent.then(setpriv).flatten();
    let mut command = match tied {
        // setpriv replaces itself with the server: same process, same parent.
        Some(setpriv) => {
            let mut command = binary::command(&setpriv);
            command
                .args(["--pdeathsig", "KILL", "--"])
                .arg(&launch.binary);
            command
        }
        None => binary::command(&launch.binary),
    };
    let output = File::create(launch.dir.join("nats-server.out"))?;
    command
        .arg("--config")
        .arg(&launch.config)
        .current_dir(&launch.dir)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        // A process group of its own: Ctrl-C in a terminal must reach only us; we stop the child
        // when we no longer need it.
        .process_group(0)
        .spawn()
}

fn setpriv() -> Option<PathBuf> {
    ["/usr/bin/setpriv", "/bin/setpriv"]
        .into_iter()
        .map(Path::new)
        .find(|path| path.is_file())
        .map(Path::to_path_buf)
}

/// Waits until the child exits (returns how) or is asked to stop (`None`).
fn until_end(child: &mut Child, stop: &Receiver<()>) -> Option<String> {
    loop {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => return Some(status.to_string()),
            Err(error) => return Some(format!("cannot be waited for: {error}")),
        }
        if stop.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout) {
            terminate(child);
            return None;
        }
    }
}

fn terminate(child: &mut Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // It may have exited already; its process id stays ours until we wait for it.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    let end = Instant::now() + STOPS_WITHIN;
    while Instant::now() < end {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    tracing::warn!("nats-server did not stop and is killed");
    let _ = child.kill();
    let _ = child.wait();
}

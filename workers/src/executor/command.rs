//! Runs one shell command in its own process group.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::capture::{Capture, Captured};
use super::context::{OutputLine, StepContext};
use super::error::ExecutorError;
use crate::child::guard::{GO, Guard, gated};
use crate::child::{Lease, environment, running};

/// The time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// How often a group being killed is checked.
const GROUP_POLL: Duration = Duration::from_millis(20);

/// How long to go on reading after the command has ended, if a background process keeps its output
/// open.
const DRAIN: Duration = Duration::from_secs(2);

/// How much is read from a pipe at once, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// The command to run.
#[derive(Debug, Clone)]
pub struct ShellCommand {
    /// The text for `sh -c`.
    pub text: String,
    /// Its working directory; `None` is the worker's.
    pub directory: Option<PathBuf>,
    /// Environment variables it gets besides those that [every program](environment::INHERITED)
    /// gets.
    pub env: Vec<(String, String)>,
    /// The group is killed after this long.
    pub timeout: Option<Duration>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReason {
    /// It exited with this code.
    Exited(i32),
    /// A signal killed it that the executor did not send.
    Signalled(i32),
    /// The executor killed it at its timeout.
    TimedOut(Duration),
    /// The executor killed it because the step was cancelled, for this reason.
    Cancelled(String),
}

impl ExitReason {
    /// Why the command's output is incomplete; `None` if it ran to its end.
    pub fn unfinished(&self) -> Option<String> {
        match self {
            Self::Exited(_) => None,
            Self::Signalled(signal) => Some(format!("ended by signal {signal}")),
            Self::TimedOut(after) => Some(format!("timed out after {}", super::seconds(*after))),
            Self::Cancelled(reason) => Some(format!("cancelled: {reason}")),
        }
    }
}

/// How a command ended, and its output.
#[derive(Debug)]
pub struct CommandOutput {
    /// How it ended.
    pub ending: ExitReason,
    /// Standard output, redacted and capped.
    pub stdout: Captured,
    /// Standard error, redacted and capped.
    pub stderr: Captured,
}

/// Kills the whole process group on drop unless it has ended, so that an action dropped half-way
/// leaves nothing running.
struct Group {
    leader: Option<Pid>,
}

impl Group {
    fn signal(&self, signal: Signal) -> bool {
        self.leader
            .is_some_and(|leader| killpg(leader, signal) != Err(Errno::ESRCH))
    }

    fn is_alive(&self) -> bool {
        self.leader
            .is_some_and(|leader| killpg(leader, None) != Err(Errno::ESRCH))
    }

    fn ended(&mut self) {
        self.leader = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// Runs a command until it ends, times out or is cancelled. Standard input is empty.
///
/// After a timeout or cancellation, and also if this process dies or its lease expires meanwhile,
/// nothing of the process group is left. A process that the command itself put into the background
/// with its output redirected survives a normal end.
pub async fn run(
    context: &StepContext,
    shell: &ShellCommand,
) -> Result<CommandOutput, ExecutorError> {
    let failed = |what: &str, error: std::io::Error| ExecutorError::Command {
        reason: format!("{what}: {error}"),
    };
    let mut guard = Guard::ready().map_err(|error| failed("its guard", error))?;
    let [program, arguments @ ..] = gated(&shell.text);
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(directory) = &shell.directory {
        command.current_dir(directory);
    }
    environment::give(command.as_std_mut(), &shell.env);
    let spawned = running::started(|| {
        let child = command.spawn()?;
        let leader = child.id().unwrap_or_default();
        Ok((child, leader))
    });
    let (mut child, registered) = spawned.map_err(|error| {
        let place = shell
            .directory
            .as_ref()
            .map_or_else(String::new, |d| format!(" in directory `{}`", d.display()));
        failed(&format!("sh -c{place}"), error)
    })?;
    let leader = child.id().and_then(|id| i32::try_from(id).ok());
    let mut group = Group {
        leader: leader.map(Pid::from_raw),
    };
    let begun = begin(&mut child, &mut guard).await;
    begun.map_err(|error| failed("its guard", error))?;
    let guard = GuardedUntilDone::new(guard, context.lease.clone());
    context.effect.raise();

    let stop = CancellationToken::new();
    let stdout = listen(context, child.stdout.take(), "stdout", &stop);
    let stderr = listen(context, child.stderr.take(), "stderr", &stop);

    let deadline = shell.timeout.map(|timeout| Instant::now() + timeout);
    let ending = tokio::select! {
        status = child.wait() => {
            let status = status.map_err(|error| failed("waiting for the command", error))?;
            group.ended();
            drop(registered);
            guard.done();
            match status.code() {
                Some(code) => ExitReason::Exited(code),
                None => {
                    use std::os::unix::process::ExitStatusExt;
                    ExitReason::Signalled(status.signal().unwrap_or(0))
                }
            }
        }
        () = until(deadline) => ExitReason::TimedOut(shell.timeout.unwrap_or_default()),
        reason = context.cancel.cancelled() => ExitReason::Cancelled(reason),
    };
    if matches!(ending, ExitReason::TimedOut(_) | ExitReason::Cancelled(_)) {
        group.signal(Signal::SIGTERM);
        let last = Instant::now() + GRACE;
        // Reap the leader, or its zombie keeps the group alive.
        let _ = tokio::time::timeout_at(last, child.wait()).await;
        while group.is_alive() && Instant::now() < last {
            tokio::time::sleep(GROUP_POLL).await;
        }
        group.signal(Signal::SIGKILL);
        let _ = child.wait().await;
        group.ended();
        // From here on the group's id may belong to another process.
        guard.done();
    }
    let late = stop.clone();
    let _timer = AbortOnDropHandle::new(tokio::spawn(async move {
        tokio::time::sleep(DRAIN).await;
        late.cancel();
    }));
    Ok(CommandOutput {
        ending,
        stdout: heard(stdout).await?,
        stderr: heard(stderr).await?,
    })
}

/// Tells the guard which group to kill, then releases the command.
async fn begin(child: &mut Child, guard: &mut Guard) -> std::io::Result<()> {
    if let Some(leader) = child.id() {
        guard.watch(leader)?;
    }
    match child.stdin.take() {
        Some(mut gate) => gate.write_all(GO).await,
        None => Ok(()),
    }
}

/// Passes every renewal of the lease to the guard.
struct GuardedUntilDone {
    guard: Arc<Mutex<Option<Guard>>>,
    _renewals: Option<AbortOnDropHandle<()>>,
}

impl GuardedUntilDone {
    fn new(guard: Guard, lease: Option<Lease>) -> Self {
        let guard = Arc::new(Mutex::new(Some(guard)));
        let told = Arc::clone(&guard);
        let renewals = lease.map(|mut lease| {
            AbortOnDropHandle::new(tokio::spawn(async move {
                loop {
                    let left = lease.left();
                    if let Some(guard) = &mut *told.lock().unwrap_or_else(PoisonError::into_inner) {
                        // If the guard is gone, nothing can replace it.
                        let _ = guard.lease(left);
                    }
                    if !lease.renewed().await {
                        return;
                    }
                }
            }))
        });
        Self {
            guard,
            _renewals: renewals,
        }
    }

    fn take(&self) -> Option<Guard> {
        self.guard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn done(&self) {
        if let Some(guard) = self.take() {
            guard.done();
        }
    }
}

impl Drop for GuardedUntilDone {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// Reads a pipe in its own task until it is closed or `stop` is signalled.
fn listen(
    context: &StepContext,
    pipe: Option<impl AsyncRead + Unpin + Send + 'static>,
    stream: &'static str,
    stop: &CancellationToken,
) -> AbortOnDropHandle<Captured> {
    let context = context.clone();
    let stop = stop.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut capture = Capture::new(&context.redactor);
        let mut on_line = |text: String| {
            context.tools.output.line(OutputLine {
                rollout: context.rollout.clone(),
                step: context.step.clone(),
                attempt: context.attempt,
                stream: stream.to_owned(),
                text,
                at: context.tools.clock.now(),
            });
        };
        if let Some(mut pipe) = pipe {
            let mut buffer = vec![0_u8; READ_BYTES];
            loop {
                let read = tokio::select! {
                    biased;
                    read = pipe.read(&mut buffer) => read,
                    () = stop.cancelled() => break,
                };
                match read {
                    Ok(0) | Err(_) => break,
                    Ok(count) => {
                        capture.push(buffer.get(..count).unwrap_or_default(), &mut on_line);
                    }
                }
            }
        }
        capture.finish(&mut on_line)
    }))
}

async fn heard(listener: AbortOnDropHandle<Captured>) -> Result<Captured, ExecutorError> {
    listener.await.map_err(|stopped| ExecutorError::Command {
        reason: format!("its output could not be read: {stopped}"),
    })
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

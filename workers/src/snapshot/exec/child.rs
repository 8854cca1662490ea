//! One running program of a calculator, which answers one request at a time.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::child::guard::Guard;
use crate::child::{environment, running};

/// The longest answer that is read, in bytes.
pub(super) const MAX_LINE_BYTES: usize = 1024 * 1024;

/// How much of the end of standard error is kept, in bytes.
const KEPT_STDERR_BYTES: usize = 4096;

/// How much is read from a pipe at once, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// The longest time before a stop is noticed.
const STOP_POLL: Duration = Duration::from_millis(100);

/// How long a program that has closed its output may take to exit, so that its exit code is known.
const EXIT_GRACE: Duration = Duration::from_secs(1);

/// How often an exiting program is checked.
const EXIT_POLL: Duration = Duration::from_millis(5);

/// The program to start.
#[derive(Clone)]
pub struct Program {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Its working directory; `None` is that of this process.
    pub directory: Option<PathBuf>,
    /// Environment variables it gets besides those that [every program](environment::INHERITED)
    /// gets. May hold credentials.
    pub env: Vec<(String, String)>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Program")
            .field("command", &self.command)
            .field("directory", &self.directory)
            .field("env", &names)
            .finish()
    }
}

/// How a request ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A line, without its line end.
    Line(Vec<u8>),
    /// The program exited or its pipe failed; says how.
    Died(String),
    /// No answer in time.
    TimedOut,
    /// A line longer than [`MAX_LINE_BYTES`].
    TooLong,
    /// The calculator was stopped.
    Stopped,
}

/// A running program. Dropping it kills its whole process group.
#[derive(Debug)]
pub(super) struct Child {
    process: std::process::Child,
    /// Kills the group if this process dies; taken once the program is ended here.
    guard: Option<Guard>,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: Option<ChildStderr>,
    unread: Vec<u8>,
    said: Vec<u8>,
}

impl Child {
    /// Starts the program in its own process group.
    pub(super) fn start(program: &Program) -> std::io::Result<Self> {
        let (name, arguments) = program
            .command
            .split_first()
            .ok_or_else(|| std::io::Error::other("no program is named"))?;
        let mut command = Command::new(name);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(directory) = &program.directory {
            command.current_dir(directory);
        }
        environment::give(&mut command, &program.env);
        let mut guard = Guard::ready()?;
        let mut process = running::start(&mut command)?;
        // Without a guard it normally still exits when its input is closed.
        let _ = guard.watch(process.id());
        let (stdin, stdout, stderr) = (
            process.stdin.take(),
            process.stdout.take(),
            process.stderr.take(),
        );
        let stdout = stdout.ok_or_else(|| std::io::Error::other("it has no output"))?;
        let child = Self {
            process,
            guard: Some(guard),
            stdin,
            stdout,
            stderr,
            unread: Vec::new(),
            said: Vec::new(),
        };
        if let Some(stdin) = &child.stdin {
            never_block(stdin)?;
        }
        if let Some(stderr) = &child.stderr {
            never_block(stderr)?;
        }
        never_block(&child.stdout)?;
        Ok(child)
    }

    /// Sends a request and waits for one line. After any other outcome the program must not be used
    /// again.
    pub(super) fn ask(&mut self, request: &[u8], deadline: Instant, stop: &AtomicBool) -> Asked {
        let mut unsent = request;
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.unread.drain(..=end).collect();
                line.pop();
                return Asked::Line(line);
            }
            if self.unread.len() > MAX_LINE_BYTES {
                return Asked::TooLong;
            }
            if stop.load(Ordering::Relaxed) {
                return Asked::Stopped;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.listen();
                return Asked::TimedOut;
            }
            self.wait(!unsent.is_empty(), left.min(STOP_POLL));
            self.send(&mut unsent);
            self.listen();
            match self.read() {
                Ok(true) => {}
                Ok(false) => return Asked::Died(self.ending()),
                Err(error) => return Asked::Died(format!("its output broke: {error}")),
            }
        }
    }

    /// Whether the program has written nothing since its last answer, so that the next line answers
    /// the next request.
    pub(super) fn is_in_step(&mut self) -> bool {
        self.unread.is_empty() && matches!(self.read(), Ok(true)) && self.unread.is_empty()
    }

    /// The end of what it wrote to standard error.
    pub(super) fn last_words(&mut self) -> String {
        self.listen();
        String::from_utf8_lossy(&self.said).trim().to_owned()
    }

    /// Waits until one of the pipes is ready.
    fn wait(&self, sending: bool, longest: Duration) {
        let mut pipes = vec![PollFd::new(self.stdout.as_fd(), PollFlags::POLLIN)];
        if let Some(stderr) = &self.stderr {
            pipes.push(PollFd::new(stderr.as_fd(), PollFlags::POLLIN));
        }
        if let Some(stdin) = &self.stdin
            && sending
        {
            pipes.push(PollFd::new(stdin.as_fd(), PollFlags::POLLOUT));
        }
        // At least a millisecond: a timeout rounded down to zero would spin.
        let longest = longest.max(Duration::from_millis(1));
        let timeout = PollTimeout::try_from(longest).unwrap_or(PollTimeout::MAX);
        // Whether or not it was interrupted, the caller reads the pipes and checks the deadline
        // next.
        let _ = poll(&mut pipes, timeout);
    }

    fn send(&mut self, unsent: &mut &[u8]) {
        while let Some(stdin) = &mut self.stdin
            && !unsent.is_empty()
        {
            match stdin.write(unsent) {
                Ok(sent) => *unsent = unsent.get(sent..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Reading its output shows whether it has exited.
                Err(_) => self.stdin = None,
            }
        }
    }

    /// Reads what is available; `false` at the end of the output.
    fn read(&mut self) -> std::io::Result<bool> {
        let mut buffer = [0; READ_BYTES];
        while self.unread.len() <= MAX_LINE_BYTES {
            match self.stdout.read(&mut buffer) {
                // A complete line is an answer even if the program has closed its output.
                Ok(0) => return Ok(self.unread.contains(&b'\n')),
                Ok(count) => self
                    .unread
                    .extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Drains standard error, so that the program never blocks on writing it.
    fn listen(&mut self) {
        let mut buffer = [0; READ_BYTES];
        while let Some(stderr) = &mut self.stderr {
            match stderr.read(&mut buffer) {
                Ok(0) => self.stderr = None,
                Ok(count) => {
                    self.said
                        .extend_from_slice(buffer.get(..count).unwrap_or_default());
                    let surplus = self.said.len().saturating_sub(KEPT_STDERR_BYTES);
                    self.said.drain(..surplus);
                    if count < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.stderr = None,
            }
        }
    }

    /// How a program that has closed its output exited.
    fn ending(&mut self) -> String {
        self.stdin = None;
        let last = Instant::now() + EXIT_GRACE;
        while Instant::now() < last {
            match running::ended(&mut self.process) {
                Ok(Some(status)) => {
                    self.listen();
                    return match (status.code(), status.signal()) {
                        (Some(code), _) => format!("exit code {code}"),
                        (None, Some(signal)) => format!("signal {signal}"),
                        (None, None) => "it ended".to_owned(),
                    };
                }
                Ok(None) => std::thread::sleep(EXIT_POLL),
                Err(error) => return error.to_string(),
            }
        }
        "it closed its output".to_owned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        running::end(&mut self.process);
        if let Some(guard) = self.guard.take() {
            guard.done();
        }
    }
}

/// Makes this end of a pipe non-blocking; the program's end is not affected.
fn never_block(pipe: &impl AsFd) -> std::io::Result<()> {
    let io = |errno: Errno| std::io::Error::from_raw_os_error(errno as i32);
    let flags = fcntl(pipe, FcntlArg::F_GETFL).map_err(io)?;
    let flags = OFlag::from_bits_truncate(flags) | OFlag::O_NONBLOCK;
    fcntl(pipe, FcntlArg::F_SETFL(flags)).map_err(io)?;
    Ok(())
}

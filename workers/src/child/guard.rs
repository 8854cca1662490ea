//! A guard beside each running command: a small process that outlives this one and ends the
//! command's process group when this process has died, or no longer holds its lease.
//!
//! ```text
//!  worker ──pipe──▶ guard          "group N": whose end it is
//!     │                            "lease S": ends the group unless renewed within S seconds
//!     └──▶ command (group N)       "done":    ends only itself; what still runs stays
//!                                  the pipe closes: ends the group
//! ```
//!
//! The guard is a shell, which whoever runs commands has, in a process group of its own: a
//! terminal's Ctrl-C does not reach it. The command waits to be let go until its guard knows it.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use super::environment;

/// A timer that is replaced leaves its `sleep` behind, which the guard's own end ends with it.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
group= timer=
while read -r word value; do
    case $word in
        group) group=$value ;;
        lease)
            [ -z "$timer" ] || kill -s KILL "$timer" 2>/dev/null
            { sleep "$value"; kill -s KILL -- "-$group" 2>/dev/null; } &
            timer=$! ;;
        done) kill -s KILL 0 ;;
    esac
done
[ -z "$group" ] || kill -s KILL -- "-$group" 2>/dev/null
kill -s KILL 0
"#;

/// What a command is started with so that it waits for its guard: the shell text is its argument.
const GATE: &str = r#"read -r go && exec </dev/null && exec sh -c "$1""#;

/// Program and arguments that run a shell text once `go` and a line end come from standard input,
/// and nothing when it ends before.
pub(crate) fn gated(text: &str) -> [&str; 5] {
    ["sh", "-c", GATE, "sh", text]
}

/// What lets a gated command go.
pub(crate) const GO: &[u8] = b"go\n";

/// The guard of one process group. Dropped without [`Guard::done`], it ends the group.
#[derive(Debug)]
pub(crate) struct Guard {
    pipe: Option<ChildStdin>,
    process: Option<Child>,
}

impl Guard {
    /// Starts a guard that guards nothing yet.
    pub(crate) fn start() -> io::Result<Self> {
        let mut process = Command::new("sh")
            .args(["-c", SCRIPT])
            .env_clear()
            .envs(environment::of(&[]))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self {
            pipe: process.stdin.take(),
            process: Some(process),
        })
    }

    /// Guards the process group of this number from now on.
    pub(crate) fn watch(&mut self, group: u32) -> io::Result<()> {
        self.say(&format!("group {group}\n"))
    }

    /// Ends the group within a second after this time, unless it is said again: later than whoever
    /// keeps the time here, should that be possible.
    pub(crate) fn lease(&mut self, left: Duration) -> io::Result<()> {
        self.say(&format!("lease {}\n", left.as_secs() + 1))
    }

    /// The command has ended by itself: what it left running is meant to stay.
    pub(crate) fn done(mut self) {
        // A guard that is gone ends nothing either.
        let _ = self.say("done\n");
    }

    /// A few bytes: they never fill the pipe.
    fn say(&mut self, line: &str) -> io::Result<()> {
        match &mut self.pipe {
            Some(pipe) => pipe.write_all(line.as_bytes()),
            None => Ok(()),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.pipe = None;
        let Some(mut process) = self.process.take() else {
            return;
        };
        // It ends within milliseconds, which nobody needs to wait for; unwaited for, it would
        // stay in the process table.
        let reaper = std::thread::Builder::new().name("guard".to_owned());
        let _ = reaper.spawn(move || process.wait());
    }
}

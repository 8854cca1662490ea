//! A guard for each running command: a small process that outlives this one and kills the command's
//! process group if this process dies or no longer holds its lease.
//!
//! ```text
//!  worker ──pipe──▶ guard          "group N": the group to kill
//!     │                            "lease S": kills the group unless renewed within S seconds
//!     └──▶ command (group N)       "done":    forgets the group; what still runs stays
//!                                  "end":     ends only itself
//!                                  the pipe closes: kills the group
//! ```
//!
//! The guard is a shell, which every system that runs commands has, in its own process group, so
//! that a terminal's Ctrl-C does not reach it. The command waits until its guard knows its group.
//! A guard that is done waits for the next command, because starting one takes longer than a short
//! command.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::environment;

/// A replaced timer leaves its `sleep` behind; it ends together with the guard.
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
        done) group= ;;
        end) kill -s KILL 0 ;;
    esac
done
[ -z "$group" ] || kill -s KILL -- "-$group" 2>/dev/null
kill -s KILL 0
"#;

/// The shell, by its path: a name that the child's `PATH` resolves would need a `fork`, which copies
/// the page tables of this process.
pub(crate) const SHELL: &str = "/bin/sh";

/// Guards that wait for their next command.
static IDLE: Mutex<Vec<Guard>> = Mutex::new(Vec::new());

/// The most guards that wait.
const MAX_IDLE: usize = 16;

/// Commands that one guard guards: one that is stopped, and so does nothing, is replaced before its
/// pipe is full.
const MAX_COMMANDS: u32 = 100;

fn idle() -> MutexGuard<'static, Vec<Guard>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The script that starts a command once its guard knows it; its argument is the shell text.
const GATE: &str = r#"read -r go && exec </dev/null && exec sh -c "$1""#;

/// The program and arguments that run a shell text once `go` and a line end arrive on standard
/// input; if it ends before that, nothing runs.
pub(crate) fn gated(text: &str) -> [&str; 5] {
    [SHELL, "-c", GATE, "sh", text]
}

/// Releases a command started by [`gated`].
pub(crate) const GO: &[u8] = b"go\n";

/// The guard of one process group. If dropped without [`Guard::done`], it kills the group.
#[derive(Debug)]
pub(crate) struct Guard {
    pipe: Option<ChildStdin>,
    process: Option<Child>,
    /// Whether it has kept time. What it started for that ends only with it.
    leased: bool,
    /// Commands that it has guarded.
    commands: u32,
}

impl Guard {
    /// A guard that has no group yet.
    pub(crate) fn ready() -> io::Result<Self> {
        let waiting = idle().pop();
        waiting.map_or_else(Self::start, Ok)
    }

    fn start() -> io::Result<Self> {
        let mut command = Command::new(SHELL);
        environment::give(&mut command, &[]);
        let mut process = command
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self {
            pipe: process.stdin.take(),
            process: Some(process),
            leased: false,
            commands: 0,
        })
    }

    /// Makes it guard the process group with this number. One that has died while it waited is
    /// replaced.
    pub(crate) fn watch(&mut self, group: u32) -> io::Result<()> {
        let line = format!("group {group}\n");
        if self.say(&line).is_ok() {
            return Ok(());
        }
        *self = Self::start()?;
        self.say(&line)
    }

    /// Renews the lease: the group is killed within a second after `left` has passed, unless it is
    /// renewed. That is later than whoever keeps the time in this process, if it still can.
    pub(crate) fn lease(&mut self, left: Duration) -> io::Result<()> {
        self.leased = true;
        self.say(&format!("lease {}\n", left.as_secs() + 1))
    }

    /// Dismisses the guard: the command has ended by itself, and what it left running is meant to
    /// stay.
    pub(crate) fn done(mut self) {
        self.commands += 1;
        let may_wait = !self.leased && self.commands < MAX_COMMANDS;
        if may_wait && self.say("done\n").is_ok() {
            let mut idle = idle();
            if idle.len() < MAX_IDLE {
                idle.push(self);
                return;
            }
        }
        // If the guard is gone, it kills nothing either.
        let _ = self.say("end\n");
    }

    /// Writes a few bytes, which never fill the pipe.
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
        // It ends within milliseconds, so nothing waits for it here; but it must be reaped, or it
        // would stay in the process table.
        let reaper = std::thread::Builder::new().name("guard".to_owned());
        let _ = reaper.spawn(move || process.wait());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn sleeper() -> Child {
        let mut command = Command::new(SHELL);
        command
            .args(["-c", "exec sleep 600"])
            .process_group(0)
            .spawn()
            .unwrap()
    }

    #[test]
    fn a_guard_that_waited_kills_its_next_group() {
        let mut first = sleeper();
        let mut guard = Guard::ready().unwrap();
        guard.watch(first.id()).unwrap();
        let id = guard.process.as_ref().unwrap().id();
        guard.done();
        let mut guard = {
            // Other tests may have put theirs there too.
            let mut idle = idle();
            let is_it = |guard: &Guard| guard.process.as_ref().unwrap().id() == id;
            let place = idle.iter().position(is_it).unwrap();
            idle.remove(place)
        };
        let mut second = sleeper();
        guard.watch(second.id()).unwrap();
        drop(guard);
        assert_eq!(second.wait().unwrap().signal(), Some(9));
        assert!(first.try_wait().unwrap().is_none(), "the first was let go");
        first.kill().unwrap();
        first.wait().unwrap();
    }

    #[test]
    fn a_guard_that_died_while_it_waited_is_replaced() {
        let mut guard = Guard::start().unwrap();
        let process = guard.process.as_mut().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
        let mut command = sleeper();
        guard.watch(command.id()).unwrap();
        drop(guard);
        assert_eq!(command.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn a_guard_ends_after_its_last_command() {
        let mut guard = Guard::start().unwrap();
        guard.commands = MAX_COMMANDS - 1;
        let id = guard.process.as_ref().unwrap().id();
        guard.done();
        let waits = |guard: &Guard| guard.process.as_ref().is_some_and(|it| it.id() == id);
        assert!(!idle().iter().any(waits));
    }

    #[test]
    fn a_guard_that_kept_time_does_not_wait_for_another_command() {
        let mut guard = Guard::start().unwrap();
        guard.lease(Duration::from_secs(600)).unwrap();
        let id = guard.process.as_ref().unwrap().id();
        guard.done();
        let waits = |guard: &Guard| guard.process.as_ref().is_some_and(|it| it.id() == id);
        assert!(!idle().iter().any(waits));
    }
}

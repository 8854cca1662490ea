//! Tracks the process groups of running programs, so that they can be killed with this process.
//!
//! A program is not in this process's group, so a terminal's Ctrl-C does not reach it; and a
//! process that ends at once runs no destructors.

use std::collections::BTreeSet;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// The leaders of running groups. A number stays here only until its program is reaped: until then
/// no other process can have it.
struct Running {
    leaders: BTreeSet<u32>,
    /// Whether everything was killed, so that nothing may start any more.
    ended: bool,
}

static RUNNING: Mutex<Running> = Mutex::new(Running {
    leaders: BTreeSet::new(),
    ended: false,
});

fn running() -> MutexGuard<'static, Running> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the leader of a process group.
pub(crate) fn start(command: &mut Command) -> io::Result<Child> {
    let mut running = running();
    if running.ended {
        return Err(io::Error::other("this process is ending"));
    }
    let leader = command.spawn()?;
    running.leaders.insert(leader.id());
    Ok(leader)
}

/// How it ended; `None` while it runs.
pub(crate) fn ended(leader: &mut Child) -> io::Result<Option<ExitStatus>> {
    let mut running = running();
    let status = leader.try_wait()?;
    if status.is_some() {
        running.leaders.remove(&leader.id());
    }
    Ok(status)
}

/// Kills the whole group of a running program and waits for its leader.
pub(crate) fn end(leader: &mut Child) {
    {
        let mut running = running();
        if matches!(leader.try_wait(), Ok(None)) {
            kill(leader.id());
        }
        running.leaders.remove(&leader.id());
    }
    let _ = leader.wait();
}

/// Kills every program and command of this process and lets no more start. Call it right before the
/// process ends by force.
pub fn end_all() {
    let mut running = running();
    running.ended = true;
    for leader in &running.leaders {
        kill(*leader);
    }
}

fn kill(leader: u32) {
    if let Ok(leader) = i32::try_from(leader) {
        // An error means that the group is already gone.
        let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
    }
}

/// A process group that [`end_all`] kills while this is held.
#[derive(Debug)]
pub(crate) struct Registered(u32);

impl Drop for Registered {
    fn drop(&mut self) {
        running().leaders.remove(&self.0);
    }
}

/// Starts the leader of a process group by other means; `spawn` returns its number. Drop the result
/// as soon as the leader has been waited for.
pub(crate) fn started<T>(
    spawn: impl FnOnce() -> io::Result<(T, u32)>,
) -> io::Result<(T, Registered)> {
    let mut running = running();
    if running.ended {
        return Err(io::Error::other("this process is ending"));
    }
    let (started, leader) = spawn()?;
    running.leaders.insert(leader);
    Ok((started, Registered(leader)))
}

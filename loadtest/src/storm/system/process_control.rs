//! Ends processes of a layout in various ways, and sends signals to them.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;

use super::{Role, System};
use crate::process;
use crate::record::{ENDS, End, Ended};
use crate::storm::StormError;

/// How long a process may take to end after SIGTERM: the drain time of a worker, on a busy machine.
const STOP_LIMIT: Duration = Duration::from_secs(90);
/// The interval between the two signals of an impatient person.
const BETWEEN_SIGNALS: Duration = Duration::from_millis(150);
/// How long `up` may try to keep a nats-server running that is killed at once.
const GIVE_UP_LIMIT: Duration = Duration::from_secs(180);
/// How often to look for a nats-server to kill.
const KILL_EVERY: Duration = Duration::from_millis(100);

impl System {
    /// The id of the named process; `nats` is the child of `up`.
    pub(crate) fn pid(&self, name: &str) -> Option<Pid> {
        if name == "nats" {
            return process::of_directory(&self.directory)
                .into_iter()
                .find(|found| {
                    let program = found.line.split(' ').next().unwrap_or_default();
                    program.ends_with("nats-server")
                })
                .map(|found| Pid::from_raw(found.pid));
        }
        let process = self.members.get(name)?.process.as_ref()?;
        Some(process.pid())
    }

    /// Sends a signal to a process of the layout.
    pub(crate) fn signal(&self, name: &str, signal: Signal) {
        if let Some(pid) = self.pid(name) {
            // It may have ended meanwhile.
            let _ = kill(pid, signal);
        }
    }

    /// Kills a process; it stays down until it is started.
    pub(crate) async fn kill(&mut self, name: &str) {
        if name == "nats" {
            self.signal(name, Signal::SIGKILL);
            return;
        }
        if let Some(member) = self.members.get_mut(name) {
            member.is_held_down = true;
            if let Some(mut process) = member.process.take() {
                process.kill().await;
            }
        }
    }

    /// Sends SIGTERM, waits for the end and records how it came. The process stays down.
    pub(crate) async fn stop(&mut self, name: &str) -> Result<(), StormError> {
        self.stop_with(name, &[Signal::SIGTERM]).await
    }

    /// Sends SIGINT, and again before the process can have stopped in order.
    pub(crate) async fn interrupt_twice(&mut self, name: &str) -> Result<(), StormError> {
        self.stop_with(name, &[Signal::SIGINT, Signal::SIGINT])
            .await
    }

    async fn stop_with(&mut self, name: &str, signals: &[Signal]) -> Result<(), StormError> {
        let Some(member) = self.members.get_mut(name) else {
            return Ok(());
        };
        member.is_held_down = true;
        let Some(mut process) = member.process.take() else {
            return Ok(());
        };
        let asked_at = Instant::now();
        let end = match process.ended() {
            Some(code) => End::Unasked {
                code,
                said: process.last_words(),
            },
            None => {
                let starting = process.is_starting();
                for (number, signal) in signals.iter().enumerate() {
                    if number > 0 {
                        tokio::time::sleep(BETWEEN_SIGNALS).await;
                    }
                    process.signal(*signal);
                }
                let ended = process.wait(STOP_LIMIT).await;
                let after_ms = milliseconds(asked_at);
                match ended {
                    Some(code) => End::Told {
                        code,
                        after_ms,
                        starting,
                    },
                    None => End::Deaf { after_ms },
                }
            }
        };
        process.kill().await;
        let ended = Ended {
            process: name.to_owned(),
            end,
        };
        Ok(self.recorder.append(ENDS, &ended)?)
    }

    /// Kills the nats-server of `up` whenever it runs, until `up` gives up, as it must. `up` is
    /// restarted as part of [`System::rest`].
    pub(crate) async fn starve(&mut self) -> Result<(), StormError> {
        let begun_at = Instant::now();
        let is_up = |system: &mut Self| {
            let member = system.members.get_mut("up");
            let process = member.and_then(|member| member.process.as_mut());
            process.is_some_and(|process| process.ended().is_none())
        };
        while is_up(self) {
            if begun_at.elapsed() > GIVE_UP_LIMIT {
                let after_ms = milliseconds(begun_at);
                let ended = Ended {
                    process: "up".to_owned(),
                    end: End::Stays { after_ms },
                };
                return Ok(self.recorder.append(ENDS, &ended)?);
            }
            self.signal("nats", Signal::SIGKILL);
            tokio::time::sleep(KILL_EVERY).await;
        }
        Ok(())
    }

    /// Overwrites pages of a server's views in SQLite.
    pub(crate) fn damage_views(&self, name: &str, page: u64) -> Result<(), StormError> {
        let Some(Role::Up | Role::Serve(_)) = self.members.get(name).map(|member| member.role)
        else {
            return Ok(());
        };
        let number = usize::from(name == "serve-2");
        let views = self.views.get(number).map_or("", String::as_str);
        let path = views.strip_prefix("sqlite:").unwrap_or(views);
        let mut command = Command::new("dd");
        command
            .arg("if=/dev/urandom")
            .arg(format!("of={path}"))
            .arg(format!("seek={page}"))
            .args(["bs=4096", "count=2", "conv=notrunc", "status=none"])
            .current_dir(&self.directory);
        if let (true, Some(disk)) = (name == "up", &self.disk) {
            // The file is visible only in that mount namespace.
            command = process::wrapped_in(&disk.enter(&self.directory), &command);
        }
        let done = command
            .as_std_mut()
            .status()
            .map_err(StormError::files(Path::new(path)))?;
        if !done.success() {
            return Err(StormError::files(Path::new(path))(done));
        }
        Ok(())
    }

    /// The processes of PostgreSQL; client backends are named `postgres: USER DATABASE …`.
    pub(crate) fn postgres_processes(&self) -> Vec<process::Found> {
        let postgres = self.postgres.as_ref();
        postgres.map_or_else(Vec::new, |postgres| {
            process::of_directory(&postgres.cluster())
        })
    }
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

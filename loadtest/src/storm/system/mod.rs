//! Runs the processes of one layout and restarts them when they end.

mod commands;
mod process_control;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::StormError;
use super::disk::SmallDisk;
use super::proxy::Proxy;
use super::schedule::Layout;
use super::webhook_receiver::WebhookReceiver;
use crate::deals::postgres::Postgres;
use crate::natsd::{self, Server};
use crate::process::{self, Process};
use crate::record::{self, ENDS, End, Ended, Recorder, SYSTEM, SystemRecord};

/// The interval between two checks of the processes.
const KEEP_EVERY: Duration = Duration::from_millis(250);
/// How long a server may take to accept connections.
const START_LIMIT: Duration = Duration::from_secs(180);
/// How long a process that ended by itself stays down, as with a service manager.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// The role of a process in the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Nats(usize),
    Up,
    Serve(usize),
    Worker(usize),
}

#[derive(Debug)]
struct Member {
    role: Role,
    process: Option<Process>,
    /// Whether it must stay down and not be restarted.
    is_held_down: bool,
    ended_at: Option<Instant>,
    skew_seconds: i64,
}

/// The running layout.
#[derive(Debug)]
pub(crate) struct System {
    directory: PathBuf,
    rollbook: PathBuf,
    /// The path of `libfaketime`, which sets the clock of a process off.
    faketime: Option<PathBuf>,
    recorder: Arc<Recorder>,
    nats: Vec<Server>,
    /// For each server and worker, one proxy per nats-server.
    proxies: BTreeMap<String, Vec<Proxy>>,
    ports: Vec<u16>,
    members: BTreeMap<String, Member>,
    /// The PostgreSQL that steps change; it also holds the views if `views` names it.
    postgres: Option<Arc<Postgres>>,
    /// The database of each server's views, by the server's number.
    views: Vec<String>,
    hook: Option<WebhookReceiver>,
    /// The disk that holds the data of `up`, or the store of the first nats-server.
    disk: Option<SmallDisk>,
}

impl System {
    /// Writes the files of a layout into `directory`, which must be empty. Starts nothing. Servers
    /// have their own views in SQLite, or share those in a PostgreSQL.
    pub(crate) async fn prepare(
        directory: &Path,
        layout: Layout,
        rollbook: &Path,
        faketime: Option<PathBuf>,
        recorder: Arc<Recorder>,
        shared_views: Option<&str>,
    ) -> Result<Self, StormError> {
        let stores = stores(directory, layout);
        let mut nats = Vec::new();
        let mut proxies = BTreeMap::new();
        let mut members = BTreeMap::new();
        let mut add = |name: String, role| {
            let member = Member {
                role,
                process: None,
                is_held_down: true,
                ended_at: None,
                skew_seconds: 0,
            };
            members.insert(name, member);
        };
        if layout == Layout::Up {
            add("up".to_owned(), Role::Up);
        } else {
            nats = natsd::configure(directory, &stores).map_err(StormError::files(directory))?;
            for number in 0..nats.len() {
                add(format!("nats-{}", number + 1), Role::Nats(number));
            }
            for (name, role) in [
                ("serve-1", Role::Serve(0)),
                ("serve-2", Role::Serve(1)),
                ("worker-1", Role::Worker(1)),
                ("worker-2", Role::Worker(2)),
                ("worker-3", Role::Worker(3)),
            ] {
                add(name.to_owned(), role);
                let mut links = Vec::new();
                for server in &nats {
                    let proxy = Proxy::start(server.port).await;
                    links.push(proxy.map_err(StormError::files(directory))?);
                }
                proxies.insert(name.to_owned(), links);
            }
        }
        let files = match layout {
            Layout::Up => [".rollbook/views.db"].as_slice(),
            _ => &["views-1.db", "views-2.db"],
        };
        let views = match shared_views {
            Some(url) => vec![url.to_owned(); files.len()],
            None => files
                .iter()
                .map(|file| format!("sqlite:{}", directory.join(file).display()))
                .collect(),
        };
        let objects = match layout {
            Layout::Up => directory.join(".rollbook/objects"),
            _ => directory.join("objects"),
        };
        let mut databases = views.clone();
        databases.dedup();
        let system = SystemRecord {
            layout: layout.name().to_owned(),
            rollbook: rollbook.to_path_buf(),
            stores,
            objects,
            views: databases,
        };
        record::write(&directory.join(SYSTEM), &system)?;
        let servers = if layout == Layout::Up { 1 } else { 2 };
        let ports = (0..servers)
            .map(|_| natsd::free_port())
            .collect::<Result<_, _>>()
            .map_err(StormError::files(directory))?;
        Ok(Self {
            directory: directory.to_path_buf(),
            rollbook: rollbook.to_path_buf(),
            faketime,
            recorder,
            nats,
            proxies,
            ports,
            members,
            postgres: None,
            views,
            hook: None,
            disk: None,
        })
    }

    /// Moves the data of `up`, or the store of the first nats-server, to a file system that a fault
    /// can fill. `Err` says why the machine does not allow it.
    pub(crate) fn use_small_disk(&mut self) -> Result<(), String> {
        let place = self.directory.join(match self.nats.is_empty() {
            true => ".rollbook",
            false => "nats-1",
        });
        std::fs::create_dir_all(&place).map_err(|error| error.to_string())?;
        self.disk = Some(SmallDisk::mount(&place)?);
        Ok(())
    }

    /// Gives workers this PostgreSQL, and makes it a target of faults.
    pub(crate) fn share(&mut self, postgres: Arc<Postgres>) {
        self.postgres = Some(postgres);
    }

    /// Makes the receiver of webhooks a target of faults.
    pub(crate) fn post_to(&mut self, hook: WebhookReceiver) {
        self.hook = Some(hook);
    }

    pub(crate) fn hook(&self) -> Option<&WebhookReceiver> {
        self.hook.as_ref()
    }

    pub(crate) fn disk(&mut self) -> Option<&mut SmallDisk> {
        self.disk.as_mut()
    }

    /// The addresses of the API.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.ports
            .iter()
            .map(|port| format!("http://127.0.0.1:{port}"))
            .collect()
    }

    pub(crate) fn rollbook(&self) -> &Path {
        &self.rollbook
    }

    pub(crate) fn links(&self, name: &str) -> &[Proxy] {
        self.proxies.get(name).map_or(&[], Vec::as_slice)
    }

    /// The names of all processes, nats-servers first.
    pub(crate) fn names(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    /// The names of the nats-servers that are processes of their own.
    pub(crate) fn nats_names(&self) -> Vec<String> {
        self.names_of("nats-")
    }

    /// The names of the processes that start with a prefix.
    pub(crate) fn names_of(&self, prefix: &str) -> Vec<String> {
        let names = self.names();
        names
            .into_iter()
            .filter(|name| name.starts_with(prefix))
            .collect()
    }

    /// Starts the nats-servers and waits until they accept connections.
    pub(crate) async fn start_nats(&mut self) -> Result<(), StormError> {
        for name in self.nats_names() {
            self.start(&name)?;
        }
        for server in self.nats.clone() {
            if !server.answers().await {
                return Err(StormError::Silent {
                    what: format!("nats-server with {}", server.config.display()),
                });
            }
        }
        Ok(())
    }

    /// Starts everything: nats-servers, then servers in parallel, then workers. With `worker_first`
    /// a worker starts before there is a ledger.
    pub(crate) async fn start_all(&mut self, worker_first: bool) -> Result<(), StormError> {
        self.start_nats().await?;
        if worker_first {
            for name in self.names_of("worker-1") {
                self.start(&name)?;
            }
        }
        for name in self.names() {
            if name == "up" || name.starts_with("serve-") {
                self.start(&name)?;
            }
        }
        for number in 0..self.ports.len() {
            self.accepts(number).await?;
        }
        for name in self.names_of("worker-") {
            let member = self.members.get(&name);
            if member.is_some_and(|member| member.is_held_down) {
                self.start(&name)?;
            }
        }
        Ok(())
    }

    /// Waits until the API of a server accepts connections.
    async fn accepts(&mut self, number: usize) -> Result<(), StormError> {
        let port = self.ports.get(number).copied().unwrap_or_default();
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if Instant::now() >= deadline {
                return Err(StormError::Silent {
                    what: format!("the server at port {port}"),
                });
            }
            self.look_after()?;
            tokio::time::sleep(KEEP_EVERY).await;
        }
        Ok(())
    }

    /// Starts one process; its clock is right unless it was set off.
    pub(crate) fn start(&mut self, name: &str) -> Result<(), StormError> {
        let (role, skew) = match self.members.get(name) {
            Some(member) => (member.role, member.skew_seconds),
            None => return Ok(()),
        };
        let mut command = self.command(name, role)?;
        if let (true, Some(library)) = (skew != 0, &self.faketime) {
            // Timers are unaffected: only the time of day differs.
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME", format!("{skew:+}s"))
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command.current_dir(&self.directory);
        if let (Role::Up | Role::Nats(0), Some(disk)) = (role, &self.disk) {
            command = process::wrapped_in(&disk.enter(&self.directory), &command);
        }
        let log = self.directory.join(format!("{name}.log"));
        let process = Process::start(&mut command, &log)?;
        if let Some(member) = self.members.get_mut(name) {
            member.process = Some(process);
            member.is_held_down = false;
            member.ended_at = None;
        }
        Ok(())
    }

    /// Sets off the clock of a process for its next start.
    pub(crate) fn set_clock(&mut self, name: &str, skew_seconds: i64) {
        if let Some(member) = self.members.get_mut(name) {
            member.skew_seconds = skew_seconds;
        }
    }

    /// Lets time pass and restarts processes that end by themselves, as a service manager does.
    pub(crate) async fn rest(&mut self, time: Duration) -> Result<(), StormError> {
        let deadline = Instant::now() + time;
        loop {
            self.look_after()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(KEEP_EVERY)).await;
        }
    }

    fn look_after(&mut self) -> Result<(), StormError> {
        for name in self.names() {
            let Some(member) = self.members.get_mut(&name) else {
                continue;
            };
            if member.is_held_down {
                continue;
            }
            if let Some(process) = &mut member.process
                && let Some(code) = process.ended()
            {
                let ended = Ended {
                    process: name.clone(),
                    end: End::Unasked {
                        code,
                        said: process.last_words(),
                    },
                };
                member.process = None;
                member.ended_at = Some(Instant::now());
                self.recorder.append(ENDS, &ended)?;
            }
            let is_due = member.process.is_none()
                && member
                    .ended_at
                    .is_none_or(|at| at.elapsed() >= RESTART_AFTER);
            if is_due {
                self.start(&name)?;
            }
        }
        Ok(())
    }

    /// Stops everything in order: workers and servers, then nats-servers.
    pub(crate) async fn stop_all(&mut self) -> Result<(), StormError> {
        let (nats, others): (Vec<_>, Vec<_>) = self
            .names()
            .into_iter()
            .partition(|name| name.starts_with("nats-"));
        for name in others.into_iter().rev().chain(nats) {
            self.stop(&name).await?;
        }
        if let Some(disk) = self.disk.take() {
            disk.unmount().map_err(StormError::files(&self.directory))?;
        }
        Ok(())
    }
}

/// The directories in which the nats-servers of a layout keep their streams.
pub(crate) fn stores(directory: &Path, layout: Layout) -> Vec<PathBuf> {
    match layout {
        Layout::Up => vec![directory.join(".rollbook/nats/jetstream")],
        _ => (1..=layout.nats_servers())
            .map(|number| directory.join(format!("nats-{number}")))
            .collect(),
    }
}

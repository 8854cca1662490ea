//! The private nats-server of `rollbook up`.
//!
//! Its files are under `<data dir>/nats`: `nats-server.conf` (mode 0600, with a token that is new
//! at every start), `jetstream/` (the data), `nats-server.log` (rotated), `nats-server.out` (its
//! output before its log was open). The data directory itself is locked by [`DataLock`].

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::supervisor::{ChildStatus, Launch, Supervisor};
use super::{Credentials, DataLock, NatsOptions, binary, connect, orphan};
use crate::error_code::Coded;

/// How many times to try a start with other ports.
const START_TRIES: u32 = 3;
/// How much of the server's log an error shows, in bytes.
const LOG_TAIL_BYTES: usize = 2000;
/// How often to check whether a starting server is ready.
const READY_CHECK: Duration = Duration::from_millis(10);

/// Why the embedded server is not available.
#[derive(Debug, thiserror::Error, Coded)]
pub enum ServerError {
    /// No binary was found.
    #[error(
        "RB-NATS-4: no nats-server found (looked in {looked}); install 2.12 or newer or name it with --nats-server"
    )]
    BinaryMissing {
        /// The places searched.
        looked: String,
    },
    /// The binary is not a nats-server, or is too old.
    #[error("RB-NATS-5: {} cannot be used: {reason}; name another with --nats-server", path.display())]
    BinaryUnusable {
        /// The binary.
        path: PathBuf,
        /// The problem.
        reason: String,
    },
    /// Another process uses the data directory.
    #[error(
        "RB-NATS-6: {} is in use by {holder}; stop it first, or choose another data directory", dir.display()
    )]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// The process that holds it.
        holder: String,
    },
    /// A file or directory cannot be used.
    #[error("RB-NATS-7: {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The server did not become ready.
    #[error("RB-NATS-8: nats-server did not become ready: {reason}\n{log}")]
    NotReady {
        /// The reason, as far as known.
        reason: String,
        /// The end of its log.
        log: String,
    },
    /// The server exited repeatedly and is no longer restarted.
    #[error(
        "RB-NATS-10: nats-server ended too often and is not started again: {reason}\n{log}; nothing acknowledged is lost: remove the cause, then start rollbook again"
    )]
    GaveUp {
        /// How it exited last.
        reason: String,
        /// The end of its log.
        log: String,
    },
    /// A server left behind by an earlier run cannot be stopped.
    #[error(
        "RB-NATS-9: nats-server process {pid}, left behind by an earlier run, cannot be ended: {reason}; end it yourself"
    )]
    Orphan {
        /// Its process id.
        pid: i32,
        /// The reason.
        reason: String,
    },
}

/// How to run the embedded server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The binary; `None` searches for it, see [`super::find_binary`].
    pub binary: Option<PathBuf>,
    /// The data directory, created if missing; the server's files go to `nats/` in it.
    pub data_dir: PathBuf,
    /// How long the server may take to become ready (it checks its data first).
    pub ready_within: Duration,
    /// Maximum size of its streams on disk; `None` means nats-server's default, three quarters of
    /// the free space.
    pub max_file_store_bytes: Option<u64>,
    /// Let the kernel kill the server with this process. Otherwise (or without `setpriv`) a server
    /// orphaned by `kill -9` keeps running until the next start stops it.
    pub tie_to_parent: bool,
}

impl ServerOptions {
    /// Returns the defaults for a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            binary: None,
            data_dir: data_dir.into(),
            ready_within: Duration::from_secs(60),
            max_file_store_bytes: None,
            tie_to_parent: true,
        }
    }
}

/// A private nats-server: loopback only, `sync_interval: always`, restarted on the same port when
/// it dies, and stopped by [`EmbeddedServer::stop`] or when dropped.
#[derive(Debug)]
pub struct EmbeddedServer {
    // Order matters: the child must stop before the directory is unlocked.
    supervisor: Supervisor,
    _lock: DataLock,
    /// The directory of the server's files.
    dir: PathBuf,
    version: String,
    endpoint: Endpoint,
}

impl EmbeddedServer {
    /// Locks the data directory, stops a server left behind in it, starts ours and waits until
    /// JetStream answers. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// See [`ServerError`]; on any error no process is left running.
    pub async fn start(options: ServerOptions) -> Result<Self, ServerError> {
        let binary = binary::find_binary(options.binary.as_deref())?;
        let binary = binary
            .canonicalize()
            .map_err(|source| io_error(&binary, source))?;
        let version = binary::check_version(&binary).await?;
        let dir = prepare_dir(&options.data_dir)?;
        let lock = DataLock::acquire(&options.data_dir)?;
        let config = dir.join("nats-server.conf");
        let searched = config.clone();
        let orphans = tokio::task::spawn_blocking(move || orphan::end_orphans(&searched))
            .await
            .unwrap_or_else(|_| Ok(Vec::new()))?;
        for pid in orphans {
            tracing::warn!(pid, "ended a nats-server that an earlier run left behind");
        }
        let launch = Launch {
            binary,
            config,
            dir,
            tie_to_parent: options.tie_to_parent,
        };
        let mut tries = 0;
        loop {
            tries += 1;
            let endpoint = Endpoint::choose()?;
            endpoint
                .write_config(&launch.config, options.max_file_store_bytes)
                .map_err(|source| io_error(&launch.config, source))?;
            let supervisor = Supervisor::start(launch.clone())
                .map_err(|source| io_error(&launch.binary, source))?;
            let failed = until_ready(&supervisor, &endpoint, options.ready_within).await;
            let Err(reason) = failed else {
                return Ok(Self {
                    supervisor,
                    _lock: lock,
                    dir: launch.dir,
                    version,
                    endpoint,
                });
            };
            stop(supervisor).await;
            let log = log_tail(&launch.dir);
            // Another process may have taken a port after we found it free.
            if tries == START_TRIES || !log.contains("address already in use") {
                return Err(ServerError::NotReady { reason, log });
            }
        }
    }

    /// Returns the options to connect to it as a client of this name.
    pub fn nats_options(&self, name: &str) -> NatsOptions {
        self.endpoint.nats_options(name)
    }

    /// Returns its monitoring address: `http://127.0.0.1:<port>`.
    pub fn monitoring_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.endpoint.monitoring_port)
    }

    /// Returns its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the child's status, as a channel of its changes.
    pub fn status(&self) -> watch::Receiver<ChildStatus> {
        self.supervisor.status()
    }

    /// Waits until the supervisor gives up: the child exited too often and is no longer restarted.
    pub fn gave_up(&self) -> impl Future<Output = ServerError> + Send + use<> {
        let (mut status, dir) = (self.status(), self.dir.clone());
        async move {
            loop {
                if let ChildStatus::Failed { reason } = &*status.borrow_and_update() {
                    let (reason, log) = (reason.clone(), log_tail(&dir));
                    return ServerError::GaveUp { reason, log };
                }
                if status.changed().await.is_err() {
                    // The server was stopped on purpose.
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Stops the child, and only the child, cleanly; then unlocks the data directory.
    pub async fn stop(self) {
        stop(self.supervisor).await;
    }
}

async fn stop(mut supervisor: Supervisor) {
    // A panic of the stopping thread has already been reported.
    let _ = tokio::task::spawn_blocking(move || supervisor.stop()).await;
}

/// How to reach a running server. It stays the same across restarts, so that clients reconnect.
#[derive(Clone)]
struct Endpoint {
    port: u16,
    monitoring_port: u16,
    token: String,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("port", &self.port)
            .field("monitoring_port", &self.monitoring_port)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    fn choose() -> Result<Self, ServerError> {
        let random = Path::new("/dev/urandom");
        let mut bytes = [0; 32];
        File::open(random)
            .and_then(|mut file| file.read_exact(&mut bytes))
            .map_err(|source| io_error(random, source))?;
        let (port, monitoring_port) =
            free_ports().map_err(|source| io_error(Path::new("127.0.0.1"), source))?;
        Ok(Self {
            port,
            monitoring_port,
            token: hex::encode(bytes),
        })
    }

    fn nats_options(&self, name: &str) -> NatsOptions {
        NatsOptions {
            url: format!("nats://127.0.0.1:{}", self.port),
            credentials: Credentials::Token(self.token.clone()),
            name: name.to_owned(),
            ..NatsOptions::default()
        }
    }

    /// Writes the server's configuration, readable by its owner only. Its paths are relative to the
    /// child's working directory.
    fn write_config(&self, path: &Path, max_file_store_bytes: Option<u64>) -> io::Result<()> {
        let Self {
            port,
            monitoring_port,
            token,
        } = self;
        let limit = max_file_store_bytes
            .map_or_else(String::new, |bytes| format!("  max_file_store: {bytes}\n"));
        let text = format!(
            "# Written by rollbook at every start.\n\
             server_name: rollbook\n\
             listen: \"127.0.0.1:{port}\"\n\
             http: \"127.0.0.1:{monitoring_port}\"\n\
             authorization {{ token: \"{token}\" }}\n\
             jetstream {{\n  store_dir: \"jetstream\"\n  sync_interval: always\n{limit}}}\n\
             log_file: \"nats-server.log\"\n\
             logfile_size_limit: 10MB\n\
             logfile_max_num: 3\n"
        );
        let fresh = path.with_extension("conf.new");
        if let Err(error) = fs::remove_file(&fresh)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?
            .write_all(text.as_bytes())?;
        fs::rename(fresh, path)
    }
}

/// Waits until JetStream answers; an error says why it does not.
async fn until_ready(
    supervisor: &Supervisor,
    endpoint: &Endpoint,
    limit: Duration,
) -> Result<(), String> {
    let end = Instant::now() + limit;
    let options = endpoint.nats_options("rollbook start");
    let mut last = "it does not answer".to_owned();
    while Instant::now() < end {
        match &*supervisor.status().borrow() {
            ChildStatus::Starting { restarts: 0 } | ChildStatus::Running { restarts: 0, .. } => {}
            _ => return Err("it ended at once".to_owned()),
        }
        match connect(&options).await {
            Err(error) => last = error.to_string(),
            Ok(client) => match async_nats::jetstream::new(client).query_account().await {
                Ok(_) => return Ok(()),
                Err(error) => last = error.to_string(),
            },
        }
        sleep(READY_CHECK).await;
    }
    Err(format!("not ready within {} s: {last}", limit.as_secs()))
}

/// Creates the data directory and `nats/` in it, both accessible to their owner only, and returns
/// the latter's canonical path.
fn prepare_dir(data_dir: &Path) -> Result<PathBuf, ServerError> {
    let dir = data_dir.join("nats");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .and_then(|()| dir.canonicalize())
        .map_err(|source| io_error(&dir, source))
}

/// Returns two different loopback ports that are currently free.
fn free_ports() -> io::Result<(u16, u16)> {
    let first = TcpListener::bind("127.0.0.1:0")?;
    let second = TcpListener::bind("127.0.0.1:0")?;
    Ok((first.local_addr()?.port(), second.local_addr()?.port()))
}

/// Returns the end of what the server printed and logged.
fn log_tail(dir: &Path) -> String {
    ["nats-server.out", "nats-server.log"]
        .iter()
        .filter_map(|name| fs::read(dir.join(name)).ok())
        .map(|text| {
            let start = text.len().saturating_sub(LOG_TAIL_BYTES);
            String::from_utf8_lossy(text.get(start..).unwrap_or_default()).into_owned()
        })
        .collect()
}

fn io_error(path: &Path, source: io::Error) -> ServerError {
    ServerError::Io {
        path: path.to_path_buf(),
        source,
    }
}

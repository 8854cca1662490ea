//! Runs nats-servers whose stores outlive them: one, or three in a cluster.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rollbook_ledger::nats::find_binary;
use tokio::process::Command;

use crate::process::StartError;

/// How long a nats-server may take to accept connections.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Ports for processes that must restart on the same port. The system assigns ports from 32768
/// upwards, to connections as well: one of those could be taken while its process is down.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port that nobody listens on and that was not returned before.
pub(crate) fn free_port() -> std::io::Result<u16> {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    // Another storm on this machine starts at a different port.
    let start = u16::try_from(std::process::id().wrapping_mul(37) % u32::from(count)).unwrap_or(0);
    let mut refused = std::io::Error::from(std::io::ErrorKind::AddrInUse);
    for _ in 0..count {
        let offset = start.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % count;
        let port = PORTS.start + offset;
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => return Ok(port),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// A nats-server: its port and the directory of its store.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) config: PathBuf,
}

/// The path of the nats-server program.
pub(crate) fn program() -> Result<PathBuf, StartError> {
    let named = std::env::var_os("ROLLBOOK_NATS_SERVER").map(PathBuf::from);
    find_binary(named.as_deref()).map_err(|error| StartError::new("nats-server", error))
}

/// Writes a configuration for each store into `directory`. Several stores make a cluster whose
/// members do not advertise each other to clients, so that clients always connect through their
/// proxy.
pub(crate) fn configure(directory: &Path, stores: &[PathBuf]) -> std::io::Result<Vec<Server>> {
    let ports: Vec<u16> = stores
        .iter()
        .map(|_| free_port())
        .collect::<Result<_, _>>()?;
    let routes: Vec<u16> = stores
        .iter()
        .map(|_| free_port())
        .collect::<Result<_, _>>()?;
    let all: Vec<String> = routes
        .iter()
        .map(|port| format!("\"nats://127.0.0.1:{port}\""))
        .collect();
    let mut servers = Vec::new();
    for (index, ((store, port), route)) in stores.iter().zip(&ports).zip(&routes).enumerate() {
        let number = index + 1;
        let mut text = format!(
            "server_name: n{number}\nlisten: \"127.0.0.1:{port}\"\n\
             jetstream {{ store_dir: {:?}, sync_interval: always }}\n",
            store.display().to_string()
        );
        if stores.len() > 1 {
            text.push_str(&format!(
                "cluster {{ name: storm, listen: \"127.0.0.1:{route}\", no_advertise: true, routes: [{}] }}\n",
                all.join(", ")
            ));
        }
        let config = directory.join(format!("nats-{number}.conf"));
        std::fs::write(&config, text)?;
        servers.push(Server {
            port: *port,
            config,
        });
    }
    Ok(servers)
}

impl Server {
    /// The command that runs it.
    pub(crate) fn command(&self) -> Result<Command, StartError> {
        let mut command = Command::new(program()?);
        command.arg("-c").arg(&self.config);
        Ok(command)
    }

    /// Waits until it accepts connections.
    pub(crate) async fn answers(&self) -> bool {
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            if tokio::net::TcpStream::connect(("127.0.0.1", self.port))
                .await
                .is_ok()
            {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }
}

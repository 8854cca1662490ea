//! Private nats-servers for tests: a single one or a cluster of three, on free loopback ports, with
//! their data in a temporary directory. They stop when dropped.
//!
//! The binary comes from `ROLLBOOK_NATS_SERVER`, `PATH`, or `.tools/bin` of the workspace.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_nats::Client;
use rollbook_ledger::nats::{NatsOptions, connect};
use tempfile::TempDir;

/// How long a server or a cluster may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Returns the nats-server binary; panics if there is none.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ROLLBOOK_NATS_SERVER") {
        return PathBuf::from(path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin");
    std::env::split_paths(&path)
        .chain([tools])
        .map(|dir| dir.join("nats-server"))
        .find(|candidate| candidate.is_file())
        .expect("no nats-server in ROLLBOOK_NATS_SERVER, PATH or .tools/bin: run `make tools`")
}

/// Returns a loopback port that was just free and below the range of ephemeral ports, so that no
/// other program's connection gets it. Processes start at different ports, so that concurrent
/// searches find different ones.
pub fn free_port() -> u16 {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(101);
    loop {
        let asked = ASKED.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + u16::try_from(first.wrapping_add(asked) % 12_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The configuration of a test server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// `sync_interval: always`.
    pub sync_always: bool,
    /// `max_file_store` in bytes.
    pub max_file_store: Option<u64>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            sync_always: true,
            max_file_store: None,
        }
    }
}

/// One nats-server process.
pub struct Server {
    child: Option<Child>,
    pub port: u16,
    config: PathBuf,
    dir: PathBuf,
    /// Command prefix that runs the program in another mount namespace.
    within: Vec<String>,
    _temp: Option<TempDir>,
}

impl Server {
    /// Starts a single server and waits until JetStream answers.
    pub async fn single(config: ServerConfig) -> Self {
        let temp = TempDir::new().unwrap();
        let mut server = Self::prepare(temp.path(), "single", free_port(), &config, "");
        server._temp = Some(temp);
        server.start();
        server.ready().await;
        server
    }

    /// Starts a single server with its files in `dir/within`, in the mount namespace that the
    /// command prefix `words` enters.
    pub async fn within(dir: &Path, words: Vec<String>) -> Self {
        let config = ServerConfig::default();
        let mut server = Self::prepare(dir, "within", free_port(), &config, "");
        server.within = words;
        server.start();
        server.ready().await;
        server
    }

    fn prepare(dir: &Path, name: &str, port: u16, config: &ServerConfig, cluster: &str) -> Self {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("server.conf");
        let sync = if config.sync_always { "always" } else { "2m" };
        let limit = config
            .max_file_store
            .map_or(String::new(), |bytes| format!("max_file_store: {bytes}"));
        let text = format!(
            "server_name: {name}\nlisten: \"127.0.0.1:{port}\"\n\
             jetstream {{ store_dir: \"{}\", sync_interval: {sync}, {limit} }}\n\
             accounts {{ SYS {{ users: [{{user: sys, password: sys}}] }}\n\
             APP {{ jetstream: enabled, users: [{{user: app, password: app}}] }} }}\n\
             system_account: SYS\nno_auth_user: app\n{cluster}",
            dir.join("data").display()
        );
        std::fs::write(&file, text).unwrap();
        Self {
            child: None,
            port,
            config: file,
            dir,
            within: Vec::new(),
            _temp: None,
        }
    }

    /// Starts the server, possibly again, on the same port and data.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "the server runs");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))
            .unwrap();
        let program = binary();
        let mut command = match self.within.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        let child = command
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nats-server starts");
        self.child = Some(child);
    }

    /// Returns the directory of its streams.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Kills the server with `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Waits until JetStream answers.
    pub async fn ready(&self) {
        let answered = tokio::time::timeout(READY_WITHIN, async {
            loop {
                if let Ok(client) = connect(&self.options()).await {
                    let context = async_nats::jetstream::new(client);
                    if context.query_account().await.is_ok() {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        if answered.await.is_err() {
            panic!(
                "nats-server is not ready:\n{}",
                std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
            );
        }
    }

    pub fn options(&self) -> NatsOptions {
        NatsOptions {
            url: format!("nats://127.0.0.1:{}", self.port),
            name: "test".to_owned(),
            ..NatsOptions::default()
        }
    }

    /// Connects to the application account.
    pub async fn client(&self) -> Client {
        connect(&self.options()).await.unwrap()
    }

    /// Connects to the system account.
    pub async fn system_client(&self) -> Client {
        let options = NatsOptions {
            credentials: rollbook_ledger::nats::Credentials::UserPassword(
                "sys".to_owned(),
                "sys".to_owned(),
            ),
            ..self.options()
        };
        connect(&options).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A cluster of three servers.
pub struct Cluster {
    pub servers: Vec<Server>,
    _temp: TempDir,
}

impl Cluster {
    /// Starts three servers and waits until streams with three replicas can be created.
    pub async fn start() -> Self {
        let temp = TempDir::new().unwrap();
        let routes: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let urls: Vec<String> = routes
            .iter()
            .map(|port| format!("\"nats-route://127.0.0.1:{port}\""))
            .collect();
        let mut servers: Vec<Server> = routes
            .iter()
            .enumerate()
            .map(|(index, route)| {
                let cluster = format!(
                    "cluster {{ name: test, listen: \"127.0.0.1:{route}\", routes: [{}] }}\n",
                    urls.join(", ")
                );
                let config = ServerConfig::default();
                Server::prepare(
                    temp.path(),
                    &format!("n{index}"),
                    free_port(),
                    &config,
                    &cluster,
                )
            })
            .collect();
        for server in &mut servers {
            server.start();
        }
        for server in &servers {
            server.ready().await;
        }
        let cluster = Self {
            servers,
            _temp: temp,
        };
        cluster.three_replicas().await;
        cluster
    }

    async fn three_replicas(&self) {
        let context = async_nats::jetstream::new(self.client().await);
        let config = async_nats::jetstream::stream::Config {
            name: "PROBE".to_owned(),
            num_replicas: 3,
            ..Default::default()
        };
        let made = tokio::time::timeout(READY_WITHIN, async {
            while context.create_stream(config.clone()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            context.delete_stream("PROBE").await.unwrap();
        });
        made.await
            .expect("the cluster takes streams with three replicas");
    }

    /// Connects to the first server.
    pub async fn client(&self) -> Client {
        self.servers.first().unwrap().client().await
    }
}

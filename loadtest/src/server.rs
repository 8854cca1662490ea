//! A nats-server that a bench starts, with or without `sync_interval: always`.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rollbook_ledger::nats::find_binary;

use crate::bar::{BenchError, failed};

/// A running nats-server; on drop it is stopped and its data removed.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    url: String,
    _dir: tempfile::TempDir,
}

impl Server {
    /// Starts one on a free port and waits until it accepts connections.
    pub(crate) async fn start(sync_always: bool) -> Result<Self, BenchError> {
        let binary = std::env::var_os("ROLLBOOK_NATS_SERVER").map(std::path::PathBuf::from);
        let binary = find_binary(binary.as_deref()).map_err(failed("find nats-server"))?;
        let dir = tempfile::tempdir().map_err(failed("make a directory"))?;
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(failed("find a port"))?
            .port();
        let sync = if sync_always {
            "sync_interval: always"
        } else {
            ""
        };
        let store = dir.path().join("data");
        let config = dir.path().join("nats.conf");
        let text = format!(
            "host: 127.0.0.1\nport: {port}\njetstream {{\n  store_dir: {:?}\n  {sync}\n}}\n",
            store.display().to_string()
        );
        std::fs::write(&config, text).map_err(failed("write the configuration"))?;
        let child = Command::new(binary)
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed("start nats-server"))?;
        let server = Self {
            child,
            url: format!("nats://127.0.0.1:{port}"),
            _dir: dir,
        };
        for _ in 0..200 {
            if async_nats::connect(&server.url).await.is_ok() {
                return Ok(server);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Err(failed("start nats-server")("it takes no connections"))
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Result<async_nats::Client, BenchError> {
        async_nats::connect(&self.url)
            .await
            .map_err(failed("connect"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; an error cannot be reported here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

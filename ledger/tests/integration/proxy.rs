//! A TCP proxy that cuts one connection at a chosen moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The moment at which a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// After the server receives the publish, before the client receives its acknowledgement.
    BeforeAck,
    /// Before the server receives the publish.
    BeforePublish,
}

/// The proxy; it stops when dropped.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    before_ack: AtomicBool,
    before_publish: AtomicBool,
    cuts: AtomicU64,
}

impl Proxy {
    /// Starts a proxy to the loopback port `target`.
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let forward = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // The server may be down; the client will try again.
                if let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await {
                    pipe(client, server, forward.clone());
                }
            }
        });
        Self { port, shared, task }
    }

    /// Arms the proxy to cut the connection at the next such moment.
    pub fn arm(&self, cut: Cut) {
        match cut {
            Cut::BeforeAck => &self.shared.before_ack,
            Cut::BeforePublish => &self.shared.before_publish,
        }
        .store(true, Ordering::SeqCst);
    }

    /// Returns how many connections it has cut.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn pipe(client: TcpStream, server: TcpStream, shared: Arc<Shared>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (cut, is_cut) = watch::channel(false);
    let cut = Arc::new(cut);
    let (up, down) = (shared.clone(), shared);
    let up_cut = cut.clone();
    tokio::spawn(copy(from_client, to_server, is_cut.clone(), move |bytes| {
        if contains(bytes, b"HPUB rollbook.") && up.before_publish.swap(false, Ordering::SeqCst) {
            up.cuts.fetch_add(1, Ordering::SeqCst);
            up_cut.send_replace(true);
            return false;
        }
        true
    }));
    tokio::spawn(copy(from_server, to_client, is_cut, move |bytes| {
        // The acknowledgement of a publish; other JSON answers carry "type".
        let ack = contains(bytes, b"{\"stream\":\"ROLLBOOK\"");
        if ack && down.before_ack.swap(false, Ordering::SeqCst) {
            down.cuts.fetch_add(1, Ordering::SeqCst);
            cut.send_replace(true);
            return false;
        }
        true
    }));
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut is_cut: watch::Receiver<bool>,
    pass: impl Fn(&[u8]) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            _ = is_cut.wait_for(|cut| *cut) => 0,
        };
        let bytes = &buffer[..count];
        if count == 0 || !pass(bytes) || to.write_all(bytes).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}

//! A TCP proxy between a process and a nats-server, which can close or stall connections on
//! request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// When a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The server has received the publish, but the client gets no acknowledgement.
    BeforeAck,
    /// The server does not receive the publish.
    BeforePublish,
}

/// The proxy; it ends on drop.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    before_ack: AtomicBool,
    before_publish: AtomicBool,
    /// Incremented to close all current connections.
    generation: watch::Sender<u64>,
    silent: watch::Sender<bool>,
}

impl Proxy {
    /// Forwards connections to `target` on loopback.
    pub(crate) async fn start(target: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            before_ack: AtomicBool::new(false),
            before_publish: AtomicBool::new(false),
            generation: watch::Sender::new(0),
            silent: watch::Sender::new(false),
        });
        let forward = shared.clone();
        let accepting = tokio::spawn(async move {
            loop {
                // For example, out of file descriptors: the client retries.
                let Ok((client, _)) = listener.accept().await else {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                };
                tokio::spawn(join(client, target, forward.clone()));
            }
        });
        Ok(Self {
            port,
            shared,
            accepting,
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Closes every connection.
    pub(crate) fn cut(&self) {
        self.shared.generation.send_modify(|number| *number += 1);
    }

    /// With `silent` connections, including new ones, carry nothing from now on; without it they
    /// resume, including what waited.
    pub(crate) fn silence(&self, silent: bool) {
        self.shared.silent.send_replace(silent);
    }

    /// Arms or disarms closing a connection at the next such moment.
    pub(crate) fn arm(&self, moment: Moment, armed: bool) {
        match moment {
            Moment::BeforeAck => &self.shared.before_ack,
            Moment::BeforePublish => &self.shared.before_publish,
        }
        .store(armed, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn join(client: TcpStream, target: u16, shared: Arc<Shared>) {
    let mut silent = shared.silent.subscribe();
    let _ = silent.wait_for(|silent| !silent).await;
    // The server may be down: the client finds its connection closed and retries.
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (up, down) = (shared.clone(), shared.clone());
    let upward = copy(from_client, to_server, &shared, move |bytes| {
        let publishes = contains(bytes, b"HPUB rollbook.");
        !(publishes && up.before_publish.swap(false, Ordering::SeqCst))
    });
    let downward = copy(from_server, to_client, &shared, move |bytes| {
        // The acknowledgement of a publish; other JSON answers contain "type".
        let acknowledges = contains(bytes, b"{\"stream\":\"ROLLBOOK\"");
        !(acknowledges && down.before_ack.swap(false, Ordering::SeqCst))
    });
    // When either side ends, both end.
    tokio::select! {
        () = upward => {}
        () = downward => {}
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    pass: impl Fn(&[u8]) -> bool,
) {
    let mut generation = shared.generation.subscribe();
    let mut silent = shared.silent.subscribe();
    let mut buffer = vec![0; 64 * 1024];
    let carry = async {
        loop {
            let count = from.read(&mut buffer).await.unwrap_or(0);
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return;
            };
            let _ = silent.wait_for(|silent| !silent).await;
            if !pass(bytes) || to.write_all(bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = carry => {}
        _ = generation.changed() => {}
    }
}

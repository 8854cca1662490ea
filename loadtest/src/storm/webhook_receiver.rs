//! The receiver of webhooks, which can be out of order for a while.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::natsd;
use crate::record::{CALLS, Recorder};

/// The wait before binding the port again when somebody else has it.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// The longest body that is read, in bytes; a notice has some hundred.
const MAX_BODY: usize = 64 * 1024;

/// How the receiver behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReceiverMode {
    /// Accepts what is posted.
    Takes,
    /// Refuses connections: nobody listens.
    Refuses,
    /// Accepts connections and never answers.
    Stalls,
    /// Records what is posted and answers with an error.
    Fails,
}

/// The receiver; it ends on drop.
#[derive(Debug)]
pub(crate) struct WebhookReceiver {
    port: u16,
    manner: watch::Sender<ReceiverMode>,
    taken: Arc<Mutex<BTreeSet<String>>>,
    _accepting: AbortOnDropHandle<()>,
}

impl WebhookReceiver {
    /// Listens on loopback. What it receives goes to `recorder`.
    pub(crate) fn start(recorder: Arc<Recorder>) -> std::io::Result<Self> {
        let port = natsd::free_port()?;
        let manner = watch::Sender::new(ReceiverMode::Takes);
        let taken = Arc::new(Mutex::new(BTreeSet::new()));
        let desk = ApiClient {
            recorder,
            taken: taken.clone(),
            manner: manner.subscribe(),
        };
        let accepting = tokio::spawn(async move { desk.listen(port).await });
        Ok(Self {
            port,
            manner,
            taken,
            _accepting: AbortOnDropHandle::new(accepting),
        })
    }

    /// The URL to post to.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Changes the behaviour from now on.
    pub(crate) fn behave(&self, manner: ReceiverMode) {
        self.manner.send_replace(manner);
    }

    /// Whether a message was accepted and its sender was told so.
    pub(crate) fn has_taken(&self, id: &str) -> bool {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.contains(id)
    }
}

#[derive(Debug, Clone)]
struct ApiClient {
    recorder: Arc<Recorder>,
    taken: Arc<Mutex<BTreeSet<String>>>,
    manner: watch::Receiver<ReceiverMode>,
}

impl ApiClient {
    async fn listen(mut self, port: u16) {
        loop {
            let _ = self
                .manner
                .wait_for(|now| *now != ReceiverMode::Refuses)
                .await;
            let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await else {
                tokio::time::sleep(TRY_AGAIN).await;
                continue;
            };
            let mut manner = self.manner.clone();
            let refuses = async {
                let _ = manner.wait_for(|now| *now == ReceiverMode::Refuses).await;
            };
            tokio::select! {
                () = self.accept(&listener) => {}
                () = refuses => {}
            }
        }
    }

    async fn accept(&self, listener: &TcpListener) {
        while let Ok((connection, _)) = listener.accept().await {
            let mut desk = self.clone();
            tokio::spawn(async move {
                // A sender that went away will retry.
                let _ = desk.receive(connection).await;
            });
        }
    }

    async fn receive(&mut self, connection: TcpStream) -> std::io::Result<()> {
        let manner = *self.manner.borrow();
        if manner == ReceiverMode::Stalls {
            let _ = self
                .manner
                .wait_for(|now| *now != ReceiverMode::Stalls)
                .await;
            return Ok(());
        }
        let mut connection = BufReader::new(connection);
        let message: Value = serde_json::from_slice(&body(&mut connection).await?)?;
        self.recorder
            .append(CALLS, &message)
            .map_err(std::io::Error::other)?;
        let status = match manner {
            ReceiverMode::Fails => "503 Service Unavailable",
            _ => "200 OK",
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        connection.write_all(answer.as_bytes()).await?;
        connection.flush().await?;
        if manner != ReceiverMode::Fails
            && let Some(id) = message["id"].as_str()
        {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            taken.insert(id.to_owned());
        }
        Ok(())
    }
}

/// Reads the body of a request.
async fn body(connection: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length.min(MAX_BODY)];
    connection.read_exact(&mut body).await?;
    Ok(body)
}

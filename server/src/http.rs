//! Accepts HTTP connections. Their number and duration are bounded: connections that send nothing,
//! or do not read their response, are closed.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_io_timeout::TimeoutStream;

use crate::api::ApiError;

/// The most concurrent connections; see [`max_connections`].
const MAX_CONNECTIONS: usize = 4_096;
/// The most concurrent connections that are told that the server is full.
const MAX_REFUSING: usize = 64;
/// How long a refused connection has to read why.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);
/// Delay after a connection could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The response for a connection beyond the limit.
const FULL: &str = concat!(
    r#"{"code":"RB-SERVE-5","message":"RB-SERVE-5: too many connections at the same time; close idle ones, or ask again in a moment","class":"unavailable"}"#,
    "\n"
);

/// Limits on connections: how many, and how long each may keep the server waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many files the process may open; up to a quarter of them may be connections.
    pub open_files: u64,
    /// Time limit for the head of a request, from the start of the connection or the previous
    /// response: idle connections end.
    pub head_within: Duration,
    /// Time limit for the next piece of a request body; then the answer is 408.
    pub body_within: Duration,
    /// Minimum rate of a body, enforced after `body_within`: a slow body must not hold its
    /// connection.
    pub body_bytes_per_second: u64,
    /// Time limit for the client to take a piece of a response: a client that does not read is cut
    /// off.
    pub written_within: Duration,
}

impl Limits {
    /// Half a minute for each piece, and 16 KiB a second for a body.
    pub fn new(open_files: u64) -> Self {
        let within = Duration::from_secs(30);
        Self {
            open_files,
            head_within: within,
            body_within: within,
            body_bytes_per_second: 16 * 1024,
            written_within: within,
        }
    }
}

impl Limits {
    /// Time limit for a whole body of which `received` bytes have arrived.
    fn whole_body_within(self, received: u64) -> Duration {
        let seconds = received / self.body_bytes_per_second.max(1);
        self.body_within
            .saturating_add(Duration::from_secs(seconds))
    }
}

/// How many connections fit into the files this process may open, most of which are for its work.
fn max_connections(open_files: u64) -> usize {
    let quarter = usize::try_from(open_files / 4).unwrap_or(usize::MAX);
    quarter.clamp(16, MAX_CONNECTIONS)
}

/// Serves until it is dropped, which closes all connections.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: Limits) -> Infallible {
    let router = router.layer(from_fn_with_state(limits, bounded_body));
    let places = Arc::new(Semaphore::new(max_connections(limits.open_files)));
    let refusing = Arc::new(Semaphore::new(MAX_REFUSING));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            connections.spawn(connection(stream, peer, router.clone(), limits, place));
        } else if let Ok(place) = Arc::clone(&refusing).try_acquire_owned() {
            connections.spawn(refuse(stream, place));
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    _place: OwnedSemaphorePermit,
) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.written_within));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_within)
        .serve_connection(
            TokioIo::new(Box::pin(stream)),
            TowerToHyperService::new(router),
        );
    match served.await {
        Ok(()) => {}
        // The client takes nothing more, so it cannot be told why.
        Err(error) if is_unread(&error) => tracing::warn!(
            %peer,
            "a reader was cut: it took nothing of its answer for {:?}; a follower of the log goes on after the last sequence that it has read",
            limits.written_within
        ),
        // The client left, or the connection was idle.
        Err(error) => tracing::debug!(%error, "a connection ended"),
    }
}

/// Whether a connection ended because a piece of a response was not taken in time.
fn is_unread(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        if let Some(io) = next.downcast_ref::<io::Error>() {
            return io.kind() == io::ErrorKind::TimedOut;
        }
        cause = next.source();
    }
    false
}

async fn refuse(mut stream: TcpStream, _place: OwnedSemaphorePermit) {
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\nretry-after: 5\r\nconnection: close\r\n\r\n{FULL}",
        FULL.len()
    );
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // If closed with the request unread, the connection would be reset before the response is
        // read.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(REFUSED_WITHIN, told).await;
}

/// Answers 408 to a request whose body does not arrive or trickles, and closes its connection.
async fn bounded_body(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let late = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&late);
    let (parts, body) = request.into_parts();
    let from = (body.into_data_stream(), Instant::now(), 0_u64);
    let chunks = stream::unfold(Some(from), move |from| {
        let noted = Arc::clone(&noted);
        async move {
            let (mut body, began, received) = from?;
            let whole = began + limits.whole_body_within(received);
            let until = whole.min(Instant::now() + limits.body_within);
            match tokio::time::timeout_at(until, body.next()).await {
                Ok(Some(Ok(chunk))) => {
                    let received = received.saturating_add(chunk.len() as u64);
                    Some((Ok(chunk), Some((body, began, received))))
                }
                Ok(Some(Err(error))) => Some((Err(io::Error::other(error)), None)),
                Ok(None) => None,
                Err(_) => {
                    noted.store(true, Ordering::Release);
                    Some((Err(io::Error::from(io::ErrorKind::TimedOut)), None))
                }
            }
        }
    });
    let answer = next
        .run(Request::from_parts(parts, Body::from_stream(chunks)))
        .await;
    if !late.load(Ordering::Acquire) {
        return answer;
    }
    let late = ApiError::busy(
        StatusCode::REQUEST_TIMEOUT,
        "RB-SERVE-6",
        format!(
            "the request's body did not arrive: nothing for {:?}, or less than {} bytes a second; send all of it again",
            limits.body_within, limits.body_bytes_per_second
        ),
    );
    let mut answer = late.into_response();
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(CONNECTION, close);
    answer
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::body::Bytes;
    use axum::routing::{get, post};
    use tokio::io::AsyncReadExt;
    use tokio::sync::oneshot;

    use super::*;

    /// Long enough for any load on the machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn connections_leave_file_descriptors_for_other_work() {
        assert_eq!(max_connections(1_024), 256);
        assert_eq!(max_connections(65_536), MAX_CONNECTIONS);
        assert_eq!(max_connections(10), 16);
    }

    /// A server with one short limit, and a connection to it.
    async fn connected(router: Router, change: impl FnOnce(&mut Limits)) -> TcpStream {
        let mut limits = Limits::new(1_024);
        change(&mut limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, router, limits));
        TcpStream::connect(address).await.unwrap()
    }

    /// Everything that arrives until the server closes the connection.
    async fn to_the_end(connection: &mut TcpStream) -> String {
        let mut read = Vec::new();
        let reading = connection.read_to_end(&mut read);
        tokio::time::timeout(PATIENCE, reading)
            .await
            .unwrap()
            .unwrap();
        String::from_utf8_lossy(&read).into_owned()
    }

    const SOON: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn a_body_that_does_not_arrive_gets_408_and_the_connection_ends() {
        let router = Router::new().route("/", post(|body: Bytes| async move { body }));
        let mut connection = connected(router.clone(), |limits| limits.body_within = SOON).await;
        let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\n";
        let half = format!("{head}he");
        connection.write_all(half.as_bytes()).await.unwrap();
        let answer = to_the_end(&mut connection).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(answer.contains("\"code\":\"RB-SERVE-6\""), "{answer}");

        // A request that arrives piece by piece is accepted.
        let mut connection = connected(router, |limits| limits.head_within = SOON).await;
        connection.write_all(half.as_bytes()).await.unwrap();
        tokio::time::sleep(SOON).await;
        connection.write_all(b"llo").await.unwrap();
        let answer = to_the_end(&mut connection).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with("hello"), "{answer}");
    }

    #[test]
    fn a_body_may_take_longer_the_more_of_it_has_arrived() {
        let limits = Limits::new(1_024);
        assert_eq!(limits.whole_body_within(9), Duration::from_secs(30));
        assert_eq!(
            limits.whole_body_within(160 * 1024),
            Duration::from_secs(40)
        );
    }

    #[tokio::test]
    async fn a_body_that_arrives_too_slowly_gets_408_and_the_connection_ends() {
        let router = Router::new().route("/", post(|body: Bytes| async move { body }));
        let connection = connected(router, |limits| limits.body_within = SOON).await;
        let (mut answers, mut asks) = connection.into_split();
        let head = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n";
        asks.write_all(head).await.unwrap();
        // Every piece is in time, but the whole would take half an hour.
        let dripping = tokio::spawn(async move {
            while asks.write_all(b"x").await.is_ok() {
                tokio::time::sleep(SOON / 10).await;
            }
        });
        let mut answer = [0; 4_096];
        let read = tokio::time::timeout(PATIENCE, answers.read(&mut answer));
        let read = read.await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        // The server no longer reads the trickling body.
        let ended = tokio::time::timeout(PATIENCE, dripping).await;
        ended.unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_idle_connection_is_closed() {
        let mut connection = connected(Router::new(), |limits| limits.head_within = SOON).await;
        assert_eq!(to_the_end(&mut connection).await, "");
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_disconnected() {
        let (held, dropped) = oneshot::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(Some(held)));
        let endless = move || {
            let held = held.lock().unwrap().take();
            async move {
                let chunk = Bytes::from_static(&[b'x'; 64 * 1024]);
                let chunks = stream::repeat(Ok::<_, Infallible>(chunk));
                Body::from_stream(chunks.inspect(move |_| {
                    let _held = &held;
                }))
            }
        };
        let router = Router::new().route("/", get(endless));
        let mut connection = connected(router, |limits| limits.written_within = SOON).await;
        let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
        connection.write_all(request).await.unwrap();
        // The response is dropped with its connection, from which nothing was read.
        let ended = tokio::time::timeout(PATIENCE, dropped).await;
        assert!(ended.unwrap().is_err());
        drop(connection);
    }
}

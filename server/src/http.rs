//! Accepts connections of the HTTP API, a bounded number of them, none for ever: those that send
//! nothing, or do not read what they asked for, are closed.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
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

/// Connections at the same time; see [`max_connections`].
const MAX_CONNECTIONS: usize = 4_096;
/// Connections that are told that there is no place for them, at the same time.
const MAX_REFUSING: usize = 64;
/// A refused connection is given this long to read why.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);
/// The head of a request must be there by then, counted from the connection or from the answer
/// before: idle connections end.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// A piece of an answer must be taken by then.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);
/// How long the body of a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BodyLimits {
    /// The next piece of it must be there by then.
    pub(crate) piece_within: Duration,
    /// So many bytes of it must come in each second, counted after `piece_within`: a body that drips
    /// must not hold its connection.
    pub(crate) bytes_per_second: u64,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            piece_within: Duration::from_secs(30),
            bytes_per_second: 16 * 1024,
        }
    }
}

impl BodyLimits {
    /// How long all of a body may have taken, of which so many bytes are there.
    fn whole_within(self, received: u64) -> Duration {
        let seconds = received / self.bytes_per_second.max(1);
        self.piece_within
            .saturating_add(Duration::from_secs(seconds))
    }
}

/// After a connection could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What a connection gets that there is no place for.
const FULL: &str = concat!(
    r#"{"code":"RB-SERVE-5","message":"RB-SERVE-5: too many connections at the same time; close idle ones, or ask again in a moment","class":"unavailable"}"#,
    "\n"
);

/// How many connections fit into the files this process may open, most of which are for its work.
fn max_connections(open_files: u64) -> usize {
    let quarter = usize::try_from(open_files / 4).unwrap_or(usize::MAX);
    quarter.clamp(16, MAX_CONNECTIONS)
}

/// Serves until it is dropped, which cuts all connections. `open_files`: how many files the process
/// may open.
pub(crate) async fn serve(listener: TcpListener, router: Router, open_files: u64) -> Infallible {
    let places = Arc::new(Semaphore::new(max_connections(open_files)));
    let refusing = Arc::new(Semaphore::new(MAX_REFUSING));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            connections.spawn(connection(stream, router.clone(), place));
        } else if let Ok(place) = Arc::clone(&refusing).try_acquire_owned() {
            connections.spawn(refuse(stream, place));
        }
    }
}

async fn connection(stream: TcpStream, router: Router, _place: OwnedSemaphorePermit) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITTEN_WITHIN));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(
            TokioIo::new(Box::pin(stream)),
            TowerToHyperService::new(router),
        );
    if let Err(error) = served.await {
        // Left, idle, or too slow.
        tracing::debug!(%error, "a connection ended");
    }
}

async fn refuse(mut stream: TcpStream, _place: OwnedSemaphorePermit) {
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\nretry-after: 5\r\nconnection: close\r\n\r\n{FULL}",
        FULL.len()
    );
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // Closed with the request unread, the connection would be reset before the answer is read.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(REFUSED_WITHIN, told).await;
}

/// Answers 408 to a request whose body does not come, or drips, and closes its connection.
pub(crate) async fn bounded_body(
    State(limits): State<BodyLimits>,
    request: Request,
    next: Next,
) -> Response {
    let late = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&late);
    let (parts, body) = request.into_parts();
    let from = (body.into_data_stream(), Instant::now(), 0_u64);
    let chunks = stream::unfold(Some(from), move |from| {
        let noted = Arc::clone(&noted);
        async move {
            let (mut body, began, received) = from?;
            let whole = began + limits.whole_within(received);
            let until = whole.min(Instant::now() + limits.piece_within);
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
            "the request's body did not come: nothing of it for {:?}, or less than {} bytes a second; send it again as a whole",
            limits.piece_within, limits.bytes_per_second
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
    use axum::middleware::from_fn_with_state;
    use axum::routing::post;
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Long enough for whatever the machine does meanwhile.
    const PATIENCE: Duration = Duration::from_secs(60);
    const SOON: Duration = Duration::from_millis(400);

    #[test]
    fn a_body_may_take_longer_the_more_of_it_came() {
        let limits = BodyLimits::default();
        assert_eq!(limits.whole_within(9), Duration::from_secs(30));
        assert_eq!(limits.whole_within(160 * 1024), Duration::from_secs(40));
    }

    #[tokio::test]
    async fn a_body_that_drips_is_408_and_the_connection_ends() {
        let limits = BodyLimits {
            piece_within: SOON,
            ..BodyLimits::default()
        };
        let router = Router::new()
            .route("/", post(|body: Bytes| async move { body }))
            .layer(from_fn_with_state(limits, bounded_body));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, router, 1_024));
        let head = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n";
        let (mut answers, mut asks) = TcpStream::connect(address).await.unwrap().into_split();
        asks.write_all(head).await.unwrap();
        // Every piece is in time; the whole would take an hour.
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
        assert!(answer.contains("\"code\":\"RB-SERVE-6\""), "{answer}");
        // Nobody reads what drips on.
        tokio::time::timeout(PATIENCE, dripping)
            .await
            .unwrap()
            .unwrap();
    }

    #[tokio::test]
    async fn a_whole_body_is_taken() {
        let router = Router::new()
            .route("/", post(|body: Bytes| async move { body }))
            .layer(from_fn_with_state(BodyLimits::default(), bounded_body));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, router, 1_024));
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head =
            b"POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 5\r\n\r\n";
        connection.write_all(head).await.unwrap();
        connection.write_all(b"he").await.unwrap();
        tokio::time::sleep(SOON).await;
        connection.write_all(b"llo").await.unwrap();
        let mut answer = String::new();
        let read = connection.read_to_string(&mut answer);
        tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with("hello"), "{answer}");
    }

    #[test]
    fn connections_leave_files_for_the_work() {
        assert_eq!(max_connections(1_024), 256);
        assert_eq!(max_connections(65_536), MAX_CONNECTIONS);
        assert_eq!(max_connections(10), 16);
    }
}

//! Accepts connections of the HTTP API, a bounded number of them, none for ever: those that send
//! nothing, or do not read what they asked for, are closed.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures::{StreamExt, stream};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;

/// Connections at the same time; see [`max_connections`].
const MAX_CONNECTIONS: usize = 4_096;
/// Connections that are told that there is no place for them, at the same time.
const MAX_REFUSING: usize = 64;
/// A refused connection is given this long to read why.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);
/// The head of a request must be there by then, counted from the connection or from the answer
/// before: idle connections end.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// The next piece of a request's body must be there by then.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// A piece of an answer must be taken by then.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);
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

/// Ends requests whose body does not come.
pub(crate) async fn bounded_body(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let chunks = stream::unfold(Some(body.into_data_stream()), |body| async {
        let mut body = body?;
        match tokio::time::timeout(BODY_WITHIN, body.next()).await {
            Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(body))),
            Ok(Some(Err(error))) => Some((Err(io::Error::other(error)), None)),
            Ok(None) => None,
            Err(_) => {
                let late = "the body of the request did not come in time";
                let late = io::Error::new(io::ErrorKind::TimedOut, late);
                Some((Err(late), None))
            }
        }
    });
    next.run(Request::from_parts(parts, Body::from_stream(chunks)))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_work() {
        assert_eq!(max_connections(1_024), 256);
        assert_eq!(max_connections(65_536), MAX_CONNECTIONS);
        assert_eq!(max_connections(10), 16);
    }
}

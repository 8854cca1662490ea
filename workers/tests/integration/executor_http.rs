//! Sends requests to a small real server.

use rollbook_proto::v1::Verdict;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::executor_fixture::{Fixture, number};

/// Answers every request with what `answer` makes of its text (head and body), then closes.
pub async fn serve(
    answer: impl Fn(&str) -> String + Send + Sync + 'static,
) -> (String, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut text = Vec::new();
            let mut buffer = [0_u8; 4096];
            loop {
                let count = socket.read(&mut buffer).await.unwrap_or(0);
                text.extend_from_slice(&buffer[..count]);
                let seen = String::from_utf8_lossy(&text).into_owned();
                let complete = seen.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                    let length = head
                        .lines()
                        .find_map(|line| {
                            line.to_ascii_lowercase()
                                .strip_prefix("content-length:")
                                .map(|n| n.trim().parse::<usize>().unwrap())
                        })
                        .unwrap_or(0);
                    body.len() >= length
                });
                if complete || count == 0 {
                    let _ = socket.write_all(answer(&seen).as_bytes()).await;
                    let _ = socket.shutdown().await;
                    break;
                }
            }
        }
    });
    (format!("http://{address}"), AbortOnDropHandle::new(task))
}

pub fn response(status: &str, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The source `app`, whose URL is a secret.
pub fn source() -> Value {
    json!({"sources": {"app": {"kind": "http", "url": {"staging": {"env": "APP_URL"}}}}})
}

#[tokio::test]
async fn a_request_is_judged_by_status_and_measured_by_pointer() {
    let (url, _server) = serve(|request| {
        assert!(
            request.starts_with("POST /api/v1/cost?dry=1 HTTP/1.1"),
            "{request}"
        );
        assert!(request.ends_with("{\"deal\":7}"), "{request}");
        response(
            "201 Created",
            "application/json",
            r#"{"cost":{"cents":12550},"ok":true,"text":"fine"}"#,
        )
    })
    .await;
    let step = json!({
        "http": {"source": "app", "path": "/v1/cost?dry=1", "method": "post", "body": {"deal": 7}, "status": 201,
                 "measure": {"cents": "/cost/cents", "ok": "/ok", "text": "/text", "none": "/nothing"}},
        "expect": ["cents > 12000", "ok == 1"],
    });
    let url = format!("{url}/api/");
    let fixture = Fixture::with(step, source(), &[("APP_URL", &url)]);
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:?}");
    assert_eq!(number(&outcome, "cents"), Some(12550.0));
    assert_eq!(number(&outcome, "http_status"), Some(201.0));
    assert_eq!(number(&outcome, "none"), None);
    assert!(outcome.effect);
    assert!(
        fixture
            .evidence(&outcome, "response")
            .await
            .contains("12550")
    );
}

#[tokio::test]
async fn another_status_fails_and_shows_the_answer_without_secrets() {
    let (url, _server) = serve(|_| {
        response(
            "503 Service Unavailable",
            "text/plain",
            "overloaded, token t0ken-xyz",
        )
    })
    .await;
    let url = format!("{url}/?token=t0ken-xyz");
    let step = json!({"http": {"source": "app", "path": "health"}});
    let fixture = Fixture::with(step, source(), &[("APP_URL", &url)]);
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert_eq!(outcome.message, "status 503: overloaded, token [redacted]");
    assert!(!outcome.effect, "GET is safe");
}

#[tokio::test]
async fn an_answer_that_is_not_json_cannot_be_measured() {
    let (url, _server) = serve(|_| response("200 OK", "text/html", "<html>")).await;
    let step = json!({"http": {"source": "app", "path": "health", "measure": {"x": "/x"}}});
    let outcome = Fixture::with(step, source(), &[("APP_URL", &url)])
        .execute()
        .await;
    assert_eq!(outcome.verdict, Verdict::Inconclusive);
}

#[tokio::test]
async fn no_answer_a_slow_answer_and_an_endless_answer_are_errors() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://user:hidden-word@{}", free.local_addr().unwrap());
    drop(free);
    let step = json!({"http": {"source": "app", "path": "health", "method": "PUT"}});
    let outcome = Fixture::with(step, source(), &[("APP_URL", &closed)])
        .execute()
        .await;
    assert_eq!(outcome.verdict, Verdict::Error);
    assert!(
        outcome.message.contains("cannot connect"),
        "{}",
        outcome.message
    );
    assert!(
        !outcome.message.contains("hidden-word"),
        "{}",
        outcome.message
    );
    assert!(!outcome.effect, "nothing was sent");

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let step = json!({"http": {"source": "app", "path": "health"}, "timeout": "200ms"});
    let outcome = Fixture::with(step, source(), &[("APP_URL", &url)])
        .execute()
        .await;
    assert_eq!(outcome.verdict, Verdict::Error);
    assert!(
        outcome.message.contains("timed out after 0.2 s"),
        "{}",
        outcome.message
    );

    let (url, _server) = serve(|_| response("200 OK", "text/plain", &"x".repeat(9_000_000))).await;
    let step = json!({"http": {"source": "app", "path": "health"}});
    let outcome = Fixture::with(step, source(), &[("APP_URL", &url)])
        .execute()
        .await;
    assert_eq!(outcome.verdict, Verdict::Error);
    assert!(
        outcome.message.contains("longer than"),
        "{}",
        outcome.message
    );
}

//! Sends messages to a webhook that fails first, to one that never accepts them, and to a file.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rollbook_proto::v1::Verdict;
use serde_json::json;

use crate::executor_fixture::Fixture;
use crate::executor_http::{response, serve};

fn step() -> serde_json::Value {
    json!({"notify": {"channel": "team", "subject": "Rollout begins", "body": "At nine."}})
}

fn webhook() -> serde_json::Value {
    json!({"channels": {"team": {"webhook": {"env": "HOOK"}}}})
}

#[tokio::test]
async fn a_webhook_is_tried_again_until_it_takes_the_message() {
    let tries = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&tries);
    let (url, _server) = serve(move |request| {
        assert!(
            request.contains("\"subject\":\"Rollout begins\""),
            "{request}"
        );
        assert!(request.contains("\"rollout\":\"test-1\""), "{request}");
        match seen.fetch_add(1, Ordering::SeqCst) {
            0 => response("503 Service Unavailable", "text/plain", ""),
            1 => response("429 Too Many Requests", "text/plain", ""),
            _ => response("200 OK", "text/plain", "ok"),
        }
    })
    .await;
    let fixture = Fixture::with(step(), webhook(), &[("HOOK", &format!("{url}/hook"))]);
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:?}");
    assert_eq!(tries.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_refusal_is_final_and_shows_no_address() {
    let tries = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&tries);
    let (url, _server) = serve(move |_| {
        seen.fetch_add(1, Ordering::SeqCst);
        response("404 Not Found", "text/plain", "")
    })
    .await;
    let hook = format!("{url}/services/T0P-SECRET-PATH");
    let outcome = Fixture::with(step(), webhook(), &[("HOOK", &hook)])
        .execute()
        .await;
    assert_eq!(outcome.verdict, Verdict::Error);
    assert!(outcome.message.contains("404"), "{}", outcome.message);
    assert!(
        !format!("{outcome:?}").contains("T0P-SECRET"),
        "{outcome:?}"
    );
    assert_eq!(tries.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_file_gets_a_line_per_message() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("notices.jsonl");
    let channels = json!({"channels": {"team": {"file": file}}});
    let fixture = Fixture::with(step(), channels, &[]);
    fixture.execute().await;
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["body"], "At nine.");
}

//! `rollbook doctor` and `rollbook config`.

use rollbook_ledger::evidence::{EvidenceError, EvidenceStore};
use rollbook_ledger::nats;
use serde::Serialize;

use super::Session;
use crate::exit::{Exit, Outcome};
use crate::print::{self, GREEN, RED, YELLOW, line, paint};

/// What one check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Found {
    Pass,
    /// Not needed for everything.
    Skipped,
    /// Somebody should look.
    Warning,
    Fail,
}

/// One check of `doctor`.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    found: Found,
    message: String,
}

/// `config`.
pub(crate) fn config(session: &Session) -> Outcome {
    let values = session.config.values();
    if session.json {
        print::json(values)?;
        return Ok(Exit::Done);
    }
    for (key, value) in values {
        line(format!(
            "{key:<12} {:<48} {}",
            value.shown(),
            paint(print::DIM, value.from())
        ));
    }
    line(format!(
        "{:<12} {:<48} {}",
        "server",
        crate::config::redact_url(&session.config.server()),
        paint(print::DIM, "effective")
    ));
    Ok(Exit::Done)
}

/// `doctor`: 0 when everything that was checked is well, else 7.
pub(crate) async fn doctor(session: &Session) -> Outcome {
    let checks = vec![
        nats_binary(session),
        evidence(session).await,
        server(session).await,
        server_stream(session).await,
        views(session).await,
    ];
    let failed = checks.iter().any(|check| check.found == Found::Fail);
    if session.json {
        print::json(&checks)?;
    } else {
        for check in &checks {
            let mark = match check.found {
                Found::Pass => paint(GREEN, "pass"),
                Found::Skipped => paint(YELLOW, "skipped"),
                Found::Warning => paint(YELLOW, "warning"),
                Found::Fail => paint(RED, "fail"),
            };
            line(format!("{mark:<8} {:<16} {}", check.name, check.message));
        }
    }
    Ok(if failed {
        Exit::Unavailable
    } else {
        Exit::Done
    })
}

fn nats_binary(session: &Session) -> Check {
    let explicit = session
        .config
        .get("nats_server")
        .map(std::path::PathBuf::from);
    let (found, message) = match nats::find_binary(explicit.as_deref()) {
        Ok(path) => (Found::Pass, path.display().to_string()),
        Err(error) if session.config.get("nats").is_some() => (
            Found::Skipped,
            format!("{error} (not needed: an existing NATS is configured)"),
        ),
        Err(error) => (Found::Fail, error.to_string()),
    };
    Check {
        name: "nats-server",
        found,
        message,
    }
}

async fn evidence(session: &Session) -> Check {
    let location = super::data::objects_location(session, None);
    let tried = match EvidenceStore::open(&location) {
        Ok(store) => written_and_read(&store).await,
        Err(error) => Err(error),
    };
    let (found, message) = match tried {
        Ok(()) => (
            Found::Pass,
            format!("{location} keeps what is written, and gives it back"),
        ),
        Err(error) => (Found::Fail, error.to_string()),
    };
    Check {
        name: "evidence",
        found,
        message,
    }
}

/// The same few bytes each time, so that repeating it leaves nothing more.
async fn written_and_read(store: &EvidenceStore) -> Result<(), EvidenceError> {
    let bytes = bytes::Bytes::from_static(b"rollbook doctor\n");
    let kept = store.put(bytes, "text/plain", "doctor").await?;
    store.get(&kept.sha256).await.map(|_| ())
}

/// A text without its quotes.
fn word(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

async fn server(session: &Session) -> Check {
    let health: Result<serde_json::Value, _> = session.client.get("/health", &[]).await;
    let (found, message) = match health {
        Ok(health) => (
            Found::Pass,
            format!(
                "{} version {}, ledger {}, last sequence {}, lag {}",
                session.client.base(),
                word(&health["version"]),
                word(&health["ledger"]),
                health["last_sequence"],
                health["lag"]
            ),
        ),
        Err(failure) => (Found::Fail, failure.message),
    };
    Check {
        name: "server",
        found,
        message,
    }
}

/// What the views could not show as it is on the ledger.
async fn views(session: &Session) -> Check {
    let page: Result<serde_json::Value, _> = session
        .client
        .get("/v1/anomalies", &[("limit", "1".to_owned())])
        .await;
    let (found, message) = match page {
        Ok(page) => match page["data"]["rows"]
            .as_array()
            .and_then(|rows| rows.first())
        {
            None => (Found::Pass, "they show everything on the ledger".to_owned()),
            Some(row) => (
                Found::Warning,
                format!(
                    "there are anomalies, the first at sequence {}: {}; `GET /v1/anomalies` lists them",
                    row["sequence"],
                    word(&row["reason"])
                ),
            ),
        },
        Err(failure) => (Found::Fail, failure.message),
    };
    Check {
        name: "views",
        found,
        message,
    }
}

/// What the server knows of its NATS: version, whether writes are synced, gaps.
async fn server_stream(session: &Session) -> Check {
    let report: Result<serde_json::Value, _> = session.client.get("/v1/ledger", &[]).await;
    let (found, message) = match report {
        Ok(report) if report["sync"] == "not_always" => (
            Found::Fail,
            "sync_interval is not `always`: a power cut loses acknowledged commits; set `sync_interval: always` in the jetstream block of nats-server".to_owned(),
        ),
        Ok(report) => (
            Found::Pass,
            format!("nats-server {}, stream {}, sync_interval {}, replicas {}", word(&report["version"]), word(&report["stream"]), word(&report["sync"]), report["replicas"]),
        ),
        Err(failure) => (Found::Fail, failure.message),
    };
    Check {
        name: "ledger",
        found,
        message,
    }
}

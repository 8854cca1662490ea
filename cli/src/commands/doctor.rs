//! `rollbook doctor` and `rollbook config`.

use rollbook_ledger::evidence::{EvidenceError, EvidenceStore};
use rollbook_ledger::{nats, redacted};
use rollbook_server::api::{ErrorClass, HealthReport};
use serde::Serialize;

use super::{Session, authority};
use crate::exit::{Exit, Outcome};
use crate::print::{self, GREEN, RED, YELLOW, line, paint};

/// The result of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Found {
    Pass,
    /// Not needed everywhere.
    Skipped,
    /// Somebody should look.
    Warning,
    Fail,
}

/// One check of `doctor`.
#[derive(Debug, Serialize)]
struct Check {
    name: String,
    found: Found,
    message: String,
}

/// `config`.
pub(crate) fn config(session: &Session) -> Outcome {
    let values = session.config.values();
    if session.json {
        print::json(values)?;
        return Ok(Exit::Success);
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
        redacted::url(&session.config.server()),
        paint(print::DIM, "effective")
    ));
    Ok(Exit::Success)
}

/// `doctor`: 0 if every check passes, 6 if history or evidence is damaged, otherwise 7.
pub(crate) async fn doctor(session: &Session) -> Outcome {
    let (server, is_damaged) = server(session).await;
    let mut checks = vec![nats_binary(session), evidence(session).await];
    checks.extend(server);
    checks.push(server_stream(session).await);
    checks.push(anomalies(session).await);
    checks.push(reviews(session).await);
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
    Ok(if is_damaged {
        Exit::Integrity
    } else if failed {
        Exit::Unavailable
    } else {
        Exit::Success
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
        name: "nats-server".to_owned(),
        found,
        message,
    }
}

async fn evidence(session: &Session) -> Check {
    let location = super::evidence_store::objects_location(session, None);
    let tried = match EvidenceStore::open(&location) {
        Ok(store) => written_and_read(&store).await,
        Err(error) => Err(error),
    };
    let (found, message) = match tried {
        Ok(()) => (
            Found::Pass,
            format!("{location} stores what is written and returns it"),
        ),
        Err(error) => (Found::Fail, error.to_string()),
    };
    Check {
        name: "evidence".to_owned(),
        found,
        message,
    }
}

/// Always the same few bytes, so that repeating it stores nothing new.
async fn written_and_read(store: &EvidenceStore) -> Result<(), EvidenceError> {
    let bytes = bytes::Bytes::from_static(b"rollbook doctor\n");
    let kept = store.put(bytes, "text/plain", "doctor").await?;
    store.get(&kept.sha256).await.map(|_| ())
}

/// The result of the server's own full check.
async fn server(session: &Session) -> (Vec<Check>, bool) {
    let asked = [("report", "true".to_owned())];
    let health: HealthReport = match session.client.get("/health", &asked).await {
        Ok(health) => health,
        Err(failure) => {
            let check = Check {
                name: "server".to_owned(),
                found: Found::Fail,
                message: failure.message,
            };
            return (vec![check], failure.exit == Exit::Integrity);
        }
    };
    let number = |number: Option<u64>| number.map_or("unknown".to_owned(), |n| n.to_string());
    let mut checks = vec![Check {
        name: "server".to_owned(),
        found: Found::Pass,
        message: format!(
            "{} version {}, ledger {}, last sequence {}, lag {}",
            session.client.base(),
            health.version,
            health.ledger,
            number(health.last_sequence),
            number(health.lag)
        ),
    }];
    let mut is_damaged = false;
    for check in health.checks {
        is_damaged |= check.failure == Some(ErrorClass::Integrity);
        checks.push(Check {
            name: check.name,
            found: match check.failure {
                None if check.warning => Found::Warning,
                None => Found::Pass,
                Some(_) => Found::Fail,
            },
            message: check.message,
        });
    }
    (checks, is_damaged)
}

/// A JSON string without its quotes.
fn word(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

/// What the views could not show as it is on the ledger.
async fn anomalies(session: &Session) -> Check {
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
        name: "anomalies".to_owned(),
        found,
        message,
    }
}

/// Break-glass uses that nobody has reviewed.
async fn reviews(session: &Session) -> Check {
    let (found, message) = match authority::open_reviews(session).await {
        Ok(rows) if rows.is_empty() => (
            Found::Pass,
            "no use of break-glass awaits a review".to_owned(),
        ),
        Ok(rows) => {
            let texts: Vec<String> = rows.iter().map(authority::review_text).collect();
            (Found::Warning, texts.join("; "))
        }
        Err(failure) => (Found::Fail, failure.message),
    };
    Check {
        name: "reviews".to_owned(),
        found,
        message,
    }
}

/// What the server knows of its NATS server: version, whether writes are synced.
async fn server_stream(session: &Session) -> Check {
    let report: Result<serde_json::Value, _> = session.client.get("/v1/ledger", &[]).await;
    let (found, message) = match report {
        Ok(report) if report["sync"] == "not_always" => (
            Found::Fail,
            "sync_interval is not `always`: a power cut loses acknowledged commits; set `sync_interval: always` in the jetstream block of nats-server".to_owned(),
        ),
        Ok(report) => (
            Found::Pass,
            format!(
                "nats-server {}, stream {}, sync_interval {}, replicas {}",
                word(&report["version"]),
                word(&report["stream"]),
                word(&report["sync"]),
                report["replicas"]
            ),
        ),
        Err(failure) => (Found::Fail, failure.message),
    };
    Check {
        name: "stream".to_owned(),
        found,
        message,
    }
}

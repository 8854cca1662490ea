//! `rollbook doctor` and `rollbook config`.

use rollbook_ledger::evidence::EvidenceStore;
use rollbook_ledger::{nats, redacted};
use rollbook_server::api::{ErrorClass, HealthReport};
use serde::Serialize;

use super::{Session, authority};
use crate::exit::{Exit, Failure, Outcome};
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

/// `doctor`: 0 if every check passes, 6 if history or evidence is damaged, otherwise 7. It only reads.
pub(crate) async fn doctor(session: &Session) -> Outcome {
    let mut checks = Vec::new();
    let health = health(session).await;
    let answers = health.is_ok();
    let is_damaged = match &health {
        Ok(health) => health
            .checks
            .iter()
            .any(|check| check.failure == Some(ErrorClass::Integrity)),
        Err(failure) => failure.exit == Exit::Integrity,
    };
    match health {
        Ok(health) => {
            checks.extend(server(session, health));
            checks.push(server_stream(session).await);
            checks.push(anomalies(session).await);
            checks.push(reviews(session).await);
        }
        // What only a server can tell is not asked for: there would be the same answer again.
        Err(failure) => checks.push(check("server", Found::Fail, failure.message)),
    }
    checks.push(nats_binary(session, answers));
    checks.push(evidence(session).await);
    let failed = checks.iter().any(|check| check.found == Found::Fail);
    if session.json {
        print::json(&checks)?;
    } else {
        for check in &checks {
            let (color, word) = match check.found {
                Found::Pass => (GREEN, "pass"),
                Found::Skipped => (YELLOW, "skipped"),
                Found::Warning => (YELLOW, "warning"),
                Found::Fail => (RED, "fail"),
            };
            line(format!(
                "{} {:<16} {}",
                paint(color, format!("{word:<8}")),
                check.name,
                check.message
            ));
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

fn check(name: &str, found: Found, message: String) -> Check {
    Check {
        name: name.to_owned(),
        found,
        message,
    }
}

/// The program that `rollbook up` starts here; a server that answers does without it.
fn nats_binary(session: &Session, answers: bool) -> Check {
    let explicit = session
        .config
        .get("nats_server")
        .map(std::path::PathBuf::from);
    let needless = if answers {
        Some("the server that answers does not need it")
    } else if session.config.get("nats").is_some() {
        Some("not needed: an existing NATS is configured")
    } else {
        None
    };
    let (found, message) = match (nats::find_binary(explicit.as_deref()), needless) {
        (Ok(path), _) => (Found::Pass, path.display().to_string()),
        (Err(error), Some(why)) => (Found::Skipped, format!("{error} ({why})")),
        (Err(error), None) => (Found::Fail, error.to_string()),
    };
    check("nats-server", found, message)
}

/// The evidence store that commands on this machine read by themselves. That of the server is one of
/// its own checks.
async fn evidence(session: &Session) -> Check {
    let location = super::evidence_store::objects_location(session, None);
    let read = match EvidenceStore::open_existing(&location) {
        Ok(Some(store)) => store.check().await.map(|()| true),
        Ok(None) => Ok(false),
        Err(error) => Err(error),
    };
    let (found, message) = match read {
        Ok(true) => (Found::Pass, format!("{location} can be read")),
        Ok(false) => (
            Found::Skipped,
            format!("{location} does not exist yet; what stores evidence there first creates it"),
        ),
        Err(error) => (Found::Fail, error.to_string()),
    };
    check("evidence", found, message)
}

/// The server's own full check.
async fn health(session: &Session) -> Result<HealthReport, Failure> {
    let asked = [("report", "true".to_owned())];
    session.client.get("/health", &asked).await
}

/// That the server answers, and as which version; then what it found.
fn server(session: &Session, health: HealthReport) -> Vec<Check> {
    let number = |number: Option<u64>| number.map_or("unknown".to_owned(), |n| n.to_string());
    let mut message = format!(
        "{} version {}, ledger {}, last sequence {}, lag {}",
        redacted::url(session.client.base()),
        health.version,
        health.ledger,
        number(health.last_sequence),
        number(health.lag)
    );
    let own = env!("CARGO_PKG_VERSION");
    let is_same = health.version == own;
    if !is_same {
        message.push_str(&format!(
            "; this command is version {own}: use the same on both sides"
        ));
    }
    let found = if is_same { Found::Pass } else { Found::Warning };
    let mut checks = vec![check("server", found, message)];
    checks.extend(health.checks.into_iter().map(|check| Check {
        name: check.name,
        found: match check.failure {
            None if check.warning => Found::Warning,
            None => Found::Pass,
            Some(_) => Found::Fail,
        },
        message: check.message,
    }));
    checks
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
    check("anomalies", found, message)
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
    check("reviews", found, message)
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
    check("stream", found, message)
}

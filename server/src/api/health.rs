//! Whether everything that the server needs is there and is what it was.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use rollbook_ledger::evidence::EvidenceError;
use rollbook_ledger::journal::integrity::{Damage, compare, spot_check};
use rollbook_ledger::projection::store::ViewError;
use rollbook_ledger::projection::views::Cursor;
use rollbook_workers::fleet::progress;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::Told;
use super::{Api, ErrorClass};

/// One answer serves everybody who asks within this time.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// What has not answered by then does not answer.
const CHECKED_WITHIN: Duration = Duration::from_secs(8);
/// Commits read at each look, spread over the whole ledger.
const SAMPLES: u64 = 16;
/// Pieces of evidence looked for at each look.
const EVIDENCE: u32 = 50;
/// Anomalies are counted up to here.
const MAX_COUNTED: u32 = 100;
/// The orchestrator looks at everything at least every 15 seconds.
const ORCHESTRATOR_SILENT: SignedDuration = SignedDuration::from_secs(60);

/// Whether a look is answered with the status of what it found.
#[derive(Debug, Deserialize)]
pub(super) struct HealthQuery {
    /// Answer 200 whatever was found.
    #[serde(default)]
    report: bool,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// `ledger`, `quorum`, `views`, `open_rollouts` or `orchestrator`.
    pub name: String,
    /// What kind of failure was found; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<ErrorClass>,
    /// What was found.
    pub message: String,
}

/// What `/health` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, `unavailable`, or `damaged`.
    pub status: String,
    /// The server's version.
    pub version: String,
    /// The ledger served.
    pub ledger: String,
    /// Sequence of the ledger's last commit, where it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sequence: Option<u64>,
    /// Sequence that the views stand at.
    pub applied_sequence: u64,
    /// Commits that the views are behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// Events that the views could not show as they are, counted up to 100, where they answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anomalies: Option<usize>,
    /// What was looked at.
    pub checks: Vec<HealthCheck>,
}

impl Health {
    /// Whether nothing was found.
    pub fn is_ok(&self) -> bool {
        self.checks.iter().all(|check| check.failure.is_none())
    }
}

/// The last answer. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct HealthMemory(Arc<Mutex<Option<(Instant, Health)>>>);

pub(super) async fn health(
    State(api): State<Api>,
    Query(query): Query<HealthQuery>,
) -> (StatusCode, Json<Health>) {
    let health = looked(&api).await;
    let status = if health.is_ok() || query.report {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(health))
}

/// Looks, unless somebody has just looked; those who ask meanwhile wait for the same answer.
async fn looked(api: &Api) -> Health {
    let mut last = api.health.0.lock().await;
    if let Some((at, health)) = &*last
        && at.elapsed() < FRESH_FOR
    {
        return health.clone();
    }
    let health = look(api).await;
    *last = Some((Instant::now(), health.clone()));
    health
}

type Found = Result<String, (ErrorClass, String)>;

async fn look(api: &Api) -> Health {
    let (ledger, quorum, views, evidence) = tokio::join!(
        bounded("ledger", ledger(api)),
        bounded("quorum", quorum(api)),
        bounded("views", views(api)),
        bounded("evidence", evidence(api)),
    );
    let orchestrator = orchestrator(api);
    let last = api.handler.journal().last_sequence();
    let last = tokio::time::timeout(Duration::from_secs(1), last).await;
    let last = last.ok().and_then(Result::ok);
    let applied = api.applied.applied().sequence;
    let anomalies = api.views.anomalies(Cursor::default(), MAX_COUNTED);
    let anomalies = tokio::time::timeout(Duration::from_secs(1), anomalies).await;
    let anomalies = anomalies.ok().and_then(Result::ok);
    let mut checks = Vec::new();
    for (name, found) in [
        ("ledger", ledger),
        ("quorum", quorum),
        ("views", views),
        ("open_rollouts", evidence),
        ("orchestrator", orchestrator),
    ] {
        let (failure, message) = match found {
            Ok(message) => (None, message),
            Err((class, message)) => (Some(class), message),
        };
        checks.push(HealthCheck {
            name: name.to_owned(),
            failure,
            message,
        });
    }
    let has = |class| checks.iter().any(|check| check.failure == Some(class));
    let status = if has(ErrorClass::Integrity) {
        "damaged"
    } else if checks.iter().any(|check| check.failure.is_some()) {
        "unavailable"
    } else {
        "ok"
    };
    Health {
        status: status.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ledger: api.ledger.to_string(),
        last_sequence: last,
        applied_sequence: applied,
        lag: last.map(|last| last.saturating_sub(applied)),
        anomalies: anomalies.map(|page| page.data.rows.len()),
        checks,
    }
}

async fn bounded(what: &str, check: impl Future<Output = Found>) -> Found {
    let found = tokio::time::timeout(CHECKED_WITHIN, check).await;
    found.unwrap_or_else(|_| {
        let within = CHECKED_WITHIN.as_secs();
        Err((
            ErrorClass::Unavailable,
            format!("{what}: no answer within {within} s"),
        ))
    })
}

/// As people are told it; the whole text is in the log.
fn unavailable(error: impl Told) -> (ErrorClass, String) {
    let told = error.told();
    if told != error.to_string() {
        tracing::warn!(%error, "something needed is unavailable");
    }
    (ErrorClass::Unavailable, told)
}

fn lacking(message: String) -> (ErrorClass, String) {
    (ErrorClass::Unavailable, message)
}

/// Of the views; their damage is acted on.
fn view_failure(api: &Api, error: ViewError) -> (ErrorClass, String) {
    if let ViewError::Damaged { reason } = &error {
        api.alarm.raise(reason);
    }
    unavailable(error)
}

fn damage(damage: Damage) -> (ErrorClass, String) {
    let class = if damage.is_retryable() {
        ErrorClass::Unavailable
    } else {
        ErrorClass::Integrity
    };
    (class, damage.to_string())
}

/// Every sequence is there, and samples of them decode and follow on what they name.
async fn ledger(api: &Api) -> Found {
    let journal = &**api.handler.journal();
    let extent = spot_check(journal, SAMPLES).await.map_err(damage)?;
    Ok(format!(
        "{} commits, none missing; {} samples read",
        extent.last,
        SAMPLES.min(extent.last)
    ))
}

/// More than half of the copies are there, and a write is acknowledged.
async fn quorum(api: &Api) -> Found {
    let report = api.stream.report().await.map_err(unavailable)?;
    let copies = report.replicas;
    let there = copies.saturating_sub(report.replicas_behind);
    if !report.quorum {
        return Err(lacking(format!(
            "no quorum: {there} of {copies} copies of {} are there; start the other nats-servers",
            report.stream
        )));
    }
    progress::probe(&api.nats, &api.ledger)
        .await
        .map_err(|error| lacking(format!("no write is acknowledged: {error}")))?;
    Ok(format!("{there} of {copies} copies of {}", report.stream))
}

/// The views' database answers, and stands at a commit that the ledger has.
async fn views(api: &Api) -> Found {
    let position = api.views.standing().await;
    let position = position.map_err(|error| view_failure(api, error))?;
    let journal = &**api.handler.journal();
    compare(journal, &api.ledger, &position, "the views stand")
        .await
        .map_err(damage)?;
    let rebuilt = match &api.rebuilt {
        Some(rebuilt) => format!("; {rebuilt}"),
        None => String::new(),
    };
    Ok(format!(
        "the views stand at sequence {}, as the ledger has it{rebuilt}",
        position.sequence
    ))
}

/// What open rollouts rest on is in the store.
async fn evidence(api: &Api) -> Found {
    let digests = api.views.evidence_of_open(EVIDENCE).await;
    let digests = digests.map_err(|error| view_failure(api, error))?;
    for sha256 in &digests {
        match api.handler.evidence().exists(sha256).await {
            Ok(true) | Err(EvidenceError::Address { .. }) => {}
            Ok(false) => {
                return Err((
                    ErrorClass::Integrity,
                    format!(
                        "evidence {sha256} of an open rollout is not in the store; restore it from the backup"
                    ),
                ));
            }
            Err(error) => return Err(unavailable(error)),
        }
    }
    Ok(format!(
        "{} pieces of open rollouts are there",
        digests.len()
    ))
}

/// The orchestrator has done everything that was due a short time ago.
fn orchestrator(api: &Api) -> Found {
    let beat = api.pulse.last();
    let now: Timestamp = api.handler.now();
    let since = beat.succeeded_at.unwrap_or(api.started_at);
    let silent = now.duration_since(since);
    if silent <= ORCHESTRATOR_SILENT {
        return Ok(match beat.succeeded_at {
            Some(at) => format!("did everything that was due at {at}"),
            None => "has just started".to_owned(),
        });
    }
    let reason = beat
        .failing
        .unwrap_or_else(|| "it does not get on".to_owned());
    Err(lacking(format!(
        "has not done what was due for {} s: {reason}",
        silent.as_secs()
    )))
}

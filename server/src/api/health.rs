//! Health checks: whether everything the server needs is available and undamaged.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use rollbook_ledger::error_code::{Coded, ErrorCode};
use rollbook_ledger::journal::integrity::{Damage, WHOLE_COMMITS, compare, spot_check};
use rollbook_ledger::projection::projector::ProjectorError;
use rollbook_ledger::projection::store::ViewError;
use rollbook_ledger::projection::views::PageCursor;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::PublicMessage;
use super::proof::compare_rows;
use super::{Api, ErrorClass, gates};
use crate::unrecorded_environments;

/// One result serves everybody who asks within this time.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// A check that takes longer has failed.
const CHECKED_WITHIN: Duration = Duration::from_secs(8);
/// Commits read per check, spread over the whole ledger.
const SAMPLES: u64 = 16;
/// Pieces of evidence that are listed, and how many of them each check reads, in rotation.
const EVIDENCE: (u32, usize) = (2_000, 50);
/// Evidence read per check, in bytes.
const EVIDENCE_BYTES: u64 = 16 * 1024 * 1024;
/// Rollouts per check whose rows are compared with the ledger.
const COMPARED: usize = 10;
/// Results of expensive checks are reused for this long, unless a full report is requested.
const KEPT_FOR: Duration = Duration::from_secs(15);
/// Anomalies are counted up to this number.
const MAX_COUNTED: u32 = 100;
/// Longest silence of the orchestrator, which looks at everything at least every 15 seconds.
const ORCHESTRATOR_SILENT: SignedDuration = SignedDuration::from_secs(60);

/// Whether the response status reflects the result.
#[derive(Debug, Deserialize)]
pub(super) struct HealthQuery {
    /// Answer 200 whatever the result.
    #[serde(default)]
    report: bool,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// `ledger`, `quorum`, `views`, `rows`, `open_rollouts`, `orchestrator` or `environments`.
    pub name: String,
    /// The kind of failure; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<ErrorClass>,
    /// It works, but somebody should look.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warning: bool,
    /// The code of the failure, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// The finding.
    pub message: String,
}

/// The response of `/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    /// `ok`, `unavailable`, or `damaged`.
    pub status: String,
    /// The server's version.
    pub version: String,
    /// The ledger served.
    pub ledger: String,
    /// Sequence of the ledger's last commit, if it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sequence: Option<u64>,
    /// Sequence that the views have reached.
    pub applied_sequence: u64,
    /// Number of commits that the views lag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// Events that the views could not show as they are, counted up to 100; absent if the views do
    /// not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anomalies: Option<usize>,
    /// The results of the checks.
    pub checks: Vec<HealthCheck>,
}

impl HealthReport {
    /// Whether no check failed.
    pub fn is_ok(&self) -> bool {
        self.checks.iter().all(|check| check.failure.is_none())
    }
}

/// Remembers the last result. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct HealthMemory(Arc<Mutex<Memory>>);

#[derive(Debug, Default)]
struct Memory {
    /// The last result.
    last: Option<Last>,
    /// Results of expensive checks.
    ledger: Cached,
    rows: Cached,
    evidence: Cached,
    /// Number of checks so far: each reads another part.
    turn: usize,
}

#[derive(Debug)]
struct Last {
    /// When the check started and ended.
    from: Instant,
    until: Instant,
    /// Whether nothing was reused for it.
    anew: bool,
    health: HealthReport,
}

type Cached = Option<(Instant, Found)>;

/// A recent result, or a new one.
async fn kept(
    kept: &mut Cached,
    anew: bool,
    name: &str,
    look: impl Future<Output = Found>,
) -> Found {
    if let Some((at, found)) = kept
        && !anew
        && at.elapsed() < KEPT_FOR
    {
        return found.clone();
    }
    let found = bounded(name, look).await;
    *kept = Some((Instant::now(), found.clone()));
    found
}

pub(super) async fn health(
    State(api): State<Api>,
    Query(query): Query<HealthQuery>,
) -> (StatusCode, Json<HealthReport>) {
    let health = looked(&api, query.report).await;
    let status = if health.is_ok() || query.report {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(health))
}

/// Checks, unless somebody has just checked; concurrent requests wait for the same result. A
/// request for a full report takes no result whose check started before it.
async fn looked(api: &Api, anew: bool) -> HealthReport {
    let asked = Instant::now();
    let mut memory = api.health.0.lock().await;
    if let Some(last) = &memory.last {
        let is_fresh = if anew {
            last.anew && last.from >= asked
        } else {
            last.until.elapsed() < FRESH_FOR
        };
        if is_fresh {
            return last.health.clone();
        }
    }
    let from = Instant::now();
    let health = look(api, &mut memory, anew).await;
    memory.last = Some(Last {
        from,
        until: Instant::now(),
        anew,
        health: health.clone(),
    });
    memory.turn = memory.turn.wrapping_add(1);
    health
}

type Found = Result<String, Failure>;

/// Why a check failed.
#[derive(Debug, Clone)]
struct Failure {
    class: ErrorClass,
    code: Option<ErrorCode>,
    message: String,
}

async fn look(api: &Api, memory: &mut Memory, anew: bool) -> HealthReport {
    let turn = memory.turn;
    let (ledger, quorum, views, rows, evidence) = tokio::join!(
        kept(&mut memory.ledger, anew, "ledger", ledger(api)),
        bounded("quorum", quorum(api)),
        bounded("views", views(api)),
        kept(&mut memory.rows, anew, "rows", rows(api, turn)),
        kept(&mut memory.evidence, anew, "evidence", evidence(api, turn)),
    );
    let orchestrator = orchestrator(api);
    let last = api.handler.journal().last_sequence();
    let last = tokio::time::timeout(Duration::from_secs(1), last).await;
    let last = last.ok().and_then(Result::ok);
    let applied = api.applied.applied().sequence;
    let anomalies = api.views.anomalies(PageCursor::default(), MAX_COUNTED);
    let anomalies = tokio::time::timeout(Duration::from_secs(1), anomalies).await;
    let anomalies = anomalies.ok().and_then(Result::ok);
    let mut checks = Vec::new();
    for (name, found) in [
        ("ledger", ledger),
        ("quorum", quorum),
        ("views", views),
        ("rows", rows),
        ("open_rollouts", evidence),
        ("orchestrator", orchestrator),
    ] {
        let (failure, code, message) = match found {
            Ok(message) => (None, None, message),
            Err(failure) => (Some(failure.class), failure.code, failure.message),
        };
        checks.push(HealthCheck {
            name: name.to_owned(),
            failure,
            warning: false,
            code,
            message,
        });
    }
    checks.push(environments(api).await);
    let has = |class| checks.iter().any(|check| check.failure == Some(class));
    let status = if has(ErrorClass::Integrity) {
        "damaged"
    } else if checks.iter().any(|check| check.failure.is_some()) {
        "unavailable"
    } else {
        "ok"
    };
    HealthReport {
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
        Err(lacking(format!("{what}: no answer within {within} s")))
    })
}

/// The text for clients; the full text is in the log.
fn unavailable(error: impl PublicMessage + Coded) -> Failure {
    let told = error.public_message();
    if told != error.to_string() {
        tracing::warn!(%error, "something needed is unavailable");
    }
    Failure {
        class: ErrorClass::Unavailable,
        code: Some(error.code()),
        message: told,
    }
}

fn lacking(message: String) -> Failure {
    Failure {
        class: ErrorClass::Unavailable,
        code: None,
        message,
    }
}

/// A failure of the views; damage also raises the alarm.
fn view_failure(api: &Api, error: ViewError) -> Failure {
    if let ViewError::Damaged { reason } = &error {
        api.alarm.raise(reason);
    }
    unavailable(error)
}

/// Something stored is damaged.
fn broken(found: &(impl Coded + std::fmt::Display)) -> Failure {
    Failure {
        class: ErrorClass::Integrity,
        code: Some(found.code()),
        message: found.to_string(),
    }
}

fn damage(damage: Damage) -> Failure {
    let failure = broken(&damage);
    if damage.is_retryable() {
        return Failure {
            class: ErrorClass::Unavailable,
            ..failure
        };
    }
    failure
}

/// Every sequence is present, and all commits (samples of a long ledger) decode and follow the ones
/// they name.
async fn ledger(api: &Api) -> Found {
    let journal = &**api.handler.journal();
    let extent = spot_check(journal, SAMPLES).await.map_err(damage)?;
    let read = if extent.last <= WHOLE_COMMITS {
        "all of them read".to_owned()
    } else {
        format!("{SAMPLES} samples read")
    };
    Ok(format!("{} commits, none missing; {read}", extent.last))
}

/// More than half of the copies are present, and a write is acknowledged.
async fn quorum(api: &Api) -> Found {
    let report = api.reports.report().await.map_err(unavailable)?;
    let copies = report.replicas;
    let there = copies.saturating_sub(report.replicas_behind);
    if !report.quorum {
        return Err(lacking(format!(
            "no quorum: {there} of {copies} copies of {} are there; start the other nats-servers",
            report.stream
        )));
    }
    let probed = api.live.signals.source().probe().await;
    probed.map_err(|error| lacking(format!("no write is acknowledged: {error}")))?;
    Ok(format!("{there} of {copies} copies of {}", report.stream))
}

/// The views' database answers and is at a commit that the ledger has.
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

/// The views have the rollouts of the ledger, and their rows equal its projection.
async fn rows(api: &Api, turn: usize) -> Found {
    let journal = &**api.handler.journal();
    match compare_rows(journal, &*api.views, &api.ledger, COMPARED, turn).await {
        Ok(Ok(rows)) => Ok(rows.to_string()),
        Ok(Err(differs)) => Err(broken(&differs)),
        Err(error) if error.is_damage() => Err(broken(&error)),
        Err(ProjectorError::View(error)) => Err(view_failure(api, error)),
        Err(ProjectorError::Journal(error)) => Err(unavailable(error)),
        Err(error) => Err(lacking(error.to_string())),
    }
}

/// The evidence of open rollouts is in the store and undamaged.
async fn evidence(api: &Api, turn: usize) -> Found {
    let (listed, at_once) = EVIDENCE;
    let digests = api.views.evidence_of_open(listed).await;
    let mut digests = digests.map_err(|error| view_failure(api, error))?;
    let known = digests.len();
    let from = turn.wrapping_mul(at_once).checked_rem(known).unwrap_or(0);
    digests.rotate_left(from);
    digests.truncate(at_once);
    let store = api.handler.evidence();
    let looked = store.verify_all(digests, EVIDENCE_BYTES).await;
    let looked = looked.map_err(unavailable)?;
    if let Some(found) = looked.damaged.first() {
        let others = match looked.damaged.len() - 1 {
            0 => String::new(),
            others => format!("; {others} more"),
        };
        let found = gates::lost(found.clone());
        return Err(Failure {
            message: format!("evidence of an open rollout: {found}{others}"),
            ..broken(&found)
        });
    }
    let unread = match looked.unread {
        0 => String::new(),
        unread => format!("; {unread} more are there, too large to be read at each look"),
    };
    Ok(format!(
        "{} of {known} pieces of open rollouts were read and are what they were{unread}",
        looked.sound
    ))
}

/// The environments that open rollouts protect are recorded as protected.
async fn environments(api: &Api) -> HealthCheck {
    let looked = unrecorded_environments::find(&api.handler, &*api.views);
    let found = match tokio::time::timeout(CHECKED_WITHIN, looked).await {
        Ok(found) => found,
        Err(_) => Err(format!("no answer within {} s", CHECKED_WITHIN.as_secs())),
    };
    let (warning, message) = match found {
        Ok(texts) if texts.is_empty() => (
            false,
            "what open rollouts protect is recorded as protected".to_owned(),
        ),
        Ok(texts) => (true, texts.join("; ")),
        Err(reason) => (true, format!("could not be looked at: {reason}")),
    };
    HealthCheck {
        name: "environments".to_owned(),
        failure: None,
        warning,
        code: None,
        message,
    }
}

/// The orchestrator has recently done everything that was due.
fn orchestrator(api: &Api) -> Found {
    let beat = api.liveness.last();
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
        .unwrap_or_else(|| "it makes no progress".to_owned());
    Err(lacking(format!(
        "has not done what was due for {} s: {reason}",
        silent.as_secs()
    )))
}

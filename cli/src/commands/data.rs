//! Deals without a server: generate, snapshot, audit.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use rollbook_deals::audit;
use rollbook_deals::generate::GenerateOptions;
use rollbook_deals::load;
use rollbook_deals::migrate::{self, TargetError};
use rollbook_proto::v1::Verdict;
use rollbook_workers::snapshot::manifest::Total;
use rollbook_workers::snapshot::plan::ROWS_PER_PART;
use rollbook_workers::snapshot::{self, Snapshot, SnapshotRequest, SnapshotSource};

use super::evidence_store::{existing, open, snapshot_failure, store};
use super::{Session, calculator};
use crate::args::{AuditArgs, GenerateArgs, SnapshotShowArgs, SnapshotTakeArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, BOLD, DIM, GREEN, RED, YELLOW, dollars, line, paint};
use crate::progress::Live;

/// A bar on a terminal, nothing otherwise.
fn progress_bar(session: &Session, total: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    if session.json || !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:32} {pos}/{len} {per_sec} {eta}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// `deals generate`: creates the legacy schema (001–003) if missing, then the deals.
pub(crate) async fn generate(session: &Session, args: GenerateArgs) -> Outcome {
    migrate::apply(&args.database, "003")
        .await
        .map_err(target_failure)?;
    let options = GenerateOptions {
        invalid_types: !args.no_invalid_types,
        broken_inventory: args.broken,
        ..GenerateOptions::new(args.count, args.seed)
    };
    let bar = progress_bar(session, args.count, "generating");
    let report = load::load(&args.database, &options, |done| bar.set_position(done))
        .await
        .map_err(target_failure)?;
    bar.finish_and_clear();
    if session.json {
        print::json(&report)?;
    } else {
        line(format!(
            "{} deals written, {} of them deleted, seed {}",
            report.deals, report.deleted, args.seed
        ));
    }
    Ok(Exit::Success)
}

/// `snapshot take`.
pub(crate) async fn take(session: &Session, args: SnapshotTakeArgs) -> Outcome {
    let store = store(session, args.objects.objects.as_deref())?;
    let (calculator, inventory_query) = calculator::of(&args)?;
    let mut source = SnapshotSource::new(args.database);
    source.filter = args.filter;
    source.tenant = args.tenant;
    source.inventory_query = inventory_query;
    let request = SnapshotRequest {
        name: "deals".to_owned(),
        label: args.label,
        source,
        calculator,
        flags: std::collections::BTreeMap::new(),
        flags_sequence: 0,
        taken_at: Timestamp::now(),
        rows_per_part: ROWS_PER_PART,
        threads: args.threads,
        connections: args.connections,
    };
    let live = Live::new("snapshot", session.json);
    let taken = snapshot::take(&request, &store, &|progress| live.update(progress)).await;
    drop(live);
    let taken = taken.map_err(snapshot_failure)?;
    show_manifest(session, &taken)?;
    Ok(if taken.manifest.errors == 0 {
        Exit::Success
    } else {
        Exit::Failed
    })
}

/// `snapshot show`.
pub(crate) async fn show(session: &Session, args: SnapshotShowArgs) -> Outcome {
    let store = existing(session, args.objects.objects.as_deref())?;
    let found = open(&store, &args.snapshot).await?;
    show_manifest(session, &found)?;
    Ok(Exit::Success)
}

/// The exit code of a failure to write deals: a refusal by a reachable database is a refusal by a
/// rule.
fn target_failure(error: TargetError) -> Failure {
    let exit = if error.is_wrong_address() {
        Exit::Usage
    } else if error.is_refusal() {
        Exit::Failed
    } else {
        Exit::Unavailable
    };
    Failure::new(exit, error)
}

fn show_manifest(session: &Session, taken: &Snapshot) -> Result<(), Failure> {
    if session.json {
        return print::json(&serde_json::json!({
            "snapshot": taken.evidence.sha256,
            "manifest": taken.manifest,
        }));
    }
    let manifest = &taken.manifest;
    line(format!(
        "{} {}",
        paint(BOLD, "snapshot"),
        taken.evidence.sha256
    ));
    line(format!(
        "  {} deals, {} errors, {} deleted ones left out, {} parts",
        manifest.total,
        manifest.errors,
        manifest.deleted_excluded,
        manifest.parts.len()
    ));
    line(format!(
        "  model {}, deal types {}",
        manifest.model_digest,
        if manifest.deal_type_awareness {
            "count"
        } else {
            "do not count"
        }
    ));
    if let Some(total) = manifest.totals.get("cost_total") {
        line(format!("  total cost {}", dollars_of(*total)));
    }
    Ok(())
}

fn dollars_of(cents: Total) -> String {
    i64::try_from(cents.0).map_or_else(|_| format!("{} cents", cents.0), dollars)
}

/// How many invalid deals are listed; the report has up to 100.
const SHOWN_INVALID: usize = 10;

/// `audit`.
pub(crate) async fn audit(session: &Session, args: AuditArgs) -> Outcome {
    let source = SnapshotSource::new(args.database);
    let report = audit::take(&source, Timestamp::now())
        .await
        .map_err(snapshot_failure)?;
    if session.json {
        print::json(&report)?;
    } else {
        let score = &report.health_score;
        let style = match report.verdict() {
            Verdict::Pass if report.null_count + report.invalid_count == 0 => GREEN,
            Verdict::Pass | Verdict::Inconclusive => YELLOW,
            _ => RED,
        };
        line(format!(
            "{} {} %",
            paint(style, score.status.as_str()),
            score.percentage
        ));
        line(format!(
            "  {} active deals ({} deleted): {} valid, {} without a type, {} invalid",
            report.active_deals,
            report.deleted_deals,
            score.valid_deals,
            report.null_count,
            report.invalid_count
        ));
        for (deal_type, count) in &report.distribution {
            line(format!("  {:>7}  {}", count, deal_type.escape_debug()));
        }
        let shown = report.invalid_deals.iter().take(SHOWN_INVALID);
        let more = report.invalid_count.saturating_sub(shown.len() as u64);
        for faulty in shown {
            line(paint(
                DIM,
                format!(
                    "  invalid: {} {}",
                    faulty.deal_id,
                    faulty.deal_type.as_deref().unwrap_or("NULL")
                ),
            ));
        }
        if more > 0 {
            line(paint(
                DIM,
                format!("  and {more} more (--json lists the first 100)"),
            ));
        }
    }
    Ok(match report.verdict() {
        Verdict::Pass => Exit::Success,
        Verdict::Inconclusive => Exit::Inconclusive,
        _ => Exit::Failed,
    })
}

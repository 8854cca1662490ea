//! Compares snapshots without a server.

use std::path::Path;

use rollbook_deals::Deals;
use rollbook_deals::breakdown::{FigureBreakdown, break_down_figures, has_lines};
use rollbook_ledger::evidence::EvidenceStore;
use rollbook_proto::v1::Verdict;
use rollbook_workers::calculators::Calculators;
use rollbook_workers::compare::declaration::Declaration;
use rollbook_workers::compare::differences::regressions;
use rollbook_workers::compare::{
    CompareError, ComparisonResult, Explanation, Rules, compare_with, explain,
};
use rollbook_workers::snapshot::reader::key_order;
use rollbook_workers::snapshot::{Snapshot, SnapshotError};
use serde::Serialize;

use super::Session;
use super::calculator::{model_of, unreadable};
use super::evidence_store::{existing, open, snapshot_failure};
use crate::args::CompareArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, line, note, unprintable};
use crate::progress::Live;
use crate::report::comparison as report;

/// The largest rules file, in bytes.
const MAX_RULES_BYTES: u64 = 1024 * 1024;

/// A comparison and its snapshots.
struct Compared {
    before: Snapshot,
    after: Snapshot,
    address: String,
    result: ComparisonResult,
}

/// `compare`.
pub(crate) async fn compare(session: &Session, args: CompareArgs) -> Outcome {
    let store = existing(session, args.objects.objects.as_deref())?;
    if let Some(deal) = &args.explain {
        return explain_deal(session, &store, &args, deal).await;
    }
    let compared = match &args.result {
        Some(sha256) => stored(&store, sha256).await?,
        None => {
            let (before, after) = snapshots(&store, &args).await?;
            let declared = Deals.declaration();
            let rules = rules_of(&args, &before, declared.as_ref())?;
            let made = {
                let live = Live::new("compare", session.json);
                let progress = |now| live.update(now);
                compare_with(None, &before, &after, &rules, &declared, &store, &progress)
                    .await
                    .map_err(comparison_failure)?
            };
            Compared {
                before,
                after,
                address: made.evidence.sha256,
                result: made.result,
            }
        }
    };
    let result = &compared.result;
    if let Some(file) = &args.html {
        let page = report::html(result, &compared.address).map_err(unprintable)?;
        write_file(file, &page)?;
    }
    if args.regressions {
        list_regressions(session, &store, &args, &compared).await?;
    } else if session.json {
        print::json(&serde_json::json!({
            "result_sha256": compared.address,
            "verdict": result.verdict().as_str_name().to_lowercase(),
            "result": result,
        }))?;
    } else {
        line(report::text(result).map_err(unprintable)?.trim_end());
        line(format!("\nresult {}", compared.address));
    }
    Ok(match result.verdict() {
        Verdict::Pass | Verdict::Warning => Exit::Success,
        Verdict::Inconclusive => Exit::Inconclusive,
        _ => Exit::Failed,
    })
}

/// A stored comparison. Its rules may allow what this version would refuse.
async fn stored(store: &EvidenceStore, sha256: &str) -> Result<Compared, Failure> {
    let bytes = store.get(sha256).await;
    let bytes = bytes.map_err(|error| snapshot_failure(SnapshotError::from(error)))?;
    let result = ComparisonResult::from_bytes(sha256, &bytes).map_err(comparison_failure)?;
    Ok(Compared {
        before: open(store, &result.before.manifest).await?,
        after: open(store, &result.after.manifest).await?,
        address: sha256.to_owned(),
        result,
    })
}

async fn snapshots(
    store: &EvidenceStore,
    args: &CompareArgs,
) -> Result<(Snapshot, Snapshot), Failure> {
    let (Some(before), Some(after)) = (&args.before, &args.after) else {
        let what = match &args.explain {
            Some(deal) => format!("--explain {deal:?}"),
            None => "compare".to_owned(),
        };
        let given = match args.before {
            Some(_) => "only the earlier one is given",
            None => "none is given",
        };
        return Err(Failure::own(
            Exit::Usage,
            "RB-CLI-61",
            format!(
                "{what} needs two snapshots, and {given}; give the SHA-256 of both, or --result SHA256 of a comparison"
            ),
        ));
    };
    Ok((open(store, before).await?, open(store, after).await?))
}

fn rules_of(
    args: &CompareArgs,
    before: &Snapshot,
    declared: &dyn Declaration,
) -> Result<Rules, Failure> {
    let mut rules = match &args.rules {
        None => {
            let tolerance = Rules::tolerance(&args.tolerance).map_err(Failure::usage)?;
            declared.default_rules(tolerance)
        }
        Some(file) => {
            let text = read_rules(file)?;
            Rules::from_text_for(&text, &before.manifest.metrics, declared).map_err(|error| {
                Failure::own(
                    Exit::Usage,
                    "RB-CLI-62",
                    format!("{}:{error}", file.display()),
                )
            })?
        }
    };
    rules.allow_model_change |= args.allow_model_change;
    Ok(rules)
}

fn read_rules(file: &Path) -> Result<String, Failure> {
    let size = std::fs::metadata(file).map_err(|error| unreadable(file, error))?;
    if size.len() > MAX_RULES_BYTES {
        let reason = format!("it has {} bytes, more than {MAX_RULES_BYTES}", size.len());
        return Err(unreadable(file, reason));
    }
    std::fs::read_to_string(file).map_err(|error| unreadable(file, error))
}

async fn list_regressions(
    session: &Session,
    store: &EvidenceStore,
    args: &CompareArgs,
    compared: &Compared,
) -> Result<(), Failure> {
    let limit = usize::try_from(args.limit.max(1)).unwrap_or(usize::MAX);
    let page = regressions(
        store,
        &compared.result.differences,
        key_order(&compared.before.manifest),
        args.after_deal.as_deref(),
        limit,
    )
    .await
    .map_err(comparison_failure)?;
    if session.json {
        #[derive(Serialize)]
        struct Answer<'a, T> {
            result_sha256: &'a str,
            #[serde(flatten)]
            page: T,
        }
        return print::json(&Answer {
            result_sha256: &compared.address,
            page,
        });
    }
    let text = report::regressions(&compared.result, &page).map_err(unprintable)?;
    line(text.trim_end());
    Ok(())
}

async fn explain_deal(
    session: &Session,
    store: &EvidenceStore,
    args: &CompareArgs,
    deal: &str,
) -> Outcome {
    let declared = Deals.declaration();
    let declared = declared.as_ref();
    let (before, after, rules) = match &args.result {
        Some(sha256) => {
            let compared = stored(store, sha256).await?;
            (compared.before, compared.after, compared.result.rules)
        }
        None => {
            let (before, after) = snapshots(store, args).await?;
            let rules = rules_of(args, &before, declared)?;
            (before, after, rules)
        }
    };
    let explained = explain(&before, &after, &rules, declared, store, deal)
        .await
        .map_err(comparison_failure)?;
    let own = [&before, &after].map(|snapshot| !has_lines(&snapshot.manifest));
    let (behind, without_lines) = if own == [true, true] {
        (None, Some(no_lines(&before, &after)))
    } else {
        match inventory_breakdown(store, args, &before, &after, deal).await? {
            Ok(behind) => (Some(behind), None),
            Err(why) => {
                note(&why);
                (None, Some(why))
            }
        }
    };
    if session.json {
        #[derive(Serialize)]
        struct Answer {
            #[serde(flatten)]
            explained: Explanation,
            behind: Option<FigureBreakdown>,
            /// Why the figures have no inventory lines.
            #[serde(skip_serializing_if = "Option::is_none")]
            without_lines: Option<String>,
        }
        print::json(&Answer {
            explained,
            behind,
            without_lines,
        })?;
    } else {
        let text = report::explanation(&explained, behind.as_ref()).map_err(unprintable)?;
        line(text.trim_end());
        // Lines that are only out of reach were noted above.
        if let Some(without_lines) = without_lines.filter(|_| own == [true, true]) {
            line(format!("\n{without_lines}"));
        }
    }
    Ok(Exit::Success)
}

/// Explains that figures of the user's own calculators have no inventory lines.
fn no_lines(before: &Snapshot, after: &Snapshot) -> String {
    let by = |snapshot: &Snapshot| {
        let manifest = &snapshot.manifest;
        let digest = manifest.model_digest.get(..12).unwrap_or_default();
        format!("`{}` {digest}", manifest.model)
    };
    let (before, after) = (by(before), by(after));
    let calculators = if before == after {
        format!("the calculator {before}")
    } else {
        format!("the calculators {before} before and {after} after")
    };
    format!(
        "the values are those of {calculators}: what they are made of, the program or query knows; \
         inventory lines exist for the built-in model only"
    )
}

/// The inventory behind the figures, or what is needed to show it.
async fn inventory_breakdown(
    store: &EvidenceStore,
    args: &CompareArgs,
    before: &Snapshot,
    after: &Snapshot,
    deal: &str,
) -> Result<Result<FigureBreakdown, String>, Failure> {
    let model = model_of(args.model.as_deref())?;
    let database = args.database.as_deref();
    match break_down_figures(before, after, store, database, &model, deal).await {
        Ok(behind) => Ok(Ok(behind)),
        Err(error) if database.is_some() => Err(comparison_failure(error)),
        // Nobody asked for the source: if it cannot be read, the figures still stand.
        Err(error) => Ok(Err(format!(
            "the inventory behind the figures of deal {deal:?} is not shown, because the source of \
             the snapshot cannot be read: {error}; give --database URL of the deals, with the \
             password, which no snapshot keeps"
        ))),
    }
}

/// Damage found while comparing is damage; an invalid request is wrong usage.
fn comparison_failure(error: CompareError) -> Failure {
    match error {
        CompareError::Snapshot(error) => snapshot_failure(error),
        error => Failure::usage(error),
    }
}

fn write_file(file: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(file, text).map_err(|error| {
        Failure::own(
            Exit::Unavailable,
            "RB-CLI-63",
            format!("{}: cannot be written: {error}", file.display()),
        )
    })
}

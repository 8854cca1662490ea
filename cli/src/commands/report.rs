//! `rollbook report`.

use std::io::Write;

use rollbook_ledger::projection::rows::{RolloutRow, TimelineRow};
use rollbook_ledger::projection::views::{Page, ViewAnswer};
use rollbook_server::api::ProofAnswer;

use super::Session;
use super::new_file::NewFile;
use crate::args::{ReportArgs, ReportFormat};
use crate::client::NOT_UNDERSTOOD;
use crate::exit::{Exit, Failure, Outcome};
use crate::print;
use crate::report::{self, Material};

/// How many of the rollouts opened last may be the one that closed last.
const NEWEST: u32 = 1_000;
/// Timeline rows per request.
const PAGE_ROWS: u32 = 1_000;
/// The most pages read: a timeline of half a million events is not a report.
const MAX_PAGES: u32 = 500;

/// `report`: compared with the ledger before it is written. If evidence is damaged, the report says
/// so and the command exits 6.
pub(crate) async fn report(session: &Session, args: ReportArgs) -> Outcome {
    let id = reported(session, args.rollout.as_deref()).await?;
    let status = session.status_of(&id).await?;
    let timeline = timeline(session, &id, None).await?;
    // Requested after everything that is written, so that unproven content is never handed over.
    let path = format!("/v1/rollouts/{id}/proof");
    let proof: ProofAnswer = session.client.get(&path, &[]).await?;
    if let Some(views) = &proof.views {
        return Err(damage(&proof, views.clone()));
    }
    let material = Material {
        plan: session.plan_of(&id, None).await?,
        timeline,
        status,
        proof,
    };
    let text = if session.json {
        let value = serde_json::json!({ "rollout": material.status, "timeline": material.timeline, "proof": material.proof });
        serde_json::to_string_pretty(&value).map_err(print::unprintable)?
    } else {
        match args.format {
            ReportFormat::Markdown => report::markdown(&material),
            ReportFormat::Html => report::html(&material),
        }
    };
    match args.output {
        Some(file) => {
            let target = NewFile::new(&file, true)?;
            let written = target.begin()?;
            written
                .as_file()
                .write_all(text.as_bytes())
                .map_err(|error| target.unwritable(error))?;
            target.finish(written)?;
            print::note(format!("wrote {}", file.display()));
        }
        None => print::line(text.trim_end()),
    }
    match material.proof.damaged.as_slice() {
        [] => Ok(Exit::Success),
        damaged => Err(damage(&material.proof, damaged.join("\n"))),
    }
}

/// The rollout named; otherwise the only open one, or if none is open the one that closed last.
async fn reported(session: &Session, given: Option<&str>) -> Result<String, Failure> {
    if given.is_some() {
        return session.resolve(given).await;
    }
    let open = [("open_only", "true".to_owned())];
    let open: ViewAnswer<Vec<RolloutRow>> = session.client.get("/v1/rollouts", &open).await?;
    let (chosen, why) = match open.data.as_slice() {
        [] => {
            let newest = [("limit", NEWEST.to_string())];
            let all: ViewAnswer<Vec<RolloutRow>> =
                session.client.get("/v1/rollouts", &newest).await?;
            let last = all.data.into_iter().max_by_key(|row| row.closed_at);
            (
                last.map(|row| row.rollout),
                "which closed last; none is open",
            )
        }
        [one] => (Some(one.rollout.clone()), "the only open one"),
        _ => (None, ""),
    };
    // Without one, or with several open, it says what to name.
    let Some(id) = chosen else {
        return session.resolve(None).await;
    };
    print::note(print::paint(
        print::DIM,
        format!("report of rollout {id}, {why}"),
    ));
    Ok(id)
}

/// The events of a rollout, or of one part of it, oldest first.
pub(super) async fn timeline(
    session: &Session,
    id: &str,
    subject: Option<&str>,
) -> Result<Vec<TimelineRow>, Failure> {
    let path = format!("/v1/rollouts/{id}/timeline");
    let mut first = vec![("limit", PAGE_ROWS.to_string())];
    first.extend(subject.map(|subject| ("subject", subject.to_owned())));
    let mut rows = Vec::new();
    let mut query = first.clone();
    for _ in 0..MAX_PAGES {
        let answer: ViewAnswer<Page<TimelineRow>> = session.client.get(&path, &query).await?;
        rows.extend(answer.data.rows);
        let Some(next) = answer.data.next else {
            return Ok(rows);
        };
        query.clone_from(&first);
        query.extend([
            ("after_sequence", next.sequence.to_string()),
            ("after_idx", next.idx.to_string()),
            ("after_ordinal", next.ordinal.to_string()),
        ]);
    }
    print::note(format!(
        "the timeline of {id} is cut after {} events; `rollbook log {id}` has all",
        rows.len()
    ));
    Ok(rows)
}

/// What the proof found; a server of an earlier version does not say under which code.
fn damage(proof: &ProofAnswer, found: String) -> Failure {
    let code = proof.code.clone().unwrap_or(NOT_UNDERSTOOD);
    Failure::whole(Exit::Integrity, code, found)
}

//! The rows of a snapshot: those in error, and all of them for other programs.

use std::io::{self, IsTerminal};

use rollbook_workers::snapshot::error_rows::{ErrorRow, error_rows};
use rollbook_workers::snapshot::export::{self, Format};
use rollbook_workers::snapshot::{Snapshot, SnapshotError};
use serde::Serialize;

use super::Session;
use super::evidence_store::{existing, open, snapshot_failure};
use super::new_file::NewFile;
use crate::args::{ExportFormat, SnapshotErrorsArgs, SnapshotExportArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, BOLD, DIM, line, paint, visible};

/// The name of standard output in errors.
const STANDARD_OUTPUT: &str = "standard output";

/// `snapshot errors`.
pub(crate) async fn errors(session: &Session, args: SnapshotErrorsArgs) -> Outcome {
    let store = existing(session, args.objects.objects.as_deref())?;
    let snapshot = open(&store, &args.snapshot).await?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let rows = error_rows(&snapshot, &store, limit)
        .await
        .map_err(snapshot_failure)?;
    let errors = snapshot.manifest.errors;
    let listed = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    let more = errors.saturating_sub(listed);
    if session.json {
        #[derive(Serialize)]
        struct Answer<'a> {
            snapshot: &'a str,
            errors: u64,
            rows: Vec<ErrorRow>,
            more: u64,
        }
        print::json(&Answer {
            snapshot: &snapshot.evidence.sha256,
            errors,
            rows,
            more,
        })?;
        return Ok(Exit::Success);
    }
    line(paint(
        BOLD,
        format!(
            "{errors} of {} deals have no figures",
            snapshot.manifest.total
        ),
    ));
    for row in &rows {
        let of_type = paint(DIM, format!("({})", visible(&row.deal_type)));
        let code = row.code.as_deref().map(visible);
        let code = code.map_or_else(String::new, |code| format!(" {code}"));
        line(format!("  {} {of_type}{code}", visible(&row.deal_id)));
        line(format!("      {}", visible(&row.message)));
    }
    if more > 0 {
        line(paint(
            DIM,
            format!("  and {more} more: --limit {errors} lists all"),
        ));
    }
    Ok(Exit::Success)
}

/// `snapshot export`.
pub(crate) async fn export(session: &Session, args: SnapshotExportArgs) -> Outcome {
    let format = match args.format {
        ExportFormat::Parquet => Format::Parquet,
        ExportFormat::Csv => Format::Csv,
        ExportFormat::Jsonl => Format::JsonLines,
    };
    let store = existing(session, args.objects.objects.as_deref())?;
    let Some(file) = &args.output else {
        if format == Format::Parquet && io::stdout().is_terminal() {
            return Err(Failure::own(
                Exit::Usage,
                "RB-CLI-69",
                "Parquet is not for a terminal; give --output FILE, or redirect standard output",
            ));
        }
        let snapshot = open(&store, &args.snapshot).await?;
        let out = io::stdout();
        return match export::export(&snapshot, &store, format, out, STANDARD_OUTPUT).await {
            Ok(_) => Ok(Exit::Success),
            // The reader has what it wanted.
            Err(SnapshotError::Export { reason, .. })
                if reason.kind() == io::ErrorKind::BrokenPipe =>
            {
                Ok(Exit::Success)
            }
            Err(error) => Err(snapshot_failure(error)),
        };
    };
    let target = NewFile::new(file, args.force)?;
    let snapshot = open(&store, &args.snapshot).await?;
    let rows = write(&snapshot, &store, format, target).await?;
    if session.json {
        print::json(&serde_json::json!({
            "snapshot": snapshot.evidence.sha256,
            "rows": rows,
            "output": file,
        }))?;
    } else {
        line(format!("{rows} rows written to {}", file.display()));
    }
    Ok(Exit::Success)
}

async fn write(
    snapshot: &Snapshot,
    store: &rollbook_ledger::evidence::EvidenceStore,
    format: Format,
    target: NewFile,
) -> Result<u64, Failure> {
    let unfinished = target.begin()?;
    let rows = export::export(snapshot, store, format, unfinished.as_file(), target.name())
        .await
        .map_err(snapshot_failure)?;
    target.finish(unfinished)?;
    Ok(rows)
}

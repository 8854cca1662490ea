//! The rows of a snapshot: those in error, and all of them for other programs.

use std::fs::Permissions;
use std::io::{self, IsTerminal};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rollbook_workers::snapshot::error_rows::{ErrorRow, error_rows};
use rollbook_workers::snapshot::export::{self, Format};
use rollbook_workers::snapshot::{Snapshot, SnapshotError};
use serde::Serialize;
use tempfile::NamedTempFile;

use super::Session;
use super::evidence_store::{open, snapshot_failure, store};
use crate::args::{ExportFormat, SnapshotErrorsArgs, SnapshotExportArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::interrupt;
use crate::print::{self, BOLD, DIM, line, paint, visible};

/// The name of standard output in errors.
const STANDARD_OUTPUT: &str = "standard output";
/// What a new file may be, before the umask.
const NEW_FILE_MODE: u32 = 0o666;

/// `snapshot errors`.
pub(crate) async fn errors(session: &Session, args: SnapshotErrorsArgs) -> Outcome {
    let store = store(session, args.objects.objects.as_deref())?;
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
    let store = store(session, args.objects.objects.as_deref())?;
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
    let target = Target::new(file, args.force)?;
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

/// A file that is about to be written.
struct Target {
    /// As the user named it.
    name: String,
    /// Where it is; a link is followed.
    path: PathBuf,
    /// The rights of the file that is replaced; `None` if there is none.
    replaced: Option<Permissions>,
}

impl Target {
    fn new(file: &Path, replace: bool) -> Result<Self, Failure> {
        let name = file.display().to_string();
        match std::fs::metadata(file) {
            Ok(found) if !found.is_file() => Err(Failure::own(
                Exit::Usage,
                "RB-CLI-77",
                format!("{name} is no ordinary file; name another --output"),
            )),
            Ok(_) if !replace => Err(exists(&name)),
            Ok(found) => Ok(Self {
                path: std::fs::canonicalize(file).map_err(|error| unwritable(&name, error))?,
                name,
                replaced: Some(found.permissions()),
            }),
            Err(_) => Ok(Self {
                path: file.to_owned(),
                name,
                replaced: None,
            }),
        }
    }

    /// A file beside it, which takes its name once it is whole.
    fn begin(&self) -> Result<NamedTempFile, Failure> {
        let of_new = || Permissions::from_mode(NEW_FILE_MODE);
        let rights = self.replaced.clone().unwrap_or_else(of_new);
        let directory = self.path.parent().filter(|it| *it != Path::new(""));
        let unfinished = tempfile::Builder::new()
            .prefix(".rollbook-")
            .suffix(".part")
            .permissions(rights)
            .tempfile_in(directory.unwrap_or(Path::new(".")))
            .map_err(|error| unwritable(&self.name, error))?;
        interrupt::set_unfinished(Some(unfinished.path().to_owned()));
        Ok(unfinished)
    }

    fn finish(&self, written: NamedTempFile) -> Result<(), Failure> {
        written
            .as_file()
            .sync_all()
            .map_err(|error| unwritable(&self.name, error))?;
        let named = match self.replaced {
            Some(_) => written.persist(&self.path),
            None => written.persist_noclobber(&self.path),
        };
        interrupt::set_unfinished(None);
        match named {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(exists(&self.name))
            }
            Err(error) => Err(unwritable(&self.name, error.error)),
        }
    }
}

async fn write(
    snapshot: &Snapshot,
    store: &rollbook_ledger::evidence::EvidenceStore,
    format: Format,
    target: Target,
) -> Result<u64, Failure> {
    let unfinished = target.begin()?;
    let rows = export::export(snapshot, store, format, unfinished.as_file(), &target.name)
        .await
        .map_err(snapshot_failure)?;
    target.finish(unfinished)?;
    Ok(rows)
}

fn exists(name: &str) -> Failure {
    Failure::own(
        Exit::Usage,
        "RB-CLI-68",
        format!("{name} exists already; name another --output, or replace it with --force"),
    )
}

/// A place that cannot be written to: a wrong name is wrong usage, a full disk is not.
fn unwritable(name: &str, reason: io::Error) -> Failure {
    let exit = match reason.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::PermissionDenied => Exit::Usage,
        _ => Exit::Unavailable,
    };
    let to = name.to_owned();
    Failure::new(exit, SnapshotError::Export { to, reason })
}

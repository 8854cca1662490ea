//! Attaches the files that a step writes as evidence.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use rollbook_ledger::runbook::files::stays_below;
use rollbook_proto::v1;

use super::context::StepContext;
use super::error::ExecutorError;

/// Maximum number of files that one step's `evidence` patterns may attach.
const MAX_FILES: usize = 100;

/// The largest file that is attached, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Directories that hold no files, only what the kernel generates on reading.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Attaches the files matched by the step's `evidence` patterns.
///
/// Each file must lie below the step's directory after links are resolved. Text files are redacted;
/// a file that is not UTF-8 is searched for secrets byte by byte and redacted as well.
pub async fn files(
    context: &StepContext,
    patterns: &[String],
    directory: Option<&str>,
) -> Result<Vec<v1::Evidence>, ExecutorError> {
    let directory = PathBuf::from(directory.unwrap_or("."));
    let mut kept = Vec::new();
    for pattern in patterns {
        let failed = |reason: String| ExecutorError::Evidence {
            name: pattern.clone(),
            reason,
        };
        let paths = matching(&directory, pattern).map_err(failed)?;
        if paths.is_empty() {
            return Err(failed("no file matches".to_owned()));
        }
        if kept.len() + paths.len() > MAX_FILES {
            return Err(failed(format!(
                "more than {MAX_FILES} files match; pack them into an archive"
            )));
        }
        for path in paths {
            let bytes = read(&path).map_err(failed)?;
            let name = path.file_name().map_or_else(
                || pattern.clone(),
                |name| name.to_string_lossy().into_owned(),
            );
            let name = context.redactor.text(&name);
            let media_type = if std::str::from_utf8(&bytes).is_ok() {
                "text/plain; charset=utf-8"
            } else {
                "application/octet-stream"
            };
            let clean = context.redactor.bytes(&bytes);
            kept.extend(context.keep(clean, media_type, &name, false).await?);
        }
    }
    Ok(kept)
}

/// The files that match, by their real paths, all of them below the directory.
fn matching(directory: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    if !stays_below(pattern) {
        return Err("it leaves the step's directory; name files below it".to_owned());
    }
    let below = directory
        .canonicalize()
        .map_err(|error| format!("directory `{}`: {error}", directory.display()))?;
    // What the kernel shows there about processes, above all the worker's own environment, is not a
    // file that a step wrote.
    if let Some(kernel) = KERNEL.iter().find(|kernel| below.starts_with(kernel)) {
        return Err(format!(
            "directory `{}` is in {kernel}, which holds no files of a step; copy what you need of it",
            directory.display()
        ));
    }
    let escaped = glob::Pattern::escape(&below.to_string_lossy());
    let paths = glob::glob(&format!("{escaped}/{pattern}")).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for path in paths {
        let path = path.map_err(|error| error.to_string())?;
        let real = path.canonicalize().map_err(|error| error.to_string())?;
        if !real.starts_with(&below) {
            return Err(format!(
                "{} points outside the step's directory; copy what it points to",
                path.strip_prefix(&below).unwrap_or(&path).display()
            ));
        }
        if real.is_file() {
            found.push(real);
        }
    }
    Ok(found)
}

/// Reads a file that is still not a link.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path)
        .map_err(|error| error.to_string())?;
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!(
            "{} has {size} bytes, at most {MAX_FILE_BYTES} can be attached",
            path.display()
        ));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}

//! Finds a nats-server binary that is new enough.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::ServerError;
use crate::journal::jetstream::{MIN_SERVER_VERSION, parse_version};

/// Timeout of `nats-server --version`.
const VERSION_WITHIN: Duration = Duration::from_secs(10);

/// Searches for the binary: only `explicit` if given, else `PATH`, else `.tools/bin` in the current
/// directory, beside this program, or in any directory above either.
///
/// # Errors
/// `BinaryMissing` lists the places searched.
pub fn find_binary(explicit: Option<&Path>) -> Result<PathBuf, ServerError> {
    if let Some(path) = explicit {
        return if path.is_file() {
            Ok(path.to_path_buf())
        } else {
            Err(ServerError::BinaryMissing {
                looked: path.display().to_string(),
            })
        };
    }
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let near: Vec<PathBuf> = [std::env::current_dir().ok(), std::env::current_exe().ok()]
        .into_iter()
        .flatten()
        .collect();
    std::env::split_paths(&in_path)
        .chain(
            near.iter()
                .flat_map(|start| start.ancestors())
                .map(|dir| dir.join(".tools").join("bin")),
        )
        .map(|dir| dir.join("nats-server"))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| ServerError::BinaryMissing {
            looked: "PATH and .tools/bin of this directory, of the program's, and of those above"
                .to_owned(),
        })
}

/// Returns the command that runs a program with the environment of a nats-server: the variables
/// that locate it, and the limits of its runtime and memory. The others may be credentials, and
/// anyone running as the same user can read a process's initial environment.
pub(super) fn command(program: &Path) -> Command {
    const GIVEN: [&str; 7] = [
        "GODEBUG",
        "GOGC",
        "GOMAXPROCS",
        "GOMEMLIMIT",
        "HOME",
        "PATH",
        "TZ",
    ];
    let given = GIVEN
        .into_iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut command = Command::new(program);
    command.env_clear().envs(given);
    command
}

/// Asks a binary for its version and refuses one that is too old.
pub(super) async fn check_version(binary: &Path) -> Result<String, ServerError> {
    let unusable = |reason: String| ServerError::BinaryUnusable {
        path: binary.to_path_buf(),
        reason,
    };
    let asked = tokio::process::Command::from(command(binary))
        .arg("--version")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(VERSION_WITHIN, asked)
        .await
        .map_err(|_| unusable("`--version` does not return".to_owned()))?
        .map_err(|error| unusable(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text
        .trim()
        .strip_prefix("nats-server: v")
        .ok_or_else(|| unusable(format!("`--version` prints {:?}", text.trim())))?;
    match parse_version(version) {
        Some(found) if found >= MIN_SERVER_VERSION => Ok(version.to_owned()),
        _ => Err(unusable(format!(
            "it is version {version}, {}.{} or newer is needed",
            MIN_SERVER_VERSION.0, MIN_SERVER_VERSION.1
        ))),
    }
}

//! Ends a storm and everything it started on Ctrl-C or SIGTERM.

use std::path::Path;
use std::process::ExitCode;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

use crate::process;

/// Runs the work to its end. If a signal comes first, kills all processes that belong to
/// `directory` and returns the exit code of the signal.
pub(crate) async fn unless_interrupted(
    directory: &Path,
    work: impl Future<Output = ExitCode>,
) -> ExitCode {
    tokio::select! {
        exit = work => exit,
        code = interrupted() => {
            for found in directory.canonicalize().iter().flat_map(|dir| process::of_directory(dir)) {
                let _ = kill(Pid::from_raw(found.pid), Signal::SIGKILL);
            }
            ExitCode::from(code)
        }
    }
}

/// Waits for Ctrl-C or SIGTERM; returns the matching exit code.
async fn interrupted() -> u8 {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => 130,
        () = terminated => 143,
    }
}

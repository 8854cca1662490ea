//! Ctrl-C and SIGTERM in one-shot commands (`up`, `serve` and `worker` stop in order): the command
//! ends at once with the documented exit code, together with the programs it runs for a calculator.
//! What was sent to the ledger stays; a database rolls back what it has not committed.

use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use rollbook_workers::child;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Exit, Failure};
use crate::print;

/// A file that is not whole yet.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// From now on this file, and no other, is removed if the command is stopped.
pub(crate) fn set_unfinished(file: Option<PathBuf>) {
    *UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner) = file;
}

fn remove_unfinished() {
    let mut unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = unfinished.take() {
        let _ = std::fs::remove_file(file);
    }
}

/// A message for the person who stops the command.
static PARTING: OnceLock<String> = OnceLock::new();

/// Prints this message if the command is stopped from now on. Only the first text counts.
pub(crate) fn set_parting_message(text: String) {
    let _ = PARTING.set(text);
}

/// From now on signals of this kind are received here and no longer end the process by themselves.
pub(crate) fn handler(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| {
        Failure::own(
            Exit::Unavailable,
            "RB-CLI-71",
            format!("no signal handler: {error}"),
        )
    })
}

/// From now on Ctrl-C and SIGTERM end this process. SIGHUP keeps the disposition of the parent, so
/// that `nohup` works.
pub(crate) fn ends_the_process() -> Result<(), Failure> {
    for (kind, exit) in [
        (SignalKind::interrupt(), Exit::Interrupted),
        (SignalKind::terminate(), Exit::Terminated),
    ] {
        let mut signals = handler(kind)?;
        // A task of its own, because the command may be computing, or writing to a slow reader.
        tokio::spawn(async move {
            if signals.recv().await.is_some() {
                if let Some(text) = PARTING.get() {
                    print::note(text);
                }
                child::end_all();
                remove_unfinished();
                std::process::exit(i32::from(exit.code()));
            }
        });
    }
    Ok(())
}

//! Ctrl-C and SIGTERM in a command that is not a process of its own (`up`, `serve` and `worker`
//! stop in order): it ends at once, with the documented exit code, and with it the programs it runs
//! for a calculator. What was sent to the ledger stays, what a database has not committed is rolled
//! back by it.

use std::sync::OnceLock;

use rollbook_workers::child;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Exit, Failure};
use crate::print;

/// What the person who stops the command should know.
static PARTING: OnceLock<String> = OnceLock::new();

/// Says so when the command is stopped from now on. The first text counts.
pub(crate) fn parting(text: String) {
    let _ = PARTING.set(text);
}

/// From now on signals of this kind are taken here and no longer end the process by themselves.
pub(crate) fn handler(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind)
        .map_err(|error| Failure::unavailable(format!("RB-CLI-71: no signal handler: {error}")))
}

/// From now on Ctrl-C and SIGTERM end this process. SIGHUP does what whoever started it wants:
/// `nohup` would not be heard otherwise.
pub(crate) fn ends_the_process() -> Result<(), Failure> {
    for (kind, exit) in [
        (SignalKind::interrupt(), Exit::Interrupted),
        (SignalKind::terminate(), Exit::Terminated),
    ] {
        let mut signals = handler(kind)?;
        // A task of its own: the command may be computing, or writing to a reader that is slow.
        tokio::spawn(async move {
            if signals.recv().await.is_some() {
                if let Some(text) = PARTING.get() {
                    print::aside(text);
                }
                child::end_all();
                std::process::exit(i32::from(exit.code()));
            }
        });
    }
    Ok(())
}

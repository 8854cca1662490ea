//! How the processes stop: in order on a signal, at once on a second one, and in bounded time
//! whatever does not answer.

use std::time::Duration;

use rollbook_workers::child;
use tokio::signal::unix::SignalKind;
use tokio_util::sync::CancellationToken;

use crate::exit::{Exit, Failure};
use crate::interrupt::handler;
use crate::print;

/// Draining a worker, its last messages and stopping a nats-server child take less. A process still
/// running by then hangs, and is ended.
const STOPS_WITHIN: Duration = Duration::from_secs(75);

/// A token that Ctrl-C or SIGTERM cancels; a second one ends the process at once.
pub(super) fn on_signal() -> Result<CancellationToken, Failure> {
    let mut interrupt = handler(SignalKind::interrupt())?;
    let mut terminate = handler(SignalKind::terminate())?;
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stop.is_cancelled() {
                end();
            }
            print::note("stopping; running steps get a moment to finish");
            stop.cancel();
        }
    });
    let stop = shutdown.clone();
    tokio::spawn(async move {
        stop.cancelled().await;
        tokio::time::sleep(STOPS_WITHIN).await;
        print::note("not everything stopped in time; the process ends anyway");
        end();
    });
    Ok(shutdown)
}

fn end() -> ! {
    child::end_all();
    std::process::exit(i32::from(Exit::Unavailable.code()))
}

/// The result of starting up, or `None` if the process is told to stop first.
pub(super) async fn unless_stopped<T>(
    shutdown: &CancellationToken,
    starting: impl Future<Output = Result<T, Failure>>,
) -> Result<Option<T>, Failure> {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => Ok(None),
        started = starting => started.map(Some),
    }
}

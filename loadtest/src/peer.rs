//! Starts the peers written in Python.

use std::process::Command;

use crate::bar::{BenchError, failed};

/// A command that runs a script of `loadtest/peers` with the wheels installed by tools/bench-peers.
pub(crate) fn python_peer(script: &str) -> Result<Command, BenchError> {
    let place = std::env::var("ROLLBOOK_PEER_PYTHONPATH").map_err(|_| {
        failed("find the peers in Python")(
            "ROLLBOOK_PEER_PYTHONPATH is not set; run tools/bench-peers",
        )
    })?;
    let mut command = Command::new("python3");
    command
        .arg(format!("{}/peers/{script}", env!("CARGO_MANIFEST_DIR")))
        .env("PYTHONPATH", place);
    Ok(command)
}

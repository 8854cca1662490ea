//! Arguments of `rollbook evidence`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::rollout::RolloutArg;

/// `rollbook evidence`.
#[derive(Debug, Subcommand)]
pub(crate) enum EvidenceCommand {
    /// The evidence of a rollout, by step
    List(RolloutArg),
    /// Print or save one piece, after checking that it is what the ledger names
    Get(EvidenceGetArgs),
}

/// `rollbook evidence get`.
#[derive(Debug, Args)]
pub(crate) struct EvidenceGetArgs {
    /// SHA-256, or with a rollout an unambiguous beginning of it
    pub(crate) sha256: String,
    /// Look the beginning up in this rollout [default: the only one that is open]
    #[arg(long, value_name = "ROLLOUT")]
    pub(crate) rollout: Option<String>,
    /// File to write; one that exists is kept [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
}

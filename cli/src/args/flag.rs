//! Arguments of `rollbook flag`.

use clap::{Args, Subcommand};

/// `rollbook flag`.
#[derive(Debug, Subcommand)]
pub(crate) enum FlagCommand {
    /// Define a flag
    Define(FlagDefineArgs),
    /// Flags and their settings
    List {
        /// Only this environment
        #[arg(long = "env", value_name = "ENVIRONMENT")]
        environment: Option<String>,
    },
    /// One flag
    Get(FlagArg),
    /// Set a flag: on, off, safe, parallel, 25% or beta:label,label
    Set(FlagSetArgs),
    /// Every change of a flag
    History(FlagArg),
}

/// Which flag.
#[derive(Debug, Args)]
pub(crate) struct FlagArg {
    /// Flag key
    pub(crate) key: String,
    /// Environment
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    pub(crate) environment: String,
}

/// `rollbook flag define`.
#[derive(Debug, Args)]
pub(crate) struct FlagDefineArgs {
    #[command(flatten)]
    pub(crate) flag: FlagArg,
    /// What it switches
    #[arg(long)]
    pub(crate) description: String,
    /// Who answers for it
    #[arg(long)]
    pub(crate) owner: String,
    /// What an instant rollback writes
    #[arg(long, default_value = "off")]
    pub(crate) safe: String,
    /// Date after which the flag should be gone
    #[arg(long, value_name = "DATE", default_value = "")]
    pub(crate) retire_by: String,
}

/// `rollbook flag set`.
#[derive(Debug, Args)]
pub(crate) struct FlagSetArgs {
    /// Flag key
    pub(crate) key: String,
    /// on, off, safe, parallel, 25% or beta:label,label
    pub(crate) to: String,
    /// Environment
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    pub(crate) environment: String,
    /// Why; goes on the record
    #[arg(long)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) glass: super::BreakGlassArg,
}

//! Arguments of `rollbook environment`.

use clap::{Args, Subcommand};

/// `rollbook environment`.
#[derive(Debug, Subcommand)]
pub(crate) enum EnvironmentCommand {
    /// Record an environment, or propose a change of what is recorded
    Set(EnvironmentSetArgs),
    /// One environment, with the revision that waits to be accepted
    Show {
        /// Environment
        environment: String,
    },
    /// All environments that are recorded
    List,
    /// Show what a proposed change is, and accept it
    Accept {
        /// Environment
        environment: String,
        /// Number of the revision
        revision: u32,
    },
    /// Withdraw a proposed change, or refuse it
    Withdraw {
        /// Environment
        environment: String,
        /// Number of the revision
        revision: u32,
        /// Why; goes on the record
        #[arg(long)]
        reason: String,
    },
}

/// `rollbook environment set`.
#[derive(Debug, Args)]
pub(crate) struct EnvironmentSetArgs {
    /// Environment
    pub(crate) environment: String,
    /// Only persons of its roles act in it
    #[arg(long)]
    pub(crate) protected: bool,
    /// Every named person acts in it
    #[arg(long, conflicts_with = "protected")]
    pub(crate) unprotected: bool,
    /// A role and its persons; given once for each role, and then for all of them
    #[arg(long = "role", value_name = "ROLE=PERSON,PERSON", value_parser = super::rollout::name_value)]
    pub(crate) roles: Vec<(String, String)>,
    /// Verbs for which one person may do at once what takes two: abort, skip_critical, undo,
    /// accept, flag_on; an empty text ends the rule
    #[arg(long, value_name = "VERB,VERB", requires = "review_within")]
    pub(crate) break_glass: Option<String>,
    /// Roles that may break glass [default: all]
    #[arg(long, value_name = "ROLE,ROLE", requires = "break_glass")]
    pub(crate) break_glass_roles: Option<String>,
    /// How long the review may take
    #[arg(long, value_name = "DURATION", requires = "break_glass")]
    pub(crate) review_within: Option<String>,
    /// Why; goes on the record
    #[arg(long)]
    pub(crate) reason: String,
}

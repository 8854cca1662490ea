//! One module per group of verbs. Each command takes its arguments and returns an exit code.

pub(crate) mod authority;
mod calculator;
mod checklist;
pub(crate) mod compare;
mod components;
pub(crate) mod data;
pub(crate) mod doctor;
pub(crate) mod environment;
pub(crate) mod evidence;
mod evidence_store;
pub(crate) mod flag;
pub(crate) mod fleet;
pub(crate) mod gate;
mod integrity_check;
pub(crate) mod log;
mod meant;
pub(crate) mod model;
mod new_file;
pub(crate) mod open;
mod open_files;
pub(crate) mod overview;
pub(crate) mod plan;
pub(crate) mod process;
pub(crate) mod queries;
pub(crate) mod report;
pub(crate) mod rollout;
pub(crate) mod rows;
pub(crate) mod runbook;
pub(crate) mod show;
mod shutdown;
pub(crate) mod status;
mod watch;

use crate::client::Client;
use crate::config::Config;

/// The context of every command.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The effective configuration.
    pub(crate) config: Config,
    /// The client of the server.
    pub(crate) client: Client,
    /// JSON instead of text.
    pub(crate) json: bool,
}

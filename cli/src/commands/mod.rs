//! One module per group of verbs. Each command takes its arguments and returns an exit code.

pub(crate) mod act;
mod answer;
pub(crate) mod authority;
mod calculator;
pub(crate) mod compare;
pub(crate) mod data;
pub(crate) mod doctor;
pub(crate) mod environment;
pub(crate) mod flag;
pub(crate) mod fleet;
pub(crate) mod gate;
pub(crate) mod look;
pub(crate) mod open;
mod open_files;
mod parts;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod runbook;
mod standing;
pub(crate) mod status;
mod stop;
mod stored;

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

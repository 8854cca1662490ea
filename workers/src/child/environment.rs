//! Builds the environment of every program of a plan: commands of steps, checks, undos and metrics,
//! and programs of calculators. No other place builds one.
//!
//! A program gets a few variables of this process that describe its surroundings and language, the
//! variables that the plan names, and Rollbook's variables about the step. Everything else of this
//! process is withheld: it configures the worker and may contain credentials.

use std::ffi::OsString;
use std::process::Command;

/// The variables of this process that a program gets, besides those that begin with `LC_`.
pub const INHERITED: [&str; 10] = [
    "HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER",
];

/// Whether a program inherits this variable of this process.
pub fn is_inherited(name: &str) -> bool {
    INHERITED.contains(&name) || name.starts_with("LC_")
}

/// Gives a command its whole environment: the inherited variables, overridden by those `given`.
pub fn give(command: &mut Command, given: &[(String, String)]) {
    command.env_clear().envs(of(given));
}

/// The whole environment of a program: the inherited variables, overridden by those `given`.
pub fn of<'a>(given: &'a [(String, String)]) -> impl Iterator<Item = (OsString, OsString)> + 'a {
    let inherited = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_inherited));
    let given = given
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    inherited.chain(given)
}

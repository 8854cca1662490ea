//! The environment of every program of a plan: commands of steps, checks, undos and metrics, and
//! programs of calculators. There is no other place that makes one.
//!
//! A program gets a few variables of this process that say where and in which language it runs,
//! what the plan names, and what Rollbook says about the step. Everything else of this process is
//! withheld: it configures the worker and may be credentials.

use std::ffi::OsString;

/// What a program gets of this process's own variables, besides those that begin with `LC_`.
pub const INHERITED: [&str; 10] = [
    "HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER",
];

/// Whether a program gets this variable of this process.
pub fn is_inherited(name: &str) -> bool {
    INHERITED.contains(&name) || name.starts_with("LC_")
}

/// All that a program gets: what is inherited, and over it what it is `given`.
pub fn of<'a>(given: &'a [(String, String)]) -> impl Iterator<Item = (OsString, OsString)> + 'a {
    let inherited = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_inherited));
    let given = given
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    inherited.chain(given)
}

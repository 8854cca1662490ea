//! Completion of ids from the running server, for a shell that asks while somebody types.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use clap::{Arg, Command};
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};
use clap_complete::env::Shells;
use rollbook_ledger::projection::rows::{FlagRow, RolloutRow};
use rollbook_ledger::projection::views::ViewAnswer;
use rollbook_ledger::projection::words::RolloutStatus;
use rollbook_server::api::StatusAnswer;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::config::{Config, ConfigArgs};
use crate::exit::Failure;
use crate::print;

/// A shell that waits longer feels broken; what has not arrived by then is not offered.
const WITHIN: Duration = Duration::from_millis(80);

/// When the first question was asked.
static BEGUN: OnceLock<Instant> = OnceLock::new();

/// The script that makes a shell ask this program while somebody types.
pub(crate) fn script(shell: clap_complete::Shell) -> Result<String, Failure> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let written = match shells.completer(&shell.to_string()) {
        Some(completer) => completer.write_registration(
            "COMPLETE",
            "rollbook",
            "rollbook",
            "rollbook",
            &mut script,
        ),
        None => Err(std::io::ErrorKind::Unsupported.into()),
    };
    written.map_err(print::unprintable)?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// Lets the shell ask for the values of every argument whose values the server knows.
pub(crate) fn with_completion(command: Command) -> Command {
    let command = command.mut_args(completed);
    command.mut_subcommands(with_completion)
}

fn completed(arg: Arg) -> Arg {
    let values: fn(&OsStr) -> Vec<CompletionCandidate> = match arg.get_id().as_str() {
        "rollout" | "aggregate" => rollouts,
        "step" | "steps" => steps,
        "gate" => gates,
        "what" => what,
        "environment" | "environments" => environments,
        "key" => flags,
        "params" => params,
        _ => return arg,
    };
    arg.add(ArgValueCompleter::new(values))
}

/// The options of the line that is being typed that say which server is meant.
fn typed_config() -> ConfigArgs {
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let given = |option: &str| {
        let at = words.iter().position(|word| word == option);
        let next = at.and_then(|at| words.get(at + 1)).cloned();
        next.or_else(|| {
            words
                .iter()
                .find_map(|word| Some(word.strip_prefix(option)?.strip_prefix('=')?.to_owned()))
        })
    };
    ConfigArgs {
        server: given("--server"),
        data_dir: given("--data-dir"),
        config: given("--config").map(Into::into),
        actor: None,
    }
}

/// An answer of the server, if it comes in time.
fn ask<T: DeserializeOwned + Send + 'static>(path: String) -> Option<T> {
    let config = Config::load(&typed_config()).ok()?;
    let client = Client::new(&config, None).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let left = WITHIN.saturating_sub(BEGUN.get_or_init(Instant::now).elapsed());
    let answer =
        runtime.block_on(async { tokio::time::timeout(left, client.get::<T>(&path, &[])).await });
    runtime.shutdown_background();
    answer.ok()?.ok()
}

fn all_rollouts() -> Vec<RolloutRow> {
    let answer: Option<ViewAnswer<Vec<RolloutRow>>> = ask("/v1/rollouts".to_owned());
    answer.map(|answer| answer.data).unwrap_or_default()
}

/// The rollout that the command line names, or the newest that is open, or the newest.
fn meant() -> Option<StatusAnswer> {
    let known = all_rollouts();
    let words: BTreeSet<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let named = known.iter().find(|row| words.contains(&row.rollout));
    let open = || known.iter().find(|row| row.status != RolloutStatus::Closed);
    let rollout = &named.or_else(open).or(known.first())?.rollout;
    ask(format!("/v1/rollouts/{rollout}"))
}

fn candidates<'a>(
    current: &OsStr,
    values: impl IntoIterator<Item = (String, &'a str)>,
) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    values
        .into_iter()
        .filter(|(value, _)| value.starts_with(&*current))
        .map(|(value, help)| CompletionCandidate::new(value).help(Some(help.to_owned().into())))
        .collect()
}

fn rollouts(current: &OsStr) -> Vec<CompletionCandidate> {
    let known = all_rollouts();
    let values = known.iter().map(|row| (row.rollout.clone(), &*row.name));
    candidates(current, values)
}

fn steps(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(status) = meant() else {
        return Vec::new();
    };
    let steps = status
        .view
        .data
        .phases
        .iter()
        .flat_map(|phase| &phase.steps);
    candidates(current, steps.map(|step| (step.step.clone(), &*step.title)))
}

fn gates(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(status) = meant() else {
        return Vec::new();
    };
    let phases = status.view.data.phases.iter();
    let gates = phases.filter(|phase| phase.gate_detail.is_some());
    candidates(
        current,
        gates.map(|phase| (phase.phase.phase.clone(), &*phase.phase.title)),
    )
}

/// A step, a gate as `gate/1`, or a rollout: what `show` and `plan` take.
fn what(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(status) = meant() else {
        return Vec::new();
    };
    if std::env::args_os().any(|word| word == "plan") {
        let mut found = rollouts(current);
        found.extend(PathCompleter::file().complete(current));
        return found;
    }
    let phases = &status.view.data.phases;
    let steps = phases.iter().flat_map(|phase| &phase.steps);
    let gates = phases.iter().filter(|phase| phase.gate_detail.is_some());
    let values = steps
        .map(|step| (step.step.clone(), &*step.title))
        .chain(gates.map(|phase| (format!("gate/{}", phase.phase.phase), &*phase.phase.title)));
    candidates(current, values)
}

fn all_flags() -> Vec<FlagRow> {
    let answer: Option<ViewAnswer<Vec<FlagRow>>> = ask("/v1/flags".to_owned());
    answer.map(|answer| answer.data).unwrap_or_default()
}

fn flags(current: &OsStr) -> Vec<CompletionCandidate> {
    let known = all_flags();
    let keys: BTreeSet<&str> = known.iter().map(|flag| flag.key.as_str()).collect();
    candidates(current, keys.into_iter().map(|key| (key.to_owned(), "")))
}

/// The environments of rollouts and flags.
fn environments(current: &OsStr) -> Vec<CompletionCandidate> {
    let (rollouts, flags) = (all_rollouts(), all_flags());
    let names: BTreeSet<&str> = rollouts
        .iter()
        .map(|row| row.environment.as_str())
        .chain(flags.iter().map(|row| row.environment.as_str()))
        .collect();
    candidates(current, names.into_iter().map(|name| (name.to_owned(), "")))
}

/// The parameters of a runbook that the command line names.
fn params(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = std::env::args_os()
        .filter(|word| {
            Path::new(word)
                .extension()
                .is_some_and(|ending| ending == "yaml" || ending == "yml")
        })
        .filter_map(|word| std::fs::read_to_string(word).ok())
        .flat_map(|text| rollbook_ledger::runbook::load::declared_params(&text));
    candidates(current, names.map(|name| (format!("{name}="), "")))
}

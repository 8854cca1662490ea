//! Runs benches of Rollbook against named peers, and storms of faults with their judge.
//!
//! `rollbook-loadtest bench` runs every bar, or with `--bar NAME` one. Each prints one JSON line,
//! and the exit code says whether all pass. `rollbook-loadtest storm` runs rollouts while processes
//! are killed, paused and cut off; `rollbook-loadtest judge` checks whether everything that must
//! hold still does.

mod append;
mod bar;
mod breach;
mod commits;
mod compare;
mod deals;
mod events;
mod fold;
mod judge;
mod natsd;
mod peer;
mod process;
mod rebuild;
mod record;
mod server;
mod snapshots;
mod status;
mod steps;
mod storm;
mod traced;
mod up;

use std::process::ExitCode;

use bar::{Bar, BenchError, failed};
use clap::{Parser, Subcommand};

/// Commits consist of many small strings that one thread allocates and another frees, on which the
/// system's allocator spends a third of a replay.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(name = "rollbook-loadtest", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure the performance bars
    Bench {
        /// Measure only this bar
        #[arg(long)]
        bar: Option<String>,
        /// Allow 20 % beyond each limit, for programs of a plain release build
        #[arg(long)]
        quick: bool,
    },
    /// Run rollouts while faults are injected, and judge the result
    Storm(storm::StormArgs),
    /// Tear off the end of a ledger's last block: `rollbook up` must refuse it
    Torn(storm::torn::TornArgs),
    /// Judge what a slice of a storm left: ledger, views, effects and processes
    Judge(judge::JudgeArgs),
    /// The measured process of the comparison bars: compares once for each line of standard input
    #[command(hide = true)]
    CompareChild {
        /// Evidence store
        objects: String,
        /// Manifest before
        before: String,
        /// Manifest after
        after: String,
    },
    /// Take one snapshot and print the resources it used
    #[command(hide = true)]
    Take(deals::snapshot_process::TakeArgs),
}

/// Every bar by name, in the order in which they run.
const BARS: [&str; 25] = [
    "append_p50_ratio",
    "append_pipelined_ratio",
    "append_sync_group_ratio",
    "fold_ratio",
    "rebuild_ratio",
    "status_ms",
    "traced_ratio",
    "step_rate_ratio",
    "step_parallel_ratio",
    "step_growth",
    "rollouts_at_once",
    "breach_to_off_ms",
    "compare_vs_duckdb",
    "compare_peak_mb",
    "compare_growth_10m",
    "compute_per_core",
    "compute_scaling",
    "snapshot_vs_copy",
    "snapshot_vs_copy_json",
    "snapshot_vs_copy_json_socket",
    "snapshot_vs_copy_json_1",
    "snapshot_vs_python",
    "snapshot_vs_python_json",
    "worker_peak_mb",
    "growth_10m",
];

/// How far a quick run may exceed a limit, in percent.
const QUICK_PERCENT: f64 = 20.0;

fn main() -> ExitCode {
    // This fails only if a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match Cli::parse().command {
        Command::Bench { bar, quick } => bench(bar.as_deref(), quick),
        Command::Storm(args) => within(storm::run(&args)),
        Command::Torn(args) => within(storm::torn::run(&args)),
        Command::Judge(args) => within(judge::run(&args)),
        Command::Take(args) => take(&args),
        Command::CompareChild {
            objects,
            before,
            after,
        } => compare_child(&objects, &before, &after),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, ExitCode> {
    tokio::runtime::Runtime::new().map_err(|error| {
        eprintln!("RB-BENCH-2: no runtime: {error}");
        ExitCode::from(7)
    })
}

/// Runs one command to completion.
fn within(command: impl Future<Output = ExitCode>) -> ExitCode {
    match runtime() {
        Ok(runtime) => runtime.block_on(command),
        Err(exit) => exit,
    }
}

fn take(args: &deals::snapshot_process::TakeArgs) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let taken = runtime.block_on(deals::snapshot_process::here(args));
    let printed = taken.and_then(|taken| {
        serde_json::to_string(&taken).map_err(failed("print the snapshot's figures"))
    });
    match printed {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(7)
        }
    }
}

fn bench(bar: Option<&str>, quick: bool) -> ExitCode {
    let chosen: Vec<&str> = match bar {
        None => BARS.to_vec(),
        Some(name) if BARS.contains(&name) => vec![name],
        Some(name) => {
            eprintln!(
                "RB-BENCH-1: there is no bar `{name}`; choose one of {}",
                BARS.join(", ")
            );
            return ExitCode::from(2);
        }
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let mut all_hold = true;
    for name in chosen {
        // Spawned as a task, as in the server: the future in `block_on` itself runs on its own
        // thread, so every wake-up would cross threads.
        let name = name.to_owned();
        let measured = runtime.block_on(runtime.spawn(measure(name.clone())));
        let measured = measured.unwrap_or_else(|error| Err(failed("measure")(error)));
        match measured {
            Ok(bar) => {
                let bar = if quick { bar.allow(QUICK_PERCENT) } else { bar };
                all_hold &= bar.ok;
                println!("{}", bar.line());
            }
            Err(error) => {
                eprintln!("{name}: {error}");
                return ExitCode::from(7);
            }
        }
    }
    if all_hold {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn compare_child(objects: &str, before: &str, after: &str) -> ExitCode {
    let done = tokio::runtime::Runtime::new()
        .map_err(failed("start a runtime"))
        .and_then(|runtime| runtime.block_on(compare::child(objects, before, after)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(7)
        }
    }
}

async fn measure(name: String) -> Result<Bar, BenchError> {
    match name.as_str() {
        "append_p50_ratio" => append::p50_ratio().await,
        "append_pipelined_ratio" => append::pipelined_ratio().await,
        "append_sync_group_ratio" => append::sync_group_ratio().await,
        "fold_ratio" => fold::ratio().await,
        "rebuild_ratio" => rebuild::ratio().await,
        "compare_vs_duckdb" => compare::versus_duckdb().await,
        "compare_peak_mb" => compare::peak_mb().await,
        "compare_growth_10m" => compare::growth_10m().await,
        "compute_per_core" => deals::compute::per_core(),
        "compute_scaling" => deals::compute::scaling(),
        "snapshot_vs_copy" => deals::copy::jsonb().await,
        "snapshot_vs_copy_json" => deals::copy::json().await,
        "snapshot_vs_copy_json_socket" => deals::copy::json_socket().await,
        "snapshot_vs_copy_json_1" => deals::copy::json_alone().await,
        "snapshot_vs_python" => deals::python::jsonb().await,
        "snapshot_vs_python_json" => deals::python::json().await,
        "worker_peak_mb" => deals::copy::peak().await,
        "growth_10m" => deals::growth::ratio().await,
        "step_rate_ratio" => steps::rate_ratio().await,
        "step_parallel_ratio" => steps::parallel_ratio().await,
        "step_growth" => steps::growth().await,
        "rollouts_at_once" => steps::rollouts_at_once().await,
        "traced_ratio" => traced::ratio().await,
        "breach_to_off_ms" => breach::to_off().await,
        _ => status::milliseconds().await,
    }
}

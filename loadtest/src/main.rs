//! Benches of Rollbook against named peers, in one run on one machine.
//!
//! `rollbook-loadtest bench` runs every bar, `--bar NAME` one. Each prints one JSON line and the
//! exit code says whether all hold.

mod append;
mod bar;
mod commits;
mod fold;
mod rebuild;
mod server;
mod status;

use std::process::ExitCode;

use bar::{Bar, BenchError, failed};
use clap::{Parser, Subcommand};

/// Commits are made of many small strings that one thread allocates and another frees, where the
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
        /// Only this bar
        #[arg(long)]
        bar: Option<String>,
    },
}

/// Every bar by name, in the order they run.
const BARS: [&str; 6] = [
    "append_p50_ratio",
    "append_pipelined_ratio",
    "append_sync_group_ratio",
    "fold_ratio",
    "rebuild_ratio",
    "status_ms",
];

fn main() -> ExitCode {
    let Command::Bench { bar } = Cli::parse().command;
    let chosen: Vec<&str> = match &bar {
        None => BARS.to_vec(),
        Some(name) if BARS.contains(&name.as_str()) => vec![name.as_str()],
        Some(name) => {
            eprintln!(
                "RB-BENCH-1: there is no bar `{name}`; choose one of {}",
                BARS.join(", ")
            );
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("RB-BENCH-2: no runtime: {error}");
            return ExitCode::from(7);
        }
    };
    let mut all_hold = true;
    for name in chosen {
        // A task like any in the server: what runs in `block_on` itself has a thread of its own,
        // and every wake-up would cross threads.
        let name = name.to_owned();
        let measured = runtime.block_on(runtime.spawn(measure(name.clone())));
        let measured = measured.unwrap_or_else(|error| Err(failed("measure")(error)));
        match measured {
            Ok(bar) => {
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

async fn measure(name: String) -> Result<Bar, BenchError> {
    match name.as_str() {
        "append_p50_ratio" => append::p50_ratio().await,
        "append_pipelined_ratio" => append::pipelined_ratio().await,
        "append_sync_group_ratio" => append::sync_group_ratio().await,
        "fold_ratio" => fold::ratio().await,
        "rebuild_ratio" => rebuild::ratio().await,
        _ => status::milliseconds().await,
    }
}

//! `cost-service`: a small deal application with a flag, the thing that the demo rolls out.
//!
//! It stands for a team's own system: it owns a deals database, computes costs and synergies per
//! deal, and asks Rollbook's OFREP endpoint whether `DEAL_TYPE_AWARENESS` is on. Off means the old
//! behaviour: every deal is computed as an acquisition.

mod check;
mod engine;
mod error;
mod flag;
mod handlers;
mod metrics;
mod service;
mod store;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use error::Error;

#[derive(Parser)]
#[command(
    name = "cost-service",
    version,
    about = "Deal costs over HTTP, behind the flag DEAL_TYPE_AWARENESS"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve deals and their costs over HTTP until SIGTERM or Ctrl-C
    Serve(ServeArgs),
    /// Smoke tests against a running service; exit code 1 if one fails
    Check(CheckArgs),
    /// Print the built-in cost model as JSON, for --model
    Model(ModelArgs),
}

#[derive(Args)]
struct ServeArgs {
    /// Address to listen on; port 0 takes a free one, which the first line printed names
    #[arg(long, env = "COST_SERVICE_LISTEN", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Deals database: postgres://… or sqlite:FILE
    #[arg(long, env = "COST_SERVICE_DATABASE", hide_env_values = true)]
    database: String,
    /// Base URL of the flag server (OFREP); without it the flag has its safe value, off
    #[arg(long, env = "COST_SERVICE_FLAGS")]
    flags: Option<String>,
    /// Cost model as JSON; without it the built-in model is used
    #[arg(long, env = "COST_SERVICE_MODEL")]
    model: Option<PathBuf>,
    /// Environment that is sent to the flag server
    #[arg(long, env = "COST_SERVICE_ENVIRONMENT", default_value = "staging")]
    environment: String,
    /// Milliseconds between two questions to the flag server
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    flag_poll_ms: u64,
    /// Milliseconds for which the last known flag value outlives an unreachable flag server; then
    /// the safe value, off, applies
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(0..=86_400_000))]
    flag_keep_ms: u64,
}

#[derive(Args)]
struct CheckArgs {
    /// Base URL of the running service
    #[arg(long, env = "COST_SERVICE_URL")]
    url: String,
    /// Flag value that the service must report and behave by
    #[arg(long, value_enum, default_value_t = check::Expect::On)]
    expect_flag: check::Expect,
}

#[derive(Args)]
struct ModelArgs {
    /// Scale the acquisition multipliers, which only the new code path applies, to this percentage
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1_000))]
    acquisition_percent: i64,
}

#[tokio::main]
async fn main() -> ExitCode {
    // reqwest is built without a TLS provider of its own, so the process installs one, once.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("cost-service: another TLS provider is installed already");
    }
    let result = match Cli::parse().command {
        Command::Serve(args) => serve(args).await.map(|()| ExitCode::SUCCESS),
        Command::Model(args) => engine::model_json(args.acquisition_percent).map(|json| {
            println!("{json}");
            ExitCode::SUCCESS
        }),
        Command::Check(args) => check::run(&args.url, args.expect_flag).await,
    };
    result.unwrap_or_else(|error| {
        eprintln!("cost-service: {error}");
        ExitCode::from(error.exit_code())
    })
}

async fn serve(args: ServeArgs) -> Result<(), Error> {
    let engine = engine::Engine::load(args.model.as_deref())?;
    let store = store::Store::open(&args.database).await?;
    let settings = flag::Settings {
        base_url: args.flags,
        environment: args.environment,
        poll_interval: Duration::from_millis(args.flag_poll_ms),
        keep_last_known: Duration::from_millis(args.flag_keep_ms),
    };
    service::run(args.listen, engine, store, settings).await
}

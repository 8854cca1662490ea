//! `rollbook`: the only binary that people install.

mod args;
mod client;
mod commands;
mod completion;
mod config;
mod exit;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod golden;
mod interrupt;
mod layout;
mod logging;
mod outline;
mod print;
mod process_hardening;
mod progress;
mod report;
mod status;
mod telemetry;
mod terminal;

use std::process::ExitCode;

use clap::FromArgMatches;
use clap_complete::CompleteEnv;
use rollbook_ledger::rollout::Command as RolloutCommand;
use rollbook_ledger::trace;
use rollbook_server::command_line;
use tokio::runtime::Runtime;
use tracing::{Instrument, Span};

use args::{Cli, Command, DealsCommand, ModelCommand, SnapshotCommand};
use client::Client;
use commands::{
    Session, authority, compare, data, doctor, environment, evidence, flag, fleet, gate, log,
    model, open, overview, plan, process, queries, report as report_command, rollout, rows,
    runbook, show, status as status_command,
};
use config::Config;
use exit::{Exit, Failure, Outcome};
use telemetry::Traces;

/// Commits consist of many small strings that one thread allocates and another frees; the system's
/// allocator would take a third of the time of a replay.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Fails only if a provider is already installed, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Answers a shell that completes a command line, and ends.
    CompleteEnv::with_factory(args::command).complete();
    let (cli, name) = match parse() {
        Ok(parsed) => parsed,
        Err(error) if error.use_stderr() => {
            // The command line did not parse, so this is the only way to know whether JSON was
            // requested.
            if std::env::args_os().any(|word| word == "--json") {
                let text = error.render().to_string();
                let text = text.trim().trim_start_matches("error: ");
                complain(&Failure::own(Exit::Usage, "RB-CLI-15", text), true);
            } else {
                let _ = error.print();
            }
            return Exit::Usage.into();
        }
        Err(answer) => {
            // Help or version.
            let _ = answer.print();
            return Exit::Success.into();
        }
    };
    let json = cli.json;
    let ended = start(cli, &name);
    match print::unwritten().map_or(ended, Err) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            complain(&failure, json);
            failure.exit.into()
        }
    }
}

/// The command line, and the name of its command.
fn parse() -> Result<(Cli, String), clap::Error> {
    let mut command = args::command();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    Ok((
        cli,
        matches.subcommand_name().unwrap_or_default().to_owned(),
    ))
}

fn complain(failure: &Failure, json: bool) {
    if json {
        let mut body = serde_json::json!({ "code": failure.code, "message": failure.message, "exit": failure.exit.code() });
        if let Some(how) = command_line::command_lines(&failure.remedies) {
            body["remedies"] = serde_json::json!(failure.remedies);
            body["how"] = how.into();
        }
        print::note(body);
    } else {
        print::note(format!(
            "{} {}",
            print::paint(print::RED, "error:"),
            failure.message
        ));
        if let Some(how) = command_line::command_lines(&failure.remedies) {
            print::note(format!("  how: {how}"));
        }
    }
}

fn start(cli: Cli, name: &str) -> Outcome {
    if cli.command.as_ref().is_some_and(Command::runs_programs) {
        process_hardening::close();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::own(
                Exit::Unavailable,
                "RB-CLI-9",
                format!("no runtime: {error}"),
            )
        })?;
    let outcome = {
        let _entered = runtime.enter();
        traced(&runtime, cli, name)
    };
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    outcome
}

/// Runs the command, a process that stays or one span of a trace.
fn traced(runtime: &Runtime, cli: Cli, name: &str) -> Outcome {
    let stays = cli.command.as_ref().is_some_and(Command::stays);
    let records = cli.command.as_ref().is_some_and(Command::records);
    let service = match cli.command {
        Some(Command::Serve(_)) => "rollbook-server",
        Some(Command::Worker(_)) => "rollbook-worker",
        _ => "rollbook",
    };
    let (traces, error) = match Traces::start(service) {
        Ok(traces) => (traces, None),
        Err(error) => (None, Some(error)),
    };
    logging::init(traces.as_ref(), stays);
    if let Some(error) = error {
        tracing::warn!(%error, "nothing is traced");
    }
    // A command that only reads may follow for hours: each of its requests is a trace of its own.
    let span = if stays || !records {
        Span::none()
    } else {
        tracing::info_span!(
            "command",
            otel.name = format!("rollbook {name}"),
            otel.kind = "client"
        )
    };
    trace::continue_from(&span, &telemetry::inherited());
    let outcome = runtime.block_on(run(cli).instrument(span));
    if let Some(traces) = traces {
        traces.end();
    }
    outcome
}

/// `rollbook` without a command; its help where no server answers.
async fn alone(session: &Session) -> Outcome {
    let outcome = overview::run(session).await;
    if let Err(failure) = &outcome
        && failure.code == client::NO_SERVER
        && !session.json
    {
        let _ = args::command().print_help();
    }
    outcome
}

async fn run(cli: Cli) -> Outcome {
    let is = |what: fn(&Command) -> bool| cli.command.as_ref().is_some_and(what);
    if !is(Command::stays) {
        interrupt::ends_the_process()?;
    }
    if cli.command_id.is_some() && !is(Command::records) {
        return Err(Failure::own(
            Exit::Usage,
            "RB-CLI-82",
            "--command-id is for commands that record something; leave it out",
        ));
    }
    let config = Config::load(&cli.config)?;
    let session = Session {
        client: Client::new(&config, cli.command_id.as_deref())?,
        config,
        json: cli.json,
    };
    let Some(command) = cli.command else {
        return alone(&session).await;
    };
    match command {
        Command::Up(args) => process::up(session.config, &args).await,
        Command::Serve(args) => process::serve(session.config, &args).await,
        Command::Worker(args) => process::worker(session.config, &args).await,
        Command::Run(args) => open::run(&session, &args).await,
        Command::Lint(args) => runbook::lint(&args, session.json),
        Command::Plan(args) => plan::plan(&session, args).await,
        Command::Diff(args) => plan::diff(&session, args).await,
        Command::Schema => runbook::print_schema(),
        Command::Open(args) => open::open(&session, &args).await,
        Command::Start(args) => {
            session
                .act(args.rollout.as_deref(), &RolloutCommand::Start {})
                .await
        }
        Command::Pause(args) => {
            let command = RolloutCommand::Pause {
                reason: args.reason,
            };
            session.act(args.rollout.rollout.as_deref(), &command).await
        }
        Command::Resume(args) => {
            let command = RolloutCommand::Resume {
                reason: args.reason,
            };
            session.act(args.rollout.rollout.as_deref(), &command).await
        }
        Command::Abort(args) => rollout::abort(&session, args).await,
        Command::Skip(args) => rollout::skip(&session, args).await,
        Command::Retry(args) => rollout::retry(&session, args).await,
        Command::Complete(args) => rollout::complete(&session, args).await,
        Command::NotApplicable(args) => rollout::not_applicable(&session, args).await,
        Command::Approve(args) => gate::approve(&session, args).await,
        Command::Gate(args) => gate::gate(&session, args).await,
        Command::Reject(args) => rollout::reject(&session, args).await,
        Command::Undo(args) => rollout::undo(&session, args).await,
        Command::Rollback(args) => rollout::rollback(&session, args).await,
        Command::Revise(args) => open::revise(&session, &args).await,
        Command::Accept(args) => authority::accept(&session, args).await,
        Command::Confirm(args) => authority::confirm(&session, args).await,
        Command::Withdraw(args) => authority::withdraw(&session, args).await,
        Command::Review(args) => authority::review(&session, args).await,
        Command::Requests(args) => authority::requests(&session, args).await,
        Command::Environment(command) => environment::run(&session, command).await,
        Command::Status(args) => status_command::status(&session, args).await,
        Command::List(args) => queries::list(&session, args).await,
        Command::Log(args) => log::log(&session, args).await,
        Command::Show(args) => show::show(&session, args).await,
        Command::Evidence(command) => evidence::run(&session, command).await,
        Command::Fleet => fleet::run(&session).await,
        Command::Flag(command) => flag::run(&session, command).await,
        Command::Deals(DealsCommand::Generate(args)) => data::generate(&session, args).await,
        Command::Snapshot(SnapshotCommand::Take(args)) => data::take(&session, args).await,
        Command::Snapshot(SnapshotCommand::List { rollout }) => {
            queries::snapshots(&session, rollout.rollout.as_deref()).await
        }
        Command::Snapshot(SnapshotCommand::Show(args)) => data::show(&session, args).await,
        Command::Snapshot(SnapshotCommand::Errors(args)) => rows::errors(&session, args).await,
        Command::Snapshot(SnapshotCommand::Export(args)) => rows::export(&session, args).await,
        Command::Model(ModelCommand::Show(args)) => model::show(&session, &args),
        Command::Compare(args) => compare::compare(&session, args).await,
        Command::Audit(args) => data::audit(&session, args).await,
        Command::Replay(args) => queries::replay(&session, args).await,
        Command::Report(args) => report_command::report(&session, args).await,
        Command::Config => doctor::config(&session),
        Command::Doctor => doctor::doctor(&session).await,
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            if session.json {
                print::json(&serde_json::json!({ "version": version }))?;
            } else {
                print::line(format!("rollbook {version}"));
            }
            Ok(Exit::Success)
        }
        Command::Completions { shell } => {
            print::line(completion::script(shell)?.trim_end());
            Ok(Exit::Success)
        }
    }
}

//! The command line as typed. Converted once, in `main`, into calls.

mod data;
mod flag;
mod process;
mod rollout;

use clap::{Parser, Subcommand};

pub(crate) use data::*;
pub(crate) use flag::*;
pub(crate) use process::*;
pub(crate) use rollout::*;

use crate::config::ConfigArgs;

/// Run risky rollouts from a runbook, and prove what happened.
#[derive(Debug, Parser)]
#[command(
    name = "rollbook",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed by a rule, 2 usage or invalid file, 3 inconclusive, 4 waiting for a person,\n5 blocked by window or policy, 6 integrity failure, 7 unavailable.\n\nExamples:\n  rollbook up                                     start everything on this machine\n  rollbook lint runbooks/hello.yaml               check a runbook\n  rollbook open runbooks/hello.yaml --env local --as alice\n  rollbook status --watch                         what is going on, what is blocked, and why"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything on this machine: a private nats-server, views, orchestrator, one worker, HTTP
    #[command(after_help = "Example:\n  rollbook up --data-dir .rollbook --listen 127.0.0.1:7400")]
    Up(UpArgs),
    /// Serve orchestrator, views and HTTP on an existing NATS
    #[command(
        after_help = "Example:\n  rollbook serve --nats nats://nats-1:4222 --database postgres://db/rollbook --objects /srv/evidence"
    )]
    Serve(ServeArgs),
    /// Run a worker on an existing NATS
    #[command(
        after_help = "Example:\n  rollbook worker --nats nats://nats-1:4222 --objects /srv/evidence --label production-db"
    )]
    Worker(WorkerArgs),
    /// Open a rollout and drive it to its end or its first human gate; for CI
    #[command(after_help = "Example:\n  rollbook run runbooks/hello.yaml --env local --as ci")]
    Run(RunArgs),
    /// Check runbooks; every problem with file, line and column
    #[command(after_help = "Example:\n  rollbook lint runbooks/hello.yaml")]
    Lint(LintArgs),
    /// Show what would happen, in order, and what is destructive
    #[command(after_help = "Example:\n  rollbook plan runbooks/hello.yaml --env local")]
    Plan(PlanArgs),
    /// Print the JSON Schema of runbooks, for editors
    Schema,
    /// Open a rollout: pins plan, parameters and environment
    #[command(
        after_help = "Example:\n  rollbook open runbooks/hello.yaml --env local --as alice --start"
    )]
    Open(OpenArgs),
    /// Start a rollout
    Start(RolloutArg),
    /// Let no new step start; running ones finish
    Pause(ReasonArgs),
    /// Go on after a pause
    Resume(OptionalReasonArgs),
    /// End a rollout without undoing anything
    Abort(ReasonArgs),
    /// Do without a step
    Skip(StepReasonArgs),
    /// Run a step again
    Retry(StepReasonArgs),
    /// Complete a manual step
    #[command(
        after_help = "Examples:\n  rollbook complete 3.3 --all-pass --evidence screenshot.png --as pat\n  rollbook complete 3.3 --answer 'Help text displays=fail:typo' --as pat"
    )]
    Complete(CompleteArgs),
    /// Claim that a step does not apply, or review such a claim
    #[command(
        after_help = "Examples:\n  rollbook not-applicable 3.3 --reason 'no UI here' --as alice\n  rollbook not-applicable 3.3 --accept --as bob"
    )]
    NotApplicable(NotApplicableArgs),
    /// Sign a gate
    #[command(after_help = "Example:\n  rollbook approve 1 --as dora --role database")]
    Approve(ApproveArgs),
    /// Refuse a gate
    #[command(after_help = "Example:\n  rollbook reject 1 --reason 'backup missing' --as dora")]
    Reject(RejectArgs),
    /// Take one step's effect back
    Undo(StepReasonArgs),
    /// Go back: flags, partial, migrations, configuration or full
    #[command(
        after_help = "Examples:\n  rollbook rollback flags --reason 'costs are off' --as erin\n  rollbook rollback full --dry-run"
    )]
    Rollback(RollbackArgs),
    /// Put a changed plan on the record, or accept one that waits
    Revise(ReviseArgs),
    /// What is going on, what is next, what is blocked and why
    #[command(after_help = "Example:\n  rollbook status --watch")]
    Status(StatusArgs),
    /// Rollouts, newest first
    List(ListArgs),
    /// The ledger, commit by commit
    #[command(after_help = "Example:\n  rollbook log --follow --json")]
    Log(LogArgs),
    /// One step or gate in detail
    #[command(
        after_help = "Examples:\n  rollbook show 1.6\n  rollbook show gate/1\n  rollbook show 0.2 --output"
    )]
    Show(ShowArgs),
    /// Flags
    #[command(subcommand)]
    Flag(FlagCommand),
    /// Deals
    #[command(subcommand)]
    Deals(DealsCommand),
    /// Snapshots of deals
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Compare two snapshots; exits 1 on a regression
    #[command(after_help = "Example:\n  rollbook compare BEFORE_SHA256 AFTER_SHA256 --tolerance 5")]
    Compare(CompareArgs),
    /// Audit deal types; exits 1 when CRITICAL
    #[command(after_help = "Example:\n  rollbook audit --database sqlite:deals.db")]
    Audit(AuditArgs),
    /// A rollout as of an earlier sequence or time
    #[command(
        after_help = "Examples:\n  rollbook replay --at 120\n  rollbook replay --at 2026-01-01T00:00:00Z"
    )]
    Replay(ReplayArgs),
    /// The post-rollout report
    #[command(after_help = "Example:\n  rollbook report --format html --output report.html")]
    Report(ReportArgs),
    /// The effective configuration and where each value came from
    Config,
    /// Check everything Rollbook depends on
    Doctor,
    /// Print the version
    Version,
    /// Shell completions
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use clap::CommandFactory;
    use rollbook_ledger::ids::{PhaseId, RolloutId, StepId};
    use rollbook_ledger::rollout::how;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_that_status_suggests_is_accepted_and_means_the_rollout() {
        let rollout = RolloutId::new("hello-1").unwrap();
        let step = StepId::new("1.2").unwrap();
        let gate = PhaseId::new("7").unwrap();
        let forms = how::every_form(&rollout, &step, &gate);
        assert!(forms.len() >= 10, "{forms:?}");
        for form in forms {
            let cli = Cli::try_parse_from(form.split_whitespace())
                .unwrap_or_else(|error| panic!("`{form}`: {error}"));
            let meant = format!("{:?}", cli.command);
            assert!(
                meant.contains(r#"rollout: Some("hello-1")"#),
                "`{form}` means {meant}"
            );
            if form.contains("1.2") {
                assert!(meant.contains(r#"step: "1.2""#), "`{form}` means {meant}");
            }
            if form.contains(" 7 ") {
                assert!(meant.contains(r#"gate: "7""#), "`{form}` means {meant}");
            }
        }
    }
}

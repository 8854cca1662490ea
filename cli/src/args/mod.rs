//! The command line as typed. Converted once, in `main`, into calls.

mod data;
mod environment;
mod evidence;
mod examples;
mod flag;
mod help;
mod process;
mod rollout;

use clap::{CommandFactory, Parser, Subcommand};

pub(crate) use data::*;
pub(crate) use environment::*;
pub(crate) use evidence::*;
pub(crate) use flag::*;
pub(crate) use process::*;
pub(crate) use rollout::*;

pub(crate) use help::EVERYWHERE;

use crate::completion::with_completion;
use crate::config::ConfigArgs;

/// Run risky rollouts from a runbook, and prove what happened.
#[derive(Debug, Parser)]
#[command(name = "rollbook", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Print JSON instead of text
    #[arg(long, global = true, help_heading = help::EVERYWHERE)]
    pub(crate) json: bool,
    /// Id of the command; repeated under the id that it printed, it is done only once
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) command_id: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The command line with its help, and with the completions that the server knows.
pub(crate) fn command() -> clap::Command {
    help::with_help(with_completion(Cli::command()))
}

impl Command {
    /// It runs programs that a plan or its caller names, in this process's keeping.
    pub(crate) fn runs_programs(&self) -> bool {
        matches!(
            self,
            Self::Up(_) | Self::Worker(_) | Self::Snapshot(SnapshotCommand::Take(_))
        )
    }

    /// It is a process that stays until it is stopped.
    pub(crate) fn stays(&self) -> bool {
        matches!(self, Self::Up(_) | Self::Serve(_) | Self::Worker(_))
    }

    /// It asks the server to record something.
    pub(crate) fn records(&self) -> bool {
        match self {
            Self::Run(_)
            | Self::Open(_)
            | Self::Start(_)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Abort(_)
            | Self::Skip(_)
            | Self::Retry(_)
            | Self::Complete(_)
            | Self::NotApplicable(_)
            | Self::Approve(_)
            | Self::Reject(_)
            | Self::Undo(_)
            | Self::Rollback(_)
            | Self::Revise(_)
            | Self::Accept(_)
            | Self::Confirm(_)
            | Self::Withdraw(_)
            | Self::Review(_) => true,
            Self::Flag(flag) => matches!(flag, FlagCommand::Define(_) | FlagCommand::Set(_)),
            Self::Environment(command) => matches!(
                command,
                EnvironmentCommand::Set(_)
                    | EnvironmentCommand::Accept { .. }
                    | EnvironmentCommand::Withdraw { .. }
            ),
            _ => false,
        }
    }
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything on this machine, with its own nats-server
    Up(UpArgs),
    /// Serve orchestrator, views and HTTP on an existing NATS
    Serve(ServeArgs),
    /// Run a worker on an existing NATS
    Worker(WorkerArgs),
    /// Open a rollout and drive it until a person is needed; for CI
    Run(RunArgs),
    /// Check runbooks; every problem with file, line and column
    Lint(LintArgs),
    /// What a runbook would do, or what a rollout's plan says
    Plan(PlanArgs),
    /// What one revision of a rollout's plan changes in another
    Diff(DiffArgs),
    /// Print the JSON Schema of runbooks, for editors
    Schema,
    /// Open a rollout: pins plan, parameters and environment
    Open(OpenArgs),
    /// Start a rollout
    Start(RolloutArg),
    /// Keep new steps from starting; running ones finish
    Pause(ReasonArgs),
    /// Continue after a pause
    Resume(OptionalReasonArgs),
    /// End a rollout without undoing anything
    Abort(AbortArgs),
    /// Leave out a step
    Skip(RiskyStepArgs),
    /// Run a step again
    Retry(StepReasonArgs),
    /// Complete a manual step
    Complete(CompleteArgs),
    /// Claim that a step does not apply, or review such a claim
    NotApplicable(NotApplicableArgs),
    /// What is signed at a gate, and its digest
    Gate(GateArgs),
    /// Sign what a gate shows
    Approve(ApproveArgs),
    /// Refuse a gate
    Reject(RejectArgs),
    /// Undo the effect of one step
    Undo(RiskyStepArgs),
    /// Undo effects up to a level: flags … full
    Rollback(RollbackArgs),
    /// Propose a changed plan; parameters keep their values
    Revise(ReviseArgs),
    /// Show what a revision changes, and accept it
    Accept(AcceptArgs),
    /// Confirm another person's request: what it asks for is done
    Confirm(ConfirmArgs),
    /// Withdraw a request or a revision, or refuse it
    Withdraw(WithdrawArgs),
    /// Review what another person did alone by breaking glass
    Review(ReviewArgs),
    /// Requests to confirm, and uses of break-glass to review
    Requests(RequestsArgs),
    /// Environments: whether they are protected, and by whose roles
    #[command(subcommand)]
    Environment(EnvironmentCommand),
    /// What is going on, what is next, what is blocked and why
    Status(StatusArgs),
    /// Rollouts, newest first
    List(ListArgs),
    /// The ledger, commit by commit
    Log(LogArgs),
    /// One step or gate in detail
    Show(ShowArgs),
    /// What steps printed, what people attached, plans
    #[command(subcommand)]
    Evidence(EvidenceCommand),
    /// Workers that are present, and what they do
    Fleet,
    /// Flags
    #[command(subcommand)]
    Flag(FlagCommand),
    /// Deals
    #[command(subcommand)]
    Deals(DealsCommand),
    /// Snapshots of deals
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// The built-in model of deals
    #[command(subcommand)]
    Model(ModelCommand),
    /// Compare two snapshots; exits 1 on a regression
    Compare(CompareArgs),
    /// Audit deal types; exits 1 when CRITICAL
    Audit(AuditArgs),
    /// A rollout as of an earlier sequence or time
    Replay(ReplayArgs),
    /// The post-rollout report
    Report(ReportArgs),
    /// The effective configuration and where each value came from
    Config,
    /// Check the server, and what this machine needs; writes nothing
    Doctor,
    /// Print the version
    Version,
    /// Completion for your shell, with ids from the running server
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use clap::FromArgMatches;
    use rollbook_ledger::ids::{EnvironmentId, FlagKey, PhaseId, RolloutId, StepId};
    use rollbook_ledger::rollout::Remedy;
    use rollbook_ledger::runbook::RollbackLevel;
    use rollbook_server::command_line;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    fn parsed(words: impl IntoIterator<Item = String>) -> Result<Cli, clap::Error> {
        let matches = command().try_get_matches_from(words)?;
        Cli::from_arg_matches(&matches)
    }

    /// Every command with the words that lead to it, groups included.
    fn commands(command: &clap::Command, path: &str, found: &mut Vec<(String, String)>) {
        let help = command.get_after_help().map(ToString::to_string);
        found.push((path.to_owned(), help.unwrap_or_default()));
        for inner in command.get_subcommands() {
            commands(inner, &format!("{path} {}", inner.get_name()), found);
        }
    }

    #[test]
    fn every_help_text_has_exit_codes_and_two_examples_that_are_accepted() {
        let mut found = Vec::new();
        commands(&command(), "rollbook", &mut found);
        assert!(found.len() > 40, "{}", found.len());
        for (path, help) in found {
            let examples: Vec<&str> = help
                .lines()
                .map(str::trim)
                .filter(|line| line.starts_with("rollbook "))
                .collect();
            assert!(examples.len() >= 2, "`{path} --help` has {examples:?}");
            assert!(
                help.contains("Exit codes:\n  0 ") || help.contains("Exit codes:\n  2 "),
                "{path}"
            );
            for example in examples {
                assert!(
                    example.starts_with(&path),
                    "`{path} --help` has an example of another command: {example}"
                );
                // The shell takes the redirection; two spaces begin a remark.
                let typed = example.split(" > ").next().unwrap_or_default();
                let typed = typed.split("   ").next().unwrap_or_default();
                let words = shlex::split(typed).unwrap();
                parsed(words).unwrap_or_else(|error| panic!("`{example}`: {error}"));
            }
        }
    }

    /// The form after this one; exhaustive, so that a new remedy does not compile without its place.
    fn next_form(last: Option<&Remedy>) -> Option<Remedy> {
        let rollout = RolloutId::new("hello-1").unwrap();
        let step = StepId::new("1.2").unwrap();
        let gate = PhaseId::new("7").unwrap();
        let environment = EnvironmentId::new("production").unwrap();
        let flag = FlagKey::new("NEW").unwrap();
        let role = Some("role".to_owned());
        Some(match last {
            None => Remedy::Start { rollout },
            Some(Remedy::Start { .. }) => Remedy::Resume { rollout },
            Some(Remedy::Resume { .. }) => Remedy::Abort { rollout },
            Some(Remedy::Abort { .. }) => Remedy::Rollback {
                rollout,
                level: RollbackLevel::Full,
            },
            Some(Remedy::Rollback { .. }) => Remedy::Revise { rollout },
            Some(Remedy::Revise { .. }) => Remedy::AcceptRevision {
                rollout,
                revision: 2,
            },
            Some(Remedy::AcceptRevision { .. }) => Remedy::Confirm {
                rollout,
                request: "q-0123456789".to_owned(),
            },
            Some(Remedy::Confirm { .. }) => Remedy::Review {
                rollout,
                review: "r-0123456789".to_owned(),
            },
            Some(Remedy::Review { .. }) => Remedy::Retry { rollout, step },
            Some(Remedy::Retry { .. }) => Remedy::Skip { rollout, step },
            Some(Remedy::Skip { .. }) => Remedy::Undo { rollout, step },
            Some(Remedy::Undo { .. }) => Remedy::Complete {
                rollout,
                step,
                role,
                answers: true,
                evidence: true,
            },
            Some(Remedy::Complete { answers: true, .. }) => Remedy::Complete {
                rollout,
                step,
                role: None,
                answers: false,
                evidence: false,
            },
            Some(Remedy::Complete { .. }) => Remedy::AcceptNotApplicable { rollout, step },
            Some(Remedy::AcceptNotApplicable { .. }) => Remedy::Approve {
                rollout,
                gate,
                role,
            },
            Some(Remedy::Approve { role: Some(_), .. }) => Remedy::Approve {
                rollout,
                gate,
                role: None,
            },
            Some(Remedy::Approve { .. }) => Remedy::ShowGate { rollout, gate },
            Some(Remedy::ShowGate { .. }) => Remedy::Status { rollout },
            Some(Remedy::Status { .. }) => Remedy::ConfirmFlag {
                environment,
                flag,
                request: "q-0123456789".to_owned(),
            },
            Some(Remedy::ConfirmFlag { .. }) => Remedy::ShowFlag { environment, flag },
            Some(Remedy::ShowFlag { .. }) => Remedy::SetEnvironment { environment },
            Some(Remedy::SetEnvironment { .. }) => Remedy::ShowEnvironment { environment },
            Some(Remedy::ShowEnvironment { .. }) => return None,
        })
    }

    #[test]
    fn every_remedy_is_a_command_that_is_accepted_and_means_the_same() {
        let forms: Vec<Remedy> =
            std::iter::successors(next_form(None), |last| next_form(Some(last))).collect();
        assert!(forms.len() >= 20, "{forms:?}");
        for remedy in forms {
            let form = command_line::line(&remedy);
            let words = form.split_whitespace().map(str::to_owned);
            let cli = parsed(words).unwrap_or_else(|error| panic!("`{form}`: {error}"));
            let meant = format!("{:?}", cli.command);
            let typed = serde_json::to_value(&remedy).unwrap();
            for (argument, said) in [
                ("rollout", r#"rollout: Some("hello-1")"#),
                ("step", r#"step: "1.2""#),
                ("gate", r#"gate: "7""#),
                ("request", r#"request: "q-0123456789""#),
                ("review", r#"review: "r-0123456789""#),
                ("revision", "revision: 2"),
                ("level", "level: Full"),
            ] {
                let is_meant = typed.get(argument).is_none() || meant.contains(said);
                assert!(is_meant, "`{form}` means {meant}, {argument} is {typed}");
            }
            let back: Remedy = serde_json::from_value(typed).unwrap();
            assert_eq!(back, remedy);
        }
    }
}

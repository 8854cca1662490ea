//! The command line as typed. Converted once, in `main`, into calls.

mod data;
mod environment;
mod flag;
mod process;
mod rollout;

use clap::{Parser, Subcommand};

pub(crate) use data::*;
pub(crate) use environment::*;
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
    after_help = "Exit codes: 0 done, 1 failed by a rule, 2 usage or invalid file, 3 inconclusive, 4 waiting for a person,\n5 blocked by window or policy, 6 integrity failure, 7 unavailable, 130 ended by Ctrl-C,\n143 ended by SIGTERM.\n\nExamples:\n  rollbook up                                     start everything on this machine\n  rollbook lint runbooks/hello.yaml               check a runbook\n  rollbook open runbooks/hello.yaml --env local --as alice\n  rollbook status --watch                         what is going on, what is blocked, and why"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Id of the command; repeated under the id that it printed, it is done only once
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) command_id: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
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
    #[command(after_help = "Example:\n  rollbook schema > runbook.schema.json")]
    Schema,
    /// Open a rollout: pins plan, parameters and environment
    #[command(
        after_help = "Example:\n  rollbook open runbooks/hello.yaml --env local --as alice --start"
    )]
    Open(OpenArgs),
    /// Start a rollout
    #[command(
        after_help = "Examples:\n  rollbook start --as alice\n  rollbook start hello-0197 --as alice"
    )]
    Start(RolloutArg),
    /// Keep new steps from starting; running ones finish
    #[command(
        after_help = "Example:\n  rollbook pause --reason 'tickets are coming in' --as alice"
    )]
    Pause(ReasonArgs),
    /// Continue after a pause
    #[command(after_help = "Example:\n  rollbook resume --as alice")]
    Resume(OptionalReasonArgs),
    /// End a rollout without undoing anything
    #[command(after_help = "Example:\n  rollbook abort --reason 'not this quarter' --as alice")]
    Abort(AbortArgs),
    /// Leave out a step
    #[command(after_help = "Example:\n  rollbook skip 3.4 --reason 'done last week' --as alice")]
    Skip(RiskyStepArgs),
    /// Run a step again
    #[command(
        after_help = "Example:\n  rollbook retry 1.6 --reason 'the disk has room again' --as alice"
    )]
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
    /// What is signed at a gate, and its digest
    #[command(after_help = "Examples:\n  rollbook gate 1\n  rollbook gate 1 --digest")]
    Gate(GateArgs),
    /// Sign what a gate shows
    #[command(
        after_help = "Examples:\n  rollbook approve 1 --as dora --role database           asks for a yes at a terminal\n  rollbook approve 1 --as dora --seen 9f86d081884c7d65   signs only what has this digest"
    )]
    Approve(ApproveArgs),
    /// Refuse a gate
    #[command(after_help = "Example:\n  rollbook reject 1 --reason 'backup missing' --as dora")]
    Reject(RejectArgs),
    /// Undo the effect of one step
    #[command(after_help = "Example:\n  rollbook undo 1.6 --reason 'wrong mapping' --as dora")]
    Undo(RiskyStepArgs),
    /// Undo effects up to a level: flags, partial, migrations, configuration or full
    #[command(
        after_help = "Examples:\n  rollbook rollback flags --reason 'costs are off' --as erin\n  rollbook rollback full --dry-run"
    )]
    Rollback(RollbackArgs),
    /// Propose a changed plan; parameters keep their values unless they are given
    #[command(
        after_help = "Examples:\n  rollbook revise runbooks/hello.yaml --reason 'longer timeout' --as alice\n  rollbook revise --withdraw 2 --reason 'wrong file' --as alice"
    )]
    Revise(ReviseArgs),
    /// Show what a revision changes, and accept it
    #[command(after_help = "Example:\n  rollbook accept 2 --as bob")]
    Accept(AcceptArgs),
    /// Confirm another person's request: what it asks for is done
    #[command(after_help = "Example:\n  rollbook confirm q-1f2e3d4c5b --as bob")]
    Confirm(ConfirmArgs),
    /// Withdraw a request, or refuse it
    #[command(
        after_help = "Example:\n  rollbook withdraw q-1f2e3d4c5b --reason 'the disk has room again' --as alice"
    )]
    Withdraw(WithdrawArgs),
    /// Review what another person did alone by breaking glass
    #[command(
        after_help = "Example:\n  rollbook review r-1f2e3d4c5b --agree --note 'the site was down' --as bob"
    )]
    Review(ReviewArgs),
    /// What waits for another person: requests to confirm, uses of break-glass to review
    #[command(after_help = "Example:\n  rollbook requests --all")]
    Requests(RequestsArgs),
    /// Environments: whether they are protected, and by whose roles
    #[command(subcommand, after_help = "Example:\n  rollbook environment list")]
    Environment(EnvironmentCommand),
    /// What is going on, what is next, what is blocked and why
    #[command(after_help = "Example:\n  rollbook status --watch")]
    Status(StatusArgs),
    /// Rollouts, newest first
    #[command(after_help = "Example:\n  rollbook list --env production --limit 10")]
    List(ListArgs),
    /// The ledger, commit by commit
    #[command(after_help = "Example:\n  rollbook log --follow --json")]
    Log(LogArgs),
    /// One step or gate in detail
    #[command(
        after_help = "Examples:\n  rollbook show 1.6\n  rollbook show gate/1\n  rollbook show 0.2 --output"
    )]
    Show(ShowArgs),
    /// Workers that are present, and what they do
    #[command(after_help = "Example:\n  rollbook fleet --json")]
    Fleet,
    /// Flags
    #[command(
        subcommand,
        after_help = "Example:\n  rollbook flag list --env production"
    )]
    Flag(FlagCommand),
    /// Deals
    #[command(
        subcommand,
        after_help = "Example:\n  rollbook deals generate --count 5000 --database sqlite:deals.db"
    )]
    Deals(DealsCommand),
    /// Snapshots of deals
    #[command(
        subcommand,
        after_help = "Example:\n  rollbook snapshot take --database sqlite:deals.db --label before"
    )]
    Snapshot(SnapshotCommand),
    /// The built-in model of deals
    #[command(
        subcommand,
        after_help = "Example:\n  rollbook model show --deal-type carveout"
    )]
    Model(ModelCommand),
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
    #[command(after_help = "Example:\n  rollbook config --json")]
    Config,
    /// Check everything Rollbook depends on
    #[command(after_help = "Example:\n  rollbook doctor")]
    Doctor,
    /// Print the version
    #[command(after_help = "Example:\n  rollbook version --json")]
    Version,
    /// Shell completions
    #[command(
        after_help = "Example:\n  rollbook completions bash > ~/.local/share/bash-completion/completions/rollbook"
    )]
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use clap::CommandFactory;
    use rollbook_ledger::ids::{EnvironmentId, FlagKey, PhaseId, RolloutId, StepId};
    use rollbook_ledger::rollout::Remedy;
    use rollbook_ledger::runbook::RollbackLevel;
    use rollbook_server::command_line;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
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
    fn every_help_text_has_an_example_that_is_accepted() {
        let mut found = Vec::new();
        commands(&Cli::command(), "rollbook", &mut found);
        assert!(found.len() > 40, "{}", found.len());
        for (path, help) in found {
            let examples: Vec<&str> = help
                .lines()
                .map(str::trim)
                .filter(|line| line.starts_with("rollbook "))
                .collect();
            assert!(!examples.is_empty(), "`{path} --help` has no example");
            for example in examples {
                assert!(
                    example.starts_with(&path),
                    "`{path} --help` has an example of another command: {example}"
                );
                // The shell takes the redirection; two spaces begin a remark.
                let typed = example.split(" > ").next().unwrap_or_default();
                let typed = typed.split("   ").next().unwrap_or_default();
                let mut words: Vec<&str> = Vec::new();
                for (index, part) in typed.split('\'').enumerate() {
                    match index % 2 {
                        0 => words.extend(part.split_whitespace()),
                        _ => words.push(part),
                    }
                }
                Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("`{example}`: {error}"));
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
            let cli = Cli::try_parse_from(form.split_whitespace())
                .unwrap_or_else(|error| panic!("`{form}`: {error}"));
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

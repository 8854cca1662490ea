//! Arguments of the commands about one rollout.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use rollbook_ledger::runbook::RollbackLevel;

/// The longest that a command waits: ten years, which every clock can add.
const MAX_WAIT_SECONDS: u64 = 315_360_000;

/// Which rollout; the only open one when left out.
#[derive(Debug, Clone, Args)]
pub(crate) struct RolloutArg {
    /// Rollout id, or an unambiguous beginning of it [default: the only one that is open]
    pub(crate) rollout: Option<String>,
}

/// A runbook and how it is loaded.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunbookArgs {
    /// Runbook file
    pub(crate) runbook: PathBuf,
    #[command(flatten)]
    pub(crate) params: ParamArgs,
}

/// Values of parameters.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ParamArgs {
    /// Parameters
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = name_value)]
    pub(crate) params: Vec<(String, String)>,
    /// File with one NAME=VALUE a line; --param wins
    #[arg(long, value_name = "FILE")]
    pub(crate) params_file: Option<PathBuf>,
}

/// `rollbook run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    /// Give up waiting after this many seconds
    #[arg(
        long,
        default_value_t = 3600,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(..=MAX_WAIT_SECONDS)
    )]
    pub(crate) timeout: u64,
}

/// `rollbook lint`.
#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// Runbook files
    #[arg(required = true)]
    pub(crate) runbooks: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) params: ParamArgs,
}

/// `rollbook plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Runbook file, or the id of a rollout [default: the only rollout that is open]
    #[arg(value_name = "RUNBOOK|ROLLOUT")]
    pub(crate) what: Option<String>,
    #[command(flatten)]
    pub(crate) params: ParamArgs,
    /// Revision of a rollout's plan [default: the one in force]
    #[arg(long, value_name = "REVISION", conflicts_with_all = ["params", "params_file"])]
    pub(crate) revision: Option<u32>,
    /// Every step as written, with its whole instructions and scripts
    #[arg(long, conflicts_with = "authority")]
    pub(crate) full: bool,
    /// Environment
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    pub(crate) environment: Option<String>,
    /// Only the table of who may do what
    #[arg(long)]
    pub(crate) authority: bool,
}

/// `rollbook open`.
#[derive(Debug, Args)]
pub(crate) struct OpenArgs {
    #[command(flatten)]
    pub(crate) runbook: RunbookArgs,
    /// Environment
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    pub(crate) environment: String,
    /// Id of the rollout [default: runbook name and a unique suffix]
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Name for people
    #[arg(long, default_value = "")]
    pub(crate) name: String,
    /// Start it at once
    #[arg(long)]
    pub(crate) start: bool,
}

/// `rollbook diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Rollout id, or an unambiguous beginning of it
    pub(crate) rollout: String,
    /// Earlier revision; 1 is the plan with which it was opened
    pub(crate) from: u32,
    /// Later revision
    pub(crate) to: u32,
}

/// A rollout and a reason.
#[derive(Debug, Args)]
pub(crate) struct ReasonArgs {
    #[command(flatten)]
    pub(crate) rollout: RolloutArg,
    /// Why; goes on the record
    #[arg(long)]
    pub(crate) reason: String,
}

/// A rollout and perhaps a reason.
#[derive(Debug, Args)]
pub(crate) struct OptionalReasonArgs {
    #[command(flatten)]
    pub(crate) rollout: RolloutArg,
    /// Why; goes on the record
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
}

/// A step and a reason.
#[derive(Debug, Args)]
pub(crate) struct StepReasonArgs {
    /// Step id
    pub(crate) step: String,
    #[command(flatten)]
    pub(crate) rollout: RolloutArg,
    /// Why; goes on the record
    #[arg(long)]
    pub(crate) reason: String,
}

/// What takes two persons in a protected environment.
#[derive(Debug, Args)]
pub(crate) struct BreakGlassArg {
    /// Do it alone and at once where a rule allows it; somebody else must review it
    #[arg(long)]
    pub(crate) break_glass: bool,
}

/// `rollbook abort`.
#[derive(Debug, Args)]
pub(crate) struct AbortArgs {
    #[command(flatten)]
    pub(crate) of: ReasonArgs,
    #[command(flatten)]
    pub(crate) glass: BreakGlassArg,
}

/// `rollbook skip` and `rollbook undo`.
#[derive(Debug, Args)]
pub(crate) struct RiskyStepArgs {
    #[command(flatten)]
    pub(crate) of: StepReasonArgs,
    #[command(flatten)]
    pub(crate) glass: BreakGlassArg,
}

/// `rollbook accept`.
#[derive(Debug, Args)]
pub(crate) struct AcceptArgs {
    /// Number of the revision
    pub(crate) revision: u32,
    #[command(flatten)]
    pub(crate) rollout: RolloutArg,
    /// Why; needed to break glass
    #[arg(long, default_value = "", required_if_eq("break_glass", "true"))]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) glass: BreakGlassArg,
}

/// `rollbook confirm`.
#[derive(Debug, Args)]
pub(crate) struct ConfirmArgs {
    /// Id of the request
    pub(crate) request: String,
    /// Rollout id [default: the rollout of the request]
    pub(crate) rollout: Option<String>,
}

/// `rollbook withdraw`.
#[derive(Debug, Args)]
pub(crate) struct WithdrawArgs {
    /// Id of the request, or number of the revision of the plan
    #[arg(value_name = "REQUEST|REVISION")]
    pub(crate) request: String,
    /// Rollout id [default: the rollout of the request, or the only one that is open]
    pub(crate) rollout: Option<String>,
    /// Why; goes on the record
    #[arg(long)]
    pub(crate) reason: String,
}

/// `rollbook review`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("finding").required(true).args(["agree", "disagree"])))]
pub(crate) struct ReviewArgs {
    /// Id of the review
    pub(crate) review: String,
    /// Rollout id [default: the rollout of the review]
    pub(crate) rollout: Option<String>,
    /// You would have agreed
    #[arg(long)]
    pub(crate) agree: bool,
    /// You would not have agreed
    #[arg(long)]
    pub(crate) disagree: bool,
    /// What you found; goes on the record
    #[arg(long)]
    pub(crate) note: String,
}

/// `rollbook requests`.
#[derive(Debug, Args)]
pub(crate) struct RequestsArgs {
    /// Include those that are decided
    #[arg(long)]
    pub(crate) all: bool,
}

/// `rollbook complete`.
#[derive(Debug, Args)]
pub(crate) struct CompleteArgs {
    /// Step id
    pub(crate) step: String,
    #[command(flatten)]
    pub(crate) rollout: RolloutArg,
    /// Answer to one checklist item, by its number or its exact text: pass, fail or not_applicable,
    /// with an optional note
    #[arg(long = "answer", value_name = "NUMBER|ITEM=ANSWER[:NOTE]")]
    pub(crate) answers: Vec<String>,
    /// Answer every item not answered otherwise with pass
    #[arg(long)]
    pub(crate) all_pass: bool,
    /// Files to keep as evidence
    #[arg(long, value_name = "FILE")]
    pub(crate) evidence: Vec<PathBuf>,
    /// Free text
    #[arg(long, default_value = "")]
    pub(crate) note: String,
}

/// `rollbook not-applicable`.
#[derive(Debug, Args)]
pub(crate) struct NotApplicableArgs {
    /// Step id
    pub(crate) step: String,
    #[command(flatten)]
    pub(crate) rollout: RolloutArg,
    /// Why; goes on the record
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
    /// Agree with another person's claim
    #[arg(long, conflicts_with = "decline")]
    pub(crate) accept: bool,
    /// Disagree with another person's claim
    #[arg(long)]
    pub(crate) decline: bool,
}

/// `rollbook gate`.
#[derive(Debug, Args)]
pub(crate) struct GateArgs {
    /// Gate: the id of its phase
    pub(crate) gate: String,
    #[command(flatten)]
    pub(crate) rollout: RolloutArg,
    /// Print only the digest that `approve --seen` takes
    #[arg(long)]
    pub(crate) digest: bool,
}

/// `rollbook approve`.
#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// Gate: the id of its phase
    pub(crate) gate: String,
    #[command(flatten)]
    pub(crate) rollout: RolloutArg,
    /// Role to sign in [default: the one the gate asks for and you have]
    #[arg(long)]
    pub(crate) role: Option<String>,
    /// What is stated [default: the gate's statement]
    #[arg(long)]
    pub(crate) statement: Option<String>,
    /// Digest of what you have seen, from `rollbook gate`: signs without asking, and only that
    #[arg(long, value_name = "DIGEST")]
    pub(crate) seen: Option<String>,
}

/// `rollbook reject`.
#[derive(Debug, Args)]
pub(crate) struct RejectArgs {
    /// Gate: the id of its phase
    pub(crate) gate: String,
    #[command(flatten)]
    pub(crate) rollout: RolloutArg,
    /// Role to refuse in
    #[arg(long)]
    pub(crate) role: Option<String>,
    /// Why; goes on the record
    #[arg(long)]
    pub(crate) reason: String,
}

/// The levels of `rollbook rollback`, with what help says of each.
fn levels() -> impl TypedValueParser<Value = RollbackLevel> {
    let value = |level: RollbackLevel| {
        PossibleValue::new(level.as_str()).help(match level {
            RollbackLevel::Flags => "Flags to their safe value, in seconds",
            RollbackLevel::Partial => "The steps given by --step",
            RollbackLevel::Migrations => "Migrations",
            RollbackLevel::Configuration => "Configuration",
            RollbackLevel::Full => "Everything that can be undone",
        })
    };
    PossibleValuesParser::new(RollbackLevel::ALL.map(value))
        .try_map(|text| text.parse::<RollbackLevel>())
}

/// `rollbook rollback`.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// How far
    #[arg(value_parser = levels())]
    pub(crate) level: RollbackLevel,
    #[command(flatten)]
    pub(crate) rollout: RolloutArg,
    /// Steps to undo, for `partial`
    #[arg(long = "step", value_name = "STEP")]
    pub(crate) steps: Vec<String>,
    /// Why; goes on the record
    #[arg(long, default_value = "", required_unless_present = "dry_run")]
    pub(crate) reason: String,
    /// Only list what would be undone, in order
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `rollbook revise`.
#[derive(Debug, Args)]
pub(crate) struct ReviseArgs {
    /// Changed runbook file
    pub(crate) runbook: PathBuf,
    #[command(flatten)]
    pub(crate) rollout: RolloutArg,
    #[command(flatten)]
    pub(crate) params: ParamArgs,
    /// Why; goes on the record
    #[arg(long)]
    pub(crate) reason: String,
}

/// `rollbook status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) rollout: RolloutArg,
    /// Stay until the rollout is over: redraw in place at a terminal, else print each change
    #[arg(long)]
    pub(crate) watch: bool,
    /// Wait until the rollout is over or a person is needed, at most this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=MAX_WAIT_SECONDS))]
    pub(crate) wait: Option<u64>,
}

/// `rollbook list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only this environment
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    pub(crate) environment: Option<String>,
    /// Maximum number of rollouts
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
}

/// `rollbook log`.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Only this rollout or flag, by its full id
    pub(crate) aggregate: Option<String>,
    /// Begin after this sequence
    #[arg(long, default_value_t = 0, value_name = "SEQUENCE")]
    pub(crate) after: u64,
    /// Recorded then or later: an RFC 3339 time, or so long ago (2h)
    #[arg(long, value_name = "TIME|SPAN")]
    pub(crate) since: Option<String>,
    /// Recorded before then: an RFC 3339 time, or so long ago (2h)
    #[arg(long, value_name = "TIME|SPAN", conflicts_with = "follow")]
    pub(crate) until: Option<String>,
    /// Only what this person or process recorded; may be repeated
    #[arg(long = "actor", value_name = "NAME")]
    pub(crate) actors: Vec<String>,
    /// Only events of this type, such as sign_off_given; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Only what concerns this environment; may be repeated
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    pub(crate) environments: Vec<String>,
    /// Keep running and print new commits as they are stored
    #[arg(long, short)]
    pub(crate) follow: bool,
}

/// `rollbook show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Step id, or a gate as `gate/PHASE`
    pub(crate) what: String,
    #[command(flatten)]
    pub(crate) rollout: RolloutArg,
    /// Print the output kept as evidence
    #[arg(long)]
    pub(crate) output: bool,
    /// Print the output while the step runs
    #[arg(long, short, conflicts_with = "output")]
    pub(crate) follow: bool,
}

/// `rollbook replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) rollout: RolloutArg,
    /// Sequence or RFC 3339 time
    #[arg(long, value_name = "SEQUENCE|TIME")]
    pub(crate) at: String,
}

/// Form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// Markdown
    Markdown,
    /// A single HTML page
    Html,
}

/// `rollbook report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Rollout id, or an unambiguous beginning of it [default: the only one that is open, else the one that closed last]
    pub(crate) rollout: Option<String>,
    /// Form
    #[arg(long, value_enum, default_value_t = ReportFormat::Markdown)]
    pub(crate) format: ReportFormat,
    /// File to write [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

pub(super) fn name_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` is not NAME=VALUE"))
}

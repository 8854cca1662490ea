//! Arguments of the commands about deals.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use rollbook_ledger::runbook::Span;

use super::rollout::RolloutArg;

/// `rollbook deals`.
#[derive(Debug, Subcommand)]
pub(crate) enum DealsCommand {
    /// Make realistic deals, the same for the same seed
    Generate(GenerateArgs),
}

/// `rollbook deals generate`.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// Number of deals
    #[arg(long)]
    pub(crate) count: u64,
    /// Seed
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// postgres://… or sqlite:PATH
    #[arg(
        long,
        value_name = "URL",
        env = "DEALS_DATABASE_URL",
        hide_env_values = true
    )]
    pub(crate) database: String,
    /// Leave out deal types that no alias knows (the migration refuses them)
    #[arg(long)]
    pub(crate) no_invalid_types: bool,
    /// Number of deals with inventories that do not parse
    #[arg(long, default_value_t = 0)]
    pub(crate) broken: u64,
}

/// `rollbook snapshot`.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Capture what every deal costs and yields; exits 1 if a deal cannot be computed
    Take(SnapshotTakeArgs),
    /// Snapshots taken by rollouts
    List {
        #[command(flatten)]
        rollout: RolloutArg,
    },
    /// One snapshot's manifest
    Show(SnapshotShowArgs),
    /// The deals of a snapshot that could not be computed, and why
    Errors(SnapshotErrorsArgs),
    /// All rows of a snapshot as Parquet, CSV or JSON lines, in deal order
    Export(SnapshotExportArgs),
}

/// Where evidence is kept, for commands that work without a server.
#[derive(Debug, Clone, Args)]
pub(crate) struct ObjectsArg {
    /// Evidence store: a directory or s3://BUCKET/PREFIX [default: the data directory's]
    #[arg(long, value_name = "LOCATION")]
    pub(crate) objects: Option<String>,
}

/// `rollbook snapshot take`.
#[derive(Debug, Args)]
pub(crate) struct SnapshotTakeArgs {
    /// postgres://…, sqlite:PATH, parquet:PATH or jsonl:PATH
    #[arg(
        long,
        value_name = "URL",
        env = "DEALS_DATABASE_URL",
        hide_env_values = true
    )]
    pub(crate) database: String,
    /// Label: before, after …
    #[arg(long, default_value = "snapshot")]
    pub(crate) label: String,
    /// Model file [default: the built-in model]
    #[arg(long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
    /// Shell command that computes the figures in place of the model; it speaks JSON lines
    #[arg(
        long,
        value_name = "COMMAND",
        group = "calculator",
        conflicts_with = "model",
        requires = "metrics"
    )]
    pub(crate) exec: Option<String>,
    /// Query whose columns are the figures in place of the model's, with the deal's id as `id`
    #[arg(
        long,
        value_name = "QUERY",
        group = "calculator",
        conflicts_with = "model",
        requires = "metrics"
    )]
    pub(crate) sql: Option<String>,
    /// The metrics of --exec or --sql with their units: cost_total:cents,items:count,state:text
    #[arg(
        long,
        value_name = "NAME:UNIT",
        value_delimiter = ',',
        requires = "calculator"
    )]
    pub(crate) metrics: Vec<String>,
    /// File whose content belongs to the command's model
    #[arg(long, value_name = "FILE", requires = "exec")]
    pub(crate) exec_file: Option<String>,
    /// Variable of this shell that the command gets, besides the few that every program gets
    #[arg(long, value_name = "NAME", value_delimiter = ',', requires = "exec")]
    pub(crate) exec_env: Vec<String>,
    /// How long the command may take for one deal
    #[arg(long, value_name = "DURATION", default_value = "5s", requires = "exec")]
    pub(crate) exec_timeout: Span,
    /// Treat every deal as an acquisition, as with the flag off
    #[arg(long)]
    pub(crate) flag_off: bool,
    /// SQL condition on deals
    #[arg(long = "where", value_name = "CONDITION")]
    pub(crate) filter: Option<String>,
    /// Only the deals of this tenant
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: Option<String>,
    /// Compute threads [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Connections that read in parallel, 1 to 64 [default: as many as threads, at most 8]
    #[arg(long, value_name = "N")]
    pub(crate) connections: Option<usize>,
    #[command(flatten)]
    pub(crate) objects: ObjectsArg,
}

/// `rollbook snapshot show`.
#[derive(Debug, Args)]
pub(crate) struct SnapshotShowArgs {
    /// SHA-256 of the manifest
    pub(crate) snapshot: String,
    #[command(flatten)]
    pub(crate) objects: ObjectsArg,
}

/// `rollbook snapshot errors`.
#[derive(Debug, Args)]
pub(crate) struct SnapshotErrorsArgs {
    /// SHA-256 of the manifest
    pub(crate) snapshot: String,
    /// Deals that are listed at most
    #[arg(long, value_name = "DEALS", default_value_t = 100)]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) objects: ObjectsArg,
}

/// `rollbook snapshot export`.
#[derive(Debug, Args)]
pub(crate) struct SnapshotExportArgs {
    /// SHA-256 of the manifest
    pub(crate) snapshot: String,
    /// Format: money is cents in Parquet, a decimal text with two places in CSV and JSON lines
    #[arg(long, value_enum)]
    pub(crate) format: ExportFormat,
    /// File to write; it appears once it is whole [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) objects: ObjectsArg,
}

/// A format of `rollbook snapshot export`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One Parquet file with the columns of a part
    Parquet,
    /// Comma-separated values with a header
    Csv,
    /// One JSON object per line
    Jsonl,
}

/// `rollbook model`.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// The model that computes figures: formulas, fields, words, numbers and units
    Show(ModelShowArgs),
}

/// `rollbook model show`.
#[derive(Debug, Args)]
pub(crate) struct ModelShowArgs {
    /// Only what applies to deals of this type: acquisition, carveout or divestiture
    #[arg(long, value_name = "TYPE", conflicts_with = "numbers")]
    pub(crate) deal_type: Option<String>,
    /// Model file [default: the built-in model]
    #[arg(long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
    /// Only the numbers, as a model file: a start for one of your own
    #[arg(long)]
    pub(crate) numbers: bool,
}

/// `rollbook compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// SHA-256 of the earlier snapshot
    pub(crate) before: Option<String>,
    /// SHA-256 of the later snapshot
    pub(crate) after: Option<String>,
    /// Show an earlier comparison, by the SHA-256 of its result
    #[arg(
        long,
        value_name = "SHA256",
        conflicts_with_all = ["before", "after", "rules", "tolerance", "allow_model_change"]
    )]
    pub(crate) result: Option<String>,
    /// Cost tolerance of the built-in rules in percent
    #[arg(
        long,
        default_value = "5",
        value_name = "PERCENT",
        allow_hyphen_values = true
    )]
    pub(crate) tolerance: String,
    /// Rules of your own, in place of the built-in ones
    #[arg(long, value_name = "FILE", conflicts_with = "tolerance")]
    pub(crate) rules: Option<PathBuf>,
    /// Compare snapshots of different models: the new model is what is being compared
    #[arg(long)]
    pub(crate) allow_model_change: bool,
    /// List every regression, a page at a time
    #[arg(long, conflicts_with = "explain")]
    pub(crate) regressions: bool,
    /// Deals on a page of regressions
    #[arg(
        long,
        value_name = "DEALS",
        default_value_t = 100,
        requires = "regressions"
    )]
    pub(crate) limit: u32,
    /// Continue after this deal
    #[arg(
        long = "after",
        id = "after_deal",
        value_name = "DEAL",
        requires = "regressions",
        allow_hyphen_values = true
    )]
    pub(crate) after_deal: Option<String>,
    /// Also write the result as one HTML page
    #[arg(long, value_name = "FILE", conflicts_with = "explain")]
    pub(crate) html: Option<PathBuf>,
    /// One deal side by side, with the rule that judged each figure and the inventory behind it
    #[arg(long, value_name = "DEAL", allow_hyphen_values = true)]
    pub(crate) explain: Option<String>,
    /// Where --explain reads the deal's inventory [default: the source of the snapshot]
    #[arg(
        long,
        value_name = "URL",
        env = "DEALS_DATABASE_URL",
        hide_env_values = true
    )]
    pub(crate) database: Option<String>,
    /// Model file that made the snapshots, for --explain [default: the built-in model]
    #[arg(long, value_name = "FILE", requires = "explain")]
    pub(crate) model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) objects: ObjectsArg,
}

/// `rollbook audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// postgres://… or sqlite:PATH
    #[arg(
        long,
        value_name = "URL",
        env = "DEALS_DATABASE_URL",
        hide_env_values = true
    )]
    pub(crate) database: String,
}

//! Arguments of the commands that start processes.

use clap::Args;

/// `rollbook up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Address of the HTTP API; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// nats-server binary [default: PATH, then .tools/bin]
    #[arg(long, value_name = "FILE")]
    pub(crate) nats_server: Option<String>,
    /// Views: sqlite:PATH or postgres://… [default: SQLite in the data directory]
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// Steps run at the same time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) concurrency: u16,
    /// Shards of snapshots at the same time, and threads computing them [default: one per core]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: Option<u16>,
    /// Labels of the embedded worker
    #[arg(long = "label", value_name = "LABEL")]
    pub(crate) labels: Vec<String>,
    /// Continue though acknowledged commits up to this sequence are lost; the number is in the refusal
    #[arg(long, value_name = "SEQUENCE")]
    pub(crate) accept_loss: Option<u64>,
}

/// `rollbook serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// NATS server
    #[arg(long, value_name = "URL")]
    pub(crate) nats: Option<String>,
    /// NATS server as a user of its system account: finds out whether every server syncs
    #[arg(long, value_name = "URL")]
    pub(crate) nats_system: Option<String>,
    /// Views: sqlite:PATH or postgres://…
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// Evidence store: a directory or s3://BUCKET/PREFIX
    #[arg(long, value_name = "LOCATION")]
    pub(crate) objects: Option<String>,
    /// Address of the HTTP API
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Continue though acknowledged commits up to this sequence are lost; the number is in the refusal
    #[arg(long, value_name = "SEQUENCE")]
    pub(crate) accept_loss: Option<u64>,
    /// Copies of each message in the NATS cluster
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub(crate) replicas: u8,
}

/// `rollbook worker`.
#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// NATS server
    #[arg(long, value_name = "URL")]
    pub(crate) nats: Option<String>,
    /// Evidence store shared with the server: a directory or s3://BUCKET/PREFIX
    #[arg(long, value_name = "LOCATION")]
    pub(crate) objects: Option<String>,
    /// Name [default: host name and process id]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Labels: steps with `runs_on` go to workers that carry it
    #[arg(long = "label", value_name = "LABEL")]
    pub(crate) labels: Vec<String>,
    /// Steps run at the same time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) concurrency: u16,
    /// Shards of snapshots at the same time, and threads computing them [default: one per core]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: Option<u16>,
}

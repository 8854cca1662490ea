//! Follows a Rollbook ledger on NATS with a credential that can only read: prints each event once and
//! in order, through restarts of nats-server and of itself.
//!
//! ```sh
//! cargo run -p rollbook --example nats_follow -- --nats nats://reader:PASSWORD@127.0.0.1:4222 \
//!   --position feed.position
//! ```
//!
//! Commits arrive as they are stored. One that was missed shows by its number, and is read by it.
#![allow(missing_docs)]

use std::error::Error;
use std::fs;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use async_nats::{ConnectOptions, ServerAddr, Subscriber};
use bytes::Bytes;
use clap::Parser;
use futures::StreamExt;
use prost::Message;
use rollbook_proto::v1::Commit;

/// After so long without a commit it is asked whether one was missed.
const QUIET: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Parser)]
struct Args {
    #[arg(long, env = "NATS_URL", default_value = "nats://127.0.0.1:4222")]
    nats: String,
    #[arg(long, default_value = "main")]
    ledger: String,
    /// The file that keeps the sequence.
    #[arg(long)]
    position: Option<String>,
    /// Ends with the first event of this type.
    #[arg(long)]
    until: Option<String>,
}

/// Where it reads, and how far it is.
struct Follower {
    args: Args,
    ledger: Stream<()>,
    live: Subscriber,
    position: u64,
}

impl Follower {
    /// Deals with the commit after the last one. True: the last wanted event came.
    fn take(&mut self, payload: &Bytes) -> Result<bool, Box<dyn Error>> {
        let commit = Commit::decode(payload.as_ref())?;
        self.position += 1;
        let mut ends = false;
        for (index, event) in commit.events.iter().enumerate() {
            let kind = event
                .kind
                .as_ref()
                .map_or("unknown", |kind| kind.field_name());
            let (aggregate, id) = (&commit.aggregate, &commit.aggregate_id);
            println!("{}.{index} {kind} {aggregate}/{id}", self.position);
            ends |= self.args.until.as_deref() == Some(kind);
        }
        if let Some(file) = &self.args.position {
            fs::write(format!("{file}.new"), self.position.to_string())?;
            fs::rename(format!("{file}.new"), file)?;
        }
        Ok(ends)
    }

    /// What was stored while nobody listened.
    async fn catch_up(&mut self) -> Result<bool, Box<dyn Error>> {
        loop {
            match self.ledger.direct_get(self.position + 1).await {
                Ok(message) => {
                    if self.take(&message.payload)? {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What is stored from now on, until one is missing or none comes.
    async fn listen(&mut self) -> Result<bool, Box<dyn Error>> {
        while let Ok(message) = tokio::time::timeout(QUIET, self.live.next()).await {
            let message = message.ok_or("the subscription has ended")?;
            let headers = message.headers.unwrap_or_default();
            let sequence = headers.get("Nats-Sequence").map(|value| value.as_str());
            let sequence: u64 = sequence.unwrap_or_default().parse()?;
            if sequence > self.position + 1 {
                break;
            }
            if sequence == self.position + 1 && self.take(&message.payload)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Fails only where one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args = Args::parse();
    let address: ServerAddr = args.nats.parse()?;
    let mut options = ConnectOptions::new().retry_on_initial_connect();
    // The client does not take them from the address by itself.
    if let (Some(user), Some(password)) = (address.username(), address.password()) {
        options = options.user_and_password(user.to_owned(), password.to_owned());
    }
    let client = options.connect(address).await?;
    let live = client
        .subscribe(format!("live.rollbook.{}.>", args.ledger))
        .await?;
    let stream = match args.ledger.as_str() {
        "main" => "ROLLBOOK".to_owned(),
        ledger => format!("ROLLBOOK_{}", ledger.to_uppercase()),
    };
    let ledger: Context = async_nats::jetstream::new(client);
    let ledger = ledger.get_stream_no_info(stream).await?;
    let kept = args.position.as_ref().map(fs::read_to_string);
    let position = match kept.and_then(Result::ok) {
        Some(kept) => kept.trim().parse()?,
        None => {
            let every = format!("rollbook.{}.>", args.ledger);
            let last = ledger.direct_get_last_for_subject(every).await;
            last.map_or(0, |message| message.sequence)
        }
    };
    let mut follower = Follower {
        args,
        ledger,
        live,
        position,
    };
    loop {
        // nats-server restarts: go on from the position.
        let ended = match follower.catch_up().await {
            Ok(false) => follower.listen().await,
            ended => ended,
        };
        match ended {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

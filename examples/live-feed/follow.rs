//! Follows Rollbook's live feed: prints each event once and in order, through restarts of the server
//! and of itself.
//!
//! ```sh
//! cargo run -p rollbook --example follow -- --server http://127.0.0.1:7400 \
//!   --query 'environment=production' --position feed.position
//! ```
#![allow(missing_docs)]

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::time::Duration;

use clap::Parser;
use serde_json::Value;

/// Longer than between two heartbeats, which come every 15 seconds: silence is a lost connection.
const SILENCE: Duration = Duration::from_secs(40);
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Parser)]
struct Args {
    #[arg(long, default_value = "http://127.0.0.1:7400")]
    server: String,
    /// Filters such as `rollout=ID&type=gate_passed`.
    #[arg(long, default_value = "")]
    query: String,
    /// The file that keeps the position.
    #[arg(long)]
    position: Option<String>,
    /// Ends with the first event of this type.
    #[arg(long)]
    until: Option<String>,
}

/// The fields of one block of server-sent events. A line that begins with a colon is a comment, such as
/// the heartbeat.
fn fields(block: &str) -> HashMap<&str, &str> {
    let fields = block.lines().filter_map(|line| line.split_once(':'));
    fields
        .map(|(name, value)| (name, value.trim_start()))
        .collect()
}

/// Deals with one event.
fn deal_with(kind: &str, data: &Value) {
    if kind != "progress" {
        let rollout = data["rollout"].as_str().unwrap_or("-");
        println!("{}.{} {kind} {rollout}", data["sequence"], data["index"]);
    }
}

/// Follows over one connection. `Ok(true)`: the last wanted event came.
async fn follow(
    client: &reqwest::Client,
    args: &Args,
    position: &mut Option<String>,
) -> Result<bool, Box<dyn Error>> {
    let url = format!("{}/v1/events?{}", args.server, args.query);
    let mut request = client.get(url);
    if let Some(position) = position.as_deref() {
        request = request.header("last-event-id", position);
    }
    let mut answer = request.send().await?;
    match answer.status().as_u16() {
        200 => {}
        400 | 401 | 403 | 404 => {
            eprintln!("{}", answer.text().await?);
            std::process::exit(2);
        }
        _ => return Ok(false),
    }
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        text.extend_from_slice(&chunk);
        while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = text.drain(..end + 2).collect();
            let block = String::from_utf8(block)?;
            let fields = fields(&block);
            // Progress has no id: it does not move the position.
            if let Some(id) = fields.get("id") {
                *position = Some((*id).to_owned());
            }
            let kind = fields.get("event").copied().unwrap_or_default();
            if kind == "dropped" {
                return Ok(false);
            }
            if let Some(data) = fields.get("data") {
                deal_with(kind, &serde_json::from_str(data)?);
            }
            if let (Some(file), Some(position)) = (&args.position, position.as_deref()) {
                // After the event was dealt with. A program whose work must not happen twice keeps the
                // position where it does the work, in the same transaction.
                fs::write(format!("{file}.new"), position)?;
                fs::rename(format!("{file}.new"), file)?;
            }
            if args.until.as_deref() == Some(kind) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Fails only where one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args = Args::parse();
    let client = reqwest::Client::builder()
        .read_timeout(SILENCE)
        .no_proxy()
        .build()?;
    let kept = args.position.as_ref().map(fs::read_to_string);
    let mut position = kept.and_then(Result::ok);
    // The server restarts, or the connection was lost: ask again from the position.
    while !matches!(follow(&client, &args, &mut position).await, Ok(true)) {
        tokio::time::sleep(RETRY).await;
    }
    Ok(())
}

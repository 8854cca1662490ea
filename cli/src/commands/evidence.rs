//! `evidence`: lists the pieces of a rollout, and fetches one.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, IsTerminal, Seek, SeekFrom, Write};

use futures::StreamExt;
use rollbook_ledger::evidence::is_address;
use rollbook_ledger::journal::event_type;
use rollbook_proto::v1::Event;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::Session;
use super::log::each_commit;
use super::new_file::NewFile;
use crate::args::{EvidenceCommand, EvidenceGetArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, line};

/// Length of a SHA-256 in hexadecimal digits.
const WHOLE: usize = 64;

/// `evidence`.
pub(crate) async fn run(session: &Session, command: EvidenceCommand) -> Outcome {
    match command {
        EvidenceCommand::List(rollout) => list(session, rollout.rollout.as_deref()).await,
        EvidenceCommand::Get(args) => get(session, args).await,
    }
}

/// A piece of evidence that the ledger names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Piece {
    /// Sequence of the commit that names it first.
    sequence: u64,
    /// The type of the event, and the step or gate: `step_finished 1.1`.
    of: String,
    /// Display name; empty if it has none.
    name: String,
    sha256: String,
    size_bytes: u64,
    /// It was longer than what was stored.
    truncated: bool,
}

/// Every piece that a commit of the rollout names, in order, each once.
async fn pieces(session: &Session, id: &str) -> Result<Vec<Piece>, Failure> {
    let query = [("aggregate", id.to_owned())];
    let response = session.client.stream("/v1/log", &query).await?;
    let mut found: Vec<Piece> = Vec::new();
    let mut known = BTreeSet::new();
    each_commit(response, |text| {
        let line: Value = serde_json::from_str(text).unwrap_or_default();
        let sequence = line["sequence"].as_u64().unwrap_or_default();
        let commit = &line["commit"];
        for event in commit["events"].as_array().into_iter().flatten() {
            let name = serde_json::from_value::<Event>(event.clone())
                .map_or("unknown", |event| event_type(&event));
            // proto3 JSON has exactly one key: the kind.
            let fields = event.as_object().and_then(|kind| kind.values().next());
            let named_by = |name| fields.and_then(|fields| fields[name].as_str());
            let part = named_by("stepId").or_else(|| named_by("gateId"));
            let of = format!("{name} {}", part.unwrap_or_default());
            named(event, sequence, of.trim_end(), &mut found);
        }
        named(&commit["texts"], sequence, "long text", &mut found);
    })
    .await?;
    found.retain(|piece| known.insert(piece.sha256.clone()));
    Ok(found)
}

/// Adds each piece that a value names, however deep: later kinds of events are found as well.
fn named(value: &Value, sequence: u64, of: &str, found: &mut Vec<Piece>) {
    match value {
        Value::Object(fields) => {
            let sha256 = fields.get("sha256").and_then(Value::as_str);
            if let Some(sha256) = sha256.filter(|sha256| is_address(sha256)) {
                let size = &value["sizeBytes"];
                let size_bytes = size.as_str().and_then(|text| text.parse().ok());
                let name = &value["name"];
                found.push(Piece {
                    sequence,
                    of: of.to_owned(),
                    name: name.as_str().unwrap_or_default().to_owned(),
                    sha256: sha256.to_owned(),
                    size_bytes: size_bytes.or(size.as_u64()).unwrap_or_default(),
                    truncated: value["truncated"].as_bool().unwrap_or_default(),
                });
            }
            for value in fields.values() {
                named(value, sequence, of, found);
            }
        }
        Value::Array(values) => {
            for value in values {
                named(value, sequence, of, found);
            }
        }
        _ => {}
    }
}

async fn list(session: &Session, rollout: Option<&str>) -> Outcome {
    let id = session.resolve(rollout).await?;
    // Refuses a rollout that does not exist, which differs from one without evidence.
    session.status_of(&id).await?;
    let found = pieces(session, &id).await?;
    if session.json {
        print::json(&found)?;
        return Ok(Exit::Success);
    }
    for piece in &found {
        line(format!(
            "{}  {:>10} bytes{}  {:>6} {} {}",
            piece.sha256,
            piece.size_bytes,
            if piece.truncated { ", cut" } else { "" },
            piece.sequence,
            print::visible(&piece.of),
            print::visible(&piece.name)
        ));
    }
    Ok(Exit::Success)
}

async fn get(session: &Session, args: EvidenceGetArgs) -> Outcome {
    let target = match &args.output {
        Some(file) => Some(NewFile::new(file, args.force)?),
        None => None,
    };
    let sha256 = whole(session, &args).await?;
    // Checked before anybody gets a byte of it.
    let checked = match &target {
        Some(target) => target.begin()?,
        None => NamedTempFile::new().map_err(|error| not_kept(&error))?,
    };
    let size = download(session, &sha256, checked.as_file()).await?;
    match (target, &args.output) {
        (Some(target), Some(file)) => {
            target.finish(checked)?;
            print::note(format!("wrote {} ({size} bytes)", file.display()));
        }
        _ => show(checked.as_file(), std::io::stdout().is_terminal())?,
    }
    Ok(Exit::Success)
}

/// Writes a piece to a file and compares it with its digest; returns its size.
async fn download(session: &Session, sha256: &str, mut file: &File) -> Result<u64, Failure> {
    let path = format!("/v1/evidence/{sha256}");
    let mut bytes = session.client.stream(&path, &[]).await?.bytes_stream();
    let (mut digest, mut size) = (Sha256::new(), 0_u64);
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk.map_err(|error| {
            Failure::own(
                Exit::Unavailable,
                "RB-CLI-103",
                format!(
                    "evidence {sha256} broke off after {size} bytes ({}); ask again",
                    error.without_url()
                ),
            )
        })?;
        digest.update(&chunk);
        size = size.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        file.write_all(&chunk).map_err(|error| not_kept(&error))?;
    }
    let found = hex::encode(digest.finalize());
    if found == sha256 {
        return Ok(size);
    }
    Err(Failure::own(
        Exit::Integrity,
        "RB-CLI-104",
        format!(
            "{size} bytes arrived under the name {sha256}, but theirs is {found}; nothing is written: the evidence store or the way to it alters data"
        ),
    ))
}

fn not_kept(error: &std::io::Error) -> Failure {
    Failure::own(
        Exit::Unavailable,
        "RB-CLI-108",
        format!("the evidence cannot be written: {error}; make room, or name another --output"),
    )
}

/// Prints a piece; at a terminal with its control characters shown. A reader that has gone away is
/// not an error.
fn show(mut file: &File, at_terminal: bool) -> Result<(), Failure> {
    file.seek(SeekFrom::Start(0))
        .map_err(|error| not_kept(&error))?;
    let mut out = std::io::stdout().lock();
    let copied = if at_terminal {
        let lines = BufReader::new(file).split(b'\n');
        lines.map_while(Result::ok).try_for_each(|bytes| {
            writeln!(out, "{}", print::visible(&String::from_utf8_lossy(&bytes)))
        })
    } else {
        std::io::copy(&mut file, &mut out).map(|_| ())
    };
    match copied.and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(not_kept(&error)),
        _ => Ok(()),
    }
}

/// The whole digest, from its beginning if need be.
async fn whole(session: &Session, args: &EvidenceGetArgs) -> Result<String, Failure> {
    let given = args.sha256.to_ascii_lowercase();
    let is_hex = given.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || given.len() > WHOLE || given.is_empty() {
        return Err(Failure::own(
            Exit::Usage,
            "RB-CLI-105",
            format!(
                "`{}` is no SHA-256 and no beginning of one; `rollbook evidence list` shows them",
                args.sha256
            ),
        ));
    }
    if given.len() == WHOLE {
        return Ok(given);
    }
    let id = session.resolve(args.rollout.as_deref()).await?;
    let found = pieces(session, &id).await?;
    let mut found = found
        .into_iter()
        .filter(|piece| piece.sha256.starts_with(&given));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.sha256),
        (None, _) => Err(Failure::own(
            Exit::Usage,
            "RB-CLI-106",
            format!(
                "{id} has no evidence that begins with {given}; `rollbook evidence list {id}` shows what it has"
            ),
        )),
        (Some(one), Some(other)) => Err(Failure::own(
            Exit::Usage,
            "RB-CLI-107",
            format!(
                "{given} is the beginning of {} ({}) and of {} ({}); give more of it",
                one.sha256, one.of, other.sha256, other.of
            ),
        )),
    }
}

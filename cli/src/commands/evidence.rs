//! `evidence`: lists the pieces of a rollout, and fetches one.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use rollbook_ledger::projection::words::EvidenceRef;
use sha2::{Digest, Sha256};

use super::Session;
use crate::args::{EvidenceCommand, EvidenceGetArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, DIM, line, paint};

/// Length of a SHA-256 in hexadecimal digits.
const WHOLE: usize = 64;

/// `evidence`.
pub(crate) async fn run(session: &Session, command: EvidenceCommand) -> Outcome {
    match command {
        EvidenceCommand::List(rollout) => list(session, rollout.rollout.as_deref()).await,
        EvidenceCommand::Get(args) => get(session, args).await,
    }
}

/// The pieces of a rollout with what they belong to, each once.
async fn pieces(session: &Session, id: &str) -> Result<Vec<(String, EvidenceRef)>, Failure> {
    let status = session.status_of(id).await?;
    let detail = &status.view.data;
    let steps = detail.phases.iter().flat_map(|phase| &phase.steps);
    let mut found: Vec<(String, EvidenceRef)> = steps
        .flat_map(|step| {
            let of = format!("step {}", step.step);
            step.evidence
                .0
                .iter()
                .map(move |piece| (of.clone(), piece.clone()))
        })
        .collect();
    for snapshot in &detail.snapshots {
        let of = format!("snapshot {} {}", snapshot.snapshot, snapshot.label);
        found.push((of, snapshot.manifest.0.clone()));
    }
    for comparison in &detail.comparisons {
        let of = format!("comparison of step {}", comparison.step);
        found.push((of, comparison.result.0.clone()));
    }
    Ok(found)
}

async fn list(session: &Session, rollout: Option<&str>) -> Outcome {
    let id = session.resolve(rollout).await?;
    let found = pieces(session, &id).await?;
    if session.json {
        let rows: Vec<_> = found
            .iter()
            .map(|(of, piece)| {
                serde_json::json!({
                    "of": of,
                    "name": piece.name,
                    "sha256": piece.sha256,
                    "size_bytes": piece.size_bytes,
                    "truncated": piece.truncated,
                })
            })
            .collect();
        print::json(&rows)?;
        return Ok(Exit::Success);
    }
    for (of, piece) in &found {
        line(format!(
            "{}  {:>10} bytes{}  {}: {}",
            piece.sha256,
            piece.size_bytes,
            if piece.truncated { ", cut" } else { "" },
            print::visible(of),
            print::visible(&piece.name)
        ));
    }
    if found.is_empty() {
        line(format!("{id} has no evidence yet"));
    }
    line(paint(
        DIM,
        "of the last attempt of each step; `rollbook log ROLLOUT --json` names that of earlier ones",
    ));
    Ok(Exit::Success)
}

async fn get(session: &Session, args: EvidenceGetArgs) -> Outcome {
    if let Some(file) = &args.output
        && file.exists()
    {
        return Err(Failure::own(
            Exit::Usage,
            "RB-CLI-103",
            format!("{} exists and is kept; name another file", file.display()),
        ));
    }
    let sha256 = whole(session, &args).await?;
    let path = format!("/v1/evidence/{sha256}");
    let bytes = session.client.bytes(&path, &[]).await?;
    let found = hex::encode(Sha256::digest(&bytes));
    if found != sha256 {
        return Err(Failure::own(
            Exit::Integrity,
            "RB-CLI-104",
            format!(
                "{} bytes arrived under the name {sha256}, but theirs is {found}; nothing is written: the evidence store or the way to it alters data",
                bytes.len()
            ),
        ));
    }
    match &args.output {
        Some(file) => {
            write(file, &bytes)?;
            print::note(format!("wrote {} ({} bytes)", file.display(), bytes.len()));
        }
        // A reader that has gone away is not an error.
        None => {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(&bytes).and_then(|()| out.flush());
        }
    }
    Ok(Exit::Success)
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
    let found: BTreeMap<String, String> = pieces(session, &id)
        .await?
        .into_iter()
        .filter(|(_, piece)| piece.sha256.starts_with(&given))
        .map(|(of, piece)| (piece.sha256, format!("{of}: {}", piece.name)))
        .collect();
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some((one, _)), None) => Ok(one),
        (None, _) => Err(Failure::own(
            Exit::Usage,
            "RB-CLI-106",
            format!(
                "{id} has no evidence that begins with {given}; `rollbook evidence list {id}` shows what it has"
            ),
        )),
        (Some((one, first)), Some((other, second))) => Err(Failure::own(
            Exit::Usage,
            "RB-CLI-107",
            format!(
                "{given} is the beginning of {one} ({first}) and of {other} ({second}); give more of it"
            ),
        )),
    }
}

/// Writes a file that does not exist yet.
fn write(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .and_then(|mut out| out.write_all(bytes));
    written.map_err(|error| {
        Failure::own(
            Exit::Usage,
            "RB-CLI-50",
            format!("{}: cannot be written: {error}", file.display()),
        )
    })
}

//! The evidence store and the snapshots in it, for commands that need no server.

use rollbook_ledger::evidence::{EvidenceError, EvidenceStore};
use rollbook_workers::snapshot::{Snapshot, SnapshotError};

use super::Session;
use crate::exit::{Exit, Failure};

/// The evidence store's location: flag, configuration, or the data directory.
pub(crate) fn objects_location(session: &Session, flag: Option<&str>) -> String {
    flag.or_else(|| session.config.get("objects")).map_or_else(
        || {
            session
                .config
                .data_dir()
                .join("objects")
                .display()
                .to_string()
        },
        str::to_owned,
    )
}

/// The evidence store; a missing directory is created.
pub(super) fn store(session: &Session, flag: Option<&str>) -> Result<EvidenceStore, Failure> {
    EvidenceStore::open(&objects_location(session, flag))
        .map_err(|error| snapshot_failure(error.into()))
}

/// The evidence store, to read what is in it: nothing is created.
pub(super) fn existing(session: &Session, flag: Option<&str>) -> Result<EvidenceStore, Failure> {
    let location = objects_location(session, flag);
    let found =
        EvidenceStore::open_existing(&location).map_err(|error| snapshot_failure(error.into()))?;
    found.ok_or_else(|| {
        Failure::own(
            Exit::Usage,
            "RB-CLI-120",
            format!("there is no evidence store at {location}; name the right one with --objects"),
        )
    })
}

/// A stored snapshot.
pub(super) async fn open(store: &EvidenceStore, sha256: &str) -> Result<Snapshot, Failure> {
    Snapshot::open(store, sha256)
        .await
        .map_err(|error| match error {
            // An address that was typed and does not exist is wrong usage; missing content that a
            // stored snapshot names is damage.
            SnapshotError::Evidence(EvidenceError::NotFound { .. }) => Failure::usage(error),
            error => snapshot_failure(error),
        })
}

/// The only place where a snapshot failure becomes an exit code.
pub(super) fn snapshot_failure(error: SnapshotError) -> Failure {
    let exit = match &error {
        SnapshotError::Malformed { .. }
        | SnapshotError::Evidence(EvidenceError::Corrupt { .. } | EvidenceError::NotFound { .. }) => {
            Exit::Integrity
        }
        SnapshotError::Url { .. }
        | SnapshotError::Evidence(
            EvidenceError::Address { .. }
            | EvidenceError::Location { .. }
            | EvidenceError::NoBucket { .. },
        )
        | SnapshotError::Request { .. }
        | SnapshotError::Query { .. }
        | SnapshotError::File { .. }
        | SnapshotError::FileOrder { .. }
        | SnapshotError::FileRow { .. }
        | SnapshotError::Calculator { .. }
        | SnapshotError::Order { .. } => Exit::Usage,
        _ => Exit::Unavailable,
    };
    Failure::new(exit, error)
}

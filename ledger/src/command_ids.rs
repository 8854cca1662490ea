//! The commands that an aggregate has applied: they make repeating a command harmless, and reusing
//! its id for another command an error.

use std::collections::HashMap;

use rollbook_proto::v1::{Actor, ActorKind, Commit};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::ids::Aggregate;

/// Number of SHA-256 bytes that a commit keeps of its command.
const DIGEST_BYTES: usize = 16;

/// Identifies a command by its actor, aggregate and body; equal digests mean the same command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandDigest([u8; DIGEST_BYTES]);

impl CommandDigest {
    /// Computes the digest of a command. `body` is its canonical form (JCS), so that only its
    /// meaning counts, not its formatting.
    pub fn new(actor: &Actor, aggregate: &Aggregate, body: &[u8]) -> Self {
        let mut hash = Sha256::new();
        let id = aggregate.id();
        let parts: [&[u8]; 7] = [
            b"rollbook command v1",
            actor.name.as_bytes(),
            actor.kind().as_str_name().as_bytes(),
            actor.authentication.as_bytes(),
            aggregate.kind().as_bytes(),
            id.as_bytes(),
            body,
        ];
        for part in parts {
            // Hash the length first, so that different lists of parts never give the same bytes.
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        let mut digest = [0; DIGEST_BYTES];
        digest.copy_from_slice(&hash.finalize()[..DIGEST_BYTES]);
        Self(digest)
    }

    /// Returns the form stored in a commit.
    pub fn to_bytes(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

/// An applied command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Sequence of its commit.
    pub sequence: u64,
    /// Its digest; all zeros if unknown, because an earlier version wrote the commit.
    digest: [u8; DIGEST_BYTES],
}

impl Applied {
    /// True if this command repeats it. For commits of an earlier version the id alone decides.
    pub fn is(&self, digest: &CommandDigest) -> bool {
        self.digest == digest.0 || self.digest == [0; DIGEST_BYTES]
    }
}

/// The command ids of one kind of actor. Nearly all are UUIDs, and an aggregate may have very many,
/// so UUIDs are kept as sixteen bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Names {
    uuids: HashMap<[u8; 16], Applied>,
    /// Ids that are not UUIDs.
    texts: HashMap<String, Applied>,
}

/// The commands that an aggregate has applied, by kind of actor and id, so that nobody can take an
/// id that a worker or the system will use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandIds {
    people: Names,
    workers: Names,
    system: Names,
}

impl CommandIds {
    /// Returns the command applied under this id by an actor of this kind.
    pub fn find(&self, kind: ActorKind, id: &str) -> Option<Applied> {
        let names = match kind {
            ActorKind::Person => &self.people,
            ActorKind::Worker => &self.workers,
            ActorKind::Orchestrator | ActorKind::Server | ActorKind::Unspecified => &self.system,
        };
        match canonical_uuid(id) {
            Some(uuid) => names.uuids.get(&uuid).copied(),
            None => names.texts.get(id).copied(),
        }
    }

    /// Records the command of a commit as applied; returns `false` if it already was. A commit
    /// without a command id is ignored.
    pub fn insert(&mut self, commit: &Commit, sequence: u64) -> bool {
        let id = commit.command_id.as_str();
        if id.is_empty() {
            return true;
        }
        let applied = Applied {
            sequence,
            digest: commit
                .command_digest
                .as_slice()
                .try_into()
                .unwrap_or_default(),
        };
        let names = match kind_of(commit) {
            ActorKind::Person => &mut self.people,
            ActorKind::Worker => &mut self.workers,
            ActorKind::Orchestrator | ActorKind::Server | ActorKind::Unspecified => {
                &mut self.system
            }
        };
        match canonical_uuid(id) {
            Some(uuid) => names.uuids.insert(uuid, applied).is_none(),
            None => names.texts.insert(id.to_owned(), applied).is_none(),
        }
    }

    /// True if the command of a commit has been applied before.
    pub fn holds(&self, commit: &Commit) -> bool {
        !commit.command_id.is_empty() && self.find(kind_of(commit), &commit.command_id).is_some()
    }
}

fn kind_of(commit: &Commit) -> ActorKind {
    commit.actor.as_ref().map(Actor::kind).unwrap_or_default()
}

/// Parses a UUID in its canonical form only, so that equal bytes mean equal texts.
fn canonical_uuid(text: &str) -> Option<[u8; 16]> {
    if text.len() != uuid::fmt::Hyphenated::LENGTH || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    Uuid::try_parse(text).ok().map(Uuid::into_bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ids::RolloutId;

    fn actor(name: &str, kind: ActorKind) -> Actor {
        Actor {
            name: name.to_owned(),
            kind: kind.into(),
            authentication: "asserted".to_owned(),
        }
    }

    fn commit(id: &str, kind: ActorKind) -> Commit {
        Commit {
            command_id: id.to_owned(),
            actor: Some(actor("a", kind)),
            ..Commit::default()
        }
    }

    #[test]
    fn ids_are_the_same_only_when_their_texts_and_the_kinds_of_their_actors_are() {
        let spellings = [
            "018f2f6e-7b5a-7c3d-8e4f-0123456789ab",
            "018F2F6E-7B5A-7C3D-8E4F-0123456789AB",
            "018f2f6e7b5a7c3d8e4f0123456789ab",
            "{018f2f6e-7b5a-7c3d-8e4f-0123456789ab}",
            "urn:uuid:018f2f6e-7b5a-7c3d-8e4f-0123456789ab",
            "retry-1",
        ];
        let mut ids = CommandIds::default();
        let mut sequence = 0;
        for kind in [
            ActorKind::Person,
            ActorKind::Worker,
            ActorKind::Orchestrator,
        ] {
            for id in spellings {
                sequence += 1;
                let commit = commit(id, kind);
                assert!(!ids.holds(&commit), "{id}");
                assert!(ids.insert(&commit, sequence), "{id}");
                assert_eq!(ids.find(kind, id).unwrap().sequence, sequence, "{id}");
                assert!(!ids.insert(&commit, sequence), "{id}");
            }
        }
        assert!(ids.insert(&commit("", ActorKind::Person), 1));
        assert!(!ids.holds(&commit("", ActorKind::Person)));
    }

    #[test]
    fn a_command_is_its_actor_its_aggregate_and_its_body() {
        let rollout = |id: &str| Aggregate::Rollout(RolloutId::new(id).unwrap());
        let alice = actor("alice", ActorKind::Person);
        let digest = CommandDigest::new(&alice, &rollout("r"), b"{}");
        let by_token = Actor {
            authentication: "token:1".to_owned(),
            ..alice.clone()
        };
        for other in [
            CommandDigest::new(&actor("bob", ActorKind::Person), &rollout("r"), b"{}"),
            CommandDigest::new(&actor("alice", ActorKind::Worker), &rollout("r"), b"{}"),
            CommandDigest::new(&by_token, &rollout("r"), b"{}"),
            CommandDigest::new(&alice, &rollout("s"), b"{}"),
            CommandDigest::new(&alice, &rollout("r"), b"[]"),
        ] {
            assert_ne!(digest, other);
        }
        let mut ids = CommandIds::default();
        let mut known = commit("k", ActorKind::Person);
        known.command_digest = digest.to_bytes();
        ids.insert(&known, 7);
        ids.insert(&commit("old", ActorKind::Person), 3);
        let find = |id| ids.find(ActorKind::Person, id).unwrap();
        assert!(find("k").is(&digest));
        assert!(!find("k").is(&CommandDigest::new(&alice, &rollout("r"), b"[]")));
        assert!(find("old").is(&digest), "an earlier version kept no digest");
    }
}

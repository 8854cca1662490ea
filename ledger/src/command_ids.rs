//! The ids of the commands that an aggregate has applied: what makes a repeated command harmless.

use std::collections::HashSet;

use uuid::Uuid;

/// A set of command ids. Nearly all are UUIDs, and an aggregate may have applied very many, so
/// those are kept as sixteen bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandIds {
    uuids: HashSet<u128>,
    /// Any other text.
    texts: HashSet<String>,
}

impl CommandIds {
    /// Whether the command has been applied.
    pub fn contains(&self, id: &str) -> bool {
        match canonical_uuid(id) {
            Some(uuid) => self.uuids.contains(&uuid),
            None => self.texts.contains(id),
        }
    }

    /// Notes a command as applied; `false` if it was already.
    pub fn insert(&mut self, id: &str) -> bool {
        match canonical_uuid(id) {
            Some(uuid) => self.uuids.insert(uuid),
            None => self.texts.insert(id.to_owned()),
        }
    }
}

/// The number of a UUID in its one canonical form: two texts are one id only if they are equal.
fn canonical_uuid(text: &str) -> Option<u128> {
    if text.len() != uuid::fmt::Hyphenated::LENGTH || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    Uuid::try_parse(text).ok().map(|uuid| uuid.as_u128())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_same_only_when_their_texts_are() {
        let spellings = [
            "018f2f6e-7b5a-7c3d-8e4f-0123456789ab",
            "018F2F6E-7B5A-7C3D-8E4F-0123456789AB",
            "018f2f6e7b5a7c3d8e4f0123456789ab",
            "{018f2f6e-7b5a-7c3d-8e4f-0123456789ab}",
            "urn:uuid:018f2f6e-7b5a-7c3d-8e4f-0123456789ab",
            "retry-1",
            "",
        ];
        let mut ids = CommandIds::default();
        for id in spellings {
            assert!(!ids.contains(id), "{id}");
            assert!(ids.insert(id), "{id}");
            assert!(ids.contains(id), "{id}");
            assert!(!ids.insert(id), "{id}");
        }
    }
}

//! How an older reader handles commits of a newer writer, and damaged ones.

use prost::Message as _;
use prost::encoding::{bytes, string, uint64};
use rollbook_proto::v1::event::Kind;
use rollbook_proto::v1::{Commit, Event, StepFinished, StepSkipped, Verdict};

use crate::examples::{Example, commit, examples};

/// Field numbers that no message of version 1 uses.
const NEW_TEXT: u32 = 1_900;
const NEW_NUMBER: u32 = 1_901;

fn with_new_fields(mut encoded: Vec<u8>) -> Vec<u8> {
    string::encode(NEW_TEXT, &"from the future".to_owned(), &mut encoded);
    uint64::encode(NEW_NUMBER, &u64::MAX, &mut encoded);
    encoded
}

fn commit_of_event(event: Vec<u8>) -> Vec<u8> {
    let mut encoded = commit(Vec::new()).encode_to_vec();
    bytes::encode(20, &event, &mut encoded);
    encoded
}

#[test]
fn new_fields_of_a_commit_are_ignored() {
    for Example { name, commit } in examples() {
        let newer = with_new_fields(commit.encode_to_vec());
        assert_eq!(Commit::decode(newer.as_slice()).unwrap(), commit, "{name}");
    }
}

#[test]
fn new_fields_of_an_event_are_ignored() {
    let skipped = StepSkipped {
        step_id: "1.1".to_owned(),
        reason: "not needed".to_owned(),
    };
    let mut event = Vec::new();
    bytes::encode(15, &with_new_fields(skipped.encode_to_vec()), &mut event);
    let read = Commit::decode(commit_of_event(event).as_slice()).unwrap();
    assert_eq!(read, commit(vec![Kind::StepSkipped(skipped)]));
}

#[test]
fn a_new_event_decodes_without_a_known_kind() {
    let read = Commit::decode(commit_of_event(with_new_fields(Vec::new())).as_slice()).unwrap();
    assert_eq!(read.events, [Event { kind: None }]);
}

#[test]
fn a_new_verdict_keeps_its_number_and_is_unknown() {
    let finished = StepFinished {
        verdict: 99,
        ..StepFinished::default()
    };
    let read = StepFinished::decode(finished.encode_to_vec().as_slice()).unwrap();
    assert_eq!(read.verdict, 99);
    assert!(Verdict::try_from(read.verdict).is_err());
}

#[test]
fn a_commit_cut_short_is_never_the_whole_commit() {
    for Example { name, commit } in examples() {
        let encoded = commit.encode_to_vec();
        for end in 0..encoded.len() {
            if let Ok(read) = Commit::decode(&encoded[..end]) {
                assert_ne!(read, commit, "{name} cut at byte {end}");
            }
        }
    }
}

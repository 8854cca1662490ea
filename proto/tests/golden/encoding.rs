//! Encoding and decoding against the golden files, and round trips of generated commits.

use std::collections::BTreeSet;

use proptest::prelude::*;
use prost::Message as _;
use rollbook_proto::v1::event::Kind;
use rollbook_proto::v1::{
    Actor, Commit, Event, Evidence, FlagChanged, FlagSetting, Measurement, Regression,
    RolloutOpened, StepFinished,
};
use rollbook_proto::{Duration, Timestamp};

use crate::examples::{Example, examples};
use crate::files::{directory, from_hex, golden, to_hex};

#[test]
fn every_event_encodes_to_its_golden_bytes_and_back() {
    for Example { name, commit } in examples() {
        let encoded = commit.encode_to_vec();
        let expected = from_hex(&golden(&format!("{name}.hex"), &to_hex(&encoded)));
        assert_eq!(
            to_hex(&encoded),
            to_hex(&expected),
            "{name}: written differently than before"
        );
        assert_eq!(
            Commit::decode(expected.as_slice()).unwrap(),
            commit,
            "{name}: read differently than before"
        );
    }
}

#[test]
fn every_event_has_its_golden_json_and_back() {
    for Example { name, commit } in examples() {
        let json = serde_json::to_value(&commit).unwrap();
        let pretty = serde_json::to_string_pretty(&json).unwrap() + "\n";
        let expected = golden(&format!("{name}.json"), &pretty);
        // Compared as values: proto3 JSON does not define the order of map keys.
        assert_eq!(
            json,
            serde_json::from_str::<serde_json::Value>(&expected).unwrap(),
            "{name}: shown differently"
        );
        assert_eq!(
            serde_json::from_str::<Commit>(&expected).unwrap(),
            commit,
            "{name}"
        );
    }
}

#[test]
fn every_golden_file_has_its_example() {
    let names: BTreeSet<_> = examples().into_iter().map(|example| example.name).collect();
    for entry in std::fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            stem == "fields" || names.contains(stem),
            "{}: ledgers with this event exist, so its example must too",
            path.display()
        );
    }
}

prop_compose! {
    fn timestamp()(seconds in -62_135_596_800_i64..253_402_300_799, nanos in 0..1_000_000_000_i32) -> Timestamp {
        Timestamp { seconds, nanos }
    }
}

prop_compose! {
    fn evidence()(
        sha256: String, size_bytes: u64, media_type: String, name: String, truncated: bool,
    ) -> Evidence {
        Evidence { sha256, size_bytes, media_type, name, truncated }
    }
}

prop_compose! {
    fn measurement()(
        metric: String,
        value in proptest::option::of(proptest::num::f64::ANY.prop_filter("equal to itself", |value| !value.is_nan())),
        text: String,
        unit: String,
        rule: String,
        verdict: i32,
        measured_at in proptest::option::of(timestamp()),
        decimal: String,
        incomplete: bool,
    ) -> Measurement {
        Measurement { metric, value, text, unit, rule, verdict, measured_at, decimal, incomplete }
    }
}

prop_compose! {
    fn step_finished()(
        step_id: String,
        attempt: u32,
        verdict: i32,
        message: String,
        measurements in proptest::collection::vec(measurement(), 0..4),
        evidence in proptest::collection::vec(evidence(), 0..4),
        duration in proptest::option::of((0..i64::MAX, 0..1_000_000_000_i32)),
        effect: bool,
    ) -> StepFinished {
        StepFinished {
            step_id, attempt, verdict, message, measurements, evidence, effect,
            duration: duration.map(|(seconds, nanos)| Duration { seconds, nanos }),
            ..StepFinished::default()
        }
    }
}

prop_compose! {
    fn regression()(deal_id: String, before: Option<i64>, after: Option<i64>) -> Regression {
        Regression { deal_id, before, after, ..Regression::default() }
    }
}

fn kind() -> impl Strategy<Value = Option<Kind>> {
    let any_example = proptest::sample::select(examples()).prop_map(|example| {
        example
            .commit
            .events
            .first()
            .and_then(|event| event.kind.clone())
    });
    prop_oneof![
        any_example,
        step_finished().prop_map(|step| Some(Kind::StepFinished(step))),
        proptest::collection::vec(regression(), 0..5).prop_map(|worst| {
            Some(Kind::ComparisonMade(rollbook_proto::v1::ComparisonMade {
                worst,
                ..Default::default()
            }))
        }),
        (
            proptest::collection::btree_map(".*", ".*", 0..5),
            proptest::option::of(evidence())
        )
            .prop_map(|(params, plan)| Some(Kind::RolloutOpened(RolloutOpened {
                params,
                plan,
                ..Default::default()
            }))),
        (
            any::<i32>(),
            any::<u32>(),
            proptest::collection::vec(".*", 0..4)
        )
            .prop_map(|(mode, percentage_millis, beta_labels)| {
                let to = Some(FlagSetting {
                    mode,
                    percentage_millis,
                    beta_labels,
                });
                Some(Kind::FlagChanged(FlagChanged {
                    to,
                    ..Default::default()
                }))
            }),
        Just(None),
    ]
}

prop_compose! {
    fn commit()(
        (id, ledger, aggregate, aggregate_id, command_id) in any::<(String, String, String, String, String)>(),
        schema_version: u32,
        actor in proptest::option::of(any::<(String, i32, String)>()),
        recorded_at in proptest::option::of(timestamp()),
        previous_sequence: u64,
        traceparent: String,
        command_digest: Vec<u8>,
        kinds in proptest::collection::vec(kind(), 0..6),
    ) -> Commit {
        Commit {
            id, ledger, aggregate, aggregate_id, command_id, schema_version, recorded_at, previous_sequence, traceparent,
            command_digest,
            texts: Vec::new(),
            causation_id: String::new(),
            actor: actor.map(|(name, kind, authentication)| Actor { name, kind, authentication }),
            events: kinds.into_iter().map(|kind| Event { kind }).collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_commit_survives_encoding(commit in commit()) {
        let encoded = commit.encode_to_vec();
        prop_assert_eq!(encoded.len(), commit.encoded_len());
        prop_assert_eq!(Commit::decode(encoded.as_slice()).unwrap(), commit);
    }

    /// Reading bytes that are not a commit gives an error or a commit, never a panic; what was read
    /// can be written.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        if let Ok(commit) = Commit::decode(bytes.as_slice()) {
            prop_assert_eq!(Commit::decode(commit.encode_to_vec().as_slice()).is_ok(), true);
        }
    }
}

//! Builds commits like those a running rollout writes.

use async_nats::HeaderMap;
use rollbook_ledger::clock::{from_proto, to_proto};
use rollbook_ledger::ids::{Aggregate, RolloutId};
use rollbook_ledger::journal::event_type;
use rollbook_proto::v1::{self, event::Kind};
use uuid::Uuid;

use crate::bar::{BenchError, failed};

/// The name of the ledger that the benches use.
pub(crate) const LEDGER: &str = "main";

/// The aggregate of a numbered rollout.
pub(crate) fn aggregate(number: usize) -> Result<Aggregate, BenchError> {
    RolloutId::new(format!("bench-{number}"))
        .map(Aggregate::Rollout)
        .map_err(failed("name a rollout"))
}

/// The headers that the ledger writes besides the id and the expected sequence.
pub(crate) fn headers(commit: &v1::Commit) -> HeaderMap {
    let (kind, id) = (&commit.aggregate, &commit.aggregate_id);
    let types: Vec<&str> = commit.events.iter().map(event_type).collect();
    let first = types.first().copied().unwrap_or("unknown");
    let mut headers = HeaderMap::new();
    headers.insert("Rollbook-Events", types.join(","));
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", commit.id.as_str());
    headers.insert("ce-type", format!("dev.rollbook.{kind}.{first}"));
    headers.insert(
        "ce-source",
        format!("/ledger/{}/{kind}/{id}", commit.ledger),
    );
    if let Some(time) = from_proto(commit.recorded_at.as_ref()) {
        headers.insert("ce-time", time.to_string());
    }
    headers.insert("traceparent", commit.traceparent.as_str());
    headers
}

/// A measured sample of a watch, the most frequent event of a rollout: about 400 bytes encoded.
pub(crate) fn sample(aggregate: &Aggregate, previous_sequence: u64) -> v1::Commit {
    let now = jiff::Timestamp::now();
    let measured = v1::StepMeasured {
        step_id: "1.8".to_owned(),
        attempt: 1,
        measurement: Some(v1::Measurement {
            metric: "database_errors".to_owned(),
            value: Some(0.0),
            unit: "errors".to_owned(),
            rule: "value > 0".to_owned(),
            verdict: v1::Verdict::Pass.into(),
            measured_at: Some(to_proto(now)),
            ..v1::Measurement::default()
        }),
    };
    commit(
        aggregate,
        previous_sequence,
        vec![Kind::StepMeasured(measured)],
    )
}

/// A commit with these events.
pub(crate) fn commit(
    aggregate: &Aggregate,
    previous_sequence: u64,
    kinds: Vec<Kind>,
) -> v1::Commit {
    let id = Uuid::now_v7().to_string();
    v1::Commit {
        command_id: id.clone(),
        id,
        ledger: LEDGER.to_owned(),
        aggregate: aggregate.kind().to_owned(),
        aggregate_id: aggregate.id(),
        schema_version: rollbook_proto::SCHEMA_VERSION,
        command_digest: vec![7; 16],
        causation_id: String::new(),
        actor: Some(v1::Actor {
            name: "worker-1".to_owned(),
            kind: v1::ActorKind::Worker.into(),
            authentication: "process".to_owned(),
        }),
        recorded_at: Some(to_proto(jiff::Timestamp::now())),
        previous_sequence,
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
        texts: Vec::new(),
        events: kinds
            .into_iter()
            .map(|kind| v1::Event { kind: Some(kind) })
            .collect(),
    }
}

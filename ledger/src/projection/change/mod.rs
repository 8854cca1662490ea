//! Projects a commit to the rows it changes: pure, no I/O, no clock.
//!
//! Any history is accepted. An event that names something unknown, or that cannot follow the
//! history before it, changes no row; one that is merely odd is applied. Both leave a row in
//! `anomalies` with the reason, and every event leaves a row in the timeline.

mod authority;
mod evidence;
mod flags;
mod fleet;
mod gates;
mod lifecycle;
mod revisions;
mod sentence;
mod steps;

pub use sentence::sentence;

use jiff::Timestamp;
use rollbook_proto::v1::event::Kind;

use super::health;
use super::row::{RowChange, ViewRow, clean};
use super::rows::{AnomalyRow, TimelineRow};
use super::state::{RolloutRows, State};
use super::words::{RequestKind, time};
use crate::ids::Aggregate;
use crate::journal::{StoredCommit, event_type};

/// The context of the event being projected.
struct At<'a> {
    sequence: u64,
    idx: u32,
    recorded_at: Option<Timestamp>,
    /// Name of the actor.
    actor: String,
    /// How the actor was authenticated.
    authentication: &'a str,
}

/// The changes made by one commit.
#[derive(Default)]
struct Out {
    rows: Vec<RowChange>,
    /// What is odd about the current event.
    odd: Vec<String>,
}

impl Out {
    fn put<R: ViewRow>(&mut self, row: &R) {
        self.rows.push(RowChange::put(row));
    }

    /// Notes that the event is odd, although it is applied.
    fn note(&mut self, reason: impl Into<String>) {
        self.odd.push(reason.into());
    }
}

/// Projects one commit onto `state`, which must hold any existing rows of the commit's aggregate,
/// and returns every row to store. A row may appear more than once; the last one wins.
pub fn project(state: &mut State, stored: &StoredCommit) -> Vec<RowChange> {
    let commit = &stored.commit;
    let aggregate = Aggregate::of(&commit.aggregate, &commit.aggregate_id);
    let aggregate_text = aggregate.as_ref().map_or_else(
        || clean(&format!("{} {}", commit.aggregate, commit.aggregate_id)),
        ToString::to_string,
    );
    let actor = commit.actor.as_ref();
    let mut at = At {
        sequence: stored.sequence,
        idx: 0,
        recorded_at: time(commit.recorded_at.as_ref()),
        actor: actor.map_or_else(String::new, |actor| clean(&actor.name)),
        authentication: actor.map_or("", |actor| actor.authentication.as_str()),
    };
    let mut out = Out::default();

    if commit.events.is_empty() {
        anomaly(
            &at,
            &aggregate_text,
            "",
            "the commit has no events",
            &mut out,
        );
    }
    for (place, event) in commit.events.iter().enumerate() {
        at.idx = u32::try_from(place).unwrap_or(u32::MAX);
        let described = sentence::describe(event.kind.as_ref(), &at.actor, &aggregate_text);
        out.put(&TimelineRow {
            sequence: at.sequence,
            idx: at.idx,
            recorded_at: at.recorded_at,
            actor: at.actor.clone(),
            event: event_type(event).to_owned(),
            rollout: match (&aggregate, event.kind.as_ref()) {
                (Some(Aggregate::Rollout(rollout)), _) => rollout.to_string(),
                (_, Some(Kind::FlagChanged(change))) => clean(&change.rollout_id),
                _ => String::new(),
            },
            aggregate: aggregate_text.clone(),
            subject: described.subject,
            sentence: described.sentence,
        });
        let applied = match (&aggregate, &event.kind) {
            (_, None) => Err("the event's type is not known to this version".to_owned()),
            (None, _) => Err("the commit's aggregate is not one of this ledger's".to_owned()),
            (Some(Aggregate::Rollout(id)), Some(kind)) => {
                rollout_event(state, id.as_str(), &at, kind, &mut out)
            }
            (Some(Aggregate::Flag(environment, key)), Some(kind)) => flags::apply(
                state,
                (environment.as_str(), key.as_str()),
                &at,
                kind,
                &mut out,
            ),
            (Some(Aggregate::Worker(name)), Some(kind)) => {
                fleet::apply(state, name.as_str(), &at, kind, &mut out)
            }
            (Some(Aggregate::Environment(name)), Some(kind)) => {
                authority::environment(state, name.as_str(), &at, kind, &mut out)
            }
        };
        let mut odd = std::mem::take(&mut out.odd);
        odd.extend(applied.err());
        if !odd.is_empty() {
            anomaly(
                &at,
                &aggregate_text,
                event_type(event),
                &odd.join("; "),
                &mut out,
            );
        }
    }
    if let Some(Aggregate::Rollout(id)) = &aggregate
        && let Some(rollout) = state.rollouts.get_mut(id.as_str())
    {
        refresh(rollout, &at, &mut out);
    }
    out.rows
}

fn anomaly(at: &At<'_>, aggregate: &str, event: &str, reason: &str, out: &mut Out) {
    out.put(&AnomalyRow {
        sequence: at.sequence,
        idx: at.idx,
        recorded_at: at.recorded_at,
        aggregate: aggregate.to_owned(),
        event: event.to_owned(),
        reason: reason.to_owned(),
    });
}

fn rollout_event(
    state: &mut State,
    id: &str,
    at: &At<'_>,
    kind: &Kind,
    out: &mut Out,
) -> Result<(), String> {
    if let Kind::RolloutOpened(opened) = kind {
        if state.rollouts.contains_key(id) {
            return Err("the rollout is open already".to_owned());
        }
        let rollout = lifecycle::open(id, at, opened, out);
        state.rollouts.insert(id.to_owned(), rollout);
        return Ok(());
    }
    let rollout = state
        .rollouts
        .get_mut(id)
        .ok_or("the rollout has not been opened")?;
    match kind {
        Kind::RolloutOpened(_) => Ok(()),
        Kind::RolloutStarted(_)
        | Kind::RolloutPaused(_)
        | Kind::RolloutResumed(_)
        | Kind::RolloutAborted(_)
        | Kind::RolloutClosed(_)
        | Kind::PlanRevised(_)
        | Kind::PlanRevisionAccepted(_)
        | Kind::PlanRevisionWithdrawn(_)
        | Kind::RollbackPointRecorded(_)
        | Kind::RollbackStarted(_)
        | Kind::RollbackFinished(_) => lifecycle::apply(rollout, at, kind, out),
        Kind::StepStarted(_)
        | Kind::StepMeasured(_)
        | Kind::StepFinished(_)
        | Kind::StepInterrupted(_)
        | Kind::StepRetried(_)
        | Kind::StepSkipped(_)
        | Kind::NotApplicableProposed(_)
        | Kind::NotApplicableReviewed(_)
        | Kind::UndoStarted(_)
        | Kind::UndoFinished(_) => steps::apply(rollout, at, kind, out),
        Kind::SignOffGiven(_)
        | Kind::SignOffRefused(_)
        | Kind::SignOffVoided(_)
        | Kind::GatePassed(_)
        | Kind::GateBlocked(_) => gates::apply(rollout, at, kind, out),
        Kind::AdviceGiven(_)
        | Kind::AlertRaised(_)
        | Kind::AlertResolved(_)
        | Kind::AlertUnwatched(_)
        | Kind::NoticeSent(_)
        | Kind::SnapshotTaken(_)
        | Kind::ComparisonMade(_)
        | Kind::AuditTaken(_)
        | Kind::SuccessMetricRecorded(_) => evidence::apply(rollout, at, kind, out),
        Kind::RequestMade(_)
        | Kind::RequestConfirmed(_)
        | Kind::RequestEnded(_)
        | Kind::GlassBroken(_)
        | Kind::GlassReviewed(_)
        | Kind::ReviewOverdue(_) => {
            let owner = authority::Owner {
                aggregate: &format!("rollout {id}"),
                rollout: id,
                environment: "",
                flag: "",
            };
            authority::request(&owner, &mut rollout.requests, at, kind, out)
        }
        Kind::FlagDefined(_) | Kind::FlagChanged(_) | Kind::FlagArchived(_) => {
            Err("an event of a flag in a rollout".to_owned())
        }
        Kind::EnvironmentRecorded(_)
        | Kind::EnvironmentRevised(_)
        | Kind::EnvironmentRevisionAccepted(_)
        | Kind::EnvironmentRevisionWithdrawn(_) => {
            Err("an event of an environment in a rollout".to_owned())
        }
        Kind::WorkerJoined(_) | Kind::WorkerLeft(_) => {
            Err("an event of a worker in a rollout".to_owned())
        }
    }
}

/// Updates the derived rows, once per commit so that the result does not depend on how commits are
/// batched.
fn refresh(rollout: &mut RolloutRows, at: &At<'_>, out: &mut Out) {
    rollout.drop_final_rows();
    let assessment = health::assess(rollout);
    let phase = rollout.current_phase();
    let reviews = rollout
        .requests
        .iter()
        .filter(|row| row.kind == RequestKind::Review)
        .count();
    let reviews = u32::try_from(reviews).unwrap_or(u32::MAX);
    if !assessment.matches(&rollout.health) {
        rollout.health.status = assessment.status;
        rollout.health.score = assessment.score;
        rollout.health.deductions.0 = assessment.deductions;
        rollout.health.changed_at = at.recorded_at;
        rollout.health.updated_sequence = at.sequence;
    }
    if rollout.health.updated_sequence == at.sequence {
        out.put(&rollout.health);
    }
    let row = &mut rollout.rollout;
    if row.current_phase != phase
        || row.health != assessment.status
        || row.health_score != assessment.score
        || row.open_reviews != reviews
    {
        row.open_reviews = reviews;
        row.current_phase = phase;
        row.health = assessment.status;
        row.health_score = assessment.score;
        row.updated_sequence = at.sequence;
    }
    if row.updated_sequence == at.sequence {
        out.put(row);
    }
}

//! Projects requests for two persons, reviews of broken glass, and environments.

use rollbook_proto::v1::event::Kind;
use rollbook_proto::v1::{EnvironmentTerms, RequestEnd};

use super::{At, Out};
use crate::environment::{PendingTerms, Terms};
use crate::projection::row::{Json, clean};
use crate::projection::rows::{EnvironmentRow, RequestRow};
use crate::projection::state::State;
use crate::projection::words::{RequestKind, RequestStatus, time};

/// The aggregate that the requests belong to.
pub(super) struct Owner<'a> {
    /// Its name: `rollout r1`, `flag production/F`.
    pub(super) aggregate: &'a str,
    pub(super) rollout: &'a str,
    pub(super) environment: &'a str,
    pub(super) flag: &'a str,
}

/// True if the event is about requests or reviews.
pub(super) fn is_request(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::RequestMade(_)
            | Kind::RequestConfirmed(_)
            | Kind::RequestEnded(_)
            | Kind::GlassBroken(_)
            | Kind::GlassReviewed(_)
            | Kind::ReviewOverdue(_)
    )
}

/// Applies the event to the pending requests and open reviews.
pub(super) fn request(
    owner: &Owner<'_>,
    open: &mut Vec<RequestRow>,
    at: &At<'_>,
    kind: &Kind,
    out: &mut Out,
) -> Result<(), String> {
    let new = |id: &str, kind: RequestKind, status: RequestStatus| RequestRow {
        aggregate: owner.aggregate.to_owned(),
        request: clean(id),
        kind,
        rollout: owner.rollout.to_owned(),
        environment: owner.environment.to_owned(),
        flag: owner.flag.to_owned(),
        verb: String::new(),
        what: String::new(),
        reason: String::new(),
        rule: String::new(),
        made_by: at.actor.clone(),
        made_at: at.recorded_at,
        due_at: None,
        status,
        ended_by: String::new(),
        ended_at: None,
        note: String::new(),
        made_sequence: at.sequence,
        updated_sequence: at.sequence,
    };
    let (id, kind_of, status, note) = match kind {
        Kind::RequestMade(made) => {
            let row = RequestRow {
                verb: clean(&made.verb),
                what: clean(&made.what),
                reason: clean(&made.reason),
                due_at: time(made.expires_at.as_ref()),
                ..new(
                    &made.request_id,
                    RequestKind::Confirm,
                    RequestStatus::Waiting,
                )
            };
            return add(open, row, out);
        }
        Kind::GlassBroken(broken) => {
            let row = RequestRow {
                verb: clean(&broken.verb),
                what: clean(&broken.what),
                reason: clean(&broken.reason),
                rule: clean(&broken.rule),
                due_at: time(broken.review_by.as_ref()),
                ..new(&broken.review_id, RequestKind::Review, RequestStatus::Open)
            };
            return add(open, row, out);
        }
        Kind::RequestConfirmed(confirmed) => (
            &confirmed.request_id,
            RequestKind::Confirm,
            RequestStatus::Confirmed,
            "",
        ),
        Kind::RequestEnded(ended) => {
            let status = match ended.end() {
                RequestEnd::Withdrawn => RequestStatus::Withdrawn,
                RequestEnd::Expired => RequestStatus::Expired,
                RequestEnd::Voided => RequestStatus::Voided,
                RequestEnd::Unspecified => {
                    return Err("the request ended in no known way".to_owned());
                }
            };
            (
                &ended.request_id,
                RequestKind::Confirm,
                status,
                ended.reason.as_str(),
            )
        }
        Kind::GlassReviewed(reviewed) => (
            &reviewed.review_id,
            RequestKind::Review,
            if reviewed.agreed {
                RequestStatus::Agreed
            } else {
                RequestStatus::Disagreed
            },
            reviewed.note.as_str(),
        ),
        Kind::ReviewOverdue(late) => (
            &late.review_id,
            RequestKind::Review,
            RequestStatus::Overdue,
            "",
        ),
        _ => return Err("not an event of a request".to_owned()),
    };
    let id = clean(id);
    let row = open
        .iter_mut()
        .find(|row| row.request == id && row.kind == kind_of && row.status.is_open())
        .ok_or_else(|| format!("{id} is not waiting for anybody"))?;
    row.status = status;
    row.note = clean(note);
    if !status.is_open() {
        row.ended_by = match status {
            RequestStatus::Expired | RequestStatus::Voided => String::new(),
            _ => at.actor.clone(),
        };
        row.ended_at = at.recorded_at;
    }
    row.updated_sequence = at.sequence;
    out.put(row);
    open.retain(|row| row.status.is_open());
    Ok(())
}

fn add(open: &mut Vec<RequestRow>, row: RequestRow, out: &mut Out) -> Result<(), String> {
    if open.iter().any(|other| other.request == row.request) {
        return Err(format!("{} was made before", row.request));
    }
    out.put(&row);
    open.push(row);
    Ok(())
}

/// Applies an event of an environment.
pub(super) fn environment(
    state: &mut State,
    name: &str,
    at: &At<'_>,
    kind: &Kind,
    out: &mut Out,
) -> Result<(), String> {
    if let Kind::EnvironmentRecorded(recorded) = kind {
        if state.environments.contains_key(name) {
            return Err("the environment is recorded already".to_owned());
        }
        if recorded.name != name {
            out.note("the event names another environment than its aggregate");
        }
        let terms = terms(recorded.terms.as_ref())?;
        let row = EnvironmentRow {
            environment: name.to_owned(),
            protected: terms.protected,
            terms: Json(terms),
            revision: 1,
            pending: Json(None),
            changed_by: at.actor.clone(),
            changed_at: at.recorded_at,
            reason: clean(&recorded.reason),
            updated_sequence: at.sequence,
        };
        out.put(&row);
        state.environments.insert(name.to_owned(), row);
        return Ok(());
    }
    let row = state
        .environments
        .get_mut(name)
        .ok_or("the environment has not been recorded")?;
    match kind {
        Kind::EnvironmentRevised(revised) => {
            if row.pending.is_some() {
                out.note("other terms waited");
            }
            row.pending = Json(Some(PendingTerms {
                revision: revised.revision,
                terms: terms(revised.terms.as_ref())?,
                by: at.actor.clone(),
                reason: clean(&revised.reason),
            }));
        }
        Kind::EnvironmentRevisionAccepted(accepted) => match row.pending.0.take() {
            Some(pending) if pending.revision == accepted.revision => {
                row.protected = pending.terms.protected;
                row.terms = Json(pending.terms);
                row.revision = pending.revision;
                row.reason = pending.reason;
                row.changed_by = at.actor.clone();
                row.changed_at = at.recorded_at;
            }
            waits => {
                row.pending = Json(waits);
                return Err(format!("revision {} is not waiting", accepted.revision));
            }
        },
        Kind::EnvironmentRevisionWithdrawn(withdrawn) => match row.pending.0.take() {
            Some(pending) if pending.revision == withdrawn.revision => {}
            waits => {
                row.pending = Json(waits);
                return Err(format!("revision {} is not waiting", withdrawn.revision));
            }
        },
        _ => return Err("an event of something else in an environment".to_owned()),
    }
    row.updated_sequence = at.sequence;
    out.put(row);
    Ok(())
}

fn terms(terms: Option<&EnvironmentTerms>) -> Result<Terms, String> {
    terms
        .and_then(Terms::from_wire)
        .ok_or_else(|| "the event has no usable terms".to_owned())
}

//! Events of requests for two persons and of broken glass.

use rollbook_proto::v1;

use super::super::illegal::IllegalEvent;
use super::super::rules::requests;
use super::super::state::{GlassUse, RolloutState};
use super::Meta;

type Done = Result<(), IllegalEvent>;

pub(super) fn request_made(
    state: &mut RolloutState,
    event: &v1::RequestMade,
    meta: &Meta<'_>,
) -> Done {
    let by = meta.person().ok_or_else(|| meta.malformed("actor"))?;
    let made = state.requests.made(event, by);
    made.map_err(|reason| meta.transition(reason))
}

pub(super) fn request_confirmed(
    state: &mut RolloutState,
    event: &v1::RequestConfirmed,
    meta: &Meta<'_>,
) -> Done {
    let request = state
        .requests
        .over(&event.request_id)
        .map_err(|reason| meta.transition(reason))?;
    if meta.person() == Some(request.by.as_str()) {
        return Err(meta.transition("the person who asked confirms"));
    }
    // The requester took part in the step too, and may not sign its gate.
    let command = requests::command(&request);
    if let Some(step) = command.as_ref().and_then(requests::step_of)
        && let Some(at) = state.step_mut(step)
    {
        at.executors.insert(request.by);
    }
    Ok(())
}

pub(super) fn request_ended(
    state: &mut RolloutState,
    event: &v1::RequestEnded,
    meta: &Meta<'_>,
) -> Done {
    let over = state.requests.over(&event.request_id);
    over.map(|_| ()).map_err(|reason| meta.transition(reason))
}

pub(super) fn glass_broken(
    state: &mut RolloutState,
    event: &v1::GlassBroken,
    meta: &Meta<'_>,
) -> Done {
    let by = meta.person().ok_or_else(|| meta.malformed("actor"))?;
    let opened = state.reviews.opened(event, by);
    opened.map_err(|reason| meta.transition(reason))?;
    state.broken_glass.push(GlassUse {
        review: event.review_id.clone(),
        what: event.what.clone(),
        by: by.to_owned(),
        reason: event.reason.clone(),
        reviewed: None,
    });
    Ok(())
}

pub(super) fn glass_reviewed(
    state: &mut RolloutState,
    event: &v1::GlassReviewed,
    meta: &Meta<'_>,
) -> Done {
    let review = state
        .reviews
        .closed(&event.review_id)
        .map_err(|reason| meta.transition(reason))?;
    if meta.person() == Some(review.by.as_str()) {
        return Err(meta.transition("the person who broke the glass reviews it"));
    }
    let uses = state.broken_glass.iter_mut();
    for used in uses.filter(|used| used.review == event.review_id) {
        let person = meta.person().unwrap_or_default();
        used.reviewed = Some((person.to_owned(), event.agreed));
    }
    Ok(())
}

pub(super) fn review_overdue(
    state: &mut RolloutState,
    event: &v1::ReviewOverdue,
    meta: &Meta<'_>,
) -> Done {
    let overdue = state.reviews.overdue(&event.review_id);
    overdue.map_err(|reason| meta.transition(reason))
}

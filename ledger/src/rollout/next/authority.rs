//! What waits for another person: requests, and reviews of broken glass.

use jiff::Timestamp;

use super::super::block::{BlockReason, BlockRule, Subject};
use super::super::remedy;
use super::super::rules::requests;
use super::super::state::RolloutState;
use super::Next;
use crate::authority::Permissions;
use crate::clock;
use crate::environment::Environments;
use crate::runbook::{Plan, Verb};

/// Adds the pending requests and open reviews, with the people who can act on each; returns whether
/// something falls due by itself.
pub(super) fn waiting(state: &RolloutState, plan: &Plan, now: Timestamp, next: &mut Next) -> bool {
    let permissions = requests::permissions(state, plan, Environments::NONE);
    let mut to_come = false;
    for request in state.requests.iter() {
        next.wake(Some(request.expires_at), now);
        to_come = true;
        let verb = Verb::of(&request.verb).unwrap_or(Verb::SkipCritical);
        let hold = BlockReason::person(
            BlockRule::RequestWaits,
            format!(
                "{} asks to {} ({}), which a second person must confirm until {}",
                request.by,
                request.what,
                request.reason,
                clock::shown(request.expires_at)
            ),
            others(&permissions, verb, &request.by),
            vec![remedy::confirm(&state.id, &request.id)],
        )
        .figure("by", &request.by)
        .figure("asks_to", &request.what)
        .figure("reason", &request.reason)
        .figure("expires_at", request.expires_at);
        next.blocked
            .push(hold.of(Subject::Request(request.id.clone())));
    }
    for review in state.reviews.iter() {
        if !review.overdue {
            next.wake(Some(review.review_by), now);
            to_come = true;
        }
        let is_late = review.review_by <= now;
        let late = if is_late { "; it is overdue" } else { "" };
        let hold = BlockReason::person(
            BlockRule::ReviewOpen,
            format!(
                "{} used break-glass to {} ({}), which somebody else must review by {}{late}",
                review.by, review.what, review.reason, review.review_by
            ),
            others(&permissions, Verb::Review, &review.by),
            vec![remedy::review(&state.id, &review.id)],
        )
        .figure("by", &review.by)
        .figure("did", &review.what)
        .figure("reason", &review.reason)
        .figure("review_by", review.review_by)
        .figure("overdue", is_late);
        next.blocked
            .push(hold.of(Subject::Review(review.id.clone())));
    }
    to_come
}

/// Returns the people who may use the verb, other than `by`.
fn others(permissions: &Permissions<'_>, verb: Verb, by: &str) -> Vec<String> {
    let persons = permissions.persons(verb, by);
    if persons.is_empty() {
        vec![format!("anyone but {by}")]
    } else {
        persons
    }
}

//! What waits for another person: requests, and reviews of broken glass.

use jiff::Timestamp;

use super::super::how;
use super::super::rules::requests;
use super::super::state::RolloutState;
use super::{Blocked, Next};
use crate::authority::Place;
use crate::environment::Environments;
use crate::runbook::{Plan, Verb};

/// Names those who can move each. Returns whether something falls due by itself.
pub(super) fn waiting(state: &RolloutState, plan: &Plan, now: Timestamp, next: &mut Next) -> bool {
    let place = requests::place(state, plan, Environments::NONE);
    let mut to_come = false;
    for request in state.requests.iter() {
        next.wake(Some(request.expires_at), now);
        to_come = true;
        let verb = Verb::of(&request.verb).unwrap_or(Verb::SkipCritical);
        next.blocked.push(Blocked {
            what: format!("request {}", request.id),
            why: format!(
                "{} asks to {} ({}), which a second person must confirm until {}",
                request.by, request.what, request.reason, request.expires_at
            ),
            who: others(&place, verb, &request.by),
            how: Some(how::confirm(&state.id, &request.id)),
            until: None,
        });
    }
    for review in state.reviews.iter() {
        if !review.overdue {
            next.wake(Some(review.review_by), now);
            to_come = true;
        }
        let late = if review.review_by <= now {
            "; it is overdue"
        } else {
            ""
        };
        next.blocked.push(Blocked {
            what: format!("review {}", review.id),
            why: format!(
                "{} broke the glass to {} ({}), which somebody else must review by {}{late}",
                review.by, review.what, review.reason, review.review_by
            ),
            who: others(&place, Verb::Review, &review.by),
            how: Some(how::review(&state.id, &review.id)),
            until: None,
        });
    }
    to_come
}

/// Persons that may, without the one it is of.
fn others(place: &Place<'_>, verb: Verb, by: &str) -> Vec<String> {
    let persons = place.persons(verb, by);
    if persons.is_empty() {
        vec![format!("anyone but {by}")]
    } else {
        persons
    }
}

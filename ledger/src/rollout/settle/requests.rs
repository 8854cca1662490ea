//! Requests that can no longer be confirmed, and late reviews.

use jiff::Timestamp;
use rollbook_proto::v1::{self, event::Kind};

use super::super::rules::requests;
use super::super::state::RolloutState;

/// Ends expired and void requests, and marks late reviews.
pub(super) fn over(state: &RolloutState, now: Timestamp) -> Vec<Kind> {
    let ended = state.requests.iter().filter_map(|request| {
        let (end, reason) = if request.expires_at <= now {
            (
                v1::RequestEnd::Expired,
                format!("nobody confirmed it until {}", request.expires_at),
            )
        } else {
            let stands = match requests::command(request) {
                Some(command) => requests::rests_on(state, &command),
                None => "this version cannot read what it asks for".to_owned(),
            };
            if stands == request.rests_on {
                return None;
            }
            (
                v1::RequestEnd::Voided,
                format!("it was asked on: {}; now: {stands}", request.rests_on),
            )
        };
        Some(Kind::RequestEnded(v1::RequestEnded {
            request_id: request.id.clone(),
            end: end.into(),
            reason,
        }))
    });
    let late = state
        .reviews
        .iter()
        .filter(|review| !review.overdue && review.review_by <= now)
        .map(|review| {
            Kind::ReviewOverdue(v1::ReviewOverdue {
                review_id: review.id.clone(),
            })
        });
    ended.chain(late).collect()
}

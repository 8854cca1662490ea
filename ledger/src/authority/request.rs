//! Requests that wait for a second person, and reviews of commands that one person executed alone.
//! Each is part of the state of the aggregate that it concerns.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rollbook_proto::v1;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::clock::from_proto;

/// Maximum number of pending requests per aggregate.
pub const MAX_REQUESTS: usize = 20;

/// Maximum number of open reviews per aggregate.
pub const MAX_REVIEWS: usize = 50;

/// A command that waits for a second person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitingRequest {
    /// Its id, which the second person names.
    pub id: String,
    /// The verb of the authority table.
    pub verb: String,
    /// For display: `skip step 1.6`.
    pub what: String,
    /// The command as JSON.
    pub command: String,
    /// The requester.
    pub by: String,
    /// The reason.
    pub reason: String,
    /// When it expires.
    pub expires_at: Timestamp,
    /// The state it was requested on; the request is void once this changes.
    pub rests_on: String,
}

/// A command that one person executed alone by breaking glass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Review {
    /// Its id, which the reviewer names.
    pub id: String,
    /// The verb of the authority table.
    pub verb: String,
    /// For display: `skip step 1.6`.
    pub what: String,
    /// The person.
    pub by: String,
    /// The reason.
    pub reason: String,
    /// The deadline of the review.
    pub review_by: Timestamp,
    /// Its lateness has been recorded.
    pub overdue: bool,
}

/// The pending requests, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Requests(BTreeMap<String, WaitingRequest>);

/// The open reviews, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Reviews(BTreeMap<String, Review>);

/// Derives the id of the request that a command makes: short enough to type, and equal for the same
/// command.
pub fn request_id(aggregate: &str, command_id: &str) -> String {
    id('q', aggregate, command_id)
}

/// Derives the id of the review that a command opens.
pub fn review_id(aggregate: &str, command_id: &str) -> String {
    id('r', aggregate, command_id)
}

fn id(kind: char, aggregate: &str, command_id: &str) -> String {
    let digest = Sha256::digest(format!("{kind}\0{aggregate}\0{command_id}"));
    let hex = hex::encode(digest);
    format!("{kind}-{}", hex.get(..10).unwrap_or(&hex))
}

impl Requests {
    /// Returns a pending request.
    pub fn get(&self, id: &str) -> Option<&WaitingRequest> {
        self.0.get(id)
    }

    /// Iterates over the pending requests, by id.
    pub fn iter(&self) -> impl Iterator<Item = &WaitingRequest> {
        self.0.values()
    }

    /// Returns the number of pending requests.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if none is pending.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Folds `RequestMade`.
    pub fn made(&mut self, event: &v1::RequestMade, by: &str) -> Result<(), String> {
        let expires_at =
            from_proto(event.expires_at.as_ref()).ok_or("it does not say when it expires")?;
        let request = WaitingRequest {
            id: event.request_id.clone(),
            verb: event.verb.clone(),
            what: event.what.clone(),
            command: event.command.clone(),
            by: by.to_owned(),
            reason: event.reason.clone(),
            expires_at,
            rests_on: event.rests_on.clone(),
        };
        match self.0.insert(event.request_id.clone(), request) {
            None => Ok(()),
            Some(_) => Err(format!("request {} was made before", event.request_id)),
        }
    }

    /// Folds `RequestConfirmed` and `RequestEnded`.
    pub fn over(&mut self, id: &str) -> Result<WaitingRequest, String> {
        self.0
            .remove(id)
            .ok_or_else(|| format!("request {id} is not waiting"))
    }
}

impl Reviews {
    /// Returns an open review.
    pub fn get(&self, id: &str) -> Option<&Review> {
        self.0.get(id)
    }

    /// Iterates over the open reviews, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Review> {
        self.0.values()
    }

    /// Returns the number of open reviews.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if none is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Folds `GlassBroken`.
    pub fn opened(&mut self, event: &v1::GlassBroken, by: &str) -> Result<(), String> {
        let review_by =
            from_proto(event.review_by.as_ref()).ok_or("it does not say when it is due")?;
        let review = Review {
            id: event.review_id.clone(),
            verb: event.verb.clone(),
            what: event.what.clone(),
            by: by.to_owned(),
            reason: event.reason.clone(),
            review_by,
            overdue: false,
        };
        match self.0.insert(event.review_id.clone(), review) {
            None => Ok(()),
            Some(_) => Err(format!("review {} was opened before", event.review_id)),
        }
    }

    /// Folds `GlassReviewed`.
    pub fn closed(&mut self, id: &str) -> Result<Review, String> {
        self.0
            .remove(id)
            .ok_or_else(|| format!("review {id} is not open"))
    }

    /// Folds `ReviewOverdue`.
    pub fn overdue(&mut self, id: &str) -> Result<(), String> {
        let review = self
            .0
            .get_mut(id)
            .ok_or_else(|| format!("review {id} is not open"))?;
        review.overdue = true;
        Ok(())
    }
}

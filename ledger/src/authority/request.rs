//! What waits for a second person, and what one person did alone and somebody else must review.
//! Kept by the aggregate that it changes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rollbook_proto::v1;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::clock::from_proto;

/// The most requests of one aggregate that wait at once.
pub const MAX_REQUESTS: usize = 20;

/// The most reviews of one aggregate that are open at once.
pub const MAX_REVIEWS: usize = 50;

/// A command that waits for a second person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Its id, which the second person names.
    pub id: String,
    /// The verb of the authority table.
    pub verb: String,
    /// For people: `skip step 1.6`.
    pub what: String,
    /// The command as JSON.
    pub command: String,
    /// Who asks.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Until when it can be confirmed.
    pub expires_at: Timestamp,
    /// What it was asked on; void once this has changed.
    pub rests_on: String,
}

/// What one person did alone by breaking glass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Review {
    /// Its id, which the reviewer names.
    pub id: String,
    /// The verb of the authority table.
    pub verb: String,
    /// For people: `skip step 1.6`.
    pub what: String,
    /// Who did it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When the review must be closed.
    pub review_by: Timestamp,
    /// That it is late is on the record.
    pub overdue: bool,
}

/// Requests that wait, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Requests(BTreeMap<String, Request>);

/// Reviews that are open, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Reviews(BTreeMap<String, Review>);

/// The id of a request that a command makes: short enough to type, the same for the same command.
pub fn request_id(aggregate: &str, command_id: &str) -> String {
    id('q', aggregate, command_id)
}

/// The id of a review that a command opens.
pub fn review_id(aggregate: &str, command_id: &str) -> String {
    id('r', aggregate, command_id)
}

fn id(kind: char, aggregate: &str, command_id: &str) -> String {
    let digest = Sha256::digest(format!("{kind}\0{aggregate}\0{command_id}"));
    let hex = hex::encode(digest);
    format!("{kind}-{}", hex.get(..10).unwrap_or(&hex))
}

impl Requests {
    /// A request that waits.
    pub fn get(&self, id: &str) -> Option<&Request> {
        self.0.get(id)
    }

    /// All that wait, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Request> {
        self.0.values()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Folds `RequestMade`.
    pub fn made(&mut self, event: &v1::RequestMade, by: &str) -> Result<(), String> {
        let expires_at =
            from_proto(event.expires_at.as_ref()).ok_or("it does not say when it expires")?;
        let request = Request {
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
    pub fn over(&mut self, id: &str) -> Result<Request, String> {
        self.0
            .remove(id)
            .ok_or_else(|| format!("request {id} does not wait"))
    }
}

impl Reviews {
    /// An open review.
    pub fn get(&self, id: &str) -> Option<&Review> {
        self.0.get(id)
    }

    /// All open ones, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Review> {
        self.0.values()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is open.
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

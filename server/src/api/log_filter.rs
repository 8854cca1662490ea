//! Which commits of the log a caller wants.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rollbook_ledger::clock;
use rollbook_ledger::handler::HandlerError;
use rollbook_ledger::ids::RolloutId;
use rollbook_ledger::journal::{StoredCommit, event_type};
use rollbook_ledger::person;
use rollbook_proto::v1::Actor;

use super::events::events_filter;
use super::{Api, ApiError};
use crate::live::{FeedError, Filter, PROGRESS, about};

/// Conditions on a commit; all must hold. One that is not given holds for every commit.
#[derive(Debug, Default)]
pub(super) struct LogFilter {
    /// Its aggregate.
    aggregate: Option<String>,
    /// Who caused it, one of these.
    actors: BTreeSet<String>,
    /// Recorded at this time or later.
    since: Option<Timestamp>,
    /// Recorded before this time.
    until: Option<Timestamp>,
    /// One of its events is of such a type, and about such a rollout and environment.
    events: Filter,
}

impl LogFilter {
    /// The conditions of a query: `aggregate`, `actor`, `since`, `until`, and those of the live
    /// feed. Of `actor` and those of the feed either value counts if several are given, of the others
    /// the last. Ignores other parameters.
    pub(super) fn of(query: &[(String, String)]) -> Result<Self, ApiError> {
        if query
            .iter()
            .any(|(name, value)| name == "type" && value == PROGRESS)
        {
            return Err(ApiError::usage(
                "RB-API-40",
                "progress is not on the ledger; follow it with GET /v1/events",
            ));
        }
        let mut filter = Self {
            events: events_filter(query)?,
            ..Self::default()
        };
        for (name, value) in query {
            match name.as_str() {
                "aggregate" => filter.aggregate = Some(value.clone()),
                "actor" => {
                    // As commits name people.
                    filter
                        .actors
                        .insert(person::name(value).unwrap_or_else(|_| value.clone()));
                }
                "since" => filter.since = Some(moment(name, value)?),
                "until" => filter.until = Some(moment(name, value)?),
                _ => {}
            }
        }
        Ok(filter)
    }

    /// Whether a commit matches.
    ///
    /// # Errors
    /// It is not known, because neither views nor ledger say in which environment it happened.
    pub(super) async fn wants(&self, stored: &StoredCommit, api: &Api) -> Result<bool, FeedError> {
        let commit = &stored.commit;
        let is_other = |id: &String| *id != commit.aggregate_id;
        if self.aggregate.as_ref().is_some_and(is_other) {
            return Ok(false);
        }
        let actor = commit.actor.as_ref().map(|Actor { name, .. }| name);
        if !self.actors.is_empty() && !actor.is_some_and(|name| self.actors.contains(name)) {
            return Ok(false);
        }
        let at = clock::from_proto(commit.recorded_at.as_ref());
        let is_early = |since| at.is_none_or(|at| at < since);
        let is_late = |until| at.is_none_or(|at| at >= until);
        if self.since.is_some_and(is_early) || self.until.is_some_and(is_late) {
            return Ok(false);
        }
        if self.events.is_everything() {
            return Ok(true);
        }
        for event in &commit.events {
            let mut about = about(stored, event, &api.live.environments).await?;
            if let (Some(rollout), None) = (&about.rollout, &about.environment) {
                about.environment = environment_of(api, stored, rollout).await?;
            }
            if self.events.wants(event_type(event), &about) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The environment of a rollout that the views do not know yet; `None` if the ledger does not
/// either.
async fn environment_of(
    api: &Api,
    stored: &StoredCommit,
    rollout: &str,
) -> Result<Option<String>, FeedError> {
    let Ok(id) = RolloutId::new(rollout) else {
        return Ok(None);
    };
    match api.handler.rollout(&id).await {
        Ok(loaded) => {
            let environment = loaded.state.environment.to_string();
            api.live.environments.learn(rollout, &environment);
            Ok(Some(environment))
        }
        Err(HandlerError::NotFound { .. }) => Ok(None),
        Err(_) => Err(FeedError::Environment {
            rollout: rollout.to_owned(),
            after: stored.sequence.saturating_sub(1),
        }),
    }
}

fn moment(name: &str, text: &str) -> Result<Timestamp, ApiError> {
    text.parse().map_err(|_| {
        ApiError::usage(
            "RB-API-38",
            format!("`{name}` is `{text}`, which is not a time; write it as 2026-01-31T22:00:00Z"),
        )
    })
}

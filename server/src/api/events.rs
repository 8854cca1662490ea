//! The live feed: events as they happen, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::Serialize;

use super::error::ErrorBody;
use super::followers::holding;
use super::log::beyond_end;
use super::{Api, ApiError};
use crate::live::{Client, Dropped, EventId, Filter};

/// The header with which a client resumes.
const LAST_EVENT_ID: &str = "last-event-id";

/// How long a client without a position waits for the server to have one.
const BEGUN_WITHIN: Duration = Duration::from_secs(5);

/// The `data` of the last event of a client that is disconnected.
#[derive(Debug, Serialize)]
struct DroppedData<'a> {
    #[serde(flatten)]
    error: &'a ErrorBody,
    /// Position to resume from.
    resume: String,
}

/// Every event after a position, each once and in order, once the views contain it, and signals of
/// running steps. Without a position: events from now on.
pub(super) async fn events(
    State(api): State<Api>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let filter = events_filter(&query)?;
    let named = named(&query, &headers)?;
    let place = api.followers.place()?;
    let at = match named {
        Some(at) => {
            exists(&api, at).await?;
            at
        }
        None => {
            let begun = tokio::time::timeout(BEGUN_WITHIN, api.live.feed.begun()).await;
            let last = begun.map_err(|_| {
                ApiError::unavailable(
                    "RB-API-36",
                    "the server has not reached the ledger yet; ask again, or name the position with `after`",
                )
            })?;
            EventId::whole(last)
        }
    };
    let blocks = Client::new(api.live, filter, at)
        .stream()
        .map(|block| Ok::<Bytes, Infallible>(block.unwrap_or_else(|dropped| last(&dropped))));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Otherwise some proxies buffer responses.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(holding(blocks, place))).into_response())
}

/// The filter of a query, by rollout, type and environment.
pub(super) fn events_filter(query: &[(String, String)]) -> Result<Filter, ApiError> {
    Filter::of(query)
        .map_err(|wrong| ApiError::usage("RB-API-34", format!("{wrong}; correct the filter")))
}

/// The position that a client names. The header overrides the query, which stays unchanged when the
/// client reconnects.
fn named(query: &[(String, String)], headers: &HeaderMap) -> Result<Option<EventId>, ApiError> {
    let header = headers.get(LAST_EVENT_ID).map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes());
        text.trim().to_owned()
    });
    let after = query.iter().rev().find(|(name, _)| name == "after");
    let named = header
        .filter(|text| !text.is_empty())
        .or_else(|| after.map(|(_, value)| value.clone()));
    let Some(text) = named else {
        return Ok(None);
    };
    let at = text.parse().map_err(|_| {
        ApiError::usage(
            "RB-API-37",
            format!(
                "`{text}` is no event: give SEQUENCE.INDEX as in the `id` of an event, or SEQUENCE for all of a commit"
            ),
        )
    })?;
    Ok(Some(at))
}

/// Refuses a position that the ledger has not reached. While the ledger is unreachable the client
/// waits.
async fn exists(api: &Api, at: EventId) -> Result<(), ApiError> {
    let is_known = |last: u64| at.sequence <= last;
    if api.live.feed.known().is_some_and(is_known) {
        return Ok(());
    }
    // Another server may be ahead of this one.
    match api.handler.journal().last_sequence().await {
        Ok(last) if !is_known(last) => Err(beyond_end(last, at)),
        _ => Ok(()),
    }
}

fn last(dropped: &Dropped) -> Bytes {
    let error = ApiError::from_feed(&dropped.error);
    let data = DroppedData {
        error: error.body(),
        resume: dropped.at.to_string(),
    };
    let data = serde_json::to_string(&data).unwrap_or_default();
    format!("id: {}\nevent: dropped\ndata: {data}\n\n", dropped.at).into()
}

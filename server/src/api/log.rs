//! The ledger itself, as JSON lines: one line a commit, from any sequence, optionally live.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use rollbook_ledger::journal::jetstream::ServerReport;
use rollbook_ledger::journal::{JournalError, ReadFrom, StoredCommit};
use serde::Deserialize;
use serde_json::json;

use super::{Api, ApiError};

/// Which part of the log.
#[derive(Debug, Deserialize)]
pub(super) struct LogQuery {
    /// Begin after this sequence.
    #[serde(default)]
    after: u64,
    /// At most so many commits; absent: all there are.
    limit: Option<u64>,
    /// Stay and deliver new commits as they are stored.
    #[serde(default)]
    follow: bool,
    /// Only commits of this aggregate id.
    aggregate: Option<String>,
}

pub(super) async fn log(
    State(api): State<Api>,
    Query(query): Query<LogQuery>,
) -> Result<Response, ApiError> {
    let last = api.handler.journal().last_sequence().await?;
    let end = if query.follow { u64::MAX } else { last };
    let limit = usize::try_from(query.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson")];
    if query.follow && query.after > last {
        return Err(ApiError::usage(
            "RB-API-22",
            format!(
                "the ledger ends at sequence {last}, so nothing follows {} yet; follow after {last} or less",
                query.after
            ),
        ));
    }
    if query.after >= end {
        return Ok((headers, Body::empty()).into_response());
    }
    let commits = api
        .handler
        .journal()
        .follow(ReadFrom { after: query.after })
        .await?;
    // Sequences have no gaps, so the number of commits to come is known.
    let to_come = usize::try_from(end - query.after).unwrap_or(usize::MAX);
    let bounded = commits.take(to_come);
    let lines = bounded
        .filter(move |item| {
            let wanted = match (&query.aggregate, item) {
                (Some(id), Ok(stored)) => stored.commit.aggregate_id == *id,
                _ => true,
            };
            std::future::ready(wanted)
        })
        .take(limit)
        .flat_map(|item| stream::iter([line(item)]));
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// The server and the stream as found: version, sync setting, replicas, gaps.
pub(super) async fn ledger(State(api): State<Api>) -> Result<Json<ServerReport>, ApiError> {
    Ok(Json(api.stream.report().await?))
}

fn line(item: Result<StoredCommit, JournalError>) -> Result<Bytes, std::io::Error> {
    let stored = item.map_err(std::io::Error::other)?;
    let value = json!({
        "sequence": stored.sequence,
        "stored_at": stored.stored_at.to_string(),
        "commit": stored.commit,
    });
    let mut text = serde_json::to_vec(&value).map_err(std::io::Error::other)?;
    text.push(b'\n');
    Ok(Bytes::from(text))
}

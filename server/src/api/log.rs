//! The ledger itself as JSON lines: one line per commit, from any sequence, optionally live.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use rollbook_ledger::journal::{
    Journal, JournalError, ReadFrom, ServerReport, StoredCommit, expected,
};
use serde::Deserialize;

use super::followers::holding;
use super::{Api, ApiError};
use crate::live::{FeedError, Line, line};

/// Which part of the log.
#[derive(Debug, Deserialize)]
pub(super) struct LogQuery {
    /// Start after this sequence.
    #[serde(default)]
    after: u64,
    /// At most this many commits; absent: all.
    limit: Option<u64>,
    /// Keep the connection open and deliver new commits as they are stored.
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
    let limit = usize::try_from(query.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson")];
    if query.after > last {
        return Err(beyond_end(last, query.after));
    }
    if query.follow {
        let lines = followed(api, query)?.take(limit);
        return Ok((headers, Body::from_stream(lines)).into_response());
    }
    if query.after == last {
        return Ok((headers, Body::empty()).into_response());
    }
    let place = api.followers.place()?;
    let lines = stored(&api, query.after, last).await?;
    let lines = lines
        .filter(move |item| {
            let wanted = match (&query.aggregate, item) {
                (Some(id), Ok(line)) => *line.aggregate_id == **id,
                _ => true,
            };
            std::future::ready(wanted)
        })
        .take(limit)
        .map(|item| Ok::<Bytes, Infallible>(item.map_or_else(ended, |line| line.bytes)));
    Ok((headers, Body::from_stream(holding(lines, place))).into_response())
}

/// Refuses what would follow something beyond the end of the ledger.
pub(super) fn beyond_end(last: u64, after: impl std::fmt::Display) -> ApiError {
    ApiError::usage(
        "RB-API-22",
        format!(
            "the ledger ends at sequence {last}, so nothing follows {after} yet; follow after {last} or less"
        ),
    )
}

/// The commits after one sequence up to another. Ends after an error, which is the last line, as in
/// [`followed`].
async fn stored(
    api: &Api,
    after: u64,
    last: u64,
) -> Result<impl Stream<Item = Result<Line, FeedError>> + Send + use<>, ApiError> {
    let journal = Arc::clone(api.handler.journal());
    let commits = journal.follow(ReadFrom { after }).await?;
    let from = Some((journal, commits, after));
    Ok(stream::unfold(from, move |state| async move {
        let (journal, mut commits, at) = state.filter(|(_, _, at)| *at < last)?;
        match next_line(&*journal, &mut commits, at + 1).await {
            Ok(line) => {
                let at = line.sequence;
                Some((Ok(line), Some((journal, commits, at))))
            }
            Err(error) => Some((Err(error), None)),
        }
    }))
}

async fn next_line(
    journal: &dyn Journal,
    commits: &mut BoxStream<'static, Result<StoredCommit, JournalError>>,
    sequence: u64,
) -> Result<Line, FeedError> {
    match expected(journal, sequence, commits.next()).await? {
        Some(commit) => line(&commit?),
        None => Err(FeedError::Stopping {
            after: sequence - 1,
        }),
    }
}

/// The commits after a sequence, then new ones. A last line with `code`, `message` and `class` says
/// why it ends.
fn followed(
    api: Api,
    query: LogQuery,
) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + Send, ApiError> {
    let place = api.followers.place()?;
    let pages = stream::unfold(Some(query.after), move |after| {
        let feed = api.live.feed.clone();
        async move {
            match feed.next(after?).await {
                Ok(lines) => {
                    let last = lines.last().map(|line| line.sequence);
                    Some((Ok(lines), last))
                }
                Err(error) => Some((Err(error), None)),
            }
        }
    });
    let lines = pages.flat_map(move |page| {
        let lines: Vec<Bytes> = match page {
            Ok(lines) => lines
                .into_iter()
                .filter(|line| match &query.aggregate {
                    Some(id) => *line.aggregate_id == **id,
                    None => true,
                })
                .map(|line| line.bytes)
                .collect(),
            Err(error) => vec![ended(error)],
        };
        stream::iter(lines.into_iter().map(Ok))
    });
    Ok(holding(lines, place))
}

fn ended(error: FeedError) -> Bytes {
    let error = ApiError::from_feed(&error);
    let mut line = serde_json::to_vec(error.body()).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// The server and its stream: version, sync setting, replicas, gaps.
pub(super) async fn ledger(State(api): State<Api>) -> Result<Json<ServerReport>, ApiError> {
    Ok(Json(api.reports.report().await?))
}

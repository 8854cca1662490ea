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
use super::log_filter::LogFilter;
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
}

pub(super) async fn log(
    State(api): State<Api>,
    Query(query): Query<LogQuery>,
    Query(conditions): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let filter = Arc::new(LogFilter::of(&conditions)?);
    let last = api.handler.journal().last_sequence().await?;
    let limit = usize::try_from(query.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson")];
    if query.after > last {
        return Err(beyond_end(last, query.after));
    }
    if query.follow {
        let lines = followed(api, query.after, filter)?.take(limit);
        return Ok((headers, Body::from_stream(lines)).into_response());
    }
    if query.after == last {
        return Ok((headers, Body::empty()).into_response());
    }
    let place = api.followers.place()?;
    let lines = stored(&api, query.after, last).await?;
    let lines = lines.filter_map(move |item| {
        let (filter, api) = (Arc::clone(&filter), api.clone());
        async move { wanted(item, &filter, &api).await }
    });
    let lines = until_error(lines).take(limit).map(Ok::<Bytes, Infallible>);
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
                let at = line.commit.sequence;
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
        Some(commit) => line(&Arc::new(commit?)),
        None => Err(FeedError::Stopping {
            after: sequence - 1,
        }),
    }
}

/// The commits after a sequence, then new ones. A last line with `code`, `message` and `class` says
/// why it ends.
fn followed(
    api: Api,
    after: u64,
    filter: Arc<LogFilter>,
) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + Send, ApiError> {
    let place = api.followers.place()?;
    let feed = api.live.feed.clone();
    let pages = stream::unfold(Some(after), move |after| {
        let feed = feed.clone();
        async move {
            match feed.next(after?).await {
                Ok(lines) => {
                    let last = lines.last().map(|line| line.commit.sequence);
                    Some((Ok(lines), last))
                }
                Err(error) => Some((Err(error), None)),
            }
        }
    });
    let lines = pages
        .flat_map(|page| {
            let items: Vec<Result<Line, FeedError>> = match page {
                Ok(lines) => lines.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            stream::iter(items)
        })
        .filter_map(move |item| {
            let (filter, api) = (Arc::clone(&filter), api.clone());
            async move { wanted(item, &filter, &api).await }
        });
    let lines = until_error(lines).map(Ok);
    Ok(holding(lines, place))
}

/// The bytes of a line that the filter wants, or of the error that ends the answer.
async fn wanted(
    item: Result<Line, FeedError>,
    filter: &LogFilter,
    api: &Api,
) -> Option<Result<Bytes, Bytes>> {
    let line = match item {
        Ok(line) => line,
        Err(error) => return Some(Err(ended(error))),
    };
    match filter.wants(&line.commit, api).await {
        Ok(true) => Some(Ok(line.bytes)),
        Ok(false) => None,
        Err(error) => Some(Err(ended(error))),
    }
}

/// The lines up to an error, with it: what comes after a line that is missing must not follow.
fn until_error(
    lines: impl Stream<Item = Result<Bytes, Bytes>> + Send,
) -> impl Stream<Item = Bytes> + Send {
    lines.scan(false, |is_over, line| {
        let next = (!*is_over).then(|| line.clone().unwrap_or_else(|error| error));
        *is_over |= line.is_err();
        std::future::ready(next)
    })
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

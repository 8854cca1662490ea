//! Environments, and their proposed terms that wait for another person.

use axum::Json;
use axum::extract::{Path, Query, State};
use rollbook_ledger::environment::{EnvironmentCommand, EnvironmentState, difference};
use rollbook_ledger::ids::EnvironmentId;
use rollbook_ledger::projection::rows::{EnvironmentRow, RequestRow};
use rollbook_ledger::projection::views::{RequestFilter, ViewAnswer};
use rollbook_proto::v1;
use serde::{Deserialize, Serialize};

use super::{Api, ApiError, RequestCaller, Sent, missing};

/// An environment as of its last commit.
#[derive(Debug, Serialize)]
pub(super) struct EnvironmentAnswer {
    sequence: u64,
    /// What the proposed terms change, one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    difference: Vec<String>,
    environment: EnvironmentState,
}

/// The result of an environment command.
#[derive(Debug, Serialize, Deserialize)]
pub struct EnvironmentCommandAnswer {
    /// The environment.
    pub environment: EnvironmentId,
    /// Sequence at which it is recorded.
    pub sequence: u64,
    /// The recorded events.
    pub events: Vec<v1::Event>,
}

pub(super) async fn list(
    State(api): State<Api>,
) -> Result<Json<ViewAnswer<Vec<EnvironmentRow>>>, ApiError> {
    let answer = api.views.environments().await?;
    let lag = api.lag().await;
    Ok(Json(ViewAnswer { lag, ..answer }))
}

pub(super) async fn show(
    State(api): State<Api>,
    Path(name): Path<EnvironmentId>,
) -> Result<Json<EnvironmentAnswer>, ApiError> {
    let Some(environment) = api.handler.environment(&name).await? else {
        let meant = api.environment_meant(&name).await;
        return Err(missing(format!("a record of environment {name}"), meant));
    };
    let difference = environment
        .pending
        .as_ref()
        .map_or_else(Vec::new, |pending| {
            difference(&environment.terms, &pending.terms)
        });
    Ok(Json(EnvironmentAnswer {
        sequence: environment.sequence,
        difference,
        environment: (*environment).clone(),
    }))
}

pub(super) async fn command(
    State(api): State<Api>,
    Path(name): Path<EnvironmentId>,
    who: RequestCaller,
    sent: Sent<EnvironmentCommand>,
) -> Result<Json<EnvironmentCommandAnswer>, ApiError> {
    let (command, caller) = sent.by(who);
    let done = api
        .handler
        .environment_request(&name, &command, &caller)
        .await?;
    api.await_views(done.sequence).await;
    Ok(Json(EnvironmentCommandAnswer {
        environment: name,
        sequence: done.sequence,
        events: done.events,
    }))
}

pub(super) async fn requests(
    State(api): State<Api>,
    Query(filter): Query<RequestFilter>,
) -> Result<Json<ViewAnswer<Vec<RequestRow>>>, ApiError> {
    let answer = api.views.requests(&filter).await?;
    let lag = api.lag().await;
    Ok(Json(ViewAnswer { lag, ..answer }))
}

//! One flag: its state from the ledger, and commands to it.

use axum::Json;
use axum::extract::{Path, State};
use rollbook_ledger::flag::{EvaluationContext, FlagCommand, FlagRefusal, FlagState, evaluate};
use rollbook_ledger::handler::HandlerError;
use rollbook_ledger::ids::{EnvironmentId, FlagKey};
use rollbook_proto::v1;
use serde::Serialize;

use super::{Api, ApiError, RequestCaller, Sent};

/// A flag as of its last commit.
#[derive(Debug, Serialize)]
pub(super) struct FlagAnswer {
    sequence: u64,
    /// Whether a context without key and labels gets the new path; absent if that depends on them.
    value: Option<bool>,
    flag: FlagState,
}

/// The result of a flag command.
#[derive(Debug, Serialize)]
pub(super) struct FlagCommandAnswer {
    sequence: u64,
    events: Vec<v1::Event>,
    /// The command was applied before; this is its original result.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repeated: bool,
}

pub(super) async fn get_flag(
    State(api): State<Api>,
    Path((environment, key)): Path<(EnvironmentId, FlagKey)>,
) -> Result<Json<FlagAnswer>, ApiError> {
    let (flag, sequence) = api.known_flag(&environment, &key).await?;
    let anyone = EvaluationContext {
        targeting_key: None,
        labels: &[],
    };
    let value = evaluate(&flag, &anyone).ok().map(|found| found.value);
    Ok(Json(FlagAnswer {
        sequence,
        value,
        flag,
    }))
}

pub(super) async fn command(
    State(api): State<Api>,
    Path((environment, key)): Path<(EnvironmentId, FlagKey)>,
    who: RequestCaller,
    sent: Sent<FlagCommand>,
) -> Result<Json<FlagCommandAnswer>, ApiError> {
    let (command, caller) = sent.by(who);
    let done = api
        .handler
        .flag_request(&environment, &key, &command, &caller)
        .await;
    let done = match done {
        Err(error @ HandlerError::FlagRefused(FlagRefusal::NotDefined { .. })) => {
            let meant = api.flag_meant(&environment, &key).await;
            return Err(ApiError::from(error).with_meant(meant));
        }
        done => done?,
    };
    api.await_views(done.sequence).await;
    Ok(Json(FlagCommandAnswer {
        sequence: done.sequence,
        events: done.events,
        repeated: done.repeated,
    }))
}

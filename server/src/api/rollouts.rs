//! Opens, commands and shows a rollout.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use rollbook_ledger::handler::HandlerError;
use rollbook_ledger::ids::{EnvironmentId, RolloutId};
use rollbook_ledger::journal::SyncKnown;
use rollbook_ledger::projection::views::{RolloutDetail, ViewAnswer};
use rollbook_ledger::rollout::{self, Blocked, Command, Open, Request};
use rollbook_ledger::runbook::Plan;
use rollbook_proto::v1;
use rollbook_workers::executor::StepProgress;
use serde::{Deserialize, Serialize};

use super::{Api, ApiError, RequestCaller, Sent, gates, progress};
use crate::command_line;

/// Warning when a rollout is opened and it is unknown whether acknowledged means synced.
const UNKNOWN_SYNC: &str = "{environment} is protected, and whether the NATS server syncs every write is not known: see that `sync_interval: always` is set, or let the server ask with `serve --nats-system`";

/// The request that opens a rollout.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenBody {
    /// Id of the new rollout; if absent, derived from the name of the runbook and the command id,
    /// so that a repeated command means the same rollout.
    #[serde(default)]
    pub id: Option<RolloutId>,
    /// Name for people.
    #[serde(default)]
    pub name: String,
    /// The plan with parameters substituted and scripts inlined.
    pub plan: serde_json::Value,
    /// Where it runs.
    pub environment: EnvironmentId,
    /// The parameters the plan was loaded with.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
}

/// The result of a command.
#[derive(Debug, Serialize, Deserialize)]
pub struct CommandAnswer {
    /// The rollout.
    pub rollout: RolloutId,
    /// Sequence at which it is recorded.
    pub sequence: u64,
    /// The recorded events.
    pub events: Vec<v1::Event>,
    /// The command was applied before; this is its original result.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeated: bool,
    /// What the caller should know although the command succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What is blocked, and the command line that unblocks it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockedAnswer {
    /// What, why, who, and by which commands.
    #[serde(flatten)]
    pub blocked: Blocked,
    /// `remedies` as typed, with `   or: ` between them.
    pub how: Option<String>,
}

impl From<Blocked> for BlockedAnswer {
    fn from(blocked: Blocked) -> Self {
        Self {
            how: command_line::command_lines(&blocked.remedies),
            blocked,
        }
    }
}

/// The current state of a rollout, with what is blocked and why.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// The view.
    #[serde(flatten)]
    pub view: ViewAnswer<RolloutDetail>,
    /// What is blocked, why, and who can unblock it; from the ledger itself, not from views.
    pub blocked: Vec<BlockedAnswer>,
    /// Steps that are queued for workers or running.
    pub next: Vec<String>,
    /// Something is due that will be recorded without a person (a failure starts a rollback, a gate
    /// passes): the state shown is about to change.
    #[serde(default)]
    pub due: bool,
    /// Progress of the running `snapshot` and `compare` steps; for display, not on the record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub progress: Vec<StepProgress>,
}

pub(super) async fn open(
    State(api): State<Api>,
    who: RequestCaller,
    sent: Sent<OpenBody>,
) -> Result<impl IntoResponse, ApiError> {
    let (body, caller) = sent.by(who);
    let bytes = serde_json::to_vec(&body.plan).map_err(HandlerError::from)?;
    let plan = Plan::from_canonical(&bytes).map_err(HandlerError::from)?;
    let id = match body.id {
        Some(id) => id,
        None => RolloutId::generate(&plan.runbook().metadata.name, &caller.command_id),
    };
    let stored = api.handler.store_plan(&plan).await?;
    let open = Open {
        name: body.name,
        plan: stored,
        environment: body.environment,
        params: body.params,
    };
    let opened = api.handler.open(&id, &open, &caller).await?;
    let done = opened.done;
    api.await_views(done.sequence).await;
    let protected = done.events.iter().any(|event| {
        matches!(&event.kind, Some(v1::event::Kind::RolloutOpened(opened)) if opened.protected)
    });
    let warning = || UNKNOWN_SYNC.replace("{environment}", open.environment.as_str());
    let is_unknown = api.handler.journal().sync() == SyncKnown::Unknown;
    let answer = CommandAnswer {
        rollout: id,
        sequence: done.sequence,
        events: done.events,
        repeated: done.repeated,
        warnings: (protected && is_unknown)
            .then(warning)
            .into_iter()
            .chain(opened.recorded.iter().map(|name| {
                format!(
                    "environment {name} is recorded as protected, with the roles of this runbook: {}; change that with `rollbook environment set {name}`",
                    roles_of(&plan)
                )
            }))
            .collect(),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// The roles of a plan and their persons.
fn roles_of(plan: &Plan) -> String {
    let roles = plan.runbook().roles.iter();
    let texts: Vec<String> = roles
        .map(|(role, persons)| format!("{role}: {}", persons.join(" or ")))
        .collect();
    texts.join("; ")
}

pub(super) async fn command(
    State(api): State<Api>,
    Path(id): Path<RolloutId>,
    who: RequestCaller,
    sent: Sent<Command>,
) -> Result<Json<CommandAnswer>, ApiError> {
    let (command, caller) = sent.by(who);
    if let Command::Approve { gate, .. } = command.inner() {
        let loaded = api.handler.rollout(&id).await?;
        gates::check_evidence(&api, &loaded, gate).await?;
    }
    let done = api
        .handler
        .request(&id, &Request::Person(command), &caller)
        .await?;
    api.await_views(done.sequence).await;
    Ok(Json(CommandAnswer {
        rollout: id,
        sequence: done.sequence,
        events: done.events,
        repeated: done.repeated,
        warnings: Vec::new(),
    }))
}

/// The moment that a status is requested for.
#[derive(Debug, Deserialize)]
pub(super) struct StatusQuery {
    /// The views must have reached at least this sequence (read your own write).
    #[serde(default)]
    at_least: u64,
}

pub(super) async fn status(
    State(api): State<Api>,
    Path(id): Path<RolloutId>,
    Query(query): Query<StatusQuery>,
) -> Result<Json<StatusAnswer>, ApiError> {
    let loaded = api.handler.rollout(&id).await?;
    api.await_views(query.at_least.max(loaded.sequence)).await;
    let view = api.views.rollout(id.as_str()).await?;
    let lag = api.lag().await;
    let Some(detail) = view.data else {
        return Err(ApiError::unavailable(
            "RB-API-4",
            format!("rollout {id} is on the ledger but not yet in the views; ask again"),
        ));
    };
    let next = rollout::next(&loaded.state, &loaded.plan, api.handler.now());
    let progress = progress::of_running(&api, &id, &loaded).await;
    Ok(Json(StatusAnswer {
        progress,
        view: ViewAnswer {
            as_of: view.as_of,
            lag,
            data: detail,
        },
        due: next.settle,
        blocked: next.blocked.into_iter().map(BlockedAnswer::from).collect(),
        next: next
            .tasks
            .iter()
            .map(|task| task.step.to_string())
            .collect(),
    }))
}

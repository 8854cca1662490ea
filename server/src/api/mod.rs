//! The HTTP API: commands in, views out. Who calls is asked of the [authenticator](crate::auth).

mod caller;
mod environments;
mod error;
mod events;
mod evidence;
mod flags;
mod fleet;
mod followers;
mod gates;
mod health;
mod host;
mod log;
mod log_filter;
mod meant;
mod metrics;
mod ofrep;
mod output;
mod plans;
mod progress;
mod proof;
mod query;
mod rollback_preview;
mod rollouts;
mod trace;
mod until;
mod views;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::middleware::{from_fn, map_response, map_response_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use jiff::Timestamp;
use rollbook_ledger::flag::FlagState;
use rollbook_ledger::handler::{Handler, HandlerError};
use rollbook_ledger::ids::{EnvironmentId, FlagKey, LedgerId, RolloutId, StepId};
use rollbook_ledger::journal::ReportSource;
use rollbook_ledger::projection::projector::Waiter;
use rollbook_ledger::projection::replay::PastViews;
use rollbook_ledger::projection::store::ViewStore;
use rollbook_ledger::suggestion::did_you_mean;
use rollbook_workers::fleet::presence::FleetPresence;

use crate::alarm::Alarm;
use crate::auth::Authenticator;
use crate::live::Live;
use crate::orchestrator::Liveness;
pub use caller::{COMMAND_HEADER, MAX_COMMAND_ID_BYTES, is_command_id};
pub(crate) use caller::{RequestCaller, Sent};
pub(crate) use error::PublicMessage;

pub use environments::EnvironmentCommandAnswer;
pub use error::{ApiError, ErrorBody, ErrorClass};
pub use fleet::FleetAnswer;
pub use followers::Followers;
pub use gates::GateAnswer;
pub use health::{HealthCheck, HealthMemory, HealthReport};
pub use plans::{DifferenceAnswer, DifferenceKind, PartDifference};
pub use proof::ProofAnswer;
pub use rollback_preview::RollbackAnswer;
pub use rollouts::{BlockedAnswer, CommandAnswer, OpenBody, StatusAnswer};

/// The largest request body, in bytes: large enough for a plan with its scripts inlined.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// How long a command waits for the views to catch up before it responds without them.
const VIEW_WAIT: Duration = Duration::from_secs(5);

/// The dependencies of the API. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Api {
    /// Identifies who makes a request.
    pub authenticator: Arc<dyn Authenticator>,
    /// Decides and records commands.
    pub handler: Handler,
    /// Answers queries.
    pub views: Arc<dyn ViewStore>,
    /// Answers queries about earlier moments.
    pub past: PastViews,
    /// How far the views have caught up.
    pub applied: Waiter,
    /// Which workers are present.
    pub fleet: Arc<dyn FleetPresence>,
    /// The ledger served.
    pub ledger: LedgerId,
    /// Reports on the server behind the ledger.
    pub reports: Arc<dyn ReportSource>,
    /// New commits and signals of running steps, read once for all followers.
    pub live: Live,
    /// Slots for followers.
    pub followers: Followers,
    /// Liveness of the orchestrator.
    pub liveness: Liveness,
    /// When the server started.
    pub started_at: Timestamp,
    /// The last health result.
    pub health: HealthMemory,
    /// Where damage of the views is reported.
    pub alarm: Alarm,
    /// That the views were found damaged and were rebuilt, and when.
    pub rebuilt: Option<String>,
}

impl Api {
    /// Waits (bounded) until the views reach a sequence, so that callers read their own writes.
    async fn await_views(&self, sequence: u64) {
        // `as_of` reveals a view that is behind; the command itself is recorded.
        let _caught_up = self.applied.wait_for(sequence, VIEW_WAIT).await;
    }

    /// Refuses a rollout or step that the ledger does not know.
    async fn known_step(&self, rollout: &RolloutId, step: &StepId) -> Result<(), ApiError> {
        let loaded = self.handler.rollout(rollout).await?;
        match loaded.state.step(step) {
            Some(_) => Ok(()),
            None => {
                let meant =
                    did_you_mean(step.as_str(), loaded.state.steps.keys().map(StepId::as_str));
                let what = format!("step {step} of rollout {rollout}");
                Err(missing(what, meant))
            }
        }
    }

    /// A flag and the sequence of its last commit; refuses a flag that the ledger does not know.
    async fn known_flag(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
    ) -> Result<(FlagState, u64), ApiError> {
        let found = self.handler.flag(environment, key).await?;
        match found {
            Some(found) => Ok(found),
            None => {
                let meant = self.flag_meant(environment, key).await;
                Err(missing(format!("flag {key} in {environment}"), meant))
            }
        }
    }

    /// How many commits the views are known to lag.
    async fn lag(&self) -> Option<u64> {
        let last = self.handler.journal().last_sequence().await.ok()?;
        Some(last.saturating_sub(self.applied.applied().sequence))
    }
}

/// Raises the alarm, whichever query met the damage.
async fn note_damage(State(alarm): State<Alarm>, response: Response) -> Response {
    if let Some(error::DamagedViews(reason)) = response.extensions().get() {
        alarm.raise(reason);
    }
    response
}

/// Refuses what the ledger does not know, with what may be meant by it.
fn missing(what: String, meant: Option<String>) -> ApiError {
    HandlerError::NotFound { what, meant }.into()
}

/// All routes.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/health", get(health::health))
        .route("/metrics", get(metrics::metrics))
        .route("/v1/rollouts", get(views::rollouts).post(rollouts::open))
        .route("/v1/rollouts/{id}", get(rollouts::status))
        .route("/v1/rollouts/{id}/commands", post(rollouts::command))
        .route("/v1/rollouts/{id}/gates/{gate}", get(gates::gate))
        .route("/v1/rollouts/{id}/proof", get(proof::proof))
        .route("/v1/rollouts/{id}/plan", get(plans::plan))
        .route("/v1/rollouts/{id}/difference", get(plans::difference))
        .route(
            "/v1/rollouts/{id}/rollback/{level}",
            get(rollback_preview::list),
        )
        .route("/v1/rollouts/{id}/progress", get(progress::progress))
        .route("/v1/rollouts/{id}/timeline", get(views::timeline))
        .route("/v1/rollouts/{id}/steps/{step}/output", get(output::output))
        .route(
            "/v1/rollouts/{id}/steps/{step}/measurements",
            get(views::measurements),
        )
        .route("/v1/flags", get(views::flags))
        .route("/v1/flags/{environment}/{key}", get(flags::get_flag))
        .route(
            "/v1/flags/{environment}/{key}/history",
            get(views::flag_history),
        )
        .route(
            "/v1/flags/{environment}/{key}/commands",
            post(flags::command),
        )
        .route("/v1/environments", get(environments::list))
        .route("/v1/environments/{name}", get(environments::show))
        .route(
            "/v1/environments/{name}/commands",
            post(environments::command),
        )
        .route("/v1/requests", get(environments::requests))
        .route("/v1/fleet", get(fleet::fleet))
        .route("/v1/snapshots", get(views::snapshots))
        .route("/v1/comparisons", get(views::comparisons))
        .route("/v1/regressions", get(views::regressions))
        .route("/v1/audits", get(views::audits))
        .route("/v1/alerts", get(views::alerts))
        .route("/v1/anomalies", get(views::anomalies))
        .route("/v1/log", get(log::log))
        .route("/v1/events", get(events::events))
        .route("/v1/ledger", get(log::ledger))
        .route("/v1/evidence", post(evidence::put))
        .route("/v1/evidence/{sha256}", get(evidence::get))
        .route("/ofrep/v1/evaluate/flags/{key}", post(ofrep::evaluate))
        .route("/ofrep/v1/evaluate/flags", post(ofrep::evaluate_all))
        .route("/ofrep/v1/evaluate/flags/", post(ofrep::evaluate_all))
        .layer(from_fn(query::known))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(map_response(error::with_code))
        .layer(map_response_with_state(api.alarm.clone(), note_damage))
        .layer(from_fn(host::own))
        .layer(from_fn(trace::traced))
        .with_state(api)
}

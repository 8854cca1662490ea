//! What can go wrong in the service, and what the client and the process say about it.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// Every message starts with a stable code. Nothing here carries a database URL: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Start only: the database URL names no database that we speak.
    #[error("RB-COST-1: the database URL must start with postgres:// or sqlite: ({0})")]
    DatabaseUrl(String),
    /// The database did not answer, or refused. Retryable by the client.
    #[error("RB-COST-2: the deals database failed to {doing}: {source}")]
    Database {
        /// What the service was doing.
        doing: &'static str,
        /// The driver's reason.
        source: sqlx::Error,
    },
    /// Start only: the model file is unreadable or invalid.
    #[error(
        "RB-COST-3: the model file {path} is not usable: {reason}; write it with the fields of the built-in model"
    )]
    Model {
        /// The file.
        path: String,
        /// Why, with its line where known.
        reason: String,
    },
    /// Start only: the address cannot be bound.
    #[error("RB-COST-4: cannot listen on {address}: {source}; choose another --listen")]
    Listen {
        /// The wanted address.
        address: std::net::SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// No deal has this id, or it was deleted.
    #[error("RB-COST-5: there is no deal {0}")]
    NoDeal(String),
    /// The client sent something invalid.
    #[error("RB-COST-6: {0}")]
    Invalid(String),
    /// The stored deal cannot be computed; other deals are not affected.
    #[error("RB-COST-7: the costs of deal {deal_id} cannot be computed: {reason}")]
    Compute {
        /// The deal.
        deal_id: String,
        /// Item and field where known.
        reason: String,
    },
    /// More requests at once than the service takes. Retryable by the client.
    #[error("RB-COST-8: too many requests at once; repeat after a second")]
    Busy,
    /// The request took longer than the service allows. Retryable by the client.
    #[error(
        "RB-COST-9: the request took longer than {0} ms; repeat it, and look at /health if that persists"
    )]
    TooSlow(u128),
    /// `check` only: the service under test did not answer as HTTP and JSON.
    #[error("RB-COST-10: {url} did not answer: {reason}; is the service running there?")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why.
        reason: String,
    },
    /// The HTTP client or the signal handler cannot be set up.
    #[error("RB-COST-11: cannot start: {0}")]
    Start(String),
}

impl Error {
    /// The process's exit code: 2 for invalid input of the person, 7 for what is unavailable.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Error::DatabaseUrl(_) | Error::Model { .. } | Error::Invalid(_) => 2,
            _ => 7,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Error::NoDeal(_) => StatusCode::NOT_FOUND,
            Error::Invalid(_) => StatusCode::BAD_REQUEST,
            Error::Compute { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Error::Database { .. } | Error::Busy | Error::TooSlow(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        // The driver's reason is for the operator; the client learns that the database failed.
        let public = match &self {
            Error::Database { doing, .. } => {
                format!("RB-COST-2: the deals database failed to {doing}")
            }
            other => other.to_string(),
        };
        if self.status().is_server_error() {
            eprintln!("cost-service: {self}");
        }
        (self.status(), Json(serde_json::json!({ "error": public }))).into_response()
    }
}

//! Errors as the client sees them: a stable code, a message, a class.

use axum::Json;
use axum::body::to_bytes;
use axum::http::StatusCode;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use rollbook_ledger::error_code::{Coded, ErrorCode};
use rollbook_ledger::evidence::{EvidenceError, without_paths};
use rollbook_ledger::handler::HandlerError;
use rollbook_ledger::journal::JournalError;
use rollbook_ledger::projection::store::ViewError;
use rollbook_ledger::rollout::{RefusalKind, Remedy};
use serde::{Deserialize, Serialize};

use crate::auth::AuthError;
use crate::command_line;
use crate::live::FeedError;

/// The longest reason copied from the framework, in bytes.
const MAX_REASON_BYTES: usize = 16 * 1024;

/// The kind of failure; clients map it to exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The request is wrong.
    Usage,
    /// A rule refuses it in the current state.
    Refused,
    /// A policy (role, four eyes, window) refuses it.
    Policy,
    /// Stored history or evidence is damaged.
    Integrity,
    /// A dependency is unreachable; the same request may be repeated.
    Unavailable,
}

/// The body of every error response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Stable code, `RB-…`; the message starts with it.
    pub code: ErrorCode,
    /// What was wrong, where, and what to do.
    pub message: String,
    /// Kind of failure.
    pub class: ErrorClass,
    /// The command may have been recorded: the ledger could not be asked. Repeat it under its id.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
    /// The findings about a plan, each with its rule and position; see `rollbook lint --json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<serde_json::Value>,
    /// The commands that help, the best first; any one of them does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedies: Vec<Remedy>,
    /// `remedies` as typed, with `   or: ` between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
}

/// An error response.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    body: Box<ErrorBody>,
    untold: Box<Untold>,
}

/// Details that the client does not get.
#[derive(Debug, Default)]
struct Untold {
    /// The full text, only for the log of this server: where its files are is nobody else's
    /// business.
    whole: Option<String>,
    /// The views' database is damaged.
    damaged_views: Option<DamagedViews>,
}

/// Attached to a response for the middleware that reports the damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DamagedViews(pub(super) String);

/// The text of an error for clients, without paths on this machine.
pub(crate) trait PublicMessage: std::fmt::Display {
    /// The text for callers.
    fn public_message(&self) -> String;
}

impl PublicMessage for EvidenceError {
    fn public_message(&self) -> String {
        self.without_places().to_string()
    }
}

impl PublicMessage for ViewError {
    fn public_message(&self) -> String {
        match self {
            Self::Location { reason, .. } => Self::Location {
                location: "the database named".to_owned(),
                reason: without_paths(reason),
            }
            .to_string(),
            // The database's words; among our own, only these contain a path.
            error => without_paths(&error.to_string()),
        }
    }
}

impl PublicMessage for JournalError {
    fn public_message(&self) -> String {
        match self {
            // The words of NATS.
            Self::Unavailable { .. } | Self::Refused { .. } => without_paths(&self.to_string()),
            _ => self.to_string(),
        }
    }
}

impl PublicMessage for HandlerError {
    fn public_message(&self) -> String {
        match self {
            Self::Evidence(error) => error.public_message(),
            Self::Journal(error) => error.public_message(),
            // About the request, or about what is on the ledger.
            _ => self.to_string(),
        }
    }
}

impl ApiError {
    /// The request is wrong.
    pub(crate) fn usage(code: &'static str, message: impl std::fmt::Display) -> Self {
        Self::own(StatusCode::BAD_REQUEST, ErrorClass::Usage, code, message)
    }

    /// A policy refuses the request, whatever the state.
    pub(crate) fn policy(code: &'static str, message: impl std::fmt::Display) -> Self {
        Self::own(StatusCode::FORBIDDEN, ErrorClass::Policy, code, message)
    }

    /// Too many requests at the same time; the same request may be repeated.
    pub(crate) fn busy(
        status: StatusCode,
        code: &'static str,
        message: impl std::fmt::Display,
    ) -> Self {
        Self::own(status, ErrorClass::Unavailable, code, message)
    }

    /// Stored history or evidence is damaged.
    pub(crate) fn damage(code: &'static str, message: impl std::fmt::Display) -> Self {
        Self::own(
            StatusCode::INTERNAL_SERVER_ERROR,
            ErrorClass::Integrity,
            code,
            message,
        )
    }

    /// An error that knows its code.
    pub(crate) fn unavailable_as(error: impl Coded + std::fmt::Display) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorClass::Unavailable,
            error.code(),
            error.to_string(),
        )
    }

    /// Why a follower is closed.
    pub(crate) fn from_feed(error: &FeedError) -> Self {
        match error {
            FeedError::Journal(error) => {
                let (status, class) = journal_class(error);
                Self::of(status, class, error)
            }
            FeedError::View(error) => Self::of(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorClass::Unavailable,
                error,
            ),
            error => Self::unavailable_as(error),
        }
    }

    /// The same, with which name may be meant, as a question.
    pub(crate) fn with_meant(mut self, meant: Option<String>) -> Self {
        if let Some(meant) = meant {
            self.body.message.push_str("; ");
            self.body.message.push_str(&meant);
        }
        self
    }

    /// Splits an error into what the client gets and what is logged.
    fn of(status: StatusCode, class: ErrorClass, error: &(impl Coded + PublicMessage)) -> Self {
        let whole = error.to_string();
        let mut answer = Self::new(status, class, error.code(), error.public_message());
        if answer.body.message != whole {
            answer.untold.whole = Some(whole);
        }
        answer
    }

    /// What the client gets.
    pub(crate) fn body(&self) -> &ErrorBody {
        &self.body
    }

    pub(crate) fn unavailable(code: &'static str, message: impl std::fmt::Display) -> Self {
        Self::own(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorClass::Unavailable,
            code,
            message,
        )
    }

    /// A failure that only the API has; `text` does not repeat the code.
    fn own(
        status: StatusCode,
        class: ErrorClass,
        code: &'static str,
        text: impl std::fmt::Display,
    ) -> Self {
        let message = format!("{code}: {text}");
        Self::new(status, class, ErrorCode::new(code), message)
    }

    fn new(status: StatusCode, class: ErrorClass, code: ErrorCode, message: String) -> Self {
        Self {
            status,
            body: Box::new(ErrorBody {
                code,
                message,
                class,
                unknown: false,
                diagnostics: None,
                remedies: Vec::new(),
                how: None,
            }),
            untold: Box::default(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            let message = self.untold.whole.as_ref().unwrap_or(&self.body.message);
            tracing::warn!(code = %self.body.code, %message, "request failed");
        }
        let mut response = (self.status, Json(self.body)).into_response();
        if let Some(damaged) = self.untold.damaged_views {
            response.extensions_mut().insert(damaged);
        }
        response
    }
}

/// Gives responses refused before a handler saw them (an unknown path, a body that does not parse)
/// the body that every error has.
pub(super) async fn with_code(response: Response) -> Response {
    let status = response.status();
    let refused = status.is_client_error() || status.is_server_error();
    let has_body = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    if !refused || has_body {
        return response;
    }
    let allow = response.headers().get(ALLOW).cloned();
    let reason = to_bytes(response.into_body(), MAX_REASON_BYTES)
        .await
        .unwrap_or_default();
    let class = if status.is_server_error() {
        ErrorClass::Unavailable
    } else {
        ErrorClass::Usage
    };
    let reason = String::from_utf8_lossy(&reason);
    let mut answer = ApiError::own(
        status,
        class,
        "RB-API-8",
        format!("{status}: {reason}").trim_end_matches([':', ' ']),
    )
    .into_response();
    if let Some(allow) = allow {
        answer.headers_mut().insert(ALLOW, allow);
    }
    answer
}

impl From<HandlerError> for ApiError {
    fn from(error: HandlerError) -> Self {
        let (status, class) = match &error {
            HandlerError::Refused(refusal) => refusal_class(refusal.kind()),
            HandlerError::FlagRefused(refusal) => refusal_class(refusal.kind()),
            HandlerError::EnvironmentRefused(refusal) => refusal_class(refusal.kind()),
            HandlerError::FleetRefused(refusal) => refusal_class(refusal.kind()),
            HandlerError::NotFound { .. } | HandlerError::NoSuchRevision { .. } => {
                (StatusCode::NOT_FOUND, ErrorClass::Usage)
            }
            HandlerError::NotSynced { .. } => (StatusCode::FORBIDDEN, ErrorClass::Policy),
            HandlerError::OtherCommand { .. } => (StatusCode::CONFLICT, ErrorClass::Usage),
            HandlerError::PlanRefused(_) => (StatusCode::UNPROCESSABLE_ENTITY, ErrorClass::Usage),
            HandlerError::NoSuchEvidence { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, ErrorClass::Usage)
            }
            HandlerError::Unprintable(_) => (StatusCode::UNPROCESSABLE_ENTITY, ErrorClass::Usage),
            HandlerError::Exists { .. } => (StatusCode::CONFLICT, ErrorClass::Refused),
            HandlerError::Contended(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, ErrorClass::Unavailable)
            }
            HandlerError::EvidenceLost { .. }
            | HandlerError::IllegalHistory(_)
            | HandlerError::IllegalFlagHistory(_)
            | HandlerError::IllegalEnvironmentHistory(_)
            | HandlerError::IllegalWorkerHistory(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, ErrorClass::Integrity)
            }
            HandlerError::Journal(error) => journal_class(error),
            HandlerError::Evidence(error) => evidence_class(error),
            HandlerError::Plan(_) => (StatusCode::UNPROCESSABLE_ENTITY, ErrorClass::Usage),
        };
        let unknown = matches!(
            error,
            HandlerError::Journal(JournalError::Unavailable { .. })
        );
        let mut answer = Self::of(status, class, &error);
        answer.body.unknown = unknown;
        answer.body.remedies = error.remedies();
        answer.body.how = command_line::command_lines(&answer.body.remedies);
        if let HandlerError::PlanRefused(diagnostics) = &error {
            answer.body.diagnostics = serde_json::to_value(diagnostics).ok();
        }
        answer
    }
}

fn refusal_class(kind: RefusalKind) -> (StatusCode, ErrorClass) {
    match kind {
        RefusalKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, ErrorClass::Usage),
        RefusalKind::NotFound => (StatusCode::NOT_FOUND, ErrorClass::Usage),
        RefusalKind::NotNow | RefusalKind::Stale => (StatusCode::CONFLICT, ErrorClass::Refused),
        RefusalKind::NotAllowed => (StatusCode::FORBIDDEN, ErrorClass::Policy),
    }
}

fn journal_class(error: &JournalError) -> (StatusCode, ErrorClass) {
    match error {
        JournalError::Conflict { .. } => (StatusCode::CONFLICT, ErrorClass::Refused),
        JournalError::TooLarge { .. } | JournalError::Malformed { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, ErrorClass::Usage)
        }
        JournalError::Corrupt { .. } => (StatusCode::INTERNAL_SERVER_ERROR, ErrorClass::Integrity),
        _ => (StatusCode::SERVICE_UNAVAILABLE, ErrorClass::Unavailable),
    }
}

fn evidence_class(error: &EvidenceError) -> (StatusCode, ErrorClass) {
    match error {
        EvidenceError::NotFound { .. } => (StatusCode::NOT_FOUND, ErrorClass::Usage),
        EvidenceError::Address { .. } => (StatusCode::BAD_REQUEST, ErrorClass::Usage),
        EvidenceError::Corrupt { .. } => (StatusCode::INTERNAL_SERVER_ERROR, ErrorClass::Integrity),
        _ => (StatusCode::SERVICE_UNAVAILABLE, ErrorClass::Unavailable),
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let (status, class) = match &error {
            AuthError::Unnamed { .. } => (StatusCode::BAD_REQUEST, ErrorClass::Usage),
            AuthError::Unauthenticated { .. } => (StatusCode::UNAUTHORIZED, ErrorClass::Policy),
            AuthError::Unavailable { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, ErrorClass::Unavailable)
            }
        };
        Self::new(status, class, error.code(), error.to_string())
    }
}

impl From<JournalError> for ApiError {
    fn from(error: JournalError) -> Self {
        HandlerError::from(error).into()
    }
}

impl From<EvidenceError> for ApiError {
    fn from(error: EvidenceError) -> Self {
        HandlerError::from(error).into()
    }
}

impl From<ViewError> for ApiError {
    fn from(error: ViewError) -> Self {
        let (status, class) = (StatusCode::SERVICE_UNAVAILABLE, ErrorClass::Unavailable);
        let mut answer = Self::of(status, class, &error);
        if let ViewError::Damaged { reason } = error {
            answer.untold.damaged_views = Some(DamagedViews(reason));
        }
        answer
    }
}

//! Upload and download of evidence by content.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use rollbook_ledger::evidence::EvidenceError;
use serde::Deserialize;

use super::{Api, ApiError, RequestCaller, gates};

/// The name of the bytes.
#[derive(Debug, Deserialize)]
pub(super) struct PutQuery {
    name: String,
}

pub(super) async fn put(
    State(api): State<Api>,
    Query(query): Query<PutQuery>,
    _who: RequestCaller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("application/octet-stream");
    let stored = api
        .handler
        .evidence()
        .put(body, media_type, &query.name)
        .await?;
    Ok((StatusCode::CREATED, Json(stored)))
}

pub(super) async fn get(
    State(api): State<Api>,
    Path(sha256): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let bytes = match api.handler.evidence().get(&sha256).await {
        Ok(bytes) => bytes,
        // The ledger names it, so it was stored once: it is lost, not unknown.
        Err(error @ EvidenceError::NotFound { .. })
            if api.views.names_evidence(&sha256).await? =>
        {
            return Err(gates::lost(error).into());
        }
        Err(error) => return Err(error.into()),
    };
    // Never rendered as a page: evidence is arbitrary command output.
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_DISPOSITION, "attachment"),
    ];
    Ok((headers, bytes))
}

//! Single flag evaluation as OFREP 0.3 has it, so that any OpenFeature SDK can ask.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rollbook_ledger::flag::{self, EvaluationContext};
use rollbook_ledger::ids::{EnvironmentId, FlagKey};
use serde_json::{Value, json};

use super::Api;

/// The environment asked for when the context names none.
const DEFAULT_ENVIRONMENT: &str = "production";

pub(super) async fn evaluate(
    State(api): State<Api>,
    Path(key): Path<String>,
    body: Bytes,
) -> Response {
    let context = match context_of(&body) {
        Ok(context) => context,
        Err(details) => return failure(StatusCode::BAD_REQUEST, &key, "INVALID_CONTEXT", &details),
    };
    let environment = text(&context, "environment").unwrap_or(DEFAULT_ENVIRONMENT);
    let (Ok(environment), Ok(flag_key)) = (EnvironmentId::new(environment), FlagKey::new(&*key))
    else {
        return failure(
            StatusCode::NOT_FOUND,
            &key,
            "FLAG_NOT_FOUND",
            "no such flag",
        );
    };
    let labels = labels_of(&context);
    let asked = EvaluationContext {
        targeting_key: text(&context, "targetingKey"),
        labels: &labels,
    };
    match api.handler.flag(&environment, &flag_key).await {
        Ok(Some((state, _))) => match flag::evaluate(&state, &asked) {
            Ok(found) => Json(json!({
                "key": key,
                "value": found.value,
                "reason": found.reason.as_str(),
                "variant": found.variant,
                "metadata": { "environment": environment.as_str(), "mode": found.mode.as_str_name().to_lowercase() },
            }))
            .into_response(),
            Err(error) => {
                failure(StatusCode::BAD_REQUEST, &key, error.ofrep_code(), &error.to_string())
            }
        },
        Ok(None) => failure(
            StatusCode::NOT_FOUND,
            &key,
            "FLAG_NOT_FOUND",
            &format!("flag {key} is not defined in {environment}"),
        ),
        Err(error) => {
            tracing::warn!(%error, flag = %key, "flag evaluation failed");
            let details = json!({ "errorDetails": "the ledger is not reachable; use the safe value" });
            (StatusCode::INTERNAL_SERVER_ERROR, Json(details)).into_response()
        }
    }
}

/// The context object; an empty body, `{}` and a body without context count as an empty one.
fn context_of(body: &[u8]) -> Result<Value, String> {
    if body.is_empty() {
        return Ok(json!({}));
    }
    let parsed: Value =
        serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
    match parsed.get("context") {
        None if parsed.is_object() => Ok(json!({})),
        Some(context) if context.is_object() => Ok(context.clone()),
        _ => Err("context must be an object".to_owned()),
    }
}

fn text<'a>(context: &'a Value, name: &str) -> Option<&'a str> {
    context.get(name).and_then(Value::as_str)
}

/// Labels as an array or as comma-separated text.
fn labels_of(context: &Value) -> Vec<String> {
    match context.get("labels") {
        Some(Value::Array(labels)) => labels
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        Some(Value::String(labels)) => labels.split(',').map(|l| l.trim().to_owned()).collect(),
        _ => Vec::new(),
    }
}

fn failure(status: StatusCode, key: &str, code: &str, details: &str) -> Response {
    let body = json!({ "key": key, "errorCode": code, "errorDetails": details });
    (status, Json(body)).into_response()
}

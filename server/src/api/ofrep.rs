//! Single flag evaluation according to OFREP 0.3, for any OpenFeature SDK.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rollbook_ledger::flag::{self, EvaluationContext};
use rollbook_ledger::ids::{EnvironmentId, FlagKey};
use serde_json::{Value, json};

use super::Api;

/// The environment if the context names none.
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
    let asked = match Asked::of(&context) {
        Ok(asked) => asked,
        Err(details) => return failure(StatusCode::BAD_REQUEST, &key, "INVALID_CONTEXT", &details),
    };
    let (Ok(environment), Ok(flag_key)) =
        (EnvironmentId::new(asked.environment), FlagKey::new(&*key))
    else {
        return failure(
            StatusCode::NOT_FOUND,
            &key,
            "FLAG_NOT_FOUND",
            "no such flag",
        );
    };
    let asked = EvaluationContext {
        targeting_key: asked.targeting_key,
        labels: &asked.labels,
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

/// The context object; an empty body, `{}` and a body without context are an empty context.
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

/// The parts of a context that evaluation uses. A value of the wrong type is refused: if it were
/// ignored, the answer would be for somebody else, or for production.
#[derive(Debug)]
struct Asked<'a> {
    environment: &'a str,
    targeting_key: Option<&'a str>,
    labels: Vec<String>,
}

impl<'a> Asked<'a> {
    fn of(context: &'a Value) -> Result<Self, String> {
        Ok(Self {
            environment: text(context, "environment")?.unwrap_or(DEFAULT_ENVIRONMENT),
            targeting_key: text(context, "targetingKey")?,
            labels: labels_of(context)?,
        })
    }
}

/// A text; `null` counts as absent.
fn text<'a>(context: &'a Value, name: &str) -> Result<Option<&'a str>, String> {
    match context.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("{name} must be a text, not {}", kind_of(other))),
    }
}

/// Labels as an array or as comma-separated text.
fn labels_of(context: &Value) -> Result<Vec<String>, String> {
    match context.get("labels") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(labels)) => Ok(labels.split(',').map(|l| l.trim().to_owned()).collect()),
        Some(Value::Array(labels)) => labels
            .iter()
            .map(|label| match label {
                Value::String(label) => Ok(label.clone()),
                other => Err(format!("labels must be texts, not {}", kind_of(other))),
            })
            .collect(),
        Some(other) => Err(format!(
            "labels must be an array of texts or one text, not {}",
            kind_of(other)
        )),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn failure(status: StatusCode, key: &str, code: &str, details: &str) -> Response {
    let body = json!({ "key": key, "errorCode": code, "errorDetails": details });
    (status, Json(body)).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_context_of_other_types_is_refused_and_never_taken_for_production() {
        let refused = |context: Value| Asked::of(&context).unwrap_err();
        assert_eq!(
            refused(json!({"environment": 7})),
            "environment must be a text, not a number"
        );
        for (context, name) in [
            (json!({"environment": ["staging"]}), "environment"),
            (json!({"environment": {"name": "staging"}}), "environment"),
            (json!({"environment": false}), "environment"),
            (json!({"targetingKey": 17}), "targetingKey"),
            (json!({"labels": 3}), "labels"),
            (json!({"labels": ["a", 3]}), "labels"),
            (json!({"labels": [null]}), "labels"),
        ] {
            assert!(refused(context.clone()).starts_with(name), "{context}");
        }
        let empty = json!({"environment": null, "labels": null});
        assert_eq!(Asked::of(&empty).unwrap().environment, DEFAULT_ENVIRONMENT);
        let asked = json!({"environment": "staging", "targetingKey": "u", "labels": " a, b"});
        let asked = Asked::of(&asked).unwrap();
        assert_eq!(
            (asked.environment, asked.targeting_key),
            ("staging", Some("u"))
        );
        assert_eq!(asked.labels, ["a", "b"]);
    }
}

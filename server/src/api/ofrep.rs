//! Flag evaluation according to OFREP 0.3, for any OpenFeature SDK: one flag, or all of an
//! environment. Errors have the form of OFREP, not that of the API.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use rollbook_ledger::flag::{self, EvaluationContext, EvaluationError, FlagState};
use rollbook_ledger::ids::{EnvironmentId, FlagKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Api;

/// The environment if the context names none.
const DEFAULT_ENVIRONMENT: &str = "production";
/// The code of a flag that does not exist, or no more.
const NOT_FOUND: &str = "FLAG_NOT_FOUND";

pub(super) async fn evaluate(
    State(api): State<Api>,
    Path(key): Path<String>,
    body: Bytes,
) -> Response {
    let refused = |details: String| {
        let failure = failed(Some(&key), "INVALID_CONTEXT", &details);
        (StatusCode::BAD_REQUEST, Json(failure)).into_response()
    };
    let context = match context_of(&body) {
        Ok(context) => context,
        Err(details) => return refused(details),
    };
    let asked = match Asked::of(&context) {
        Ok(asked) => asked,
        Err(details) => return refused(details),
    };
    let unknown = |details: &str| {
        let failure = failed(Some(&key), NOT_FOUND, details);
        (StatusCode::NOT_FOUND, Json(failure)).into_response()
    };
    let (Ok(environment), Ok(flag_key)) =
        (EnvironmentId::new(asked.environment), FlagKey::new(&*key))
    else {
        return unknown("no such flag");
    };
    match api.handler.flag(&environment, &flag_key).await {
        Ok(Some((state, _))) => match evaluated(&state, &environment, &asked) {
            Ok(found) => Json(found).into_response(),
            Err(error) => {
                let code = error.ofrep_code();
                let status = match code {
                    NOT_FOUND => StatusCode::NOT_FOUND,
                    _ => StatusCode::BAD_REQUEST,
                };
                let failure = failed(Some(&key), code, &error.to_string());
                (status, Json(failure)).into_response()
            }
        },
        // An application may ask for a flag that is missing thousands of times a second, so nothing
        // is searched for one that may be meant.
        Ok(None) => unknown(&format!("flag {key} is not defined in {environment}")),
        Err(error) => unreachable(&error, &key),
    }
}

/// Evaluates every flag of an environment that is not archived. The `ETag` covers the whole body,
/// and so the context: equal configuration with another context is another answer.
pub(super) async fn evaluate_all(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let refused = |details: String| {
        let failure = failed(None, "INVALID_CONTEXT", &details);
        (StatusCode::BAD_REQUEST, Json(failure)).into_response()
    };
    let context = match context_of(&body) {
        Ok(context) => context,
        Err(details) => return refused(details),
    };
    let asked = match Asked::of(&context) {
        Ok(asked) => asked,
        Err(details) => return refused(details),
    };
    let environment = match EnvironmentId::new(asked.environment) {
        Ok(environment) => environment,
        Err(error) => return refused(error.to_string()),
    };
    let mut flags = Vec::new();
    let mut keys = match api.views.flags(Some(environment.as_str())).await {
        Ok(listed) => listed.data,
        Err(error) => return unreachable(&error, "all"),
    };
    keys.sort_by(|one, other| one.key.cmp(&other.key));
    for row in keys {
        let Ok(key) = FlagKey::new(&*row.key) else {
            continue;
        };
        match api.handler.flag(&environment, &key).await {
            Ok(Some((state, _))) => match evaluated(&state, &environment, &asked) {
                Ok(found) => flags.push(found),
                Err(EvaluationError::Archived { .. }) => {}
                Err(error) => {
                    flags.push(failed(
                        Some(&row.key),
                        error.ofrep_code(),
                        &error.to_string(),
                    ));
                }
            },
            Ok(None) => {}
            Err(error) => return unreachable(&error, &row.key),
        }
    }
    let body = json!({ "flags": flags }).to_string();
    let tag = format!("\"{}\"", hex::encode(Sha256::digest(body.as_bytes())));
    if is_known(&headers, &tag) {
        return (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response();
    }
    let headers = [(CONTENT_TYPE, "application/json".to_owned()), (ETAG, tag)];
    (headers, body).into_response()
}

/// Whether the client has the answer with this tag.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let given = headers.get_all(IF_NONE_MATCH).iter();
    given
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| {
            let known = known.strip_prefix("W/").unwrap_or(known);
            known == "*" || known.trim_matches('"') == tag.trim_matches('"')
        })
}

fn evaluated(
    state: &FlagState,
    environment: &EnvironmentId,
    asked: &Asked<'_>,
) -> Result<Value, EvaluationError> {
    let context = EvaluationContext {
        targeting_key: asked.targeting_key,
        labels: &asked.labels,
    };
    let found = flag::evaluate(state, &context)?;
    Ok(json!({
        "key": state.key.as_str(),
        "value": found.value,
        "reason": found.reason.as_str(),
        "variant": found.variant,
        "metadata": { "environment": environment.as_str(), "mode": found.mode.as_str_name().to_lowercase() },
    }))
}

/// The body of a failure; without a key it is about the whole request.
fn failed(key: Option<&str>, code: &str, details: &str) -> Value {
    let mut body = json!({ "errorCode": code, "errorDetails": details });
    if let Some(key) = key {
        body["key"] = key.into();
    }
    body
}

fn unreachable(error: &dyn std::fmt::Display, flag: &str) -> Response {
    tracing::warn!(%error, %flag, "flag evaluation failed");
    let details = json!({ "errorDetails": "the ledger is not reachable; use the safe value" });
    (StatusCode::INTERNAL_SERVER_ERROR, Json(details)).into_response()
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

    #[test]
    fn a_tag_is_known_in_every_form_that_clients_send() {
        let known = |given: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, given.parse().unwrap());
            is_known(&headers, "\"abc\"")
        };
        for given in ["\"abc\"", "abc", "W/\"abc\"", "*", "\"x\", \"abc\""] {
            assert!(known(given), "{given}");
        }
        for given in ["\"abcd\"", "x", "\"\"", ""] {
            assert!(!known(given), "{given}");
        }
        assert!(!is_known(&HeaderMap::new(), "\"abc\""));
    }
}

//! Flag evaluation according to OFREP 0.3, for any OpenFeature SDK: one flag, or all of an
//! environment. Errors have the form of OFREP, not that of the API.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, TryStreamExt};
use rollbook_ledger::flag::{self, EvaluationContext, EvaluationError, FlagState};
use rollbook_ledger::ids::{EnvironmentId, FlagKey};
use rollbook_ledger::projection::projector::WaitError;
use rollbook_ledger::projection::store::ViewError;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::error::ApiError;
use super::{Api, VIEW_WAIT};

/// The environment if the context names none.
const DEFAULT_ENVIRONMENT: &str = "production";
/// What a failure that concerns no single flag is logged under.
const ALL: &str = "all";
/// How many flags the ledger is asked for at a time.
const AT_A_TIME: usize = 16;
/// The code of a flag that does not exist, or no more.
const NOT_FOUND: &str = "FLAG_NOT_FOUND";

pub(super) async fn evaluate(
    State(api): State<Api>,
    Path(key): Path<String>,
    body: Bytes,
) -> Response {
    let refused = |details: String| invalid_context(Some(&key), &details);
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
    let environment = match EnvironmentId::new(asked.environment) {
        Ok(environment) => environment,
        Err(error) => return refused(error.to_string()),
    };
    let Ok(flag_key) = FlagKey::new(&*key) else {
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

/// The answer to a context that cannot be read.
fn invalid_context(key: Option<&str>, details: &str) -> Response {
    let failure = failed(key, "INVALID_CONTEXT", details);
    (StatusCode::BAD_REQUEST, Json(failure)).into_response()
}

/// Evaluates every flag of an environment that is not archived. The views say which there are, once
/// they have everything acknowledged before the call; the ledger says how each is set. The `ETag` covers the whole body,
/// and so the context: equal configuration with another context is another answer.
pub(super) async fn evaluate_all(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let refused = |details: String| invalid_context(None, &details);
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
    // Views that are rebuilt hold only some of the flags for a while, and SDKs drop the others.
    let last = match api.handler.journal().last_sequence().await {
        Ok(last) => last,
        Err(error) => return unreachable(&error, ALL),
    };
    if let Err(error) = api.applied.wait_for(last, VIEW_WAIT).await {
        return behind(&error);
    }
    let mut keys = match api.views.flags(Some(environment.as_str())).await {
        Ok(listed) => listed.data,
        Err(error) => return unlisted(error),
    };
    keys.retain(|row| !row.archived);
    keys.sort_by(|one, other| one.key.cmp(&other.key));
    let (api, environment, asked) = (&api, &environment, &asked);
    let flags: Result<Vec<Option<Value>>, Response> = futures::stream::iter(keys)
        .map(move |row| one_of_all(api, environment, asked, row.key))
        .buffered(AT_A_TIME)
        .try_collect()
        .await;
    let flags: Vec<Value> = match flags {
        Ok(flags) => flags.into_iter().flatten().collect(),
        Err(failure) => return failure,
    };
    let body = json!({ "flags": flags }).to_string();
    let tag = format!("\"{}\"", hex::encode(Sha256::digest(body.as_bytes())));
    if is_known(&headers, &tag) {
        return (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response();
    }
    let headers = [(CONTENT_TYPE, "application/json".to_owned()), (ETAG, tag)];
    (headers, body).into_response()
}

/// A flag as an entry of the list of all; `None` if there is nothing to evaluate.
async fn one_of_all(
    api: &Api,
    environment: &EnvironmentId,
    asked: &Asked<'_>,
    key: String,
) -> Result<Option<Value>, Response> {
    let Ok(flag_key) = FlagKey::new(&*key) else {
        return Ok(None);
    };
    match api.handler.flag(environment, &flag_key).await {
        Ok(Some((state, _))) => match evaluated(&state, environment, asked) {
            Ok(found) => Ok(Some(found)),
            // Since it was listed.
            Err(EvaluationError::Archived { .. }) => Ok(None),
            Err(error) => Ok(Some(failed(
                Some(&key),
                error.ofrep_code(),
                &error.to_string(),
            ))),
        },
        Ok(None) => Ok(None),
        Err(error) => Err(unreachable(&error, &key)),
    }
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

/// The views do not have everything that the ledger has.
fn behind(error: &WaitError) -> Response {
    tracing::warn!(%error, "not all flags can be listed yet");
    let details = "the list of flags is still being built; use the safe values and ask again";
    let details = json!({ "errorDetails": details });
    (StatusCode::SERVICE_UNAVAILABLE, Json(details)).into_response()
}

/// The views do not answer, or are damaged: classified, logged and reported as by other routes.
fn unlisted(error: ViewError) -> Response {
    let error = ApiError::from(error);
    let details = format!("{}; use the safe values", error.body().message);
    let (parts, _) = error.into_response().into_parts();
    let details = json!({ "errorDetails": details }).to_string();
    Response::from_parts(parts, details.into())
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
    use super::super::error::DamagedViews;
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
    fn damaged_views_raise_the_alarm_and_do_not_blame_the_ledger() {
        let reason = "malformed page".to_owned();
        let response = unlisted(ViewError::Damaged { reason });
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let damaged = response.extensions().get::<DamagedViews>();
        assert_eq!(damaged, Some(&DamagedViews("malformed page".to_owned())));
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

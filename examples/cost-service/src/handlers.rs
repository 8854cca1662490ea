//! One function per route.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use rollbook_deals::DealType;
use serde::Deserialize;
use serde_json::json;

use crate::error::Error;
use crate::service::Shared;
use crate::store::NewDeal;

/// Longest name and id that the deals table takes, in characters.
const MAX_NAME_CHARS: usize = 255;
const MAX_ID_CHARS: usize = 36;
const DEFAULT_LIMIT: i64 = 100;
const MAX_LIMIT: i64 = 1_000;

/// 200 only while the database answers.
pub(crate) async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let flag = Arc::clone(&shared.flag.borrow());
    let deals = shared.store.count().await;
    let (status, text) = match &deals {
        Ok(_) => (StatusCode::OK, "ok"),
        Err(error) => {
            eprintln!("cost-service: {error}");
            (StatusCode::SERVICE_UNAVAILABLE, "database unavailable")
        }
    };
    let body = json!({
        "status": text,
        "environment": shared.environment,
        "flag": &*flag,
        // As a number too, for those who measure.
        "deal_type_awareness": u8::from(flag.value),
        "deals": deals.ok(),
        "deal_creation_failures": shared.metrics.deal_creation_failures(),
        "deal_creation_failure_percent": shared.metrics.deal_creation_failure_percent(),
        "cost_errors": shared.metrics.cost_errors(),
    });
    (status, Json(body)).into_response()
}

/// Prometheus text.
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let flag_on = shared.flag.borrow().value;
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        shared.metrics.render(flag_on),
    )
        .into_response()
}

/// All metrics of one deal, computed as the flag says.
pub(crate) async fn costs(
    State(shared): State<Arc<Shared>>,
    Path(deal_id): Path<String>,
) -> Result<Json<serde_json::Value>, Error> {
    let deal_id = valid_id(deal_id)?;
    let flag_on = shared.flag.borrow().value;
    let deal = shared
        .store
        .deal(&deal_id)
        .await?
        .ok_or_else(|| Error::NoDeal(deal_id.clone()))?;
    let computed = shared
        .engine
        .compute(&deal_id, &deal, flag_on)
        .inspect_err(|_| shared.metrics.cost_error())?;
    Ok(Json(json!({
        "deal_id": deal_id,
        "deal_type": deal.deal_type,
        "computed_as": computed.computed_as,
        "deal_type_awareness": flag_on,
        "metrics": computed.metrics,
    })))
}

#[derive(Deserialize)]
pub(crate) struct ListQuery {
    limit: Option<i64>,
}

/// The first deals by id.
pub(crate) async fn list_deals(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<serde_json::Value>, Error> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Error::Invalid(format!(
            "limit: {limit} is not between 1 and {MAX_LIMIT}"
        )));
    }
    let deals = shared.store.list(limit).await?;
    let total = shared.store.count().await?;
    Ok(Json(json!({ "deals": deals, "total": total })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateDeal {
    name: String,
    target_name: String,
    /// Required by the rules, optional here: a missing type gets the same answer as a wrong one.
    deal_type: Option<String>,
    #[serde(default)]
    inventory: Vec<serde_json::Value>,
}

/// Stores a deal: 201, or 400 naming the field.
pub(crate) async fn create_deal(
    State(shared): State<Arc<Shared>>,
    body: Result<Json<CreateDeal>, JsonRejection>,
) -> Result<Response, Error> {
    let deal = body
        .map_err(|rejection| Error::Invalid(rejection.body_text()))
        .and_then(|Json(body)| accept(body))
        .inspect_err(|_| shared.metrics.deal_creation_refused())?;
    shared
        .engine
        .check_inventory(&deal)
        .inspect_err(|_| shared.metrics.deal_creation_refused())?;
    shared
        .store
        .insert(&deal)
        .await
        .inspect_err(|_| shared.metrics.deal_creation_failed())?;
    shared.metrics.deal_created();
    let body = json!({ "deal": { "id": deal.id, "name": deal.name, "deal_type": deal.deal_type } });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

fn accept(body: CreateDeal) -> Result<NewDeal, Error> {
    for (field, text) in [("name", &body.name), ("target_name", &body.target_name)] {
        if text.trim().is_empty() || text.chars().count() > MAX_NAME_CHARS || text.contains('\0') {
            return Err(Error::Invalid(format!(
                "{field}: give 1 to {MAX_NAME_CHARS} characters without NUL"
            )));
        }
    }
    let inventory = serde_json::Value::Array(body.inventory).to_string();
    // PostgreSQL's jsonb cannot hold this escape, which would read as a database failure.
    if inventory.contains("\\u0000") {
        return Err(Error::Invalid(
            "inventory: text must not contain NUL".to_owned(),
        ));
    }
    let deal_type = body
        .deal_type
        .as_deref()
        .and_then(DealType::parse_strict)
        .ok_or_else(|| {
            let given = body.deal_type.as_deref().unwrap_or("nothing");
            Error::Invalid(format!(
                "deal_type: {given:?} is not acquisition, carveout or divestiture"
            ))
        })?;
    Ok(NewDeal {
        id: uuid::Uuid::now_v7().to_string(),
        name: body.name,
        target_name: body.target_name,
        deal_type,
        inventory,
    })
}

#[derive(Deserialize)]
pub(crate) struct DeleteQuery {
    #[serde(default)]
    purge: bool,
}

/// Marks a deal as deleted; with `?purge=true` removes its row (what smoke tests leave is nothing).
pub(crate) async fn delete_deal(
    State(shared): State<Arc<Shared>>,
    Path(deal_id): Path<String>,
    Query(query): Query<DeleteQuery>,
) -> Result<StatusCode, Error> {
    let deal_id = valid_id(deal_id)?;
    if shared.store.delete(&deal_id, query.purge).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Error::NoDeal(deal_id))
    }
}

fn valid_id(deal_id: String) -> Result<String, Error> {
    // PostgreSQL refuses NUL in text, which would read as a database failure.
    if deal_id.chars().count() > MAX_ID_CHARS || deal_id.contains('\0') {
        return Err(Error::Invalid(format!(
            "deal id: give at most {MAX_ID_CHARS} characters without NUL"
        )));
    }
    Ok(deal_id)
}

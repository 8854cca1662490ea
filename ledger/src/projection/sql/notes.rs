//! The server's notes beside the views: which rollouts are over, and which evidence the open ones
//! depend on.

use super::super::row::{Column, ColumnValue, Kind};
use super::super::store::ViewError;
use super::super::words::EvidenceRef;
use super::{Database, Tx};

pub(super) async fn rollouts_over<D: Database>(
    database: &D,
) -> Result<Vec<(String, u64)>, ViewError> {
    let sql = "SELECT rollout, sequence FROM rollouts_over";
    let rows = fetch(database, sql, Vec::new(), &[Kind::Text, Kind::Int]).await?;
    rows.into_iter()
        .map(|row| {
            let mut row = row.into_iter();
            Ok((text(row.next())?, number(row.next())?))
        })
        .collect()
}

pub(super) async fn note_rollout_over<D: Database>(
    database: &D,
    rollout: &str,
    sequence: u64,
) -> Result<(), ViewError> {
    let sql = "INSERT INTO rollouts_over (rollout, sequence) VALUES (?, ?) \
         ON CONFLICT (rollout) DO UPDATE SET sequence = excluded.sequence \
         WHERE rollouts_over.sequence < excluded.sequence";
    let args = vec![ColumnValue::Text(rollout.to_owned()), sequence.to_value()];
    let mut tx = database.write().await?;
    tx.execute(sql.into(), args, &[Kind::Text, Kind::Int])
        .await?;
    tx.commit().await
}

pub(super) async fn names_evidence<D: Database>(
    database: &D,
    sha256: &str,
) -> Result<bool, ViewError> {
    let sql = "SELECT (SELECT count(*) FROM rollouts WHERE plan_digest = ?) \
         + (SELECT count(*) FROM steps WHERE evidence LIKE ?)";
    let args = vec![
        ColumnValue::Text(sha256.to_owned()),
        ColumnValue::Text(format!("%\"{sha256}\"%")),
    ];
    let rows = fetch(database, sql, args, &[Kind::Int]).await?;
    let found = rows
        .into_iter()
        .next()
        .and_then(|row| row.into_iter().next());
    Ok(number(found)? > 0)
}

pub(super) async fn evidence_of_open<D: Database>(
    database: &D,
    limit: u32,
) -> Result<Vec<String>, ViewError> {
    let plans = format!(
        "SELECT plan_digest FROM rollouts WHERE closed_at IS NULL \
         ORDER BY opened_sequence DESC LIMIT {limit}"
    );
    let stored = format!(
        "SELECT s.evidence FROM steps s JOIN rollouts r ON r.rollout = s.rollout \
         WHERE r.closed_at IS NULL AND s.evidence <> '[]' \
         ORDER BY s.updated_sequence DESC LIMIT {limit}"
    );
    let mut digests = Vec::new();
    for row in fetch(database, &plans, Vec::new(), &[Kind::Text]).await? {
        digests.push(text(row.into_iter().next())?);
    }
    for row in fetch(database, &stored, Vec::new(), &[Kind::Text]).await? {
        let list = text(row.into_iter().next())?;
        // An unreadable list may be of another version; ignore it.
        let list: Vec<EvidenceRef> = serde_json::from_str(&list).unwrap_or_default();
        digests.extend(
            list.into_iter()
                .map(|one| one.sha256)
                .filter(|sha256| !sha256.is_empty()),
        );
    }
    digests.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(digests)
}

async fn fetch<D: Database>(
    database: &D,
    sql: &str,
    args: Vec<ColumnValue>,
    columns: &[Kind],
) -> Result<Vec<Vec<ColumnValue>>, ViewError> {
    let mut tx = database.read().await?;
    let rows = tx.fetch(sql.to_owned(), args, columns).await?;
    tx.commit().await?;
    Ok(rows)
}

fn unreadable(found: String) -> ViewError {
    ViewError::Schema {
        reason: format!("a column holds {found}"),
    }
}

fn text(value: Option<ColumnValue>) -> Result<String, ViewError> {
    String::from_value(value.unwrap_or(ColumnValue::Null)).map_err(unreadable)
}

fn number(value: Option<ColumnValue>) -> Result<u64, ViewError> {
    u64::from_value(value.unwrap_or(ColumnValue::Null)).map_err(unreadable)
}

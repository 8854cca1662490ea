//! The views' position and the acknowledged position, each with its commit.

use super::super::row::{Column, ColumnValue, Kind};
use super::super::store::ViewError;
use super::{Database, Tx};
use crate::journal::Position;

/// Creates the table of acknowledged positions if it is missing.
pub(super) const DEPLOY: &str =
    include_str!("../../../../migrations/ledger/003_acknowledged.deploy.sql");

/// Reads one position; `sql` selects ledger, sequence and commit.
pub(super) async fn read<D: Database>(
    database: &D,
    sql: &str,
    args: Vec<ColumnValue>,
) -> Result<Option<Position>, ViewError> {
    let mut tx = database.read().await?;
    let columns = [Kind::Text, Kind::Int, Kind::Text];
    let found = tx.fetch(sql.to_owned(), args, &columns).await?.pop();
    tx.commit().await?;
    let Some(row) = found else {
        return Ok(None);
    };
    let damaged = |found| ViewError::Schema {
        reason: format!("a position holds {found}"),
    };
    let mut row = row.into_iter();
    let mut next = || row.next().unwrap_or(ColumnValue::Null);
    Ok(Some(Position {
        ledger: String::from_value(next()).map_err(damaged)?,
        sequence: u64::from_value(next()).map_err(damaged)?,
        commit_id: String::from_value(next()).map_err(damaged)?,
    }))
}

/// Records an acknowledged position; several servers may do so concurrently, the latest wins.
pub(super) async fn write<D: Database>(database: &D, position: &Position) -> Result<(), ViewError> {
    let sql = "INSERT INTO acknowledged (ledger, sequence, commit_id) VALUES (?, ?, ?) \
         ON CONFLICT (ledger) DO UPDATE SET sequence = excluded.sequence, commit_id = excluded.commit_id \
         WHERE acknowledged.sequence < excluded.sequence";
    let args = vec![
        ColumnValue::Text(position.ledger.clone()),
        position.sequence.to_value(),
        ColumnValue::Text(position.commit_id.clone()),
    ];
    let mut tx = database.write().await?;
    tx.execute(sql.into(), args, &[Kind::Text, Kind::Int, Kind::Text])
        .await?;
    tx.commit().await
}

/// Deletes the acknowledged position of a ledger.
pub(super) async fn forget<D: Database>(database: &D, ledger: &str) -> Result<(), ViewError> {
    let mut tx = database.write().await?;
    let args = vec![ColumnValue::Text(ledger.to_owned())];
    tx.execute(
        "DELETE FROM acknowledged WHERE ledger = ?".into(),
        args,
        &[Kind::Text],
    )
    .await?;
    tx.commit().await
}

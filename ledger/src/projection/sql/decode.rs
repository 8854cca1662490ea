//! Reads the values of a row, from either database.

use sqlx::{ColumnIndex, Decode, Row, Type};

use crate::projection::row::{ColumnValue, Kind};

/// The values of these columns, in their order.
pub(in crate::projection) fn decode<'r, R: Row>(
    row: &'r R,
    columns: &[Kind],
) -> Result<Vec<ColumnValue>, sqlx::Error>
where
    usize: ColumnIndex<R>,
    bool: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    f64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    columns
        .iter()
        .enumerate()
        .map(|(place, kind)| {
            let value = match kind {
                Kind::Bool => row
                    .try_get::<Option<bool>, _>(place)?
                    .map(ColumnValue::Bool),
                Kind::Int => row.try_get::<Option<i64>, _>(place)?.map(ColumnValue::Int),
                Kind::Real => row.try_get::<Option<f64>, _>(place)?.map(ColumnValue::Real),
                Kind::Text => row
                    .try_get::<Option<String>, _>(place)?
                    .map(ColumnValue::Text),
            };
            Ok(value.unwrap_or(ColumnValue::Null))
        })
        .collect()
}

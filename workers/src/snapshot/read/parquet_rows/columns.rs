//! Which column of a Parquet file holds what, and how its values are read.

use ::parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use ::parquet::file::reader::FileReader;
use ::parquet::file::serialized_reader::SerializedFileReader;
use ::parquet::schema::types::ColumnDescriptor;

use super::super::file::SourceFile;
use super::arrow_schema;
use crate::snapshot::SnapshotError;
use crate::snapshot::row::KeyOrder;
use crate::snapshot::source::SnapshotSource;

/// The size of a UUID, in bytes.
const UUID_BYTES: i32 = 16;

/// How the stored values of a column are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// As they are; integers are signed.
    Plain,
    /// As unsigned integers.
    Unsigned,
    /// As UUIDs of 16 bytes.
    Uuid,
}

/// The position of a column, and how it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Where {
    pub(super) index: usize,
    pub(super) reading: Reading,
}

/// Which column of the file holds what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    pub(super) id: Where,
    pub(super) id_order: KeyOrder,
    pub(super) deal_type: Where,
    pub(super) inventory: Where,
    pub(super) deleted_at: Option<Where>,
    pub(super) tenant: Option<Where>,
}

impl Columns {
    /// Finds the columns by the names of the source.
    pub(super) fn of(
        file: &SourceFile,
        reader: &SerializedFileReader<std::fs::File>,
        source: &SnapshotSource,
    ) -> Result<Self, SnapshotError> {
        let described = reader.metadata().file_metadata();
        let schema = described.schema_descr_ptr();
        let arrow = described.key_value_metadata().and_then(|entries| {
            let entry = entries.iter().find(|it| it.key == arrow_schema::KEY)?;
            entry.value.as_deref()
        });
        let find = |name: &str| {
            let mut columns = schema.columns().iter().enumerate();
            columns.find(|(_, column)| {
                column.path().parts().len() == 1
                    && column.name() == name
                    && column.max_rep_level() == 0
            })
        };
        let table = &source.table;
        let need = |name: &str| {
            find(name).ok_or_else(|| file.error(&format!("it has no plain column `{name}`")))
        };
        // What is compared or shown as text must be exact: only texts and whole numbers are accepted.
        let key = |name: &str| {
            let (index, column) = need(name)?;
            let is_uuid = || arrow.is_some_and(|schema| arrow_schema::is_uuid(schema, name));
            let reading = reading(column, is_uuid).map_err(|kind| {
                file.error(&format!(
                    "column `{name}` is {kind}; ids, types and tenants are texts, whole numbers or UUIDs: cast it where the file is written"
                ))
            })?;
            let of_integers = matches!(column.physical_type(), Physical::INT32 | Physical::INT64);
            Ok::<_, SnapshotError>((Where { index, reading }, of_integers))
        };
        let any = |index: usize| Where {
            index,
            reading: Reading::Plain,
        };
        let (id, of_integers) = key(&table.id)?;
        let tenant = match source.tenant {
            Some(_) => Some(key(&table.tenant_id)?.0),
            None => None,
        };
        let deleted_at = table.deleted_at.as_deref().and_then(find);
        Ok(Self {
            id,
            id_order: match of_integers {
                true => KeyOrder::Integer,
                false => KeyOrder::Bytes,
            },
            deal_type: key(&table.deal_type)?.0,
            inventory: any(need(&table.inventory)?.0),
            deleted_at: deleted_at.map(|(index, _)| any(index)),
            tenant,
        })
    }
}

/// How the values of a column are read. `is_uuid` says whether the Arrow schema of the file calls a
/// column of 16 bytes a UUID. `Err` names a type that is neither text nor whole number nor UUID.
fn reading(column: &ColumnDescriptor, is_uuid: impl Fn() -> bool) -> Result<Reading, String> {
    let of_bytes = matches!(
        column.physical_type(),
        Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY
    );
    let is_decimal = column.converted_type() == ConvertedType::DECIMAL
        || matches!(column.logical_type_ref(), Some(LogicalType::Decimal { .. }));
    if is_decimal && (of_bytes || column.type_scale() != 0) {
        return Err(format!(
            "DECIMAL({}, {})",
            column.type_precision(),
            column.type_scale()
        ));
    }
    if column.physical_type() == Physical::FIXED_LEN_BYTE_ARRAY {
        let length = column.type_length();
        let named = column.logical_type_ref() == Some(&LogicalType::Uuid) || is_uuid();
        if length == UUID_BYTES && named {
            return Ok(Reading::Uuid);
        }
        return Err(format!(
            "FIXED_LEN_BYTE_ARRAY({length}) without the logical type UUID"
        ));
    }
    match column.converted_type() {
        ConvertedType::UINT_8
        | ConvertedType::UINT_16
        | ConvertedType::UINT_32
        | ConvertedType::UINT_64 => return Ok(Reading::Unsigned),
        time @ (ConvertedType::DATE
        | ConvertedType::TIME_MILLIS
        | ConvertedType::TIME_MICROS
        | ConvertedType::TIMESTAMP_MILLIS
        | ConvertedType::TIMESTAMP_MICROS) => return Err(time.to_string()),
        _ => {}
    }
    match column.logical_type_ref() {
        Some(LogicalType::Integer(integer)) if !integer.is_signed => Ok(Reading::Unsigned),
        Some(LogicalType::Date) => Err("DATE".to_owned()),
        Some(LogicalType::Time { .. }) => Err("TIME".to_owned()),
        Some(LogicalType::Timestamp { .. }) => Err("TIMESTAMP".to_owned()),
        _ => Ok(Reading::Plain),
    }
}

//! Maps structs to rows: one definition gives the columns, the writer and the reader, so that
//! struct, SQL and both databases cannot drift apart.
//!
//! Both databases store the same forms, so that rows can be compared byte by byte: times are RFC
//! 3339 UTC text with six decimals (text order is time order), structured values are JSON text,
//! counts are 64-bit integers.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error_code::Coded;

/// One stored value.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnValue {
    /// SQL NULL.
    Null,
    /// A boolean; SQLite stores it as 0 or 1.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A finite number.
    Real(f64),
    /// Text without NUL characters.
    Text(String),
}

impl ColumnValue {
    /// Returns the type's name for messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Int(_) => "integer",
            Self::Real(_) => "real",
            Self::Text(_) => "text",
        }
    }
}

/// A column type; a NULL must be bound with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// BOOLEAN.
    Bool,
    /// BIGINT.
    Int,
    /// DOUBLE PRECISION.
    Real,
    /// TEXT.
    Text,
}

/// One column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Its name; same as the field's.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// It may hold NULL.
    pub nullable: bool,
}

/// One table, as its row type defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSpec {
    /// The table's name.
    pub name: &'static str,
    /// The columns, in the order of the row's fields.
    pub columns: &'static [ColumnSpec],
    /// The number of leading columns that form the primary key.
    pub key: usize,
}

impl TableSpec {
    /// True if later events change its rows. Such a table has `updated_sequence`, which guards each
    /// row: an older commit never overwrites a newer one.
    pub fn is_updated(&self) -> bool {
        self.columns
            .iter()
            .any(|column| column.name == "updated_sequence")
    }
}

/// A row to insert, replacing any row with the same key.
#[derive(Debug, Clone, PartialEq)]
pub struct RowChange {
    /// The table.
    pub table: &'static TableSpec,
    /// One value per column, in the table's order.
    pub values: Vec<ColumnValue>,
}

impl RowChange {
    /// Returns the change that stores `row`.
    pub fn put<R: ViewRow>(row: &R) -> Self {
        Self {
            table: R::TABLE,
            values: row.to_values(),
        }
    }
}

/// A stored row that cannot be read back: the views are of another version, or damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
#[error("RB-VIEW-5: {table}.{column} holds {found}; rebuild the views")]
pub struct RowError {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// The value found.
    pub found: String,
}

/// A struct that maps to a row of one table.
pub trait ViewRow: Sized {
    /// The table.
    const TABLE: &'static TableSpec;
    /// Returns the values in column order.
    fn to_values(&self) -> Vec<ColumnValue>;
    /// Builds the row from stored values in column order.
    fn from_values(values: Vec<ColumnValue>) -> Result<Self, RowError>;
}

/// A field type that maps to a column type.
pub trait Column: Sized {
    /// The column's type.
    const KIND: Kind;
    /// The column may hold NULL.
    const NULLABLE: bool = false;
    /// Returns the stored form.
    fn to_value(&self) -> ColumnValue;
    /// Converts a stored form back; `Err` names what was found instead.
    fn from_value(value: ColumnValue) -> Result<Self, String>;
}

/// Replaces NUL characters, which PostgreSQL refuses in text.
pub fn clean(text: &str) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{FFFD}")
    } else {
        text.to_owned()
    }
}

impl Column for String {
    const KIND: Kind = Kind::Text;
    fn to_value(&self) -> ColumnValue {
        ColumnValue::Text(clean(self))
    }
    fn from_value(value: ColumnValue) -> Result<Self, String> {
        match value {
            ColumnValue::Text(text) => Ok(text),
            other => Err(other.type_name().to_owned()),
        }
    }
}

impl Column for bool {
    const KIND: Kind = Kind::Bool;
    fn to_value(&self) -> ColumnValue {
        ColumnValue::Bool(*self)
    }
    fn from_value(value: ColumnValue) -> Result<Self, String> {
        match value {
            ColumnValue::Bool(flag) => Ok(flag),
            ColumnValue::Int(number) => Ok(number != 0),
            other => Err(other.type_name().to_owned()),
        }
    }
}

macro_rules! integer_column {
    ($($int:ty),*) => {$(
        impl Column for $int {
            const KIND: Kind = Kind::Int;
            fn to_value(&self) -> ColumnValue {
                ColumnValue::Int(i64::try_from(*self).unwrap_or(i64::MAX))
            }
            fn from_value(value: ColumnValue) -> Result<Self, String> {
                match value {
                    ColumnValue::Int(number) => {
                        Self::try_from(number).map_err(|_| format!("the number {number}"))
                    }
                    other => Err(other.type_name().to_owned()),
                }
            }
        }
    )*};
}
integer_column!(i64, u64, u32);

impl Column for f64 {
    const KIND: Kind = Kind::Real;
    fn to_value(&self) -> ColumnValue {
        // `+ 0.0` turns -0 into 0, as SQLite does.
        if self.is_finite() {
            ColumnValue::Real(*self + 0.0)
        } else {
            ColumnValue::Null
        }
    }
    fn from_value(value: ColumnValue) -> Result<Self, String> {
        match value {
            ColumnValue::Real(number) => Ok(number),
            other => Err(other.type_name().to_owned()),
        }
    }
}

impl Column for Timestamp {
    const KIND: Kind = Kind::Text;
    fn to_value(&self) -> ColumnValue {
        ColumnValue::Text(format!("{self:.6}"))
    }
    fn from_value(value: ColumnValue) -> Result<Self, String> {
        match value {
            ColumnValue::Text(text) => text.parse().map_err(|_| format!("the text `{text}`")),
            other => Err(other.type_name().to_owned()),
        }
    }
}

impl<T: Column> Column for Option<T> {
    const KIND: Kind = T::KIND;
    const NULLABLE: bool = true;
    fn to_value(&self) -> ColumnValue {
        self.as_ref().map_or(ColumnValue::Null, T::to_value)
    }
    fn from_value(value: ColumnValue) -> Result<Self, String> {
        match value {
            ColumnValue::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// A structured value stored as JSON text.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json<T>(pub T);

impl<T> std::ops::Deref for Json<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Serialize + DeserializeOwned> Column for Json<T> {
    const KIND: Kind = Kind::Text;
    fn to_value(&self) -> ColumnValue {
        // Every `T` here is a plain struct, list or map with text keys, which always serializes.
        serde_json::to_string(&self.0).map_or(ColumnValue::Null, ColumnValue::Text)
    }
    fn from_value(value: ColumnValue) -> Result<Self, String> {
        match value {
            ColumnValue::Text(text) => serde_json::from_str(&text)
                .map(Self)
                .map_err(|error| format!("JSON that does not fit ({error})")),
            other => Err(other.type_name().to_owned()),
        }
    }
}

/// Defines a row struct and its table; the first `key` fields are the primary key.
macro_rules! view_row {
    ($(#[$doc:meta])* $name:ident, table $table:literal, key $key:literal, {
        $($(#[$field_doc:meta])* $field:ident: $type:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $crate::projection::row::ViewRow for $name {
            const TABLE: &'static $crate::projection::row::TableSpec =
                &$crate::projection::row::TableSpec {
                    name: $table,
                    columns: &[$($crate::projection::row::ColumnSpec {
                        name: stringify!($field),
                        kind: <$type as $crate::projection::row::Column>::KIND,
                        nullable: <$type as $crate::projection::row::Column>::NULLABLE,
                    },)*],
                    key: $key,
                };

            fn to_values(&self) -> Vec<$crate::projection::row::ColumnValue> {
                vec![$($crate::projection::row::Column::to_value(&self.$field),)*]
            }

            fn from_values(
                values: Vec<$crate::projection::row::ColumnValue>,
            ) -> Result<Self, $crate::projection::row::RowError> {
                let mut values = values.into_iter();
                Ok(Self {$(
                    $field: $crate::projection::row::Column::from_value(
                        values.next().unwrap_or($crate::projection::row::ColumnValue::Null),
                    )
                    .map_err(|found| $crate::projection::row::RowError {
                        table: $table,
                        column: stringify!($field),
                        found,
                    })?,
                )*})
            }
        }
    };
}
pub(crate) use view_row;

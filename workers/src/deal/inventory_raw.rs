//! The inventory array as it lies in the database: every field optional, every scalar of any kind.
//! Strings are borrowed from the input where they need no unescaping.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::number::Quantity;

/// A field's value before its rule reads it.
#[derive(Debug, Default)]
pub(super) enum Scalar<'a> {
    #[default]
    Missing,
    Bool(bool),
    Number(Result<Quantity, &'static str>),
    Text(Cow<'a, str>),
    /// An array or object, where a plain value belongs.
    Nested,
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Missing)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(Quantity::from_u64(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        let number = u64::try_from(value).map_or_else(
            |_| Quantity::from_text(&value.to_string()),
            Quantity::from_u64,
        );
        Ok(Scalar::Number(number))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(Quantity::from_f64(value)))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nested)
    }
}

/// One item. Fields that no rule reads are skipped unparsed; a repeated field is an error.
#[derive(Debug, Deserialize)]
pub(super) struct RawItem<'a> {
    #[serde(borrow, default)]
    pub(super) item_id: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) inventory_type: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) entity: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) name: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) status: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) data: Option<Object<RawData<'a>>>,
}

/// The cost-relevant part of an item's `data` (deal rules §1, inventory table).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawData<'a> {
    #[serde(borrow)]
    pub(super) vendor: Scalar<'a>,
    #[serde(borrow)]
    pub(super) hosting: Scalar<'a>,
    #[serde(borrow)]
    pub(super) ownership: Scalar<'a>,
    #[serde(borrow)]
    pub(super) hosted_by_parent: Scalar<'a>,
    #[serde(borrow)]
    pub(super) users: Scalar<'a>,
    #[serde(borrow)]
    pub(super) cost: Scalar<'a>,
    #[serde(borrow)]
    pub(super) cost_status: Scalar<'a>,
    #[serde(borrow)]
    pub(super) category: Scalar<'a>,
    #[serde(borrow)]
    pub(super) notes: Scalar<'a>,
    #[serde(borrow)]
    pub(super) complexity: Scalar<'a>,
    #[serde(borrow)]
    pub(super) deployment_type: Scalar<'a>,
    #[serde(borrow)]
    pub(super) api_integrations: Scalar<'a>,
    #[serde(borrow)]
    pub(super) sso_required: Scalar<'a>,
    #[serde(borrow)]
    pub(super) data_volume_gb: Scalar<'a>,
    #[serde(borrow)]
    pub(super) custom_interfaces: Scalar<'a>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Scalar<'a>,
    #[serde(borrow)]
    pub(super) location: Scalar<'a>,
    #[serde(borrow)]
    pub(super) count: Scalar<'a>,
    #[serde(borrow)]
    pub(super) headcount: Scalar<'a>,
    #[serde(borrow)]
    pub(super) fte: Scalar<'a>,
}

/// A value that is written as an object. A derived reader would also take an array, its elements as
/// fields in their order, and so give a meaning to what is only broken.
#[derive(Debug)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// The array, with each item's position in the error of the first one that does not parse.
#[derive(Debug)]
pub(super) struct RawInventory<'a>(pub(super) Vec<RawItem<'a>>);

impl<'de> Deserialize<'de> for RawInventory<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InventoryVisitor)
    }
}

struct InventoryVisitor;

impl<'de> Visitor<'de> for InventoryVisitor {
    type Value = RawInventory<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of inventory items")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(RawInventory(Vec::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        loop {
            match seq.next_element::<Object<RawItem<'de>>>() {
                Ok(Some(Object(item))) => items.push(item),
                Ok(None) => return Ok(RawInventory(items)),
                Err(error) => {
                    return Err(A::Error::custom(format_args!(
                        "item {} (from 0): {error}",
                        items.len()
                    )));
                }
            }
        }
    }
}

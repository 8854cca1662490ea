//! The inventory array as it lies in the database: every field optional, every scalar of any kind.
//! Strings are borrowed from the input where they need no unescaping.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

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

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Skip(0).visit_seq(seq)?;
        Ok(Scalar::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Skip(0).visit_map(map)?;
        Ok(Scalar::Nested)
    }
}

/// Levels below a field, more than in any honest inventory. Skipping recurses once for each, so
/// that unbounded nesting would overflow the stack and end the process.
const MAX_DEPTH: usize = 30;

/// Reads over a value of any kind, so many levels below a field. The parser's own skipping is not
/// used because it knows no bound.
struct Skip(usize);

impl<'de> DeserializeSeed<'de> for Skip {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Skip {
    fn deeper<E: Error>(&self) -> Result<Self, E> {
        if self.0 >= MAX_DEPTH {
            return Err(E::custom(format_args!(
                "nested over {MAX_DEPTH} levels deep"
            )));
        }
        Ok(Self(self.0 + 1))
    }
}

impl<'de> Visitor<'de> for Skip {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self.deeper()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(self.deeper()?)?.is_some() {
            map.next_value_seed(self.deeper()?)?;
        }
        Ok(())
    }
}

/// An object whose known fields are read into place, without moving what is large. Fields that no
/// rule reads are skipped; a repeated field is an error.
macro_rules! object {
    ($(#[$doc:meta])* $name:ident { $($field:ident = $key:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(super) struct $name<'a> {
            $(pub(super) $field: Scalar<'a>,)*
        }

        impl<'a> $name<'a> {
            /// Reads the value of a field; `false` when it has no such field. `seen` has a bit
            /// for each.
            fn read<'de: 'a, A: MapAccess<'de>>(
                &mut self,
                key: &str,
                seen: &mut u32,
                map: &mut A,
            ) -> Result<bool, A::Error> {
                let mut bit = 1u32;
                $(
                    if key == $key {
                        if *seen & bit != 0 {
                            return Err(A::Error::duplicate_field($key));
                        }
                        *seen |= bit;
                        self.$field = map.next_value()?;
                        return Ok(true);
                    }
                    bit <<= 1;
                )*
                let _ = bit;
                Ok(false)
            }
        }
    };
}

object! {
    /// What every item has.
    RawHead {
        item_id = "item_id",
        inventory_type = "inventory_type",
        entity = "entity",
        name = "name",
        status = "status",
    }
}

object! {
    /// The cost-relevant part of an item's `data` (deal rules §1, inventory table).
    RawData {
        vendor = "vendor",
        category = "category",
        users = "users",
        cost = "cost",
        cost_status = "cost_status",
        hosting = "hosting",
        deployment_type = "deployment_type",
        complexity = "complexity",
        notes = "notes",
        api_integrations = "api_integrations",
        sso_required = "sso_required",
        data_volume_gb = "data_volume_gb",
        custom_interfaces = "custom_interfaces",
        hosted_by_parent = "hosted_by_parent",
        ownership = "ownership",
        kind = "type",
        location = "location",
        count = "count",
        headcount = "headcount",
        fte = "fte",
    }
}

/// One item.
#[derive(Debug, Default)]
pub(super) struct RawItem<'a> {
    pub(super) head: RawHead<'a>,
    pub(super) data: RawData<'a>,
}

/// The name of a field, borrowed where it needs no unescaping.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}

/// Reads an item in place. Only an object is one: an array would give a meaning to what is broken.
struct ItemSeed<'s, 'a>(&'s mut RawItem<'a>);

impl<'de: 'a, 'a> DeserializeSeed<'de> for ItemSeed<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // Not `deserialize_map`: refusing another kind, it would read over it without a bound.
        deserializer.deserialize_any(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for ItemSeed<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut seen, mut data_seen) = (0, false);
        while let Some(key) = map.next_key_seed(Key)? {
            if self.0.head.read(&key, &mut seen, &mut map)? {
                continue;
            }
            if key != "data" {
                map.next_value_seed(Skip(0))?;
                continue;
            }
            if std::mem::replace(&mut data_seen, true) {
                return Err(A::Error::duplicate_field("data"));
            }
            map.next_value_seed(DataSeed(&mut self.0.data))?;
        }
        Ok(())
    }
}

/// Reads an item's `data` in place: an object, or null for none.
struct DataSeed<'s, 'a>(&'s mut RawData<'a>);

impl<'de: 'a, 'a> DeserializeSeed<'de> for DataSeed<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for DataSeed<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = 0;
        while let Some(key) = map.next_key_seed(Key)? {
            if !self.0.read(&key, &mut seen, &mut map)? {
                map.next_value_seed(Skip(0))?;
            }
        }
        Ok(())
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

/// Items most inventories have at most.
const USUAL_ITEMS: usize = 24;

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
        let mut items = Vec::with_capacity(USUAL_ITEMS);
        loop {
            items.push(RawItem::default());
            let position = items.len() - 1;
            let Some(item) = items.last_mut() else {
                return Ok(RawInventory(items));
            };
            match seq.next_element_seed(ItemSeed(item)) {
                Ok(Some(())) => {}
                Ok(None) => {
                    items.pop();
                    return Ok(RawInventory(items));
                }
                Err(error) => {
                    return Err(A::Error::custom(format_args!(
                        "item {position} (from 0): {error}"
                    )));
                }
            }
        }
    }
}

//! The general reader of an inventory array: accepts any JSON and gives the reason where it is
//! invalid.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::super::error::DealError;
use super::super::number::Quantity;
use super::raw::{Field, MAX_DEPTH, RawItem, Scalar, USUAL_ITEMS};

/// Reads an array of items; `null` is an empty array.
pub(super) fn read(json: &[u8]) -> Result<Vec<RawItem<'_>>, DealError> {
    let parsed = sonic_rs::from_slice(json).map(|RawInventory(items)| items);
    parsed.map_err(|error| DealError::Malformed {
        // The parser appends an excerpt of the input; only its first line has the reason and
        // position.
        reason: error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    })
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
        Ok(Quantity::from_u64(value).into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        let number = u64::try_from(value).map_or_else(
            |_| Quantity::from_text(&value.to_string()),
            Quantity::from_u64,
        );
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Quantity::from_f64(value).into())
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

/// Skips a value of any kind at a nesting level below a field. The parser's own skipping has no
/// bound.
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

/// A field's name, borrowed unless it needs unescaping.
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

/// Reads an item in place or, with `ITEM` false, its `data`. Only an object is accepted, and null
/// means no `data`: accepting an array would give meaning to broken input.
struct ObjectSeed<'s, 'a, const ITEM: bool>(&'s mut RawItem<'a>);

impl<'de: 'a, 'a, const ITEM: bool> DeserializeSeed<'de> for ObjectSeed<'_, 'a, ITEM> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // Not `deserialize_map`: to refuse another kind it would skip the value without a bound.
        deserializer.deserialize_any(self)
    }
}

impl<'de: 'a, 'a, const ITEM: bool> Visitor<'de> for ObjectSeed<'_, 'a, ITEM> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match ITEM {
            true => Err(E::invalid_type(Unexpected::Unit, &self)),
            false => Ok(()),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = 0;
        while let Some(key) = map.next_key_seed(Key)? {
            let Some(field) = Field::of::<ITEM>(&key) else {
                map.next_value_seed(Skip(0))?;
                continue;
            };
            if seen & field.bit() != 0 {
                return Err(A::Error::duplicate_field(field.key()));
            }
            seen |= field.bit();
            if field == Field::Data {
                map.next_value_seed(ObjectSeed::<false>(self.0))?;
            } else {
                let value = map.next_value();
                let named = |error| A::Error::custom(format_args!("{}: {error}", field.path()));
                self.0.set(field, value.map_err(named)?);
            }
        }
        Ok(())
    }
}

struct RawInventory<'a>(Vec<RawItem<'a>>);

impl<'de> Deserialize<'de> for RawInventory<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InventoryVisitor)
    }
}

/// Reads the array; the error of the first item that does not parse has its position.
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
            match seq.next_element_seed(ObjectSeed::<true>(item)) {
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

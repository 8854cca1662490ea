//! The plain reader of an inventory array: takes any JSON and gives the reason where it is
//! invalid.
//!
//! serde_json finds where each value ends and checks its grammar; numbers are read from their
//! digits, because a double would not hold all of them.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

use super::super::error::DealError;
use super::super::number::Quantity;
use super::raw::{Field, MAX_DEPTH, RawItem, Scalar, USUAL_ITEMS};

/// Reads an array of items; `null` is an empty array.
pub(super) fn read(json: &[u8]) -> Result<Vec<RawItem<'_>>, DealError> {
    let parsed = serde_json::from_slice(json).map(|RawInventory(items)| items);
    parsed.map_err(|error| DealError::Malformed {
        reason: error.to_string(),
    })
}

/// Parses a value that the parser of the document has passed on: only an escape in one of its texts
/// may still be wrong. The position within the value would be taken for one in the document.
fn within<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
        .map_err(|_| serde_json::Error::custom("a text has an escape that stands for no character"))
}

/// Reads a value of any kind.
fn scalar(value: &RawValue) -> Result<Scalar<'_>, serde_json::Error> {
    let text = value.get();
    Ok(match text.as_bytes().first() {
        Some(b'n') => Scalar::Missing,
        Some(b't') => Scalar::Bool(true),
        Some(b'f') => Scalar::Bool(false),
        Some(b'"') => {
            let Text(text) = within(text)?;
            Scalar::Text(text)
        }
        Some(b'[' | b'{') => {
            check(value, 0)?;
            Scalar::Nested
        }
        _ => Quantity::from_text(text).into(),
    })
}

/// Checks the texts and the depth of a value at a nesting level below a field; the parser has
/// checked the rest without following either.
fn check(value: &RawValue, depth: usize) -> Result<(), serde_json::Error> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => within(text).map(|Text(_)| ()),
        Some(b'[' | b'{') if depth >= MAX_DEPTH => Err(serde_json::Error::custom(format_args!(
            "nested over {MAX_DEPTH} levels deep"
        ))),
        Some(b'[') => {
            let values: Vec<&RawValue> = within(text)?;
            values.into_iter().try_for_each(|it| check(it, depth + 1))
        }
        Some(b'{') => {
            let Members(values) = within(text)?;
            values.into_iter().try_for_each(|it| check(it, depth + 1))
        }
        _ => Ok(()),
    }
}

/// A text or key, borrowed unless it needs unescaping.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Self)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}

/// The values of an object, whatever their keys.
struct Members<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some((Text(_), value)) = map.next_entry()? {
            values.push(value);
        }
        Ok(Members(values))
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
        while let Some(Text(key)) = map.next_key()? {
            let Some(field) = Field::of::<ITEM>(&key) else {
                check(map.next_value()?, 0).map_err(A::Error::custom)?;
                continue;
            };
            if seen & field.bit() != 0 {
                return Err(A::Error::duplicate_field(field.key()));
            }
            seen |= field.bit();
            if field == Field::Data {
                map.next_value_seed(ObjectSeed::<false>(self.0))?;
            } else {
                let named = |error: &dyn fmt::Display| {
                    A::Error::custom(format_args!("{}: {error}", field.path()))
                };
                let value: &RawValue = map.next_value().map_err(|error| named(&error))?;
                self.0
                    .set(field, scalar(value).map_err(|error| named(&error))?);
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

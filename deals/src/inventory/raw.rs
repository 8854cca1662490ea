//! The inventory array as stored: every field optional, every scalar of any kind. Strings are
//! borrowed from the input unless they need unescaping.

use std::borrow::Cow;
use std::hint::select_unpredictable;
use std::mem::take;

use super::super::number::Quantity;

/// Maximum nesting below a field, more than any real inventory has. Skipping a value recurses once
/// per level, so unbounded nesting would overflow the stack and end the process.
pub(super) const MAX_DEPTH: usize = 30;

/// The number of items that most inventories do not exceed.
pub(super) const USUAL_ITEMS: usize = 16;

/// A field's value before its rule interprets it.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Scalar<'a> {
    #[default]
    Missing,
    Bool(bool),
    Number(Quantity),
    /// A number that no inventory may contain, and why.
    BadNumber(&'static str),
    Text(Cow<'a, str>),
    /// An array or object where a plain value is expected.
    Nested,
}

impl From<Result<Quantity, &'static str>> for Scalar<'_> {
    fn from(number: Result<Quantity, &'static str>) -> Self {
        number.map_or_else(Self::BadNumber, Self::Number)
    }
}

/// Number of slots in a key table.
const SLOTS: usize = 64;
/// Number of eight-byte words that hold any field's key.
const WORDS: usize = 3;
/// The longest key that fits, in bytes.
pub(super) const KEY_BYTES: usize = WORDS * size_of::<u64>();

/// A slot of a key table: the key's words, a mask of the key's bytes in them, its length in bytes
/// and the index of its field. An empty slot has a length that no key has.
#[derive(Clone, Copy)]
struct Entry {
    words: [u64; WORDS],
    mask: [u64; WORDS],
    length: usize,
    place: usize,
}

/// The slot for a key with this length and these first four bytes. The fourth byte of a
/// three-letter key is its closing quote; no field has a shorter key. The factor was chosen by
/// search so that no two fields of an object share a slot, which is checked at compile time.
#[inline(always)]
const fn slot(first: u32, length: usize) -> usize {
    let mixed = first.wrapping_mul(0x52e6_b439) >> (u32::BITS - SLOTS.ilog2());
    (mixed as usize ^ length) % SLOTS
}

const fn table<const N: usize>(keys: &[&str; N], from: usize, below: usize) -> [Entry; SLOTS] {
    let none = Entry {
        words: [0; WORDS],
        mask: [0; WORDS],
        length: usize::MAX,
        place: N,
    };
    let mut table = [none; SLOTS];
    let mut place = from;
    while place < below {
        let key = keys[place].as_bytes();
        let mut entry = Entry {
            length: key.len(),
            place,
            ..none
        };
        let mut at = 0;
        while at < key.len() {
            let shift = 8 * (at % 8);
            entry.words[at / 8] |= (key[at] as u64) << shift;
            entry.mask[at / 8] |= 0xff << shift;
            at += 1;
        }
        let first = entry.words[0] as u32;
        let quote = if key.len() < 4 {
            (b'"' as u32) << (8 * key.len())
        } else {
            0
        };
        let slot = slot(first | quote, key.len());
        assert!(
            table[slot].place == N,
            "two keys share a slot; search another factor"
        );
        table[slot] = entry;
        place += 1;
    }
    table
}

macro_rules! fields {
    (item { $($of_item:ident = $item_key:literal,)* } data { $($of_data:ident = $data_key:literal,)* }) => {
        /// The fields that rules read: first those of an item, then those of its `data` (deal rules
        /// §1, inventory table).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Field {
            $($of_item,)*
            $($of_data,)*
        }

        impl Field {
            pub(crate) const ALL: [Self; [$($item_key,)* $($data_key,)*].len()] =
                [$(Self::$of_item,)* $(Self::$of_data,)*];
            const KEYS: [&str; Self::ALL.len()] = [$($item_key,)* $($data_key,)*];

            /// Its key, prefixed with that of its object, for error messages.
            pub(crate) fn path(self) -> &'static str {
                match self {
                    $(Self::$of_item => $item_key,)*
                    $(Self::$of_data => concat!("data.", $data_key),)*
                }
            }
        }
    };
}

fields! {
    item {
        ItemId = "item_id",
        InventoryType = "inventory_type",
        Entity = "entity",
        Name = "name",
        Status = "status",
        Data = "data",
    }
    data {
        Vendor = "vendor",
        Category = "category",
        Users = "users",
        Cost = "cost",
        CostStatus = "cost_status",
        Hosting = "hosting",
        DeploymentType = "deployment_type",
        Complexity = "complexity",
        Notes = "notes",
        ApiIntegrations = "api_integrations",
        SsoRequired = "sso_required",
        DataVolumeGb = "data_volume_gb",
        CustomInterfaces = "custom_interfaces",
        HostedByParent = "hosted_by_parent",
        Ownership = "ownership",
        Kind = "type",
        Location = "location",
        Count = "count",
        Headcount = "headcount",
        Fte = "fte",
    }
}

impl Field {
    const ITEM_TABLE: [Entry; SLOTS] = table(&Self::KEYS, 0, Self::Data as usize + 1);
    const DATA_TABLE: [Entry; SLOTS] = table(&Self::KEYS, Self::Data as usize + 1, Self::UNREAD);

    /// The index for anything no rule reads, after those of all fields.
    pub(super) const UNREAD: usize = Self::ALL.len();

    /// The field with this key, of an item or, with `ITEM` false, of its `data`; `None` if no rule
    /// reads it.
    pub(super) fn of<const ITEM: bool>(key: &str) -> Option<Self> {
        let known = |field: &Self| field.key() == key && field.is_of_item() == ITEM;
        Self::ALL.into_iter().find(known)
    }

    /// The index in [`Self::ALL`] of the field with a key, or [`Self::UNREAD`]. `bytes` begin with
    /// the key and its closing quote and continue with whatever follows; `length` is that of the
    /// key.
    #[inline(always)]
    pub(super) fn place_of<const ITEM: bool>(bytes: &[u8; KEY_BYTES], length: usize) -> usize {
        let (parts, _) = bytes.as_chunks::<8>();
        let mut words = [0; WORDS];
        for (word, part) in words.iter_mut().zip(parts) {
            *word = u64::from_le_bytes(*part);
        }
        let [first, ..] = words;
        let table = if ITEM {
            &Self::ITEM_TABLE
        } else {
            &Self::DATA_TABLE
        };
        table
            .get(slot(first as u32, length))
            .map_or(Self::UNREAD, |entry| {
                let mut differs = (entry.length ^ length) as u64;
                for (word, (known, mask)) in words.iter().zip(entry.words.iter().zip(entry.mask)) {
                    differs |= (word ^ known) & mask;
                }
                // No branch: the next key is hard to predict, and a misprediction costs more.
                select_unpredictable(differs == 0, entry.place, Self::UNREAD)
            })
    }

    /// Whether it is a field of an item; otherwise it is one of an item's `data`.
    fn is_of_item(self) -> bool {
        self as usize <= Self::Data as usize
    }

    /// Its key.
    pub(super) fn key(self) -> &'static str {
        Self::KEYS.get(self as usize).copied().unwrap_or_default()
    }

    /// Its bit in a set of fields.
    #[inline]
    pub(super) fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// A value of one of the kinds that nearly all values have.
#[derive(Clone, Copy, Debug)]
pub(super) enum FieldValue<'a> {
    Missing,
    Bool(bool),
    Whole(u64),
    /// A text without escapes.
    Text(&'a str),
    /// Any other value, or one not known to be usual.
    Other,
}

/// An item whose fields are taken out one by one, as the rules read them.
pub(super) trait Item<'a> {
    /// The value of a field if that is cheap to tell; otherwise the caller must use `take`.
    fn usual(&self, field: Field) -> FieldValue<'a>;

    /// The value of a field.
    fn take(&mut self, field: Field) -> Scalar<'a>;
}

/// An item with all values read.
#[derive(Debug, Default)]
pub(super) struct RawItem<'a>([Scalar<'a>; Field::ALL.len()]);

impl<'a> RawItem<'a> {
    pub(super) fn set(&mut self, field: Field, value: Scalar<'a>) {
        if let Some(place) = self.0.get_mut(field as usize) {
            *place = value;
        }
    }
}

impl<'a> Item<'a> for RawItem<'a> {
    fn usual(&self, _: Field) -> FieldValue<'a> {
        FieldValue::Other
    }

    fn take(&mut self, field: Field) -> Scalar<'a> {
        self.0.get_mut(field as usize).map(take).unwrap_or_default()
    }
}

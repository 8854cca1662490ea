//! The inventory array as it lies in the database: every field optional, every scalar of any kind.
//! Strings are borrowed from the input where they need no unescaping.

use std::borrow::Cow;
use std::mem::take;

use super::super::number::Quantity;

/// Levels below a field, more than in any honest inventory. Reading over a value recurses once for
/// each, so that unbounded nesting would overflow the stack and end the process.
pub(super) const MAX_DEPTH: usize = 30;

/// Items most inventories have at most.
pub(super) const USUAL_ITEMS: usize = 16;

/// A field's value before its rule reads it.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Scalar<'a> {
    #[default]
    Missing,
    Bool(bool),
    Number(Quantity),
    /// A number that no inventory may hold, and why.
    BadNumber(&'static str),
    Text(Cow<'a, str>),
    /// An array or object, where a plain value belongs.
    Nested,
}

impl From<Result<Quantity, &'static str>> for Scalar<'_> {
    fn from(number: Result<Quantity, &'static str>) -> Self {
        number.map_or_else(Self::BadNumber, Self::Number)
    }
}

/// Slots of the key table.
const SLOTS: usize = 64;
/// Keys up to this length are looked up by their bytes alone.
pub(super) const SHORT: usize = 2 * size_of::<u64>();

/// The first bytes of a key as two little-endian words, filled up with zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Words(u64, u64);

impl Words {
    const NONE: Self = Self(0, 0);

    const fn of(key: &[u8]) -> Self {
        let mut words = [0_u64; 2];
        let mut at = 0;
        while at < key.len() && at < SHORT {
            words[at / 8] |= (key[at] as u64) << (8 * (at % 8));
            at += 1;
        }
        Self(words[0], words[1])
    }

    /// A slot for a key, by multiplication; the factor was searched so that no two fields share
    /// one, which is checked when this is compiled.
    #[inline]
    const fn slot(self) -> usize {
        let mixed = self.0 ^ self.1.wrapping_mul(3);
        (mixed.wrapping_mul(0xde82_61a4_408e_de27) >> (u64::BITS - SLOTS.ilog2())) as usize
    }
}

/// For each length a mask of so many first bytes.
const FIRST_BYTES: [Words; SHORT + 1] = {
    let mut masks = [Words::NONE; SHORT + 1];
    let mut length = 0;
    while length <= SHORT {
        masks[length] = Words::of([0xff; SHORT].split_at(length).0);
        length += 1;
    }
    masks
};

/// What lies in a slot: the words of a short key (nothing of a longer one), and its place.
#[derive(Clone, Copy)]
struct Entry {
    words: Words,
    place: u8,
}

const fn table<const N: usize>(keys: &[&str; N]) -> [Entry; SLOTS] {
    let mut table = [Entry {
        words: Words::NONE,
        place: N as u8,
    }; SLOTS];
    let mut place = 0;
    while place < N {
        let key = keys[place].as_bytes();
        let words = Words::of(key);
        let entry = &mut table[words.slot()];
        assert!(
            entry.place == N as u8,
            "two keys share a slot; search another factor"
        );
        entry.place = place as u8;
        if key.len() <= SHORT {
            entry.words = words;
        }
        place += 1;
    }
    table
}

macro_rules! fields {
    ($($field:ident = $key:literal,)*) => {
        /// The fields that rules read: those of an item first, then those of its `data` (deal
        /// rules §1, inventory table).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Field {
            $($field,)*
        }

        impl Field {
            pub(super) const ALL: [Self; [$($key,)*].len()] = [$(Self::$field,)*];
            const KEYS: [&str; Self::ALL.len()] = [$($key,)*];
        }
    };
}

fields! {
    ItemId = "item_id",
    InventoryType = "inventory_type",
    Entity = "entity",
    Name = "name",
    Status = "status",
    Data = "data",
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

impl Field {
    const TABLE: [Entry; SLOTS] = table(&Self::KEYS);

    /// The place for what no rule reads, behind those of all fields.
    pub(super) const UNREAD: usize = Self::ALL.len();
    /// The bits of all fields.
    pub(super) const READ: u32 = (1 << Self::UNREAD) - 1;

    /// The field of an item or of its `data` with a key; nothing for one that no rule reads.
    pub(super) fn of(key: &str) -> Option<Self> {
        Self::ALL.get(Self::place_of(key)).copied()
    }

    /// The place of a key's field in [`Self::ALL`], or [`Self::UNREAD`].
    pub(super) fn place_of(key: &str) -> usize {
        let entry = Self::TABLE.get(Words::of(key.as_bytes()).slot());
        let place = entry.map(|entry| usize::from(entry.place));
        let known = place.filter(|place| Self::KEYS.get(*place) == Some(&key));
        known.unwrap_or(Self::UNREAD)
    }

    /// The same for a key of at most [`SHORT`] bytes without a zero among them, by these and what
    /// comes behind.
    #[inline]
    pub(super) fn place_of_short(bytes: [u8; SHORT], length: usize) -> usize {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        let mask = FIRST_BYTES.get(length).copied().unwrap_or(Words::NONE);
        let words = Words(
            u64::from_le_bytes([a, b, c, d, e, f, g, h]) & mask.0,
            u64::from_le_bytes([i, j, k, l, m, n, o, p]) & mask.1,
        );
        // Words tell the length too: they end with the first zero. No branch on the outcome, which
        // would often be foreseen wrongly.
        let entry = Self::TABLE.get(words.slot());
        entry.map_or(Self::UNREAD, |entry| {
            let differs = (entry.words.0 ^ words.0) | (entry.words.1 ^ words.1);
            if differs == 0 {
                usize::from(entry.place)
            } else {
                Self::UNREAD
            }
        })
    }

    /// Whether a place is of a field of an item; otherwise it is of an item's `data`, or unread.
    #[inline]
    pub(super) fn is_head(place: usize) -> bool {
        place <= Self::Data as usize
    }

    /// Its key.
    pub(super) fn key(self) -> &'static str {
        Self::KEYS.get(self as usize).copied().unwrap_or_default()
    }

    /// A bit of its own, for sets of fields.
    #[inline]
    pub(super) fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// An item whose fields are taken out one by one, as their rules read them.
pub(super) trait Item<'a> {
    /// The value of a field.
    fn take(&mut self, field: Field) -> Scalar<'a>;
}

/// One item, each value read.
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
    fn take(&mut self, field: Field) -> Scalar<'a> {
        self.0.get_mut(field as usize).map(take).unwrap_or_default()
    }
}

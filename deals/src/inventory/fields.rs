//! Reads the fields of an item, or says why one cannot be read.

use std::borrow::Cow;

use super::super::error::DealError;
use super::super::number::Quantity;
use super::super::word::{known, mentions, words};
use super::Entity;
use super::raw::{Field, FieldValue, Item, Scalar};

/// Words of `data.ownership` that make an item the parent's.
pub(super) const OWNED_BY_PARENT: [&str; 2] = ["parent", "shared"];
/// Words that do so anywhere in `data.hosting`.
pub(super) const HOSTED_BY_PARENT: [&str; 3] = ["parent", "shared", "corporate"];

/// An answer that is given as a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum YesOrNo {
    Yes,
    No,
}

words!(YesOrNo {
    "true" | "yes" | "1" => Self::Yes,
    "false" | "no" | "0" | "" => Self::No,
});

impl YesOrNo {
    fn is_yes(self) -> bool {
        self == Self::Yes
    }
}

/// Reads the fields of one item and names the item in errors.
pub(super) struct Fields<'i, I> {
    id: &'i str,
    item: &'i mut I,
}

impl<'i, 'a, I: Item<'a>> Fields<'i, I> {
    pub(super) fn of(id: &'i str, item: &'i mut I) -> Self {
        Self { id, item }
    }

    /// Reads a text; a missing one is empty. A number where a name belongs (version 11, vendor 3)
    /// is not an error, but no rule compares it, so it reads as empty.
    #[inline(always)]
    pub(super) fn text(&mut self, field: Field) -> Result<Cow<'a, str>, DealError> {
        match self.item.usual(field) {
            FieldValue::Text(text) => Ok(Cow::Borrowed(text)),
            FieldValue::Missing | FieldValue::Bool(_) | FieldValue::Whole(_) => {
                Ok(Cow::Borrowed(""))
            }
            FieldValue::Other => self.other_text(field),
        }
    }

    #[inline(never)]
    fn other_text(&mut self, field: Field) -> Result<Cow<'a, str>, DealError> {
        match self.item.take(field) {
            Scalar::Text(text) => Ok(text),
            Scalar::Missing | Scalar::Number(_) | Scalar::BadNumber(_) | Scalar::Bool(_) => {
                Ok(Cow::Borrowed(""))
            }
            Scalar::Nested => Err(self.bad(field, "an array or object; use a string")),
        }
    }

    /// Passes a text to `read`, for rules that do not keep the text itself.
    #[inline(always)]
    pub(super) fn said<T>(
        &mut self,
        field: Field,
        read: impl FnOnce(&str) -> T,
    ) -> Result<T, DealError> {
        let other;
        let text = match self.item.usual(field) {
            FieldValue::Text(text) => text,
            FieldValue::Missing | FieldValue::Bool(_) | FieldValue::Whole(_) => "",
            FieldValue::Other => {
                other = self.other_text(field)?;
                &other
            }
        };
        Ok(read(text))
    }

    #[inline(always)]
    pub(super) fn number(&mut self, field: Field) -> Result<Option<Quantity>, DealError> {
        match self.item.usual(field) {
            FieldValue::Missing => Ok(None),
            FieldValue::Whole(number) => Quantity::from_u64(number)
                .map(Some)
                .map_err(|why| self.bad(field, why)),
            FieldValue::Bool(_) | FieldValue::Text(_) | FieldValue::Other => {
                self.other_number(field)
            }
        }
    }

    #[inline(never)]
    fn other_number(&mut self, field: Field) -> Result<Option<Quantity>, DealError> {
        match self.item.take(field) {
            Scalar::Missing => Ok(None),
            Scalar::Number(number) => Ok(Some(number)),
            Scalar::BadNumber(why) => Err(self.bad(field, why)),
            Scalar::Text(text) if text.trim().is_empty() => Ok(None),
            Scalar::Text(text) => {
                let number = Quantity::from_text(&text);
                number.map(Some).map_err(|why| self.bad(field, why))
            }
            Scalar::Bool(_) | Scalar::Nested => {
                Err(self.bad(field, "not a number; use a JSON number or a numeric string"))
            }
        }
    }

    #[inline(always)]
    pub(super) fn whole(&mut self, field: Field) -> Result<i64, DealError> {
        let missing = field.facts().missing_count();
        Ok(self.number(field)?.map_or(missing, Quantity::whole_up))
    }

    #[inline(always)]
    pub(super) fn flag(&mut self, field: Field) -> Result<bool, DealError> {
        match self.item.usual(field) {
            FieldValue::Missing => Ok(false),
            FieldValue::Bool(flag) => Ok(flag),
            FieldValue::Whole(_) | FieldValue::Text(_) | FieldValue::Other => {
                self.other_flag(field)
            }
        }
    }

    #[inline(never)]
    fn other_flag(&mut self, field: Field) -> Result<bool, DealError> {
        let flag = match self.item.take(field) {
            Scalar::Missing => Some(false),
            Scalar::Bool(flag) => Some(flag),
            Scalar::Text(text) => known(&text, YesOrNo::of_word).map(YesOrNo::is_yes),
            Scalar::Number(number) => match number.micros() {
                0 => Some(false),
                1_000_000 => Some(true),
                _ => None,
            },
            Scalar::BadNumber(_) | Scalar::Nested => None,
        };
        flag.ok_or_else(|| self.bad(field, "neither true nor false; use a JSON boolean"))
    }

    #[inline(always)]
    pub(super) fn entity(&mut self) -> Result<Entity, DealError> {
        let entity = self.said(Field::Entity, |text| known(text, Entity::of_word))?;
        let reason = "neither target nor buyer; use one of them";
        entity.ok_or_else(|| self.bad(Field::Entity, reason))
    }

    /// Whether the item is parent-owned (deal rules, drivers: "parent-owned").
    #[inline(always)]
    pub(super) fn parent_owned(&mut self) -> Result<bool, DealError> {
        let owner = |word: &str| OWNED_BY_PARENT.contains(&word).then_some(());
        let flagged = self.flag(Field::HostedByParent)?;
        let owned = self.said(Field::Ownership, |text| known(text, owner).is_some())?;
        let hosted = self.said(Field::Hosting, |text| mentions(text, &HOSTED_BY_PARENT))?;
        Ok(flagged || owned || hosted)
    }

    #[cold]
    fn bad(&self, field: Field, reason: &str) -> DealError {
        DealError::BadField {
            item: self.id.chars().take(64).collect(),
            field: field.path(),
            reason: reason.to_owned(),
        }
    }
}

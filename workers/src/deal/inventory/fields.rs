//! One field of an item: what it says, or why it can't be read.

use std::borrow::Cow;

use super::super::error::DealError;
use super::super::number::Quantity;
use super::super::word::{known, mentions};
use super::Entity;
use super::raw::Scalar;

/// Reads fields of one item, naming it in errors.
pub(super) struct Fields<'i> {
    pub(super) item: &'i str,
}

impl Fields<'_> {
    fn bad(&self, field: &'static str, reason: &str) -> DealError {
        DealError::BadField {
            item: self.item.chars().take(64).collect(),
            field,
            reason: reason.to_owned(),
        }
    }

    /// Text; missing is empty. A number where a name belongs (version 11, vendor 3) is not an
    /// error, but no rule compares it, so it reads as empty.
    #[inline(always)]
    pub(super) fn text<'a>(
        &self,
        value: Scalar<'a>,
        field: &'static str,
    ) -> Result<Cow<'a, str>, DealError> {
        match value {
            Scalar::Text(text) => Ok(text),
            Scalar::Missing | Scalar::Number(_) | Scalar::BadNumber(_) | Scalar::Bool(_) => {
                Ok(Cow::Borrowed(""))
            }
            Scalar::Nested => Err(self.bad(field, "an array or object; use a string")),
        }
    }

    #[inline(always)]
    pub(super) fn number(
        &self,
        value: Scalar<'_>,
        field: &'static str,
    ) -> Result<Option<Quantity>, DealError> {
        match value {
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
    pub(super) fn whole(
        &self,
        value: Scalar<'_>,
        field: &'static str,
        default: i64,
    ) -> Result<i64, DealError> {
        Ok(self
            .number(value, field)?
            .map_or(default, Quantity::whole_up))
    }

    #[inline(always)]
    pub(super) fn flag(&self, value: Scalar<'_>, field: &'static str) -> Result<bool, DealError> {
        let flag_of = |word: &str| match word {
            "true" | "yes" | "1" => Some(true),
            "" | "false" | "no" | "0" => Some(false),
            _ => None,
        };
        let flag = match &value {
            Scalar::Missing => Some(false),
            Scalar::Bool(flag) => Some(*flag),
            Scalar::Text(text) => known(text, flag_of),
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
    pub(super) fn entity(&self, value: Scalar<'_>) -> Result<Entity, DealError> {
        let text = self.text(value, "entity")?;
        let entity_of = |word: &str| match word {
            "" | "target" => Some(Entity::Target),
            "buyer" => Some(Entity::Buyer),
            _ => None,
        };
        known(&text, entity_of)
            .ok_or_else(|| self.bad("entity", "neither target nor buyer; use one of them"))
    }

    /// Deal rules, drivers: "parent-owned".
    #[inline(always)]
    pub(super) fn parent_owned(
        &self,
        hosted_by_parent: Scalar<'_>,
        ownership: Scalar<'_>,
        hosting: Scalar<'_>,
    ) -> Result<bool, DealError> {
        let flagged = self.flag(hosted_by_parent, "data.hosted_by_parent")?;
        let ownership = self.text(ownership, "data.ownership")?;
        let hosting = self.text(hosting, "data.hosting")?;
        Ok(flagged
            || known(&ownership, |word| {
                matches!(word, "parent" | "shared").then_some(())
            })
            .is_some()
            || mentions(&hosting, &["parent", "shared", "corporate"]))
    }
}

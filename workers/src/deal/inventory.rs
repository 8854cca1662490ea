//! The inventory of one deal, typed: what the rules read and nothing else.

use std::borrow::Cow;
use std::mem::take;

use super::category::AppCategory;
use super::error::DealError;
use super::inventory_raw::{RawData, RawInventory, RawItem, Scalar};
use super::number::Quantity;

/// Which company an item belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entity {
    /// The company being bought or sold; what a missing entity means.
    Target,
    /// The company that buys.
    Buyer,
}

/// What a machine or line is, as far as a driver asks (deal rules, drivers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The variants are the words of the driver table.
pub enum InfrastructureKind {
    Datacenter,
    Directory,
    Endpoint,
    Network,
    Server,
    Vm,
    Other,
}

/// An application with status active.
#[derive(Clone, Debug)]
pub struct Application<'a> {
    /// Content hash of the item.
    pub item_id: Cow<'a, str>,
    /// Whose application it is.
    pub entity: Entity,
    /// Display name; may be empty.
    pub name: Cow<'a, str>,
    /// Vendor; may be empty.
    pub vendor: Cow<'a, str>,
    /// Category text as stored; may be empty.
    pub category_text: Cow<'a, str>,
    /// The category its text folds to.
    pub category: AppCategory,
    /// Whether the parent owns or hosts it.
    pub parent_owned: bool,
    /// Whether its notes mention "shared" or "parent" (deal rules §5, separation).
    pub notes_name_parent: bool,
    /// People using it.
    pub users: i64,
    /// Annual cost in cents; `None` when unknown. An internal one without cost is 0.
    pub annual_cost_cents: Option<i64>,
    /// Stated complexity; may be empty.
    pub complexity: Cow<'a, str>,
    /// Stated deployment; may be empty.
    pub deployment: Cow<'a, str>,
    /// Number of API integrations.
    pub api_integrations: i64,
    /// Whether single sign-on has to be set up.
    pub sso_required: bool,
    /// Data to move, in millionths of a gigabyte.
    pub data_volume_micro_gb: i64,
    /// Number of custom interfaces.
    pub custom_interfaces: i64,
}

/// An infrastructure item with status active.
#[derive(Clone, Debug)]
pub struct Infrastructure<'a> {
    /// Content hash of the item.
    pub item_id: Cow<'a, str>,
    /// Whose item it is.
    pub entity: Entity,
    /// What it is.
    pub kind: InfrastructureKind,
    /// Whether the parent owns or hosts it.
    pub parent_owned: bool,
    /// Site; may be empty.
    pub location: Cow<'a, str>,
    /// How many of it, 1 unless stated.
    pub count: i64,
}

/// A team with status active.
#[derive(Clone, Debug)]
pub struct Organization<'a> {
    /// Content hash of the item.
    pub item_id: Cow<'a, str>,
    /// Whose team it is.
    pub entity: Entity,
    /// Site; may be empty.
    pub location: Cow<'a, str>,
    /// People: headcount, else full-time equivalents rounded up.
    pub people: i64,
}

/// A vendor with status active. No rule reads more than its existence.
#[derive(Clone, Debug)]
pub struct Vendor<'a> {
    /// Content hash of the item.
    pub item_id: Cow<'a, str>,
    /// Whose vendor it is.
    pub entity: Entity,
}

/// The active items of one deal, both entities, each list in the order of item ids: outputs do not
/// depend on the order in which items were stored.
#[derive(Clone, Debug, Default)]
pub struct Inventory<'a> {
    /// Applications.
    pub applications: Vec<Application<'a>>,
    /// Infrastructure.
    pub infrastructure: Vec<Infrastructure<'a>>,
    /// Teams.
    pub organization: Vec<Organization<'a>>,
    /// Vendors.
    pub vendors: Vec<Vendor<'a>>,
}

/// Reads one deal's inventory array. Empty input and JSON `null` are an empty inventory.
///
/// Every item is checked, active or not; only items with status active (or none) are kept. Text is
/// compared trimmed and without regard to case (deal rules, drivers).
///
/// # Errors
/// A [`DealError`] naming the item and the field, or the position where the JSON breaks.
pub fn parse(json: &[u8]) -> Result<Inventory<'_>, DealError> {
    if json.iter().all(u8::is_ascii_whitespace) {
        return Ok(Inventory::default());
    }
    let RawInventory(mut raw) =
        sonic_rs::from_slice(json).map_err(|error| DealError::Malformed {
            // The parser adds a drawing of the input; its first line has reason and position.
            reason: error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        })?;
    // Sorted by reference: items are large.
    let mut order = Vec::with_capacity(raw.len());
    for (index, item) in raw.iter_mut().enumerate() {
        let id = take(&mut item.head.item_id);
        order.push((item_id(id, index)?, item));
    }
    order.sort_unstable_by(|left, right| left.0.cmp(&right.0));
    let twice = order.windows(2).find_map(|pair| match pair {
        [left, right] if left.0 == right.0 => Some(&left.0),
        _ => None,
    });
    if let Some(id) = twice {
        return Err(DealError::DuplicateItem {
            item: id.clone().into_owned(),
        });
    }
    let mut inventory = Inventory::default();
    for (id, item) in order {
        inventory.push(id, item)?;
    }
    Ok(inventory)
}

fn item_id(value: Scalar<'_>, index: usize) -> Result<Cow<'_, str>, DealError> {
    match value {
        Scalar::Text(text) if !text.trim().is_empty() => Ok(text),
        Scalar::Missing | Scalar::Text(_) => Err(DealError::MissingItemId { index }),
        Scalar::Bool(_) | Scalar::Number(_) | Scalar::Nested => Err(DealError::BadField {
            item: format!("#{index} (from 0)"),
            field: "item_id",
            reason: "not text; use a string".to_owned(),
        }),
    }
}

impl<'a> Inventory<'a> {
    fn push(&mut self, id: Cow<'a, str>, item: &mut RawItem<'a>) -> Result<(), DealError> {
        let field = Fields { item: &id };
        let head = &mut item.head;
        let kind = field.text(take(&mut head.inventory_type), "inventory_type")?;
        let entity = field.entity(take(&mut head.entity))?;
        let status = field.text(take(&mut head.status), "status")?;
        let name = field.text(take(&mut head.name), "name")?;
        let active = status.trim().is_empty() || is(&status, "active");
        let data = &mut item.data;
        if is(&kind, "application") {
            let parsed = application(&field, entity, name, data)?;
            if active {
                self.applications.push(Application {
                    item_id: id,
                    ..parsed
                });
            }
        } else if is(&kind, "infrastructure") {
            let parsed = infrastructure(&field, entity, data)?;
            if active {
                self.infrastructure.push(Infrastructure {
                    item_id: id,
                    ..parsed
                });
            }
        } else if is(&kind, "organization") {
            let parsed = organization(&field, entity, data)?;
            if active {
                self.organization.push(Organization {
                    item_id: id,
                    ..parsed
                });
            }
        } else if is(&kind, "vendor") {
            if active {
                self.vendors.push(Vendor {
                    item_id: id,
                    entity,
                });
            }
        } else {
            return Err(DealError::UnknownInventoryType {
                item: id.into_owned(),
                value: kind.chars().take(64).collect(),
            });
        }
        Ok(())
    }
}

fn application<'a>(
    field: &Fields<'_>,
    entity: Entity,
    name: Cow<'a, str>,
    data: &mut RawData<'a>,
) -> Result<Application<'a>, DealError> {
    let parent_owned = field.parent_owned(
        take(&mut data.hosted_by_parent),
        take(&mut data.ownership),
        take(&mut data.hosting),
    )?;
    let cost = field.number(take(&mut data.cost), "data.cost")?;
    let cost_status = field.text(take(&mut data.cost_status), "data.cost_status")?;
    let annual_cost_cents = if is(&cost_status, "unknown") {
        None
    } else if is(&cost_status, "internal_no_cost") {
        Some(0)
    } else {
        cost.map(Quantity::dollars_as_cents)
    };
    let category_text = field.text(take(&mut data.category), "data.category")?;
    let notes = field.text(take(&mut data.notes), "data.notes")?;
    let volume = field.number(take(&mut data.data_volume_gb), "data.data_volume_gb")?;
    Ok(Application {
        item_id: Cow::Borrowed(""),
        entity,
        name,
        vendor: field.text(take(&mut data.vendor), "data.vendor")?,
        category: AppCategory::from_text(&category_text),
        category_text,
        parent_owned,
        notes_name_parent: mentions(&notes, &["shared", "parent"]),
        users: field.whole(take(&mut data.users), "data.users", 0)?,
        annual_cost_cents,
        complexity: field.text(take(&mut data.complexity), "data.complexity")?,
        deployment: field.text(take(&mut data.deployment_type), "data.deployment_type")?,
        api_integrations: field.whole(
            take(&mut data.api_integrations),
            "data.api_integrations",
            0,
        )?,
        sso_required: field.flag(take(&mut data.sso_required), "data.sso_required")?,
        data_volume_micro_gb: volume.map_or(0, Quantity::micros),
        custom_interfaces: field.whole(
            take(&mut data.custom_interfaces),
            "data.custom_interfaces",
            0,
        )?,
    })
}

fn infrastructure<'a>(
    field: &Fields<'_>,
    entity: Entity,
    data: &mut RawData<'a>,
) -> Result<Infrastructure<'a>, DealError> {
    let parent_owned = field.parent_owned(
        take(&mut data.hosted_by_parent),
        take(&mut data.ownership),
        take(&mut data.hosting),
    )?;
    let kind = field.text(take(&mut data.kind), "data.type")?;
    let words = [
        (InfrastructureKind::Server, &["server", "physical"][..]),
        (InfrastructureKind::Vm, &["vm", "virtual"]),
        (
            InfrastructureKind::Endpoint,
            &["endpoint", "laptop", "desktop", "workstation"],
        ),
        (InfrastructureKind::Network, &["network", "wan"]),
        (InfrastructureKind::Datacenter, &["datacenter"]),
        (InfrastructureKind::Directory, &["directory"]),
    ];
    let named = |entry: &&(InfrastructureKind, &[&str])| entry.1.iter().any(|word| is(&kind, word));
    Ok(Infrastructure {
        item_id: Cow::Borrowed(""),
        entity,
        kind: words
            .iter()
            .find(named)
            .map_or(InfrastructureKind::Other, |entry| entry.0),
        parent_owned,
        location: field.text(take(&mut data.location), "data.location")?,
        count: field.whole(take(&mut data.count), "data.count", 1)?,
    })
}

fn organization<'a>(
    field: &Fields<'_>,
    entity: Entity,
    data: &mut RawData<'a>,
) -> Result<Organization<'a>, DealError> {
    let headcount = field.number(take(&mut data.headcount), "data.headcount")?;
    let fte = field.number(take(&mut data.fte), "data.fte")?;
    Ok(Organization {
        item_id: Cow::Borrowed(""),
        entity,
        location: field.text(take(&mut data.location), "data.location")?,
        people: headcount.or(fte).map_or(0, Quantity::whole_up),
    })
}

/// Reads fields of one item, naming it in errors.
struct Fields<'i> {
    item: &'i str,
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
    fn text<'a>(&self, value: Scalar<'a>, field: &'static str) -> Result<Cow<'a, str>, DealError> {
        match value {
            Scalar::Text(text) => Ok(text),
            Scalar::Missing | Scalar::Number(_) | Scalar::Bool(_) => Ok(Cow::Borrowed("")),
            Scalar::Nested => Err(self.bad(field, "an array or object; use a string")),
        }
    }

    fn number(
        &self,
        value: Scalar<'_>,
        field: &'static str,
    ) -> Result<Option<Quantity>, DealError> {
        match value {
            Scalar::Missing => Ok(None),
            Scalar::Number(number) => number.map(Some).map_err(|why| self.bad(field, why)),
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

    fn whole(
        &self,
        value: Scalar<'_>,
        field: &'static str,
        default: i64,
    ) -> Result<i64, DealError> {
        Ok(self
            .number(value, field)?
            .map_or(default, Quantity::whole_up))
    }

    fn flag(&self, value: Scalar<'_>, field: &'static str) -> Result<bool, DealError> {
        match &value {
            Scalar::Missing => Ok(false),
            Scalar::Bool(flag) => Ok(*flag),
            Scalar::Text(text) if is_any(text, &["true", "yes", "1"]) => Ok(true),
            Scalar::Text(text) if is_any(text, &["", "false", "no", "0"]) => Ok(false),
            Scalar::Number(Ok(number)) if matches!(number.micros(), 0 | 1_000_000) => {
                Ok(number.micros() != 0)
            }
            _ => Err(self.bad(field, "neither true nor false; use a JSON boolean")),
        }
    }

    fn entity(&self, value: Scalar<'_>) -> Result<Entity, DealError> {
        let text = self.text(value, "entity")?;
        if is_any(&text, &["", "target"]) {
            Ok(Entity::Target)
        } else if is(&text, "buyer") {
            Ok(Entity::Buyer)
        } else {
            Err(self.bad("entity", "neither target nor buyer; use one of them"))
        }
    }

    /// Deal rules, drivers: "parent-owned".
    fn parent_owned(
        &self,
        hosted_by_parent: Scalar<'_>,
        ownership: Scalar<'_>,
        hosting: Scalar<'_>,
    ) -> Result<bool, DealError> {
        let flagged = self.flag(hosted_by_parent, "data.hosted_by_parent")?;
        let ownership = self.text(ownership, "data.ownership")?;
        let hosting = self.text(hosting, "data.hosting")?;
        Ok(flagged
            || is_any(&ownership, &["parent", "shared"])
            || mentions(&hosting, &["parent", "shared", "corporate"]))
    }
}

/// Whether a text is a word, trimmed and without regard to case. Words are ASCII.
pub(super) fn is(text: &str, word: &str) -> bool {
    if text.len() <= word.len() {
        return text.eq_ignore_ascii_case(word);
    }
    // Longer than the word: equal only if there is something to trim.
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| !byte.is_ascii_graphic());
    let bytes = text.as_bytes();
    (edge(bytes.first()) || edge(bytes.last())) && text.trim().eq_ignore_ascii_case(word)
}

fn is_any(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| is(text, word))
}

/// Whether a text contains one of the words, without regard to case. Words are ASCII and not empty.
pub(super) fn mentions(text: &str, words: &[&str]) -> bool {
    let contains = |word: &&str| {
        let first = word.as_bytes().first().map(u8::to_ascii_lowercase);
        text.as_bytes().windows(word.len()).any(|window| {
            // Most places end here, long before a comparison of slices would begin.
            window.first().map(u8::to_ascii_lowercase) == first
                && window.eq_ignore_ascii_case(word.as_bytes())
        })
    };
    words.iter().any(contains)
}

#[cfg(test)]
mod tests;

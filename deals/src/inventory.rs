//! The typed inventory of one deal, with only what the rules read.

pub(crate) mod facts;
mod fields;
mod plain;
mod raw;
mod scan;

use std::borrow::Cow;

use rollbook_workers::snapshot::prefix::first_bytes;

use self::fields::Fields;
pub(crate) use self::raw::Field;
use self::raw::{Item, Scalar};
use super::category::AppCategory;
use super::error::DealError;
use super::number::Quantity;
use super::word::{known, mentions, trimmed, words};

/// Which company an item belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entity {
    /// The company that is bought or sold; the default when no entity is given.
    Target,
    /// The company that buys.
    Buyer,
}

words!(Entity {
    "target" | "" => Self::Target,
    "buyer" => Self::Buyer,
});

/// What kind of infrastructure an item is, as far as drivers distinguish it (deal rules, drivers).
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

/// The stated complexity of an application (deal rules §3 "Per-application").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The variants are the words of the rule.
pub enum Complexity {
    Simple,
    Medium,
    Complex,
    Critical,
}

words!(InfrastructureKind {
    "server" | "physical" => Self::Server,
    "vm" | "virtual" => Self::Vm,
    "endpoint" | "laptop" | "desktop" | "workstation" => Self::Endpoint,
    "network" | "wan" => Self::Network,
    "datacenter" => Self::Datacenter,
    "directory" => Self::Directory,
});

words!(Complexity {
    "simple" => Self::Simple,
    "medium" => Self::Medium,
    "complex" => Self::Complex,
    "critical" => Self::Critical,
});

/// Where an application runs (deal rules §3 "Per-application").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The variants are the words of the rule.
pub enum Deployment {
    Saas,
    CloudIaas,
    Hybrid,
    OnPrem,
    Custom,
}

words!(Deployment {
    "saas" => Self::Saas,
    "cloud_iaas" | "iaas" => Self::CloudIaas,
    "hybrid" => Self::Hybrid,
    "on_prem" | "on_premise" | "on_premises" => Self::OnPrem,
    "custom" => Self::Custom,
});

/// An application with status active.
#[derive(Clone, Debug)]
pub struct Application<'a> {
    /// The item's id, a content hash.
    pub item_id: Cow<'a, str>,
    /// The company it belongs to.
    pub entity: Entity,
    /// Display name; may be empty.
    pub name: Cow<'a, str>,
    /// Vendor; may be empty.
    pub vendor: Cow<'a, str>,
    /// Category text as stored; may be empty.
    pub category_text: Cow<'a, str>,
    /// The category that its text maps to.
    pub category: AppCategory,
    /// Whether the parent owns or hosts it.
    pub parent_owned: bool,
    /// Whether its notes mention "shared" or "parent" (deal rules §5, separation).
    pub notes_name_parent: bool,
    /// Number of people who use it.
    pub users: i64,
    /// Annual cost in cents; `None` when unknown. An internal application without a cost is at 0.
    pub annual_cost_cents: Option<i64>,
    /// Stated complexity; `None` if it is not a word of the rules.
    pub complexity: Option<Complexity>,
    /// Stated deployment; `None` if it is not a word of the rules.
    pub deployment: Option<Deployment>,
    /// Number of API integrations.
    pub api_integrations: i64,
    /// Whether single sign-on must be set up.
    pub sso_required: bool,
    /// Data to move, in millionths of a gigabyte.
    pub data_volume_micro_gb: i64,
    /// Number of custom interfaces.
    pub custom_interfaces: i64,
}

/// An infrastructure item with status active.
#[derive(Clone, Debug)]
pub struct Infrastructure<'a> {
    /// The item's id, a content hash.
    pub item_id: Cow<'a, str>,
    /// The company it belongs to.
    pub entity: Entity,
    /// What kind of item it is.
    pub kind: InfrastructureKind,
    /// Whether the parent owns or hosts it.
    pub parent_owned: bool,
    /// Site; may be empty.
    pub location: Cow<'a, str>,
    /// How many of them there are; 1 unless stated.
    pub count: i64,
}

/// A team with status active.
#[derive(Clone, Debug)]
pub struct Organization<'a> {
    /// The item's id, a content hash.
    pub item_id: Cow<'a, str>,
    /// The company it belongs to.
    pub entity: Entity,
    /// Site; may be empty.
    pub location: Cow<'a, str>,
    /// People: the headcount, or full-time equivalents rounded up.
    pub people: i64,
}

/// A vendor with status active. Rules only read whether it exists.
#[derive(Clone, Debug)]
pub struct Vendor<'a> {
    /// The item's id, a content hash.
    pub item_id: Cow<'a, str>,
    /// The company it belongs to.
    pub entity: Entity,
}

/// The active items of one deal, of both companies. Each list is ordered by item id, so that
/// outputs do not depend on the order in which items are stored.
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

/// Parses the inventory array of one deal. Empty input and JSON `null` are an empty inventory.
///
/// Every item is checked, active or not; only items with status active (or none) are kept. Text is
/// compared trimmed and ignoring case (deal rules, drivers).
///
/// This is the only way in: `scan` reads nearly every inventory, `plain` the others, and where both
/// can they agree.
///
/// # Errors
/// A [`DealError`] naming the item and the field, or the position where the JSON breaks.
pub fn parse(json: &[u8]) -> Result<Inventory<'_>, DealError> {
    if json.iter().all(u8::is_ascii_whitespace) {
        return Ok(Inventory::default());
    }
    match scan::scan(json) {
        Some(scanned) => Inventory::of(scanned.items()),
        None => Inventory::of(plain::read(json)?.into_iter()),
    }
}

fn item_id(value: Scalar<'_>, index: usize) -> Result<Cow<'_, str>, DealError> {
    match value {
        Scalar::Text(text) if !trimmed(&text).is_empty() => Ok(text),
        Scalar::Missing | Scalar::Text(_) => Err(DealError::MissingItemId { index }),
        Scalar::Bool(_) | Scalar::Number(_) | Scalar::BadNumber(_) | Scalar::Nested => {
            Err(DealError::BadField {
                item: format!("#{index} (from 0)"),
                field: "item_id",
                reason: "not text; use a string".to_owned(),
            })
        }
    }
}

/// The list that an item belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ItemKind {
    Application,
    Infrastructure,
    Organization,
    Vendor,
}

/// Whether an item counts at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Active,
}

words!(Status {
    "active" | "" => Self::Active,
});

/// What is known of an application's yearly cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CostStatus {
    /// It is as stated.
    Stated,
    /// It is not known, whatever is stated.
    Unknown,
    /// There is none.
    None,
}

words!(CostStatus {
    "known" | "" => Self::Stated,
    "unknown" => Self::Unknown,
    "internal_no_cost" => Self::None,
});

/// Words in an application's notes that make its category one shared with the parent.
const NOTES_OF_PARENT: [&str; 2] = ["shared", "parent"];

words!(ItemKind {
    "application" => Self::Application,
    "infrastructure" => Self::Infrastructure,
    "organization" => Self::Organization,
    "vendor" => Self::Vendor,
});

impl<'a> Inventory<'a> {
    fn of(items: impl ExactSizeIterator<Item = impl Item<'a>>) -> Result<Self, DealError> {
        // Ids are compared by their first bytes where these differ, because comparing texts takes a
        // function call.
        let mut order = Vec::with_capacity(items.len());
        for (index, mut item) in items.enumerate() {
            let id = item_id(item.take(Field::ItemId), index)?;
            order.push((first_bytes(&id), id, item));
        }
        order.sort_unstable_by(|left, right| {
            left.0.cmp(&right.0).then_with(|| left.1.cmp(&right.1))
        });
        let twice = order.windows(2).find_map(|pair| match pair {
            [left, right] if left.0 == right.0 && left.1 == right.1 => Some(&left.1),
            _ => None,
        });
        if let Some(id) = twice {
            return Err(DealError::DuplicateItem {
                item: id.clone().into_owned(),
            });
        }
        let mut inventory = Self {
            applications: Vec::with_capacity(order.len()),
            ..Self::default()
        };
        for (_, id, mut item) in order {
            inventory.push(id, &mut item)?;
        }
        Ok(inventory)
    }

    fn push(&mut self, id: Cow<'a, str>, item: &mut impl Item<'a>) -> Result<(), DealError> {
        let mut fields = Fields::of(&id, item);
        let kind = fields.said(Field::InventoryType, |text| {
            known(text, ItemKind::of_word).ok_or_else(|| DealError::UnknownInventoryType {
                item: (*id).to_owned(),
                value: text.chars().take(64).collect(),
            })
        })??;
        let entity = fields.entity()?;
        let active = fields.said(Field::Status, |text| known(text, Status::of_word).is_some())?;
        let name = fields.text(Field::Name)?;
        match kind {
            ItemKind::Application => {
                let parsed = application(&id, entity, name, &mut fields)?;
                keep(&mut self.applications, parsed, active);
            }
            ItemKind::Infrastructure => {
                let parsed = infrastructure(&id, entity, &mut fields)?;
                keep(&mut self.infrastructure, parsed, active);
            }
            ItemKind::Organization => {
                let parsed = organization(&id, entity, &mut fields)?;
                keep(&mut self.organization, parsed, active);
            }
            ItemKind::Vendor => {
                let item_id = id.clone();
                keep(&mut self.vendors, Vendor { item_id, entity }, active);
            }
        }
        Ok(())
    }
}

#[inline(always)]
fn keep<T>(list: &mut Vec<T>, item: T, active: bool) {
    if active {
        list.push(item);
    }
}

fn application<'a>(
    id: &Cow<'a, str>,
    entity: Entity,
    name: Cow<'a, str>,
    fields: &mut Fields<'_, impl Item<'a>>,
) -> Result<Application<'a>, DealError> {
    let parent_owned = fields.parent_owned()?;
    let cost = fields.number(Field::Cost)?;
    let cents = cost.map(Quantity::dollars_as_cents);
    let annual_cost = fields.said(Field::CostStatus, |text| {
        known(text, CostStatus::of_word).unwrap_or(CostStatus::Stated)
    })?;
    let category_text = fields.text(Field::Category)?;
    let volume = fields.number(Field::DataVolumeGb)?;
    Ok(Application {
        item_id: id.clone(),
        entity,
        name,
        vendor: fields.text(Field::Vendor)?,
        category: AppCategory::from_text(&category_text),
        category_text,
        parent_owned,
        notes_name_parent: fields.said(Field::Notes, |text| mentions(text, &NOTES_OF_PARENT))?,
        users: fields.whole(Field::Users)?,
        annual_cost_cents: match annual_cost {
            CostStatus::Stated => cents,
            CostStatus::Unknown => None,
            CostStatus::None => Some(0),
        },
        complexity: fields.said(Field::Complexity, |text| known(text, Complexity::of_word))?,
        deployment: fields.said(Field::DeploymentType, |text| {
            known(text, Deployment::of_word)
        })?,
        api_integrations: fields.whole(Field::ApiIntegrations)?,
        sso_required: fields.flag(Field::SsoRequired)?,
        data_volume_micro_gb: volume.map_or(0, Quantity::micros),
        custom_interfaces: fields.whole(Field::CustomInterfaces)?,
    })
}

fn infrastructure<'a>(
    id: &Cow<'a, str>,
    entity: Entity,
    fields: &mut Fields<'_, impl Item<'a>>,
) -> Result<Infrastructure<'a>, DealError> {
    let parent_owned = fields.parent_owned()?;
    let kind = fields.said(Field::Kind, |text| known(text, InfrastructureKind::of_word))?;
    Ok(Infrastructure {
        item_id: id.clone(),
        entity,
        kind: kind.unwrap_or(InfrastructureKind::Other),
        parent_owned,
        location: fields.text(Field::Location)?,
        count: fields.whole(Field::Count)?,
    })
}

fn organization<'a>(
    id: &Cow<'a, str>,
    entity: Entity,
    fields: &mut Fields<'_, impl Item<'a>>,
) -> Result<Organization<'a>, DealError> {
    let headcount = fields.number(Field::Headcount)?;
    let fte = fields.number(Field::Fte)?;
    Ok(Organization {
        item_id: id.clone(),
        entity,
        location: fields.text(Field::Location)?,
        people: headcount.or(fte).map_or(0, Quantity::whole_up),
    })
}

#[cfg(test)]
mod tests;

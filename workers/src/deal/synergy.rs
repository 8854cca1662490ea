//! What an acquirer saves where both companies run the same kind of application (deal rules §5).

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::category::AppCategory;
use super::error::DealError;
use super::exact::{Exact, ONE_BP, THOUSAND_CENTS, sum};
use super::inventory::{Entity, Inventory};
use super::model::Model;

/// One overlap worth consolidating. Amounts are rounded to $1,000.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synergy {
    /// The category both sides hold.
    pub category: String,
    /// Saved a year, low, cents.
    pub savings_low_cents: i64,
    /// Saved a year, high, cents.
    pub savings_high_cents: i64,
    /// Cost to achieve, low, cents.
    pub cost_low_cents: i64,
    /// Cost to achieve, high, cents.
    pub cost_high_cents: i64,
    /// Net over the model's years, low: low savings less high cost; may be negative, cents.
    pub net_low_cents: i64,
    /// Net over the model's years, high: high savings less low cost, cents.
    pub net_high_cents: i64,
    /// Shortest and longest duration in months.
    pub months: (i64, i64),
    /// `medium` for the slow categories, else `high`.
    pub confidence: &'static str,
    /// Item ids of the applications on both sides.
    pub affected_items: Vec<String>,
}

#[derive(Default)]
struct Sides {
    target: Option<i64>,
    buyer: Option<i64>,
    items: Vec<String>,
}

/// The overlaps, in the order of their category. An application whose cost is unknown makes its
/// side hold the category but adds nothing to its total.
pub(super) fn of_acquisition(
    inventory: &Inventory<'_>,
    model: &Model,
) -> Result<Vec<Synergy>, DealError> {
    let mut overlaps: BTreeMap<Cow<'_, str>, Sides> = BTreeMap::new();
    for item in &inventory.applications {
        let Some(key) = AppCategory::overlap_key(&item.category_text) else {
            continue;
        };
        let sides = overlaps.entry(key).or_default();
        let side = match item.entity {
            Entity::Target => &mut sides.target,
            Entity::Buyer => &mut sides.buyer,
        };
        let cost = item.annual_cost_cents.unwrap_or(0);
        *side = Some(sum(
            [side.unwrap_or(0), cost],
            "application cost by category",
        )?);
        sides.items.push(item.item_id.clone().into_owned());
    }
    let mut synergies = Vec::new();
    for (category, sides) in overlaps {
        let (Some(target), Some(buyer)) = (sides.target, sides.buyer) else {
            continue;
        };
        let combined = sum([target, buyer], "application cost by category")?;
        if combined < model.synergy.combined_at_least_cents {
            continue;
        }
        let (smaller, larger) = (target.min(buyer), target.max(buyer));
        synergies.push(synergy(&category, smaller, larger, sides.items, model)?);
    }
    Ok(synergies)
}

/// savings = smaller + 10–30% of larger; cost to achieve = 50–200% of smaller; net over three years
/// = 3·savings less cost, crosswise (deal rules §5).
fn synergy(
    category: &str,
    smaller: i64,
    larger: i64,
    affected_items: Vec<String>,
    model: &Model,
) -> Result<Synergy, DealError> {
    const WHAT: &str = "synergy";
    let table = &model.synergy;
    let savings = |share_bp| {
        let whole = Exact::cents(i128::from(smaller), WHAT);
        whole
            .plus_ratio(1, larger, share_bp, ONE_BP)?
            .round(THOUSAND_CENTS)
    };
    let cost = |share_bp| {
        let whole = Exact::cents(i128::from(smaller), WHAT);
        whole.times_bp(share_bp)?.round(THOUSAND_CENTS)
    };
    let net = |savings: i64, cost: i64| {
        let gross = savings.checked_mul(table.net_years);
        let net = gross.and_then(|gross| gross.checked_sub(cost));
        net.ok_or(DealError::Overflow { what: WHAT })
    };
    let (savings_low, savings_high) = (
        savings(table.larger_low_bp)?,
        savings(table.larger_high_bp)?,
    );
    let (cost_low, cost_high) = (cost(table.achieve_low_bp)?, cost(table.achieve_high_bp)?);
    let slow = table
        .slow_categories
        .contains(&AppCategory::from_text(category));
    Ok(Synergy {
        category: category.to_owned(),
        savings_low_cents: savings_low,
        savings_high_cents: savings_high,
        cost_low_cents: cost_low,
        cost_high_cents: cost_high,
        net_low_cents: net(savings_low, cost_high)?,
        net_high_cents: net(savings_high, cost_low)?,
        months: if slow { (12, 18) } else { (6, 12) },
        confidence: if slow { "medium" } else { "high" },
        affected_items,
    })
}

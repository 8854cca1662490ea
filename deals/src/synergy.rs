//! What an acquirer saves if both companies run the same kind of application (deal rules §5).

use std::borrow::Cow;

use super::category::{self, AppCategory};
use super::error::DealError;
use super::exact::{Exact, ONE_BP, THOUSAND_CENTS, sum};
use super::formula::Formula;
use super::inventory::{Application, Entity, Inventory};
use super::kind::DealType;
use super::model::Model;

/// What consolidating an overlap saves (deal rules §5).
pub(super) const SAVINGS: Formula = Formula {
    name: "synergy: savings a year, of a category that target and buyer both have",
    formula: "smaller yearly cost + larger_low or larger_high × larger yearly cost; skipped if both together are below combined_at_least",
    numbers: &["synergy"],
    deal_types: &[DealType::Acquisition],
    rounded_to_cents: THOUSAND_CENTS,
};

/// What consolidating it costs.
pub(super) const ACHIEVE: Formula = Formula {
    name: "synergy: cost to achieve it",
    formula: "achieve_low or achieve_high × smaller yearly cost",
    numbers: &["synergy"],
    deal_types: &[DealType::Acquisition],
    rounded_to_cents: THOUSAND_CENTS,
};

/// One overlap that is worth consolidating. Amounts are rounded to $1,000.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synergy {
    /// The category that both companies have.
    pub category: String,
    /// Yearly savings, low estimate, cents.
    pub savings_low_cents: i64,
    /// Yearly savings, high estimate, cents.
    pub savings_high_cents: i64,
    /// Cost to achieve, low estimate, cents.
    pub cost_low_cents: i64,
    /// Cost to achieve, high estimate, cents.
    pub cost_high_cents: i64,
    /// Net over the model's years, low estimate: low savings less high cost, cents; may be
    /// negative.
    pub net_low_cents: i64,
    /// Net over the model's years, high estimate: high savings less low cost, cents.
    pub net_high_cents: i64,
    /// Shortest and longest duration in months.
    pub months: (i64, i64),
    /// `medium` for the slow categories, otherwise `high`.
    pub confidence: &'static str,
    /// Item ids of the applications of both companies.
    pub affected_items: Vec<String>,
}

/// The key by which applications of both companies overlap: the category's name, or the text itself
/// if no rule names it (two unrelated unknown categories must not overlap as "other"). `None` for a
/// blank category.
fn overlap_key<'i>(item: &'i Application<'_>) -> Option<Cow<'i, str>> {
    if item.category != AppCategory::Other {
        return Some(Cow::Borrowed(item.category.as_str()));
    }
    let folded = category::folded(&item.category_text);
    (!folded.is_empty()).then_some(folded)
}

/// The overlaps, ordered by category. An application whose cost is unknown counts as having the
/// category but adds nothing to the total.
pub(super) fn of_acquisition(
    inventory: &Inventory<'_>,
    model: &Model,
) -> Result<Vec<Synergy>, DealError> {
    let applications = &inventory.applications;
    // Shortcut for most deals: without a listed buyer nothing overlaps.
    if !applications.iter().any(|item| item.entity == Entity::Buyer) {
        return Ok(Vec::new());
    }
    let mut keyed: Vec<_> = applications
        .iter()
        .filter_map(|item| Some((overlap_key(item)?, item)))
        .collect();
    // The sort is stable: within a category items stay ordered by id.
    keyed.sort_by(|left, right| left.0.cmp(&right.0));
    let mut synergies = Vec::new();
    for group in keyed.chunk_by(|left, right| left.0 == right.0) {
        let side = |entity| {
            let held = || group.iter().filter(move |(_, item)| item.entity == entity);
            let costs = held().map(|(_, item)| item.annual_cost_cents.unwrap_or(0));
            let total = sum(costs, "application cost by category")?;
            Ok::<_, DealError>(held().next().map(|_| total))
        };
        let (Some(target), Some(buyer)) = (side(Entity::Target)?, side(Entity::Buyer)?) else {
            continue;
        };
        let combined = sum([target, buyer], "application cost by category")?;
        if combined < model.synergy.combined_at_least_cents {
            continue;
        }
        let (smaller, larger) = (target.min(buyer), target.max(buyer));
        let items = group
            .iter()
            .map(|(_, item)| item.item_id.clone().into_owned());
        let category = group.first().map_or("", |(category, _)| category);
        synergies.push(synergy(category, smaller, larger, items.collect(), model)?);
    }
    Ok(synergies)
}

/// savings = smaller + 10–30% of larger; cost to achieve = 50–200% of smaller; net over three years
/// = 3·savings less cost, low with high and vice versa (deal rules §5).
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
        let whole = Exact::cents(smaller, WHAT);
        whole
            .plus_ratio(1, larger, share_bp, ONE_BP)
            .round(SAVINGS.rounded_to_cents)
    };
    let cost = |share_bp| {
        let whole = Exact::cents(smaller, WHAT);
        whole.times_bp(share_bp).round(ACHIEVE.rounded_to_cents)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::parse;

    #[test]
    fn unknown_categories_meet_only_themselves() {
        let keys = [" Legal ", "hr", "  ", "Tax/Legal"].map(|category| {
            let item = json!([{"item_id": "x", "inventory_type": "application",
                "data": {"category": category}}]);
            let json = item.to_string();
            let inventory = parse(json.as_bytes()).unwrap();
            overlap_key(&inventory.applications[0]).map(Cow::into_owned)
        });
        let found = keys.each_ref().map(Option::as_deref);
        assert_eq!(found, [Some("legal"), Some("hcm"), None, Some("tax_legal")]);
    }
}

//! Finds the figures of a deal that deserve a sentence in a report (deal rules §5 "Insights").

use super::assess::Assessment;
use super::error::DealError;
use super::exact::{ONE_BP, THOUSAND_CENTS, sum};
use super::inventory::{Entity, Inventory};

/// The target's share of all people above which it dominates.
const SHARE_HIGH_BP: i64 = 7_000;
const SHARE_LOW_BP: i64 = 4_000;
/// $5 million.
const ONE_TIME_CENTS: i64 = 5_000 * THOUSAND_CENTS;
/// $500,000.
const TOTAL_CENTS: i64 = 500 * THOUSAND_CENTS;

/// A noteworthy figure of a deal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insight {
    /// The target has over 70 % of the people of both companies.
    TargetDominates {
        /// The target's share, basis points.
        share_bp: i64,
    },
    /// The target has under 40 % of the people of both companies.
    BuyerDominates {
        /// The target's share, basis points.
        share_bp: i64,
    },
    /// The one-time cost in the stress scenario is over $5 million.
    HighOneTimeCost {
        /// The cost, cents.
        cents: i64,
    },
    /// The high estimate of savings from synergies is over $500,000 a year.
    LargeSynergies {
        /// The savings, cents.
        cents: i64,
    },
    /// The high estimate of the separation cost is over $500,000.
    LargeSeparation {
        /// The cost, cents.
        cents: i64,
    },
}

/// The insights of an assessed deal, in a fixed order. Shares are judged only if both companies
/// list people; thresholds are strict.
///
/// # Errors
/// [`DealError::Overflow`].
pub fn insights(
    inventory: &Inventory<'_>,
    assessment: &Assessment<'_>,
) -> Result<Vec<Insight>, DealError> {
    let mut found = Vec::new();
    let people = |entity| {
        let teams = inventory.organization.iter();
        let of_entity = teams.filter(|team| team.entity == entity);
        sum(of_entity.map(|team| team.people), "headcount")
    };
    let (target, buyer) = (people(Entity::Target)?, people(Entity::Buyer)?);
    if target > 0 && buyer > 0 {
        let all = i128::from(target) + i128::from(buyer);
        let share = i128::from(target) * i128::from(ONE_BP);
        // A share is at most 1.0, so it fits.
        let share_bp = i64::try_from(share / all).unwrap_or(ONE_BP);
        if share > all * i128::from(SHARE_HIGH_BP) {
            found.push(Insight::TargetDominates { share_bp });
        } else if share < all * i128::from(SHARE_LOW_BP) {
            found.push(Insight::BuyerDominates { share_bp });
        }
    }
    let total = |name| assessment.outputs.get(name).unwrap_or(0);
    let one_time = total("cost_one_time_stress");
    if one_time > ONE_TIME_CENTS {
        found.push(Insight::HighOneTimeCost { cents: one_time });
    }
    let synergies = total("synergy_savings_high");
    if synergies > TOTAL_CENTS {
        found.push(Insight::LargeSynergies { cents: synergies });
    }
    let separation = total("separation_high");
    if separation > TOTAL_CENTS {
        found.push(Insight::LargeSeparation { cents: separation });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{DealType, Model, assess, parse};

    fn found(target: i64, buyer: i64, deal_type: DealType) -> Vec<Insight> {
        let team = |id: &str, entity: &str, people: i64| {
            json!({"item_id": id, "inventory_type": "organization", "entity": entity,
                "data": {"headcount": people}})
        };
        let json = json!([team("t", "target", target), team("b", "buyer", buyer)]).to_string();
        let inventory = parse(json.as_bytes()).unwrap();
        let model = Model::built_in();
        let deal = assess(&inventory, deal_type, true, &model).unwrap();
        insights(&inventory, &deal).unwrap()
    }

    #[test]
    fn a_share_at_the_limit_yields_no_insight() {
        let acquisition = |target, buyer| found(target, buyer, DealType::Acquisition);
        assert_eq!(acquisition(70, 30), []);
        assert_eq!(
            acquisition(71, 29),
            [Insight::TargetDominates { share_bp: 7_100 }]
        );
        assert_eq!(acquisition(40, 60), []);
        assert_eq!(
            acquisition(39, 61),
            [Insight::BuyerDominates { share_bp: 3_900 }]
        );
        assert_eq!(acquisition(10, 0), []);
    }

    #[test]
    fn large_amounts_are_named() {
        let carveout = found(100_000, 100_000, DealType::Carveout);
        let [
            Insight::HighOneTimeCost { cents },
            Insight::LargeSeparation { .. },
        ] = carveout[..]
        else {
            panic!("{carveout:?}");
        };
        assert!(cents > ONE_TIME_CENTS);
    }
}

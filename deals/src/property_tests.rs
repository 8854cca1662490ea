//! Properties that hold for every inventory.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const CATEGORIES: [&str; 8] = [
    "erp", "crm", "hcm", "finance", "email", "identity", "security", "x",
];
const KINDS: [&str; 6] = [
    "server",
    "vm",
    "laptop",
    "network",
    "datacenter",
    "directory",
];
const HOSTINGS: [&str; 3] = ["own", "parent platform", ""];

fn item() -> impl Strategy<Value = Value> {
    let application = (0..CATEGORIES.len(), 0..HOSTINGS.len(), 0_i64..3_000_000, 0_i64..4_000, any::<bool>())
        .prop_map(|(category, hosting, cost, users, buyer)| {
            json!({"inventory_type": "application", "entity": if buyer { "buyer" } else { "target" },
                "data": {"category": CATEGORIES[category], "hosting": HOSTINGS[hosting],
                    "notes": HOSTINGS[hosting], "cost": cost, "users": users,
                    "data_volume_gb": users as f64 / 7.0, "api_integrations": users % 9}})
        });
    let infrastructure = (0..KINDS.len(), 0..HOSTINGS.len(), 0_i64..300, 0_i64..20).prop_map(
        |(kind, hosting, count, site)| {
            json!({"inventory_type": "infrastructure", "data": {"type": KINDS[kind],
                "ownership": if hosting == 1 { "parent" } else { "own" },
                "count": count, "location": format!("site {site}")}})
        },
    );
    let organization = (0_i64..5_000, 0_i64..20).prop_map(|(people, site)| {
        json!({"inventory_type": "organization",
            "data": {"headcount": people, "location": format!("site {site}")}})
    });
    prop_oneof![application, infrastructure, organization]
}

fn inventories() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(item(), 0..30).prop_map(|mut items| {
        for (index, item) in items.iter_mut().enumerate() {
            item["item_id"] = json!(format!("I-{index:03}"));
        }
        items
    })
}

fn computed(items: &[Value], deal_type: DealType) -> Outputs {
    let json = serde_json::to_vec(items).unwrap();
    compute(&parse(&json).unwrap(), deal_type, true, &Model::built_in()).unwrap()
}

fn get(outputs: &Outputs, name: &str) -> i64 {
    outputs.get(name).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_items_does_not_matter(
        (items, shuffled) in inventories().prop_flat_map(|items| {
            (Just(items.clone()), Just(items).prop_shuffle())
        })
    ) {
        for deal_type in DealType::ALL {
            prop_assert_eq!(computed(&items, deal_type), computed(&shuffled, deal_type));
        }
    }

    #[test]
    fn more_users_never_cost_less(items in inventories(), more in 1_i64..3_000) {
        let mut grown = items.clone();
        let mut before = items;
        let team = |people: i64| json!({"item_id": "T", "inventory_type": "organization",
            "data": {"headcount": people}});
        before.push(team(1));
        grown.push(team(1 + more));
        for deal_type in DealType::ALL {
            let (small, large) = (computed(&before, deal_type), computed(&grown, deal_type));
            for name in ["cost_one_time_base", "cost_licences_annual", "cost_total"] {
                prop_assert!(get(&small, name) <= get(&large, name), "{}", name);
            }
        }
    }

    #[test]
    fn each_type_has_its_own_kind_of_output(items in inventories()) {
        let [acquisition, carveout, divestiture] = DealType::ALL.map(|it| computed(&items, it));
        for one_time in ["cost_one_time_upside", "cost_one_time_base", "cost_one_time_stress"] {
            prop_assert!(get(&acquisition, one_time) <= get(&carveout, one_time));
            prop_assert!(get(&carveout, one_time) <= get(&divestiture, one_time));
        }
        let base = get(&acquisition, "cost_one_time_base");
        let ratio = 10 * get(&carveout, "cost_one_time_base");
        prop_assert!(base * 15 <= ratio && ratio <= base * 30, "carveout outside 1.5 to 3");
        for outputs in [&acquisition, &divestiture] {
            prop_assert_eq!(get(outputs, "cost_tsa"), 0);
        }
        for outputs in [&carveout, &divestiture] {
            prop_assert_eq!(get(outputs, "synergy_count"), 0);
            prop_assert_eq!(get(outputs, "synergy_savings_high"), 0);
        }
        prop_assert_eq!(get(&acquisition, "separation_count"), 0);
        prop_assert_eq!(get(&acquisition, "cost_licences_annual"), get(&carveout, "cost_licences_annual"));
        for outputs in [&acquisition, &carveout, &divestiture] {
            let phases = get(outputs, "cost_day_1") + get(outputs, "cost_day_100")
                + get(outputs, "cost_post_100");
            prop_assert_eq!(phases, get(outputs, "cost_one_time_base"));
            let parts = phases + get(outputs, "cost_applications")
                + get(outputs, "cost_licences_annual") + get(outputs, "cost_tsa");
            prop_assert_eq!(parts, get(outputs, "cost_total"));
            prop_assert!(outputs.values.iter().all(|value| *value >= 0));
        }
    }

    #[test]
    fn no_input_panics(json in ".{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = parse(json.as_bytes()).is_ok();
        let _ = parse(&bytes).is_ok();
        let shaped = json!([{"item_id": "a", "inventory_type": "application",
            "data": {"users": json, "cost": json, "category": json, "hosting": json}}]);
        if let Ok(inventory) = parse(shaped.to_string().as_bytes()) {
            let _ = compute(&inventory, DealType::Carveout, true, &Model::built_in()).is_ok();
        }
    }
}

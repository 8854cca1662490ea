use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{DealType, Model, TypeClass, classify, compute, parse};

#[test]
fn a_seed_determines_its_deals() {
    let first: Vec<_> = deals(200, 7).collect();
    assert_eq!(first, deals(200, 7).collect::<Vec<_>>());
    assert_eq!(first[..50], deals(50, 7).collect::<Vec<_>>());
    assert_ne!(first, deals(200, 8).collect::<Vec<_>>());
    let ids: BTreeSet<_> = first.iter().map(|deal| &deal.id).collect();
    assert_eq!(ids.len(), 200);
    assert!(first.iter().all(|deal| deal.id.len() == 36));
}

#[test]
fn every_kind_of_type_status_and_inventory_occurs() {
    let mut classes: BTreeMap<&str, u64> = BTreeMap::new();
    let mut text = String::new();
    let mut sizes = Vec::new();
    let (mut deleted, mut statuses) = (0, BTreeSet::new());
    for deal in deals(2_000, 1) {
        let class = match classify(deal.deal_type.as_deref()) {
            TypeClass::Valid(kind) => kind.as_str(),
            TypeClass::Null => "null",
            TypeClass::Alias(_) => "alias",
            TypeClass::Invalid => "invalid",
        };
        *classes.entry(class).or_default() += 1;
        deleted += u64::from(deal.deleted);
        statuses.insert(deal.status);
        sizes.push(deal.inventory_json.len());
        text.push_str(&deal.inventory_json);
        let inventory = parse(deal.inventory_json.as_bytes()).unwrap();
        compute(&inventory, DealType::Carveout, true, &Model::built_in()).unwrap();
    }
    let names: Vec<_> = classes.keys().copied().collect();
    assert_eq!(
        names,
        [
            "acquisition",
            "alias",
            "carveout",
            "divestiture",
            "invalid",
            "null"
        ]
    );
    assert_eq!(statuses.len(), 5);
    assert!(deleted > 20 && deleted < 200, "{deleted}");
    for kind in ["application", "infrastructure", "organization", "vendor"] {
        assert!(
            text.contains(&format!("\"inventory_type\":\"{kind}\"")),
            "{kind}"
        );
    }
    sizes.sort_unstable();
    let (median, largest) = (sizes[sizes.len() / 2], sizes[sizes.len() - 1]);
    assert!((2_000..5_000).contains(&median), "median {median} bytes");
    assert!(largest > 20_000, "largest {largest} bytes");
}

#[test]
fn options_decide_what_is_broken() {
    let options = GenerateOptions {
        broken_inventory: 7,
        ..GenerateOptions::new(300, 3)
    };
    let made: Vec<_> = generate(options).collect();
    let invalid = |deal: &&GeneratedDeal| classify(deal.deal_type.as_deref()) == TypeClass::Invalid;
    assert_eq!(made.iter().filter(invalid).count(), 0);
    let broken = |deal: &&GeneratedDeal| parse(deal.inventory_json.as_bytes()).is_err();
    assert_eq!(made.iter().filter(broken).count(), 7);
    let all_broken = GenerateOptions {
        broken_inventory: 9,
        ..GenerateOptions::new(3, 3)
    };
    assert_eq!(
        generate(all_broken)
            .collect::<Vec<_>>()
            .iter()
            .filter(broken)
            .count(),
        3
    );
}

/// Deal rules §6: a carveout costs 1.5 to 3 times a comparable acquisition. The closest comparison
/// is the same company as both.
#[test]
fn carveouts_cost_between_one_and_a_half_and_three_times_an_acquisition() {
    let model = Model::built_in();
    let (mut old_total, mut new_total, mut ratios, mut deals_seen) =
        (0_i128, 0_i128, 0_i128, 0_i128);
    for deal in generate(GenerateOptions::new(2_000, 42)) {
        let inventory = parse(deal.inventory_json.as_bytes()).unwrap();
        let total = |kind| {
            let outputs = compute(&inventory, kind, true, &model).unwrap();
            i128::from(outputs.get("cost_total").unwrap())
        };
        let (old, new) = (total(DealType::Acquisition), total(DealType::Carveout));
        if old > 0 {
            ratios += new * 100 / old;
            deals_seen += 1;
            old_total += old;
            new_total += new;
        }
    }
    let mean_of_ratios = ratios / deals_seen;
    let ratio_of_means = new_total * 100 / old_total;
    assert!(
        (150..=300).contains(&mean_of_ratios),
        "mean of ratios {mean_of_ratios} %"
    );
    assert!(
        (150..=300).contains(&ratio_of_means),
        "ratio of means {ratio_of_means} %"
    );
}

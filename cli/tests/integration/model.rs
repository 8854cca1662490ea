//! `rollbook model show`: the model that computes, as people and programs read it.

use rollbook_deals::{BUILT_IN_ALIASES, METRICS, Model};

use crate::harness::Place;

#[test]
fn the_model_is_printed_in_full() {
    let place = Place::new();
    let ran = place.run("model show").exits(0);
    for line in ran.out.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for metric in METRICS {
        assert!(ran.out.contains(metric.name), "{}", metric.name);
    }
    for (alias, _) in BUILT_IN_ALIASES {
        assert!(ran.out.contains(alias), "{alias}");
    }
    let told = place.run("model show --json").exits(0).json();
    assert_eq!(
        told["model_digest"],
        Model::built_in().digest().unwrap().as_str()
    );
    assert_eq!(told["built_in"], true);
    assert_eq!(told["metrics"].as_array().unwrap().len(), METRICS.len());
}

#[test]
fn what_is_printed_can_be_limited_to_a_deal_type() {
    let place = Place::new();
    let carveout = place.run("model show --deal-type carveout").exits(0);
    assert!(carveout.out.contains("cost_tsa") && !carveout.out.contains("larger_low"));
    let sale = place
        .run("model show --deal-type sale --json")
        .exits(0)
        .json();
    assert_eq!(sale["limited_to"], "divestiture");
    place
        .run("model show --deal-type lbo")
        .exits(2)
        .complains("RB-CLI-78");
}

#[test]
fn the_numbers_are_a_model_file() {
    let place = Place::new();
    let numbers = place.run("model show --numbers").exits(0).out;
    assert_eq!(Model::from_json(numbers.as_bytes()), Ok(Model::built_in()));
    let mut other: serde_json::Value = serde_json::from_str(&numbers).unwrap();
    other["tsa"]["months"] = 18.into();
    place.write("model.json", &other.to_string());
    let told = place
        .run("model show --model model.json --json")
        .exits(0)
        .json();
    assert_eq!(
        (&told["built_in"], &told["numbers"]["tsa"]["months"]),
        (&false.into(), &18.into())
    );
    place.write("model.json", "{}");
    place
        .run("model show --model model.json")
        .exits(2)
        .complains("RB-MODEL-1");
    place
        .run("model show --model none.json")
        .exits(2)
        .complains("RB-CLI-60");
}

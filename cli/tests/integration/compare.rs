//! `rollbook compare`: custom rules, every regression, HTML, one deal explained.

use std::fs;

use rollbook_deals::Model;
use serde_json::Value;

use crate::harness::Place;

const DEALS: &str = "--database sqlite:deals.db";

/// The built-in model with every cost item of an acquisition 7 % dearer.
fn dearer() -> String {
    let mut model = serde_json::to_value(Model::built_in()).unwrap();
    let factors = model["multipliers"]["acquisition"].as_object_mut().unwrap();
    for factor in factors.values_mut() {
        *factor = Value::from(factor.as_i64().unwrap() * 107 / 100);
    }
    model.to_string()
}

/// A place with deals and the snapshots of two models.
fn two_models() -> (Place, String, String) {
    let place = Place::new();
    place
        .run(&format!(
            "deals generate --count 300 --seed 7 --no-invalid-types {DEALS}"
        ))
        .exits(0);
    place.write("dearer.json", &dearer());
    let taken = |options: &str| {
        let ran = place.run(&format!("snapshot take {DEALS} --json {options}"));
        let snapshot = ran.exits(0).json()["snapshot"].clone();
        snapshot.as_str().unwrap().to_owned()
    };
    let before = taken("--label before");
    let after = taken("--label after --model dearer.json");
    (place, before, after)
}

#[test]
fn different_models_are_compared_only_on_request() {
    let (place, before, after) = two_models();
    place
        .run(&format!("compare {before} {after}"))
        .exits(2)
        .complains("--allow-model-change");
    let ran = place
        .run(&format!("compare {before} {after} --allow-model-change"))
        .exits(1)
        .says("total cost")
        .says("relative change of total cost")
        .says("regressions with the largest change");
    assert!(ran.out.contains("5 % … 10 %"), "{}", ran.out);
}

#[test]
fn every_regression_is_listed_page_by_page() {
    let (place, before, after) = two_models();
    let compare = format!("compare {before} {after} --allow-model-change");
    let whole = place.run(&format!("{compare} --json")).exits(1).json();
    let deals = whole["result"]["regressions"].as_u64().unwrap();
    assert!(deals > 20, "{deals} fit into the result itself");
    let result = whole["result_sha256"].as_str().unwrap().to_owned();

    let all = place
        .run(&format!("{compare} --regressions --limit 100000 --json"))
        .exits(1)
        .json();
    assert_eq!(all["result_sha256"], result.as_str());
    let all = all["regressions"].as_array().unwrap().clone();
    let mut paged = Vec::new();
    let mut after_deal = String::new();
    loop {
        let page = place
            .run(&format!(
                "compare --result {result} --regressions --limit 7 --json {after_deal}"
            ))
            .exits(1)
            .json();
        paged.extend(page["regressions"].as_array().unwrap().clone());
        match page["next_after"].as_str() {
            Some(next) => after_deal = format!("--after {next}"),
            None => break,
        }
    }
    assert_eq!(paged, all);
    let ids: std::collections::BTreeSet<_> =
        all.iter().map(|row| row["deal_id"].to_string()).collect();
    assert_eq!(ids.len() as u64, deals);
    place
        .run(&format!(
            "compare --result {result} --regressions --limit 1"
        ))
        .exits(1)
        .says("more: --after ");
    place
        .run(&format!("compare --result {before}"))
        .exits(2)
        .complains("RB-COMPARE-7");
    place.run("compare").exits(2);
}

#[test]
fn custom_rules_judge_and_their_errors_name_a_position() {
    let (place, before, after) = two_models();
    let compare = format!("compare {before} {after} --allow-model-change");
    let rules = "rules:
  - id: meant
    metric: cost_*
    test: {kind: expected, min_ratio: 1, max_ratio: 1.08, reason: prices rose}
    severity: warning
  - id: rest
    metric: '*'
    test: {kind: exact}
";
    place.write("rules.yaml", rules);
    let result = place
        .run(&format!("{compare} --rules rules.yaml --json"))
        .exits(0)
        .json();
    assert!(
        result["result"]["by_rule"]["meant"]["expected"]
            .as_u64()
            .unwrap()
            > 0
    );
    place.write("tight.yaml", &rules.replace("1.08", "1.01"));
    let tight = place
        .run(&format!("{compare} --rules tight.yaml --json"))
        .exits(0)
        .json();
    assert!(tight["result"]["warnings"].as_u64().unwrap() > 0);

    place.write(
        "bad.yaml",
        &rules.replace("max_ratio: 1.08", "max_ratio: 0.5"),
    );
    place
        .run(&format!("{compare} --rules bad.yaml"))
        .exits(2)
        .complains("bad.yaml:2:5: RB-COMPARE-2");
    place.write(
        "bad.json",
        "{\"rules\": [\n  {\"id\": \"a\", \"metric\": 1}]}",
    );
    place
        .run(&format!("{compare} --rules bad.json"))
        .exits(2)
        .complains("bad.json:2:");
    place
        .run(&format!("{compare} --rules none.yaml"))
        .exits(2)
        .complains("RB-CLI-60");
    place
        .run(&format!("{compare} --rules rules.yaml --tolerance 3"))
        .exits(2);
}

#[test]
fn the_html_page_loads_nothing_from_elsewhere() {
    let (place, before, after) = two_models();
    place
        .run(&format!(
            "compare {before} {after} --allow-model-change --html page.html"
        ))
        .exits(1);
    let page = fs::read_to_string(place.path().join("page.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    assert_eq!(page.matches("<svg").count(), 2);
    for outside in ["<script", "http://", "https://", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    place
        .run(&format!(
            "compare {before} {after} --allow-model-change --html no/where.html"
        ))
        .exits(7)
        .complains("RB-CLI-63");
}

#[test]
fn a_deal_is_explained_down_to_its_inventory() {
    let (place, before, after) = two_models();
    let compare = format!("compare {before} {after} --allow-model-change");
    let worst = place
        .run(&format!("{compare} --regressions --limit 1 --json"))
        .json();
    let deal = worst["regressions"][0]["deal_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let shown = place
        .run(&format!("{compare} --explain {deal}"))
        .exits(0)
        .says("guarded")
        .says("cost_total")
        .says("cost_one_time_base")
        .says("counted from")
        .says("note after: the snapshot was made by model");
    assert!(shown.out.contains("sqlite:deals.db"), "{}", shown.out);
    let told = place
        .run(&format!("{compare} --explain {deal} --json"))
        .exits(0)
        .json();
    assert_eq!(told["behind"]["before"]["explains"], true);
    assert_eq!(told["behind"]["after"]["explains"], false);
    let told = place
        .run(&format!(
            "{compare} --explain {deal} --model dearer.json --json"
        ))
        .exits(0)
        .json();
    assert_eq!(told["behind"]["after"]["explains"], true, "{told:#}");

    fs::rename(place.path().join("deals.db"), place.path().join("moved.db")).unwrap();
    place
        .run(&format!("{compare} --explain {deal}"))
        .exits(0)
        .complains("give --database");
    let told = place
        .run(&format!("{compare} --explain {deal} --json"))
        .exits(0)
        .json();
    let why = told["without_lines"].as_str().unwrap();
    assert!(
        why.contains("sqlite:deals.db") && why.contains("give --database"),
        "{why}"
    );
    place
        .run(&format!(
            "{compare} --explain {deal} --database sqlite:moved.db"
        ))
        .exits(0)
        .says("counted from");
    place
        .run(&format!(
            "{compare} --explain {deal} --database sqlite:none.db"
        ))
        .exits(2)
        .complains("none.db");
}

#[test]
fn what_is_missing_is_named_in_one_error() {
    let (place, before, after) = two_models();
    for (line, said) in [
        (
            "compare".to_owned(),
            "RB-CLI-61: compare needs two snapshots, and none is given",
        ),
        (
            format!("compare {before}"),
            "compare needs two snapshots, and only the earlier one",
        ),
        (
            "compare --explain d-1".to_owned(),
            "--explain \"d-1\" needs two snapshots, and none is given; give the SHA-256 of both",
        ),
        (
            format!("compare {before} {after} --allow-model-change --explain d-1"),
            "deal \"d-1\" is in neither snapshot; check the id",
        ),
    ] {
        let ran = place.run(&line).exits(2).complains(said);
        assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
    }
}

#[test]
fn totals_are_over_the_deals_of_both_snapshots() {
    let place = Place::new();
    place
        .run(&format!(
            "deals generate --count 300 --seed 7 --no-invalid-types {DEALS}"
        ))
        .exits(0);
    let take = |label: &str| {
        let ran = place.run(&format!("snapshot take {DEALS} --label {label} --json"));
        ran.exits(0).json()["snapshot"].as_str().unwrap().to_owned()
    };
    let before = take("before");
    let database = rusqlite::Connection::open(place.path().join("deals.db")).unwrap();
    let live = "(SELECT min(id) FROM deals WHERE deleted_at IS NULL)";
    database
        .execute(&format!("DELETE FROM deals WHERE id = {live}"), [])
        .unwrap();
    let after = take("after");

    let ran = place
        .run(&format!("compare {before} {after}"))
        .exits(1)
        .says("1 missing")
        .says("before only");
    for line in ran.out.lines() {
        // A deal's id and its rule may be longer.
        assert!(
            line.chars().count() <= 80 || line.contains("missing-after"),
            "{line}"
        );
    }
    assert!(
        !ran.out.contains("sums over the"),
        "nothing else changed: {}",
        ran.out
    );
    let result = place
        .run(&format!("compare {before} {after} --json"))
        .exits(1)
        .json()["result"]
        .clone();
    assert_eq!(result["computed"], result["compared"]);
    assert_eq!(result["computed_before_only"], 1);
    let mut missing = 0;
    for metric in result["metrics"].as_array().unwrap() {
        assert_eq!(metric["before"], metric["after"], "{metric}");
        assert_eq!(metric["after_only"], "0");
        missing += usize::from(metric["before_only"] != "0");
    }
    assert!(missing > 5, "{result:#}");
    place
        .run(&format!("compare {before} {after} --html page.html"))
        .exits(1);
    let page = fs::read_to_string(place.path().join("page.html")).unwrap();
    assert!(page.contains("Sums over the 2") && page.contains("Deals on one side only"));
}

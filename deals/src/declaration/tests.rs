//! Tests the default rules of deals and the words for their types.

#![allow(clippy::unwrap_used)]

use rollbook_ledger::runbook::kind::COMPARE_RECORDS;
use rollbook_workers::compare::Rules;
use rollbook_workers::compare::declaration::{Declaration, PresenceCount, Ratio};
use rollbook_workers::compare::judge::Judge;
use rollbook_workers::compare::rules::Class;
use rollbook_workers::snapshot::MetricInfo;

use super::DealDeclaration;

const METRICS: [&str; 8] = [
    "cost_total",
    "cost_one_time_base",
    "cost_tsa",
    "synergy_count",
    "work_item_count",
    "applications",
    "separation_low",
    "cost_licences_annual",
];

fn metrics() -> [MetricInfo; 8] {
    METRICS.map(|name| MetricInfo {
        name: name.to_owned(),
        unit: "count".to_owned(),
    })
}

fn judged(rules: &Rules, deal_type: &str, metric: &str, before: i64, after: i64) -> Class {
    let metrics = metrics();
    let place = METRICS.iter().position(|m| *m == metric).unwrap();
    Judge::new(rules, &DealDeclaration, &metrics, None)
        .judge(deal_type, place, before, after)
        .class
}

fn default_rules() -> Rules {
    DealDeclaration.default_rules(Rules::tolerance("5.0").unwrap())
}

#[test]
fn guarded_deals_are_judged_by_the_default_rules() {
    use Class::*;
    let rules = default_rules();
    rules.check().unwrap();
    for (metric, before, after, class) in [
        ("cost_total", 10_000, 10_000, Equal),
        ("cost_total", 10_000, 10_500, WithinTolerance),
        ("cost_total", 10_000, 10_501, Regression),
        ("cost_total", 10_000, 9_500, WithinTolerance),
        ("cost_total", 10_000, 9_499, Regression),
        // 5 % of these figures is not a binary fraction; exact arithmetic detects the single cent.
        ("cost_total", 20, 21, WithinTolerance),
        (
            "cost_total",
            900_719_925_474_099_260,
            945_755_921_747_804_223,
            WithinTolerance,
        ),
        (
            "cost_total",
            900_719_925_474_099_260,
            945_755_921_747_804_224,
            Regression,
        ),
        // From zero only zero is tolerated, and a percentage is of the absolute value.
        ("cost_total", 0, 1, Regression),
        ("cost_total", 0, 1_000_000, Regression),
        ("cost_total", 0, -1, Regression),
        ("cost_total", -5, 10_000, Regression),
        ("cost_total", -10_000, -10_500, WithinTolerance),
        ("cost_total", -10_000, -9_500, WithinTolerance),
        ("cost_total", -10_000, -10_501, Regression),
        ("cost_total", -10_000, 10_000, Regression),
        ("cost_total", i64::MIN, i64::MIN + 1, WithinTolerance),
        ("cost_total", 1, i64::MAX, Regression),
        ("cost_total", i64::MAX, i64::MIN, Regression),
        ("cost_tsa", 0, 60_000_000, Regression),
        ("synergy_count", 3, 4, Regression),
        ("synergy_count", 0, 1, Regression),
        ("work_item_count", 10, 12, WithinTolerance),
        ("work_item_count", 10, 8, WithinTolerance),
        ("work_item_count", 10, 13, Warning),
        ("applications", 3, 4, Warning),
    ] {
        for deal_type in [
            "acquisition",
            "Acquisition ",
            "NULL",
            "",
            "  ",
            "merger",
            "Bolt_On",
            "investment",
            "other",
            "platform",
        ] {
            let found = judged(&rules, deal_type, metric, before, after);
            assert_eq!(found, class, "{deal_type} {metric} {before} → {after}");
        }
    }
}

#[test]
fn other_deals_differ_as_expected_or_unexpectedly_but_never_silently() {
    use Class::*;
    let rules = default_rules();
    for (deal_type, metric, before, after, class) in [
        ("carveout", "cost_one_time_base", 100, 149, Regression),
        ("carveout", "cost_one_time_base", 100, 150, Expected),
        ("carveout", "cost_one_time_base", 100, 300, Expected),
        ("carveout", "cost_one_time_base", 100, 301, Regression),
        ("carveout", "cost_one_time_base", 100, 500, Regression),
        // Three times zero is zero.
        ("carveout", "cost_one_time_base", 0, 301, Regression),
        ("carveout", "cost_one_time_base", 0, 0, Equal),
        ("carveout", "cost_tsa", 0, 60_000_000, Expected),
        ("carveout", "cost_tsa", 0, 600_000_001, Regression),
        ("divestiture", "cost_tsa", 0, 1, Regression),
        ("divestiture", "cost_one_time_base", 100, 345, Expected),
        ("carveout", "cost_total", 100, 99, Regression),
        ("carveout", "synergy_count", 3, 0, Expected),
        ("carveout", "synergy_count", 3, 2, Regression),
        ("carveout", "cost_licences_annual", 100, 101, Unexpected),
        ("Carve-Out", "cost_one_time_base", 100, 200, Expected),
        ("spin-off", "cost_one_time_base", 100, 500, Regression),
        ("joint_venture", "cost_total", 100, 101, Unexpected),
    ] {
        let found = judged(&rules, deal_type, metric, before, after);
        assert_eq!(found, class, "{deal_type} {metric} {before} → {after}");
    }
}

#[test]
fn an_unknown_type_is_guarded_where_it_was_computed_as_an_acquisition() {
    let rules = default_rules();
    let metrics = metrics();
    let mut judge = Judge::new(&rules, &DealDeclaration, &metrics, Some("acquisition"));
    let found = judge.judge("lbo", 0, 10_000, 10_400).class;
    assert_eq!(found, Class::WithinTolerance);
    assert_eq!(
        judge.judge("lbo", 0, 10_000, 20_000).class,
        Class::Regression
    );
    assert_eq!(judge.judge("carveout", 1, 100, 200).class, Class::Expected);
    for (stored, judged_as) in [
        ("lbo", Some("acquisition")),
        ("NULL", Some("acquisition")),
        ("Carve-Out", Some("carveout")),
        ("sale", Some("divestiture")),
        ("acquisition", None),
        ("carveout", None),
    ] {
        assert_eq!(judge.judged_as(stored), judged_as, "{stored}");
    }
}

#[test]
fn guards_and_rules_take_types_and_their_aliases_alike() {
    let guarded = |guard: &str, stored: &str| {
        let mut rules = default_rules();
        rules.guard = vec![guard.to_owned()];
        Judge::new(&rules, &DealDeclaration, &[], None).guards(stored)
    };
    for (guard, stored, expected) in [
        ("acquisition", "merger", true),
        ("merger", "acquisition", true),
        ("Bolt_On ", "NULL", true),
        ("NULL", "", true),
        ("carve-out", "spinoff", true),
        ("carveout", "Carve_Out", true),
        ("carveout", "acquisition", false),
        ("gold", "Gold", true),
        ("gold", "silver", false),
        ("acquisition", "gold", false),
    ] {
        assert_eq!(guarded(guard, stored), expected, "{guard} {stored}");
    }
    let rules = Rules::from_text(
        "guard: []\nrules:\n  - {id: sold, metric: '*', deal_types: [disposal], test: {kind: ignore, reason: x}}\n",
        &DealDeclaration,
    )
    .unwrap();
    for (stored, class) in [("Sale", Class::Ignored), ("carveout", Class::Regression)] {
        assert_eq!(
            judged(&rules, stored, "cost_total", 1, 2),
            class,
            "{stored}"
        );
    }
}

#[test]
fn a_compare_step_records_the_figures_that_are_declared() {
    let measures = DealDeclaration.measures();
    let presences = measures.presences.iter().flat_map(PresenceCount::figures);
    let ratios = measures.ratios.iter().flat_map(Ratio::figures);
    for name in presences.chain(ratios) {
        assert!(COMPARE_RECORDS.contains(&name.as_str()), "{name}");
    }
}

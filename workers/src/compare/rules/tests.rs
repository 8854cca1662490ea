#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rollbook_ledger::runbook::positioned::Misplaced;

use super::*;
use crate::compare::declaration::Declaration;
use crate::compare::judge::Judge;
use crate::compare::test_declaration::Shapes;

const METRICS: [&str; 8] = [
    "price_total",
    "price_base",
    "price_post",
    "link_count",
    "item_count",
    "applications",
    "gap_low",
    "price_wires",
];

fn judged(rules: &Rules, deal_type: &str, metric: &str, before: i64, after: i64) -> Class {
    let metrics = METRICS.map(|name| info(name, "count"));
    let place = METRICS.iter().position(|m| *m == metric).unwrap();
    Judge::new(rules, &Shapes, &metrics, None)
        .judge(deal_type, place, before, after)
        .class
}

fn info(name: &str, unit: &str) -> MetricInfo {
    MetricInfo {
        name: name.to_owned(),
        unit: unit.to_owned(),
    }
}

fn default_rules() -> Rules {
    Shapes.default_rules(Rules::tolerance("5.0").unwrap())
}

fn read(text: &str) -> Result<Rules, Misplaced> {
    Rules::from_text(text, &Shapes)
}

#[test]
fn guards_and_rules_accept_classes_and_their_aliases() {
    let guarded = |guard: &str, stored: &str| {
        let mut rules = default_rules();
        rules.guard = vec![guard.to_owned()];
        Judge::new(&rules, &Shapes, &[], None).guards(stored)
    };
    for (guard, stored, expected) in [
        ("circle", "disc", true),
        ("disc", "circle", true),
        ("Disc ", "NULL", true),
        ("NULL", "", true),
        ("box", "square", true),
        ("square", "circle", false),
        ("gold", "Gold", true),
        ("gold", "silver", false),
        ("circle", "gold", false),
    ] {
        assert_eq!(guarded(guard, stored), expected, "{guard} {stored}");
    }
    let rules = read(
        "guard: []\nrules:\n  - {id: cut, metric: '*', deal_types: [wedge], test: {kind: ignore, reason: x}}\n",
    )
    .unwrap();
    for (stored, class) in [("Triangle", Class::Ignored), ("square", Class::Regression)] {
        assert_eq!(
            judged(&rules, stored, "price_total", 1, 2),
            class,
            "{stored}"
        );
    }
}

#[test]
fn rules_without_a_guard_use_the_declared_one() {
    for (text, guard) in [
        ("rules: []", vec!["circle"]),
        ("guard: []\nrules: []", vec![]),
        ("guard: [box]\nrules: []", vec!["box"]),
    ] {
        assert_eq!(read(text).unwrap().guard, guard, "{text}");
    }
    let plan = serde_json::json!({"rules": []});
    let rules = Rules::from_plan(&plan, &Shapes).unwrap();
    assert_eq!(rules.guard, ["circle"]);
    let error = Rules::from_plan(&serde_json::json!("none"), &Shapes).unwrap_err();
    assert!(error.to_string().contains("struct Rules"), "{error}");
}

#[test]
fn a_broken_rule_is_never_milder_than_its_severity() {
    let text = |severity: &str| {
        format!(
            "rules:\n  - {{id: a, metric: '*', severity: {severity}, test: {{kind: expected, max_ratio: 2, reason: x}}}}\n"
        )
    };
    for (severity, guarded, other) in [
        ("regression", Class::Regression, Class::Regression),
        ("warning", Class::Warning, Class::Unexpected),
    ] {
        let rules = read(&text(severity)).unwrap();
        for before in [0, 100, -100] {
            assert_eq!(judged(&rules, "disc", "price_total", before, 900), guarded);
            assert_eq!(judged(&rules, "wedge", "price_total", before, 900), other);
        }
    }
}

#[test]
fn a_broken_tolerance_is_refused() {
    for bad in ["-1", "-0.000001", "NaN", "", "five", "1e2"] {
        let error = Rules::tolerance(bad).unwrap_err().to_string();
        assert!(error.starts_with("RB-COMPARE-1: "), "{bad}: {error}");
    }
    let mut rules = default_rules();
    rules.rules[2].test = Test::Relative {
        tolerance_percent: Millionths::from_millionths(-1),
    };
    assert!(matches!(rules.check(), Err(CompareError::Tolerance { .. })));
}

#[test]
fn broken_rules_are_refused_by_name() {
    let broken = |change: fn(&mut Rule)| {
        let mut rules = default_rules();
        change(&mut rules.rules[1]);
        rules.check().unwrap_err().to_string()
    };
    for error in [
        broken(|r| r.id = " ".into()),
        broken(|r| r.id = "links".into()),
        broken(|r| r.metric.clear()),
        broken(|r| r.test = Test::Ignore { reason: " ".into() }),
        broken(|r| {
            r.test = Test::Expected {
                min_ratio: Some(Millionths::whole(3)),
                max_ratio: Some(Millionths::whole(1)),
                min_after: None,
                max_after: None,
                reason: "x".into(),
            }
        }),
    ] {
        assert!(error.starts_with("RB-COMPARE-2: rule `"), "{error}");
    }
}

#[test]
fn rules_are_data_and_survive_the_round_trip() {
    let rules = default_rules();
    let json = serde_json::to_string(&rules).unwrap();
    assert_eq!(serde_json::from_str::<Rules>(&json).unwrap(), rules);
    let written = r#"{"guard":["circle"],"rules":[
        {"id":"noise","metric":"applic*","test":{"kind":"ignore","reason":"re-imported"},"severity":"warning"},
        {"id":"price","metric":"price_*","test":{"kind":"relative","tolerance_percent":2.5},"severity":"regression"}]}"#;
    let rules: Rules = serde_json::from_str(written).unwrap();
    rules.check().unwrap();
    assert_eq!(judged(&rules, "x", "applications", 1, 9), Class::Ignored);
    assert_eq!(
        judged(&rules, "x", "price_total", 1000, 1026),
        Class::Regression
    );
    // No rule matches: a change that nobody allowed.
    assert_eq!(judged(&rules, "x", "link_count", 1, 2), Class::Regression);
    let unknown = r#"{"guard":[],"rules":[],"tolerence":5}"#;
    assert!(serde_json::from_str::<Rules>(unknown).is_err());
}

#[test]
fn patterns_match_whole_names() {
    for (pattern, name, matches) in [
        ("*", "", true),
        ("price_*", "price_total", true),
        ("price_*", "xprice_total", false),
        ("*_count", "item_count", true),
        ("*_count", "item_counts", false),
        ("a*b*c", "abbbcbc", true),
        ("a*b*c", "abbbcb", false),
        ("", "a", false),
        ("price_total", "price_total", true),
    ] {
        assert_eq!(matches_pattern(pattern, name), matches, "{pattern} {name}");
    }
    // Even a pattern designed to be slow is fast.
    assert!(!matches_pattern(&"*a".repeat(200), &"a".repeat(150)));
}

proptest! {
    #[test]
    fn the_tolerance_is_the_exact_rational_comparison(
        before in 1i64..i64::MAX, after in any::<i64>(), millionths in 0i64..200_000_000,
    ) {
        let tolerance = Millionths::from_millionths(millionths);
        let rules = Shapes.default_rules(tolerance);
        // Both sides of the production formula fit in 128 bits for i64 figures; the reference
        // divides instead of multiplying, so that it does not repeat that formula.
        let change = (i128::from(after) - i128::from(before)).unsigned_abs();
        let (whole, rest) = (change / before as u128, change % before as u128);
        let limit = millionths as u128; // in 10^-8 of before
        let scaled_whole = whole * 100_000_000;
        let scaled_rest = rest * 100_000_000;
        let above = scaled_whole > limit
            || scaled_rest > (limit - scaled_whole) * before as u128;
        let expected = match change {
            0 => Class::Equal,
            _ if above => Class::Regression,
            _ => Class::WithinTolerance,
        };
        prop_assert_eq!(judged(&rules, "circle", "price_total", before, after), expected);
    }
}

#[test]
fn a_rules_file_is_read_and_its_errors_name_a_position() {
    let text = r#"
guard: [circle]
rules:
  - id: licences
    metric: price_wires*
    test: {kind: ignore, reason: "renegotiated"}
  - id: squares
    metric: price_b*
    scope: unguarded
    deal_types: [square]
    test: {kind: expected, min_ratio: 1.5, max_ratio: 3, reason: "the deal multipliers"}
    severity: warning
  - id: price
    metric: price_*
    test: {kind: relative, tolerance_percent: 0.25}
"#;
    let rules = read(text).unwrap();
    assert_eq!(
        judged(&rules, "circle", "price_wires", 1, 9),
        Class::Ignored
    );
    assert_eq!(
        judged(&rules, "square", "price_base", 100, 200),
        Class::Expected
    );
    assert_eq!(
        judged(&rules, "square", "price_base", 100, 400),
        Class::Unexpected
    );
    assert_eq!(
        judged(&rules, "circle", "price_total", 10_000, 10_025),
        Class::WithinTolerance
    );
    assert_eq!(
        judged(&rules, "circle", "price_total", 10_000, 10_026),
        Class::Regression
    );
    let json = serde_json::to_string(&rules).unwrap();
    assert_eq!(read(&json).unwrap(), rules);

    for (from, to, place) in [
        (
            "tolerance_percent: 0.25",
            "tolerance_percent: -1",
            "13:5: RB-COMPARE-1",
        ),
        ("id: squares", "id: licences", "7:5: RB-COMPARE-2"),
        (
            "severity: warning",
            "severity: fatal",
            "12:15: unknown variant `fatal`",
        ),
        (
            "metric: price_*",
            "metrics: price_*",
            "14:14: unknown field `metrics`",
        ),
        ("kind: relative", "kind: relativ", "15:"),
        ("guard: [", "guard: [[", "3:"),
    ] {
        let error = read(&text.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.starts_with(place), "{to}: {error}");
    }
}

#[test]
fn a_measuring_rule_cannot_judge_a_text() {
    let rules = |text: &str| read(text).unwrap();
    let metrics = [info("price_total", "cents"), info("price_tag", "text")];
    let refused = |rules: &Rules| match rules.check_texts(&metrics) {
        Ok(()) => None,
        Err(CompareError::TextRule { rule, metric }) => {
            assert_eq!(metric, "price_tag");
            Some(rule)
        }
        Err(other) => panic!("{other}"),
    };
    for (test, is_refused) in [
        ("{kind: exact}", false),
        ("{kind: ignore, reason: renamed}", false),
        ("{kind: expected, reason: renamed}", false),
        ("{kind: relative, tolerance_percent: 5}", true),
        ("{kind: absolute, limit: 0}", true),
        ("{kind: expected, max_ratio: 2, reason: dearer}", true),
        ("{kind: expected, min_after: 0, reason: some}", true),
    ] {
        let rule = format!("rules:\n  - {{id: any, metric: 'price_*', test: {test}}}\n");
        let expected = is_refused.then(|| "any".to_owned());
        assert_eq!(refused(&rules(&rule)), expected, "{test}");
        // After a rule for all deals it never sees a text; after a rule for some deals it does.
        for (deals, reached) in [
            ("", false),
            (", scope: guarded", true),
            (", deal_types: [disc]", true),
        ] {
            let first =
                format!("  - {{id: first, metric: price_tag, test: {{kind: exact}}{deals}}}\n");
            let both = rule.replacen("rules:\n", &format!("rules:\n{first}"), 1);
            let expected = (is_refused && reached).then(|| "any".to_owned());
            assert_eq!(refused(&rules(&both)), expected, "{test}{deals}");
        }
    }
    assert_eq!(refused(&default_rules()), Some("price".to_owned()));
    let error = default_rules()
        .check_texts(&metrics)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("RB-COMPARE-9: rule `price`"), "{error}");
}

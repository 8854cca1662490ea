#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::compare::judge::Judge;

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

fn judged(rules: &Rules, deal_type: &str, metric: &str, before: i64, after: i64) -> Class {
    let metrics = METRICS.map(|name| info(name, "count"));
    let place = METRICS.iter().position(|m| *m == metric).unwrap();
    Judge::new(rules, &metrics, false)
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
    Rules::default_with_tolerance(Rules::tolerance("5.0").unwrap())
}

#[test]
fn guarded_deals_are_judged_as_decided() {
    use Class::*;
    let rules = default_rules();
    rules.check().unwrap();
    for (metric, before, after, class) in [
        ("cost_total", 10_000, 10_000, Equal),
        ("cost_total", 10_000, 10_500, WithinTolerance),
        ("cost_total", 10_000, 10_501, Regression),
        ("cost_total", 10_000, 9_500, WithinTolerance),
        ("cost_total", 10_000, 9_499, Regression),
        // 5 % of these is no binary fraction; exact arithmetic sees the single cent.
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
        // From zero only zero holds, and a percentage is one of the size.
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
fn other_deals_differ_as_expected_or_unexpectedly_and_never_in_silence() {
    use Class::*;
    let rules = default_rules();
    for (deal_type, metric, before, after, class) in [
        ("carveout", "cost_one_time_base", 100, 149, Regression),
        ("carveout", "cost_one_time_base", 100, 150, Expected),
        ("carveout", "cost_one_time_base", 100, 300, Expected),
        ("carveout", "cost_one_time_base", 100, 301, Regression),
        ("carveout", "cost_one_time_base", 100, 500, Regression),
        // Zero times three is zero.
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
fn a_type_nobody_knows_is_guarded_where_it_was_computed_as_an_acquisition() {
    let rules = default_rules();
    let metrics = METRICS.map(|name| info(name, "count"));
    let mut judge = Judge::new(&rules, &metrics, true);
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
        rules.guards(stored, computed_as(stored, false))
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
        let rules = Rules::from_text(&text(severity)).unwrap();
        for before in [0, 100, -100] {
            assert_eq!(judged(&rules, "merger", "cost_total", before, 900), guarded);
            assert_eq!(judged(&rules, "sale", "cost_total", before, 900), other);
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
    rules.rules[3].test = Test::Relative {
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
        broken(|r| r.id = "synergy-count".into()),
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
    let written = r#"{"guard":["acquisition"],"rules":[
        {"id":"noise","metric":"applic*","test":{"kind":"ignore","reason":"re-imported"},"severity":"warning"},
        {"id":"cost","metric":"cost_*","test":{"kind":"relative","tolerance_percent":2.5},"severity":"regression"}]}"#;
    let rules: Rules = serde_json::from_str(written).unwrap();
    rules.check().unwrap();
    assert_eq!(judged(&rules, "x", "applications", 1, 9), Class::Ignored);
    assert_eq!(
        judged(&rules, "x", "cost_total", 1000, 1026),
        Class::Regression
    );
    // No rule fits: a change nobody allowed.
    assert_eq!(
        judged(&rules, "x", "synergy_count", 1, 2),
        Class::Regression
    );
    let unknown = r#"{"guard":[],"rules":[],"tolerence":5}"#;
    assert!(serde_json::from_str::<Rules>(unknown).is_err());
}

#[test]
fn patterns_match_whole_names() {
    for (pattern, name, matches) in [
        ("*", "", true),
        ("cost_*", "cost_total", true),
        ("cost_*", "xcost_total", false),
        ("*_count", "work_item_count", true),
        ("*_count", "work_item_counts", false),
        ("a*b*c", "abbbcbc", true),
        ("a*b*c", "abbbcb", false),
        ("", "a", false),
        ("cost_total", "cost_total", true),
    ] {
        assert_eq!(matches_pattern(pattern, name), matches, "{pattern} {name}");
    }
    // A pattern made to be slow is not.
    assert!(!matches_pattern(&"*a".repeat(200), &"a".repeat(150)));
}

proptest! {
    #[test]
    fn the_tolerance_is_the_exact_rational_comparison(
        before in 1i64..i64::MAX, after in any::<i64>(), millionths in 0i64..200_000_000,
    ) {
        let tolerance = Millionths::from_millionths(millionths);
        let rules = Rules::default_with_tolerance(tolerance);
        // |Δ|·10^8 and t·before as 192-bit numbers by schoolbook halves would be the same; for
        // i64 both sides fit 128 bits, so the reference divides instead of multiplying.
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
        prop_assert_eq!(judged(&rules, "acquisition", "cost_total", before, after), expected);
    }
}

#[test]
fn a_rules_file_is_read_and_its_faults_have_a_place() {
    let text = r#"
guard: [acquisition]
rules:
  - id: licences
    metric: cost_licences_*
    test: {kind: ignore, reason: "renegotiated"}
  - id: carveouts
    metric: cost_one_time_*
    scope: unguarded
    deal_types: [carveout]
    test: {kind: expected, min_ratio: 1.5, max_ratio: 3, reason: "the deal multipliers"}
    severity: warning
  - id: cost
    metric: cost_*
    test: {kind: relative, tolerance_percent: 0.25}
"#;
    let rules = Rules::from_text(text).unwrap();
    assert_eq!(
        judged(&rules, "acquisition", "cost_licences_annual", 1, 9),
        Class::Ignored
    );
    assert_eq!(
        judged(&rules, "carveout", "cost_one_time_base", 100, 200),
        Class::Expected
    );
    assert_eq!(
        judged(&rules, "carveout", "cost_one_time_base", 100, 400),
        Class::Unexpected
    );
    assert_eq!(
        judged(&rules, "acquisition", "cost_total", 10_000, 10_025),
        Class::WithinTolerance
    );
    assert_eq!(
        judged(&rules, "acquisition", "cost_total", 10_000, 10_026),
        Class::Regression
    );
    let json = serde_json::to_string(&rules).unwrap();
    assert_eq!(Rules::from_text(&json).unwrap(), rules);

    for (from, to, place) in [
        (
            "tolerance_percent: 0.25",
            "tolerance_percent: -1",
            "13:5: RB-COMPARE-1",
        ),
        ("id: carveouts", "id: licences", "7:5: RB-COMPARE-2"),
        (
            "severity: warning",
            "severity: fatal",
            "12:15: unknown variant `fatal`",
        ),
        (
            "metric: cost_*",
            "metrics: cost_*",
            "14:14: unknown field `metrics`",
        ),
        ("kind: relative", "kind: relativ", "15:"),
        ("guard: [", "guard: [[", "3:"),
    ] {
        let error = Rules::from_text(&text.replacen(from, to, 1))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(place), "{to}: {error}");
    }
}

#[test]
fn a_rule_that_measures_does_not_judge_a_text() {
    let rules = |text: &str| Rules::from_text(text).unwrap();
    let metrics = [info("cost_total", "cents"), info("cost_centre", "text")];
    let refused = |rules: &Rules| match rules.check_texts(&metrics) {
        Ok(()) => None,
        Err(CompareError::TextRule { rule, metric }) => {
            assert_eq!(metric, "cost_centre");
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
        let rule = format!("rules:\n  - {{id: any, metric: 'cost_*', test: {test}}}\n");
        let expected = is_refused.then(|| "any".to_owned());
        assert_eq!(refused(&rules(&rule)), expected, "{test}");
        // Behind a rule for all deals it judges no text, behind one for some it does.
        for (deals, reached) in [
            ("", false),
            (", scope: guarded", true),
            (", deal_types: [merger]", true),
        ] {
            let first =
                format!("  - {{id: first, metric: cost_centre, test: {{kind: exact}}{deals}}}\n");
            let both = rule.replacen("rules:\n", &format!("rules:\n{first}"), 1);
            let expected = (is_refused && reached).then(|| "any".to_owned());
            assert_eq!(refused(&rules(&both)), expected, "{test}{deals}");
        }
    }
    assert_eq!(refused(&default_rules()), Some("cost".to_owned()));
    let error = default_rules()
        .check_texts(&metrics)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("RB-COMPARE-9: rule `cost`"), "{error}");
}

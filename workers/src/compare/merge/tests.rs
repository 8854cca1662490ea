#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::rules::Rules;
use super::*;
use crate::compare::declaration::Declaration;
use crate::compare::rules::{Rule, RuleSeverity, Test};
use crate::compare::tally::{OneSide, WORST};
use crate::compare::test_declaration::Shapes;
use crate::snapshot::{Row, RowOutcome, Value, Values};

/// Rows in memory that implement the port.
struct Memory {
    rows: Vec<Row>,
    next: usize,
}

impl Memory {
    fn new(rows: &BTreeMap<String, Row>) -> Self {
        Self {
            rows: rows.values().cloned().collect(),
            next: 0,
        }
    }

    fn row(&self) -> &Row {
        &self.rows[self.next - 1]
    }
}

impl Rows for Memory {
    fn advance(&mut self) -> Result<bool, CompareError> {
        self.next += 1;
        Ok(self.next <= self.rows.len())
    }
    fn advance_beside(&mut self, _: &Self) -> Result<bool, CompareError> {
        self.advance()
    }
    fn shares_metric(&self, _: &Self, _: usize) -> bool {
        false
    }
    fn same_deal(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
    fn key(&self) -> &[u8] {
        self.row().deal_id.as_bytes()
    }
    fn deal_id(&self) -> Result<&str, CompareError> {
        Ok(&self.row().deal_id)
    }
    fn deal_type(&self) -> &str {
        &self.row().deal_type
    }
    fn is_error(&self) -> bool {
        self.row().is_error()
    }
    fn error(&mut self) -> Result<String, CompareError> {
        match &self.row().outcome {
            RowOutcome::Error(text) => Ok(text.clone()),
            RowOutcome::Success(_) => Ok(String::new()),
        }
    }
    fn digest(&self) -> &[u8] {
        &self.row().digest
    }
    fn metric(&mut self, metric: usize) -> Result<i64, CompareError> {
        match &self.row().outcome {
            RowOutcome::Success(values) if values.texts.is_empty() => Ok(values.numbers[metric]),
            RowOutcome::Success(values) => {
                let value = values.get(&with_text(), metric);
                Ok(value.and_then(Value::number).unwrap())
            }
            RowOutcome::Error(_) => Ok(0),
        }
    }
    fn text(&mut self, metric: usize) -> Result<Option<&str>, CompareError> {
        let values = self.row().values();
        Ok(values.and_then(|values| values.get(&with_text(), metric)?.text()))
    }
}

const METRICS: [&str; 3] = ["price_total", "link_count", "item_count"];

fn infos(metrics: &[(&str, &str)]) -> Vec<MetricInfo> {
    let info = |(name, unit): &(&str, &str)| MetricInfo {
        name: (*name).to_owned(),
        unit: (*unit).to_owned(),
    };
    metrics.iter().map(info).collect()
}

/// Two figures with a text between them.
fn with_text() -> Vec<MetricInfo> {
    infos(&[("price_total", "cents"), ("state", "text"), ("n", "count")])
}

type Deals = BTreeMap<String, Row>;

fn rules() -> Rules {
    Shapes.default_rules(Rules::tolerance("5").unwrap())
}

/// What the sink received for a deal.
#[derive(Debug, PartialEq)]
struct Seen {
    deal_id: String,
    change: Change,
    class: Class,
}

#[derive(Default)]
struct Collect(Vec<Seen>);

impl Sink for Collect {
    fn take(&mut self, found: &RowDifference<'_>, _: &Judge<'_>) -> Result<(), CompareError> {
        self.0.push(Seen {
            deal_id: found.deal_id.to_owned(),
            change: found.change,
            class: found.class,
        });
        Ok(())
    }
}

fn run(before: &Deals, after: &Deals) -> (Tally, Vec<Seen>) {
    let metrics = infos(&METRICS.map(|name| (name, "count")));
    let mut seen = Collect::default();
    let tally = merge(
        &mut Memory::new(before),
        &mut Memory::new(after),
        |left, right| left.cmp(right),
        &metrics,
        Judge::new(&rules(), &Shapes, &metrics, None),
        &mut seen,
    )
    .unwrap();
    (tally, seen.0)
}

type Given<'a> = (&'a str, &'a str, Result<[i64; 3], &'a str>);

fn deals(rows: &[Given<'_>]) -> Deals {
    rows.iter()
        .map(|(id, deal_type, outcome)| {
            let outcome = outcome.map(|v| v.to_vec()).map_err(str::to_owned);
            let row = Row::new((*id).to_owned(), Some(deal_type), outcome);
            ((*id).to_owned(), row)
        })
        .collect()
}

#[test]
fn every_kind_of_difference_is_counted_and_listed() {
    let before = deals(&[
        ("a", "circle", Ok([100, 1, 5])),
        ("b", "circle", Ok([100, 1, 5])),
        ("c", "", Ok([100, 1, 5])),
        ("d", "square", Ok([100, 1, 5])),
        ("e", "square", Ok([100, 1, 5])),
        ("f", "circle", Err("bad json")),
        ("g", "circle", Err("bad json")),
        ("h", "triangle", Ok([100, 1, 5])),
        ("i", "circle", Ok([100, 1, 5])),
    ]);
    let after = deals(&[
        ("a", "circle", Ok([100, 1, 5])),
        ("b", "circle", Ok([104, 1, 5])),
        ("c", "circle", Ok([107, 1, 9])),
        ("d", "square", Ok([200, 0, 9])),
        ("e", "square", Ok([50, 0, 9])),
        ("f", "circle", Err("bad json")),
        ("g", "circle", Ok([1, 1, 1])),
        ("i", "circle", Ok([100, 1, 8])),
        ("j", "circle", Ok([1, 1, 1])),
    ]);
    let (summary, differences) = run(&before, &after);
    assert_eq!((summary.compared, summary.equal), (8, 1));
    assert_eq!((summary.within_tolerance, summary.expected), (1, 1));
    assert_eq!((summary.unexpected, summary.warnings), (0, 1));
    assert_eq!((summary.missing, summary.added, summary.errors), (1, 1, 1));
    // c by price, e by its bounds, g by an error on one side, h because it is missing.
    assert_eq!(summary.regressions, 4);
    assert_eq!(summary.type_changed, 1);
    let listed: Vec<_> = differences
        .iter()
        .map(|d| (d.deal_id.as_str(), d.change, d.class))
        .collect();
    assert_eq!(
        listed,
        [
            ("c", Change::Changed, Class::Regression),
            ("d", Change::Changed, Class::Expected),
            ("e", Change::Changed, Class::Regression),
            ("f", Change::ErrorOnBothSides, Class::Equal),
            ("g", Change::ErrorOnOneSide, Class::Regression),
            ("h", Change::Missing, Class::Regression),
            ("i", Change::Changed, Class::Warning),
            ("j", Change::Added, Class::Equal),
        ]
    );
    let worst: Vec<_> = summary.worst.iter().map(|w| w.metric.as_str()).collect();
    assert_eq!(worst, ["price_total", "price_total", "status", "deal"]);
    let judged: Vec<_> = summary
        .worst
        .iter()
        .map(|w| w.judged_as.as_deref())
        .collect();
    assert_eq!(judged, [None, Some("circle"), None, None], "c has no type");
    let uncomputed = &summary.uncomputed[0];
    assert_eq!(
        (uncomputed.deal_id.as_str(), uncomputed.before.as_str()),
        ("f", "bad json")
    );
    let squares = summary.totals["square"];
    assert_eq!(squares.deals, 2);
    assert_eq!((squares.before_cents.0, squares.after_cents.0), (200, 250));
    // Six with figures on both sides; h only before; g, in error before, and j only after.
    assert_eq!(summary.computed(), 6);
    let only = |side: &OneSide| (side.deals, [0, 1, 2].map(|metric| side.sum(metric).0));
    assert_eq!(only(&summary.before_only), (1, [100, 1, 5]));
    assert_eq!(only(&summary.after_only), (2, [2, 2, 2]));
}

#[test]
fn the_worst_are_the_largest_relative_changes_of_all() {
    let figures = |n: i64| 1_000 + n * 7 % 991;
    let ids: Vec<String> = (0..500).map(|n| format!("{n:04}")).collect();
    let make = |scale: &dyn Fn(i64) -> i64| -> Deals {
        (0..500i64)
            .map(|n| {
                let id = &ids[usize::try_from(n).unwrap()];
                let values = vec![scale(n), 1, 1];
                (id.clone(), Row::new(id.clone(), None, Ok(values)))
            })
            .collect()
    };
    let (summary, _) = run(&make(&figures), &make(&|n| figures(n) * (2 + n)));
    let worst: Vec<_> = summary.worst.iter().map(|w| w.deal_id.clone()).collect();
    let expected: Vec<_> = ids.iter().rev().take(WORST).cloned().collect();
    assert_eq!(worst, expected);
}

type Found = (String, Option<String>, Option<String>, Class);

/// Collects the texts that differ.
#[derive(Default)]
struct Texts(Vec<Found>);

impl Sink for Texts {
    fn take(&mut self, found: &RowDifference<'_>, _: &Judge<'_>) -> Result<(), CompareError> {
        for text in found.texts {
            let id = found.deal_id.to_owned();
            self.0
                .push((id, text.before.clone(), text.after.clone(), text.class));
        }
        Ok(())
    }
}

#[test]
fn texts_are_equal_or_different_and_null_is_no_text() {
    let make = |deals: &[(&str, i64, Option<&str>)]| -> Deals {
        let row = |(id, price, state): &(&str, i64, Option<&str>)| {
            let values = Values {
                numbers: vec![*price, 1],
                texts: vec![state.map(str::to_owned)],
            };
            let deal_type = if id.starts_with('w') { "square" } else { "" };
            let row = Row::new((*id).to_owned(), Some(deal_type), Ok(values));
            ((*id).to_owned(), row)
        };
        deals.iter().map(row).collect()
    };
    let before = make(&[
        ("a", 1, Some("open")),
        ("b", 1, Some("open")),
        ("c", 1, None),
        ("d", 1, Some("NULL")),
        ("e", 1, None),
        ("w", 1, Some("x")),
    ]);
    let after = make(&[
        ("a", 1, Some("open")),
        ("b", 1, Some("Open")),
        ("c", 1, Some("")),
        ("d", 1, None),
        ("e", 2, None),
        ("w", 1, Some("y")),
    ]);
    let judged = |test: Test, severity: RuleSeverity| {
        let rule = |id: &str, metric: &str, test, severity| Rule {
            id: id.to_owned(),
            metric: metric.to_owned(),
            scope: crate::compare::rules::Scope::Any,
            deal_types: Vec::new(),
            test,
            severity,
        };
        let reason = "not of interest".to_owned();
        let other = rule(
            "rest",
            "*",
            Test::Ignore { reason },
            RuleSeverity::Regression,
        );
        let rules = Rules {
            guard: vec!["NULL".to_owned()],
            allow_model_change: false,
            rules: vec![rule("state", "state", test, severity), other],
        };
        let mut texts = Texts::default();
        let tally = merge(
            &mut Memory::new(&before),
            &mut Memory::new(&after),
            |left, right| left.cmp(right),
            &with_text(),
            Judge::new(&rules, &Shapes, &with_text(), None),
            &mut texts,
        )
        .unwrap();
        (tally, texts.0)
    };
    let found = |id: &str, before: Option<&str>, after: Option<&str>, class| -> Found {
        let own = |text: Option<&str>| text.map(str::to_owned);
        (id.to_owned(), own(before), own(after), class)
    };
    let all = |guarded: Class, other: Class| {
        [
            found("b", Some("open"), Some("Open"), guarded),
            found("c", None, Some(""), guarded),
            found("d", Some("NULL"), None, guarded),
            found("w", Some("x"), Some("y"), other),
        ]
    };
    let (tally, texts) = judged(Test::Exact, RuleSeverity::Regression);
    assert_eq!(texts, all(Class::Regression, Class::Regression));
    assert_eq!((tally.equal, tally.regressions, tally.ignored), (1, 4, 1));
    let worst = &tally.worst[1];
    assert_eq!(
        (worst.deal_id.as_str(), worst.metric.as_str()),
        ("c", "state")
    );
    assert_eq!((worst.before, worst.before_text.as_deref()), (None, None));
    assert_eq!(worst.after_text.as_deref(), Some(""));
    let (tally, texts) = judged(Test::Exact, RuleSeverity::Warning);
    assert_eq!(texts, all(Class::Warning, Class::Unexpected));
    assert_eq!(
        (tally.warnings, tally.unexpected, tally.regressions),
        (3, 1, 0)
    );
    let reason = "case was cleaned".to_owned();
    let ignore = Test::Ignore {
        reason: reason.clone(),
    };
    let (tally, texts) = judged(ignore, RuleSeverity::Regression);
    assert_eq!(texts, all(Class::Ignored, Class::Ignored));
    assert_eq!((tally.ignored, tally.regressions), (5, 0));
    let expected = Test::Expected {
        min_ratio: None,
        max_ratio: None,
        min_after: None,
        max_after: None,
        reason,
    };
    let (tally, _) = judged(expected, RuleSeverity::Regression);
    assert_eq!((tally.expected, tally.ignored), (4, 1));
}

#[test]
fn the_histogram_puts_boundary_values_into_the_smaller_bucket() {
    let pairs = [
        (100, 105),
        (100, 106),
        (100, 95),
        (100, 94),
        (100, 100),
        (0, 5),
        (100, 301),
    ];
    let side = |pick: fn(&(i64, i64)) -> i64| -> Deals {
        pairs
            .iter()
            .enumerate()
            .map(|(n, pair)| {
                let id = n.to_string();
                (id.clone(), Row::new(id, None, Ok(vec![pick(pair), 0, 0])))
            })
            .collect()
    };
    let (summary, _) = run(&side(|p| p.0), &side(|p| p.1));
    let bars: BTreeMap<String, u64> = summary
        .buckets("price")
        .into_iter()
        .filter(|b| b.deals > 0)
        .map(|b| (b.label, b.deals))
        .collect();
    let expected = [
        ("1 % … 5 %", 1),
        ("5 % … 10 %", 1),
        ("-5 % … -1 %", 1),
        ("-10 % … -5 %", 1),
        ("unchanged", 1),
        ("no price before", 1),
        ("above 200 %", 1),
    ];
    let expected: BTreeMap<String, u64> = expected
        .into_iter()
        .map(|(l, n)| (l.to_owned(), n))
        .collect();
    assert_eq!(bars, expected);
}

fn any_row() -> impl Strategy<Value = (Option<&'static str>, Result<[i64; 3], &'static str>)> {
    let types = prop::sample::select(vec![
        None,
        Some("circle"),
        Some("square"),
        Some("triangle"),
        Some("blob"),
    ]);
    let outcome = prop_oneof![
        8 => [95i64..110, 0i64..3, 0i64..6].prop_map(Ok),
        1 => Just(Err("broken")),
    ];
    (types, outcome)
}

fn any_deals() -> impl Strategy<Value = Deals> {
    prop::collection::btree_map("[a-cé'\n]{1,3}", any_row(), 0..40).prop_map(|rows| {
        rows.into_iter()
            .map(|(id, (deal_type, outcome))| {
                let outcome = outcome.map(|v| v.to_vec()).map_err(str::to_owned);
                (id.clone(), Row::new(id, deal_type, outcome))
            })
            .collect()
    })
}

/// A straightforward comparison of both snapshots as maps, without digests.
fn naive(before: &Deals, after: &Deals) -> BTreeMap<&'static str, u64> {
    let metrics = infos(&METRICS.map(|name| (name, "count")));
    let rules = rules();
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut count = |what| *counts.entry(what).or_default() += 1;
    for (id, old) in before {
        let Some(new) = after.get(id) else {
            count("missing");
            count("regression");
            continue;
        };
        match (&old.outcome, &new.outcome) {
            (RowOutcome::Error(_), RowOutcome::Error(_)) => count("errors"),
            (RowOutcome::Success(a), RowOutcome::Success(b)) => {
                let (a, b) = (&a.numbers, &b.numbers);
                let mut judge = Judge::new(&rules, &Shapes, &metrics, None);
                let worst = (0..3)
                    .map(|m| judge.judge(&old.deal_type, m, a[m], b[m]).class)
                    .max()
                    .unwrap();
                count(match worst {
                    Class::Equal => "equal",
                    Class::WithinTolerance => "within",
                    Class::Ignored => "ignored",
                    Class::Expected => "expected",
                    Class::Warning => "warning",
                    Class::Unexpected => "unexpected",
                    Class::Regression => "regression",
                });
            }
            _ => count("regression"),
        }
    }
    for id in after.keys() {
        if !before.contains_key(id) {
            count("added");
        }
    }
    counts
}

proptest! {
    #[test]
    fn separately_merged_ranges_add_up_to_the_whole(
        before in any_deals(), after in any_deals(), cuts in prop::collection::btree_set("[a-cé]{1,2}", 0..4),
    ) {
        let (whole, seen) = run(&before, &after);
        let bounds: Vec<Option<&String>> =
            std::iter::once(None).chain(cuts.iter().map(Some)).chain([None]).collect();
        let mut tally = Tally::new(rules().rules.len());
        let mut together = Vec::new();
        for bound in bounds.windows(2) {
            let inside = |deals: &Deals| -> Deals {
                deals.iter()
                    .filter(|(id, _)| bound[0].is_none_or(|from| *id >= from))
                    .filter(|(id, _)| bound[1].is_none_or(|to| *id < to))
                    .map(|(id, row)| (id.clone(), row.clone()))
                    .collect()
            };
            let (found, more) = run(&inside(&before), &inside(&after));
            tally.add(found);
            together.extend(more);
        }
        prop_assert_eq!(tally, whole);
        prop_assert_eq!(together, seen);
    }

    #[test]
    fn the_merge_agrees_with_a_naive_comparison(
        before in any_deals(), mut after in any_deals(), shared in any_deals(),
    ) {
        let mut before = before;
        before.extend(shared.clone());
        after.extend(shared);
        let (summary, differences) = run(&before, &after);
        let expected = naive(&before, &after);
        let get = |what| expected.get(what).copied().unwrap_or(0);
        prop_assert_eq!(summary.equal, get("equal"));
        prop_assert_eq!(summary.within_tolerance, get("within"));
        prop_assert_eq!(summary.ignored, get("ignored"));
        prop_assert_eq!(summary.expected, get("expected"));
        prop_assert_eq!(summary.warnings, get("warning"));
        prop_assert_eq!(summary.unexpected, get("unexpected"));
        prop_assert_eq!(summary.regressions, get("regression"));
        prop_assert_eq!(summary.errors, get("errors"));
        prop_assert_eq!(summary.missing, get("missing"));
        prop_assert_eq!(summary.added, get("added"));
        // Every deal is in exactly one class.
        prop_assert_eq!(
            summary.compared,
            summary.equal + summary.within_tolerance + summary.ignored + summary.expected
                + summary.warnings + summary.unexpected + summary.errors
                + summary.regressions - summary.missing
        );
        prop_assert!(differences.is_sorted_by(|a, b| a.deal_id < b.deal_id));
        let listed = summary.compared - summary.equal - summary.within_tolerance
            + summary.missing + summary.added;
        prop_assert_eq!(differences.len() as u64, listed);
    }
}

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use jiff::SignedDuration;
use proptest::prelude::*;
use rollbook_ledger::runbook::span::Span;

use super::*;

fn schedule(for_ms: i64, every_ms: i64) -> Schedule {
    let watch = Watch {
        r#for: Span::from_millis(for_ms),
        every: Span::from_millis(every_ms),
        thresholds: Vec::new(),
    };
    Schedule::new(&watch, Timestamp::UNIX_EPOCH)
}

fn ms(millis: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_millis(millis)
}

fn times(schedule: &Schedule) -> Vec<i64> {
    (0..schedule.count())
        .map(|i| schedule.at(i).unwrap().as_millisecond())
        .collect()
}

impl WatchJudge {
    /// Runs a round with this metric alone.
    fn sample(&mut self, value: Option<Decimal>, at: Timestamp) -> Judged {
        self.take(value, at);
        self.judge(&RuleContext::default())
    }
}

fn judge(warn: Option<&str>, fail: Option<&str>, tolerate: u32, no_data: NoData) -> WatchJudge {
    WatchJudge::new(&Threshold {
        metric: "m".to_owned(),
        warn: warn.map(str::to_owned),
        fail: fail.map(str::to_owned),
        tolerate,
        no_data,
    })
    .unwrap()
}

#[test]
fn samples_are_due_at_start_every_cadence_and_end() {
    assert_eq!(times(&schedule(60, 20)), [0, 20, 40, 60]);
    assert_eq!(times(&schedule(50, 20)), [0, 20, 40, 50]);
    assert_eq!(times(&schedule(10, 20)), [0, 10]);
    assert_eq!(times(&schedule(0, 20)), [0]);
    assert_eq!(schedule(10, 5).at(3), None);
}

#[test]
fn a_redelivered_watch_goes_on_and_makes_nothing_up() {
    let watch = schedule(60, 20);
    assert_eq!(watch.next(None, ms(0)), Some(0));
    assert_eq!(
        watch.next(Some(ms(1)), ms(2)),
        Some(1),
        "waits for the next time"
    );
    assert_eq!(
        watch.next(Some(ms(1)), ms(45)),
        Some(2),
        "missed one, takes the latest"
    );
    assert_eq!(
        watch.next(Some(ms(1)), ms(500)),
        Some(3),
        "the end is always sampled"
    );
    assert_eq!(watch.next(Some(ms(61)), ms(500)), None);
    assert_eq!(watch.next(None, ms(-5)), Some(0));
}

#[test]
fn a_watch_that_nobody_looked_at_for_long_is_no_proof() {
    let times = schedule(60_000, 2_000);
    let looked = |policy: NoData, at: &[i64]| {
        let mut watch = judge(None, Some("value > 5"), 0, policy);
        for at in at {
            watch.pause(ms(*at), &times);
            watch.sample(Some(Decimal::ONE), ms(*at));
        }
        (watch.verdict(), watch.unsampled)
    };
    let all: Vec<i64> = (0..=30).map(|index| index * 2_000).collect();
    let slow: Vec<i64> = (0..=10).map(|index| index * 6_000).collect();
    let away = [
        0, 2_000, 4_000, 50_000, 52_000, 54_000, 56_000, 58_000, 60_000,
    ];
    let mut short = all.clone();
    short.retain(|at| !(8_000..14_001).contains(at));
    for (policy, at, expected) in [
        (NoData::Inconclusive, &all[..], (Verdict::Pass, 0)),
        (NoData::Inconclusive, &slow[..], (Verdict::Pass, 0)),
        (NoData::Inconclusive, &short[..], (Verdict::Inconclusive, 4)),
        (NoData::Inconclusive, &away[..], (Verdict::Inconclusive, 22)),
        (NoData::Fail, &away[..], (Verdict::Fail, 22)),
        (NoData::Pass, &away[..], (Verdict::Pass, 22)),
    ] {
        assert_eq!(looked(policy, at), expected, "{policy:?} {at:?}");
    }
}

#[test]
fn more_failures_than_tolerated_fail() {
    let mut watch = judge(
        Some("value > 3"),
        Some("value > 5"),
        1,
        NoData::Inconclusive,
    );
    let mut sample = |value: i64| watch.sample(Some(value.into()), ms(value));
    assert_eq!(sample(1).verdict, Verdict::Pass);
    let warned = sample(4);
    assert_eq!(
        (warned.verdict, warned.rule.as_str()),
        (Verdict::Warning, "value > 3")
    );
    assert_eq!(sample(6).verdict, Verdict::Fail);
    assert_eq!(watch.verdict(), Verdict::Pass);
    watch.sample(Some(7.into()), ms(7));
    assert!(watch.has_failed());
    assert_eq!(watch.verdict(), Verdict::Fail);
    assert_eq!(
        watch.summary(),
        "m: 2 of 4 samples failed (1 are tolerated), 3 warned, from 1 to 7, last 7"
    );
}

#[test]
fn missing_data_follows_the_policy_and_never_passes_alone() {
    for (policy, one_missing, only_missing) in [
        (
            NoData::Inconclusive,
            Verdict::Inconclusive,
            Verdict::Inconclusive,
        ),
        (NoData::Fail, Verdict::Fail, Verdict::Fail),
        (NoData::Pass, Verdict::Pass, Verdict::Inconclusive),
    ] {
        let mut watch = judge(None, Some("value > 5"), 0, policy);
        watch.sample(Some(Decimal::ONE), ms(0));
        watch.sample(None, ms(1));
        assert_eq!(watch.verdict(), one_missing, "{policy:?}");
        let mut watch = judge(None, Some("value > 5"), 0, policy);
        watch.sample(None, ms(0));
        assert_eq!(watch.verdict(), only_missing, "{policy:?}");
    }
    assert_eq!(
        judge(None, None, 0, NoData::Pass).verdict(),
        Verdict::Inconclusive
    );
}

#[test]
fn a_rule_without_an_exact_answer_is_inconclusive_whatever_missing_data_would_be() {
    for policy in [NoData::Inconclusive, NoData::Pass] {
        let mut watch = judge(None, Some("1 / value > 5"), 0, policy);
        let judged = watch.sample(Some(Decimal::ZERO), ms(0));
        assert_eq!(judged.verdict, Verdict::Inconclusive);
        assert!(judged.rule.contains("division by zero"), "{}", judged.rule);
        watch.sample(Some(Decimal::ONE), ms(1));
        assert_eq!(
            watch.verdict(),
            Verdict::Inconclusive,
            "{}",
            watch.summary()
        );
    }
}

#[test]
fn what_a_counter_held_before_the_watch_does_not_fail_it() {
    let rule = "delta(value) > 1";
    let mut watch = judge(
        Some("delta(value) > 0"),
        Some(rule),
        0,
        NoData::Inconclusive,
    );
    let verdicts: Vec<Verdict> = (0..)
        .zip([7, 7, 8, 9])
        .map(|(at, value): (i64, i64)| watch.sample(Some(value.into()), ms(at)).verdict)
        .collect();
    let expected = [
        Verdict::Pass,
        Verdict::Pass,
        Verdict::Warning,
        Verdict::Fail,
    ];
    assert_eq!(verdicts, expected);
    let mut watch = judge(None, Some(rule), 0, NoData::Pass);
    watch.sample(Some(7.into()), ms(0));
    let alone = watch.verdict();
    assert_eq!(
        alone,
        Verdict::Inconclusive,
        "one value says nothing of growth"
    );
}

#[test]
fn errors_an_hour_are_those_of_the_last_hour() {
    let mut watch = judge(None, Some("rate(value, hour) > 5"), 0, NoData::Inconclusive);
    let minute = |minute: i64| ms(minute * 60_000);
    // 6 in three hours, never more than 4 in one.
    for (at, value) in [(0, 100), (50, 104), (120, 105), (180, 106)] {
        let judged = watch.sample(Some(value.into()), minute(at));
        assert_eq!(judged.verdict, Verdict::Pass, "{at}");
    }
    let burst = watch.sample(Some(112.into()), minute(200));
    assert_eq!(burst.verdict, Verdict::Fail);
}

#[test]
fn figures_are_over_the_samples_of_the_watch() {
    let mut watch = judge(
        Some("avg(value) > 3"),
        Some("p95(value) > 8 || max(value) - min(value) > 7"),
        0,
        NoData::Inconclusive,
    );
    let mut sample = |value: i64| watch.sample(Some(value.into()), ms(value)).verdict;
    assert_eq!(sample(2), Verdict::Pass, "one sample has a mean");
    assert_eq!(sample(4), Verdict::Pass);
    assert_eq!(sample(6), Verdict::Warning, "(2 + 4 + 6) / 3");
    assert_eq!(sample(9), Verdict::Fail);
    for (policy, expected) in [
        (NoData::Inconclusive, Verdict::Inconclusive),
        (NoData::Pass, Verdict::Pass),
    ] {
        let mut watch = judge(None, Some("avg(value) > 3"), 0, policy);
        watch.sample(Some(2.into()), ms(0));
        watch.sample(None, ms(1));
        assert_eq!(watch.sample(Some(2.into()), ms(2)).verdict, expected);
        assert_eq!(watch.verdict(), expected, "{policy:?}");
    }
}

#[test]
fn a_share_is_judged_once_there_is_something_to_be_a_share_of() {
    let threshold = |metric: &str, fail: Option<&str>| {
        WatchJudge::new(&Threshold {
            metric: metric.to_owned(),
            warn: None,
            fail: fail.map(str::to_owned),
            tolerate: 0,
            no_data: NoData::Inconclusive,
        })
        .unwrap()
    };
    let mut judges = [
        threshold("errors", Some("share(value, requests) > 5")),
        threshold("requests", None),
    ];
    let mut round = |at: i64, errors: i64, requests: i64| {
        judges[0].take(Some(errors.into()), ms(at));
        judges[1].take(Some(requests.into()), ms(at));
        let around = RuleContext::of(&judges, &BTreeMap::new());
        judges[1].judge(&around);
        let judged = judges[0].judge(&around);
        (judged.verdict, judges[0].verdict())
    };
    let nothing = (Verdict::Pass, Verdict::Inconclusive);
    assert_eq!(round(0, 70, 100), nothing);
    assert_eq!(round(1, 70, 100), nothing, "a quiet minute says nothing");
    assert_eq!(round(2, 71, 120), (Verdict::Pass, Verdict::Pass), "5 %");
    assert_eq!(round(3, 73, 140), (Verdict::Fail, Verdict::Fail), "7.5 %");
}

#[test]
fn a_baseline_is_what_another_step_measured() {
    let rule = "value > 1.1 * baseline(value)";
    let mut watch = judge(None, Some(rule), 0, NoData::Inconclusive);
    let around = RuleContext {
        baselines: BTreeMap::from([("m".to_owned(), 200.into())]),
        ..RuleContext::default()
    };
    watch.take(Some(220.into()), ms(0));
    assert_eq!(watch.judge(&around).verdict, Verdict::Pass);
    watch.take(Some("220.0000001".parse().unwrap()), ms(1));
    assert_eq!(watch.judge(&around).verdict, Verdict::Fail);
    let mut without = judge(None, Some(rule), 0, NoData::Pass);
    without.sample(Some(Decimal::ONE), ms(0));
    assert_eq!(without.verdict(), Verdict::Inconclusive);
}

proptest! {
    #[test]
    fn every_sampling_time_is_taken_once_when_none_is_missed(for_ms in 0i64..200, every_ms in 1i64..50) {
        let watch = schedule(for_ms, every_ms);
        let mut last = None;
        let mut taken = Vec::new();
        while let Some(index) = watch.next(last, last.unwrap_or(ms(0))) {
            prop_assert!(taken.len() < 300);
            taken.push(index);
            last = watch.at(index);
        }
        prop_assert_eq!(taken, (0..watch.count()).collect::<Vec<_>>());
    }
}

//! What a verdict is based on: measurements of its own attempt, or a statement that there are none.

use rollbook_proto::v1::{self, Verdict, event::Kind};
use serde_json::{Value, json};

use super::super::command::WorkerCommand;
use super::story::*;
use crate::runbook::Plan;

fn watch(step: &str, more: Value) -> Value {
    let watch = json!({"id": step, "title": step, "watch": {"for": "1h", "every": "1m",
        "thresholds": [{"metric": "rate", "warn": "value > 2", "fail": "value > 5"}]}});
    with(watch, more)
}

/// A plan of one phase whose gate checks what its watches measure.
fn watched(steps: Vec<Value>) -> Plan {
    plan_with(
        json!([gated("1", steps, json!({"checks": ["rate <= 5"]}))]),
        json!({
            "metrics": {"rate": {"unit": "%", "run": {"command": "count"}}},
            "success": [{"name": "Few errors", "metric": "rate", "target": "value <= 5"}]
        }),
    )
}

fn of(value: Option<f64>, verdict: Verdict) -> v1::Measurement {
    v1::Measurement {
        value,
        verdict: verdict.into(),
        ..measurement("rate", 0.0)
    }
}

fn sample(step: &str, attempt: u32, value: Option<f64>, verdict: Verdict) -> Ask {
    worker(WorkerCommand::Measure {
        step: id(step),
        attempt,
        measurement: of(value, verdict),
    })
}

fn ends(step: &str, attempt: u32, verdict: Verdict, value: Option<Option<f64>>) -> Ask {
    worker(WorkerCommand::FinishStep {
        finished: v1::StepFinished {
            measurements: value.map(|value| of(value, verdict)).into_iter().collect(),
            ..result(step, attempt, verdict)
        },
        details: Vec::new(),
    })
}

/// The step's failure does not block by itself, so that only the gate can block.
fn lenient() -> Value {
    json!({"critical": false, "on_fail": "continue"})
}

#[test]
fn samples_belong_to_their_own_attempt_only() {
    let story = given(watched(vec![watch("1.1", json!({}))]))
        .and(worker(start("1.1", 1)))
        .and(sample("1.1", 1, Some(9.0), Verdict::Fail));
    let samples = |story: &Story, attempt| {
        let at = story.state.step(&id("1.1")).unwrap();
        at.samples.of(attempt).values().map(Vec::len).sum::<usize>()
    };
    assert_eq!((samples(&story, 1), samples(&story, 2)), (1, 0));
    let story = story
        .and(ends("1.1", 1, Verdict::Fail, Some(Some(9.0))))
        .and(by("olga", retry("1.1")));
    // Between the retry and its start, as a worker reads the samples before it records its intent.
    assert_eq!(samples(&story, 2), 0);
    let story = story
        .and(worker(start("1.1", 2)))
        .and(sample("1.1", 2, Some(0.1), Verdict::Pass));
    assert_eq!((samples(&story, 1), samples(&story, 2)), (0, 1));
}

#[test]
fn a_gate_does_not_hold_on_a_figure_whose_watch_came_to_no_conclusion() {
    // As earlier builds recorded it: the last number, with the verdict of the watch.
    let story = given(watched(vec![watch("1.1", lenient())]))
        .and(worker(start("1.1", 1)))
        .and(sample("1.1", 1, Some(0.2), Verdict::Pass))
        .and(sample("1.1", 1, None, Verdict::Inconclusive))
        .and(ends("1.1", 1, Verdict::Inconclusive, Some(Some(0.2))));
    assert_eq!(story.count("GatePassed"), 0);
    let blocked = story.blocked("gate 1");
    assert!(
        blocked.why.contains("check is inconclusive: rate <= 5")
            && blocked
                .why
                .contains("step 1.1, attempt 1, came to no conclusion")
            && blocked.why.contains("0.2"),
        "{blocked:?}"
    );
    assert_eq!(
        blocked.remedies,
        [remedy::retry(&story.state.id, &id("1.1"))]
    );
    let story = story
        .and(by("olga", retry("1.1")))
        .and(worker(start("1.1", 2)))
        .and(ends("1.1", 2, Verdict::Pass, Some(Some(0.3))));
    assert_eq!(story.count("GatePassed"), 1);
    story.folds();
}

#[test]
fn an_older_figure_does_not_stand_for_a_later_attempt_that_has_none() {
    let ended = |last: Ask| {
        given(watched(vec![
            watch("1.1", json!({})),
            watch("1.2", lenient()),
        ]))
        .and(worker(start("1.1", 1)))
        .and(ends("1.1", 1, Verdict::Pass, Some(Some(0.2))))
        .and(worker(start("1.2", 1)))
        .and(last)
    };
    let story = ended(ends("1.2", 1, Verdict::Error, None));
    let blocked = story.blocked("gate 1");
    assert!(
        blocked
            .why
            .contains("step 1.2, attempt 1, ended without measuring it"),
        "{blocked:?}"
    );
    assert_eq!(
        blocked.remedies,
        [remedy::retry(&story.state.id, &id("1.2"))]
    );
    // Samples taken before an error are not complete.
    let story = given(watched(vec![watch("1.1", lenient())]))
        .and(worker(start("1.1", 1)))
        .and(sample("1.1", 1, Some(0.2), Verdict::Pass))
        .and(ends("1.1", 1, Verdict::Error, None));
    assert!(story.blocked("gate 1").why.contains("ended in error"));
    let story = ended(ends("1.2", 1, Verdict::Pass, Some(Some(0.2))));
    assert_eq!(story.count("GatePassed"), 1);
}

#[test]
fn a_success_metric_says_why_it_has_no_data() {
    let plan = plan_with(
        json!([phase("1", vec![watch("1.1", lenient())])]),
        json!({
            "metrics": {"rate": {"run": {"command": "count"}}},
            "success": [{"name": "Few errors", "metric": "rate", "target": "value <= 5"}]
        }),
    );
    let story = given(plan).and(worker(start("1.1", 1))).and(ends(
        "1.1",
        1,
        Verdict::Inconclusive,
        Some(None),
    ));
    let recorded = story.events().find_map(|kind| match kind {
        Kind::SuccessMetricRecorded(recorded) => Some(recorded.clone()),
        _ => None,
    });
    let recorded = recorded.unwrap();
    assert_eq!(recorded.status(), Verdict::Inconclusive);
    assert_eq!(
        recorded.actual,
        "no data, since step 1.1, attempt 1, measured none"
    );
}

#[test]
fn only_data_resolves_an_alert_and_unwatched_ones_are_reported() {
    let story = given(watched(vec![watch("1.1", lenient()), by_hand("1.2")]))
        .and(worker(start("1.1", 1)))
        .when(sample("1.1", 1, None, Verdict::Inconclusive))
        .then(&["StepMeasured", "AlertRaised"])
        .when(sample("1.1", 1, Some(9.0), Verdict::Fail))
        .then(&["StepMeasured", "AlertRaised"]);
    assert_eq!(story.state.alerts_raised, 1, "the same alert, now worse");
    let story = story
        .when(sample("1.1", 1, None, Verdict::Inconclusive))
        .then(&["StepMeasured"])
        .when(sample("1.1", 1, None, Verdict::Pass))
        .then(&["StepMeasured"])
        .when(sample("1.1", 1, Some(1.0), Verdict::Error))
        .then(&["StepMeasured"])
        .when(sample("1.1", 1, Some(3.0), Verdict::Warning))
        .then(&["StepMeasured", "AlertResolved", "AlertRaised"])
        .and(ends("1.1", 1, Verdict::Pass, Some(Some(3.0))));
    assert_eq!(story.last_events(), ["AlertUnwatched"]);
    let alert = story.state.alerts.values().next().unwrap();
    assert!(alert.unwatched && alert.severity == "warning");
    let closed = story.and(by("alice", complete("1.2", &[])));
    let texts: Vec<String> = closed
        .events()
        .filter_map(|kind| match kind {
            Kind::GatePassed(passed) => Some(passed.reasons.join("; ")),
            Kind::RolloutClosed(closed) => Some(closed.summary.clone()),
            _ => None,
        })
        .collect();
    let [gate, summary] = texts.as_slice() else {
        panic!("{texts:?}");
    };
    assert!(
        gate.contains("alert-2 (warning) on rate of step 1.1 is still open"),
        "{gate}"
    );
    assert!(summary.contains("still open: alert-2"), "{summary}");
    assert_eq!(closed.count("AlertUnwatched"), 1, "marked once");
    closed.folds();
}

#[test]
fn a_new_attempt_watches_the_alerts_of_the_one_before() {
    let story = given(watched(vec![watch("1.1", json!({}))]))
        .and(worker(start("1.1", 1)))
        .and(sample("1.1", 1, Some(9.0), Verdict::Fail))
        .and(ends("1.1", 1, Verdict::Fail, Some(Some(9.0))));
    let unwatched = |story: &Story| story.state.alerts.values().all(|alert| alert.unwatched);
    assert!(unwatched(&story));
    let story = story
        .and(by("olga", retry("1.1")))
        .and(worker(start("1.1", 2)));
    assert!(!unwatched(&story));
    story
        .when(sample("1.1", 2, Some(0.1), Verdict::Pass))
        .then(&["StepMeasured", "AlertResolved"]);
}

fn judged(plan: &Plan, values: &[Option<f64>]) -> Story {
    let mut story = given(plan.clone()).and(worker(start("1.1", 1)));
    for value in values {
        story = story.and(sample("1.1", 1, *value, Verdict::Pass));
    }
    let last = *values.last().unwrap();
    story.and(ends("1.1", 1, Verdict::Pass, Some(last)))
}

fn asking(checks: &[&str], more: Value) -> Plan {
    let steps = vec![watch("1.1", with(lenient(), more))];
    plan_with(
        json!([gated("1", steps, json!({"checks": checks}))]),
        json!({"metrics": {"rate": {"run": {"command": "count"}}},
            "success": [{"name": "steady", "metric": "rate", "target": "max(value) - min(value) <= 3 && avg(value) < 3"}]}),
    )
}

#[test]
fn figures_are_over_the_samples_of_the_attempt_that_measured_last() {
    let plan = asking(
        &["avg(rate) <= 2", "p95(rate) <= 4", "min(rate) == 1"],
        json!({}),
    );
    let story = judged(&plan, &[Some(1.0), Some(1.0), Some(4.0)]);
    assert_eq!(story.count("GatePassed"), 1);
    let actual = story.events().find_map(|kind| match kind {
        Kind::SuccessMetricRecorded(recorded) => Some(recorded.actual.clone()),
        _ => None,
    });
    assert_eq!(
        actual.unwrap(),
        "4, max(value) = 4, min(value) = 1, avg(value) = 2"
    );
    let story = judged(&plan, &[Some(1.0), Some(2.0), Some(4.0)]);
    let why = story.blocked("gate 1").why;
    assert!(why.contains("avg(rate)=2.333333333333"), "{why}");
    // A new attempt: the samples of the first one are gone.
    let story = story
        .and(by("olga", retry("1.1")))
        .and(worker(start("1.1", 2)))
        .and(sample("1.1", 2, Some(1.0), Verdict::Pass))
        .and(ends("1.1", 2, Verdict::Pass, Some(Some(1.0))));
    assert_eq!(story.count("GatePassed"), 1);
    story.folds();
}

#[test]
fn a_missing_sample_leaves_no_figure_unless_the_plan_tolerates_it() {
    let gap = [Some(1.0), None, Some(1.0)];
    let story = judged(&asking(&["avg(rate) <= 2"], json!({})), &gap);
    let why = story.blocked("gate 1").why;
    assert!(
        why.contains("1 of 3 samples of step 1.1, attempt 1, have no data"),
        "{why}"
    );
    let bears = json!({"watch": {"for": "1h", "every": "1m", "thresholds": [
        {"metric": "rate", "fail": "value > 5", "no_data": "pass"}]}});
    let story = judged(&asking(&["avg(rate) <= 2"], bears), &gap);
    assert_eq!(story.count("GatePassed"), 1);
}

#[test]
fn a_share_is_a_ratio_of_growths() {
    let closes = |values: &[(f64, f64)]| {
        let ids: Vec<String> = (1..=values.len()).map(|n| format!("0.{n}")).collect();
        let plan = plan_with(
            json!([phase("0", ids.iter().map(|id| check(id)).collect())]),
            json!({"success": [{"name": "few", "metric": "errors", "target": "share(value, requests) <= 5"}]}),
        );
        let mut story = given(plan);
        for (id, (errors, requests)) in ids.iter().zip(values) {
            let measured = [("errors", *errors), ("requests", *requests)];
            story = story.measures(id, Verdict::Pass, &measured);
        }
        story.folds();
        story.state.success["few"]
    };
    assert_eq!(closes(&[(90.0, 100.0), (91.0, 120.0)]), Verdict::Pass);
    assert_eq!(closes(&[(90.0, 100.0), (92.0, 120.0)]), Verdict::Fail);
    assert_eq!(closes(&[(90.0, 100.0)]), Verdict::Inconclusive);
    assert_eq!(
        closes(&[(90.0, 100.0), (90.0, 100.0)]),
        Verdict::Inconclusive
    );
}

fn before_and_after(checks: &[&str]) -> Plan {
    plan_with(
        json!([
            phase("0", vec![check("0.1"), check("0.2")]),
            gated("1", vec![check("1.1")], json!({"checks": checks}))
        ]),
        json!({}),
    )
}

#[test]
fn a_baseline_is_the_last_value_of_the_first_step_of_the_plan() {
    let plan = before_and_after(&["latency <= 1.1 * baseline(latency)"]);
    let run = |before: f64, between: f64, after: f64| {
        given(plan.clone())
            .measures("0.1", Verdict::Pass, &[("latency", before)])
            .measures("0.2", Verdict::Pass, &[("latency", between)])
            .measures("1.1", Verdict::Pass, &[("latency", after)])
    };
    let story = run(200.0, 1.0, 220.0);
    assert_eq!(story.count("GatePassed"), 1);
    story.folds();
    let story = run(200.0, 1000.0, 221.0);
    let why = story.blocked("gate 1").why;
    assert!(why.contains("baseline(latency)=200"), "{why}");
    let baselines = |asking: &str| crate::rollout::baselines(&story.state, &plan, &id(asking));
    assert_eq!(baselines("1.1")["latency"].to_string(), "200");
    assert!(baselines("0.1").is_empty(), "nothing is before itself");
    // A check with only a baseline term asks about the past alone.
    let alone = before_and_after(&["baseline(latency) > 100"]);
    let story = given(alone)
        .measures("0.1", Verdict::Pass, &[("latency", 200.0)])
        .measures("0.2", Verdict::Pass, &[])
        .measures("1.1", Verdict::Pass, &[]);
    assert_eq!(story.count("GatePassed"), 1);
}

#[test]
fn there_is_no_baseline_where_only_one_step_has_measured() {
    let plan = before_and_after(&["latency <= 1.1 * baseline(latency)"]);
    let story = given(plan)
        .measures("0.1", Verdict::Pass, &[])
        .measures("0.2", Verdict::Pass, &[])
        .measures("1.1", Verdict::Pass, &[("latency", 5.0)]);
    let why = story.blocked("gate 1").why;
    assert!(why.contains("only step 1.1 has measured it"), "{why}");
}

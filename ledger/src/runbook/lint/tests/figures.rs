//! Which functions may be used, and where.

use super::*;

const BROKEN: &str = "{metric: broken, fail: value > 0}";
const WATCH: &str = "            - {metric: broken, fail: value > 0}\n";

#[test]
fn figures_stand_wherever_an_expression_over_measurements_does() {
    for fail in [
        "delta(value) > 0",
        "\"rate(value, hour) > 0\"",
        "avg(value) > 0 || p95(value) > 1 || max(value) - min(value) > 2",
        "\"share(value, rate) > 5\"",
        "\"share(rate, value) > 5\"",
        "value > 1.1 * baseline(rows_now)",
    ] {
        holds(BROKEN, &format!("{{metric: broken, fail: {fail}}}"));
    }
    holds(
        "checks: [rows_now >= 0]",
        "checks: [avg(rows_now) >= 0, 'share(rows_now, rows_now) >= 0', p95(rows_now) >= 0]",
    );
    holds(
        "when: affected_percent > 50",
        "when: 'affected_percent > 50 && rate > 2 * baseline(rows_now)'",
    );
    holds(
        "metric: regressions, target: value == 0",
        "metric: rate, target: 'share(value, broken) < 1 && value < baseline(rows_now)'",
    );
}

#[test]
fn a_metric_that_another_threshold_reads_needs_no_rule_of_its_own() {
    holds(
        WATCH,
        "            - {metric: broken, fail: \"share(value, rate) > 5\"}\n            - {metric: rate}\n",
    );
}

#[test]
fn a_wrong_figure_is_refused_where_it_stands() {
    let fails = |code: Code, fail: &str, says: &str| {
        breaks(
            code,
            BROKEN,
            &format!("{{metric: broken, fail: ¦{fail}}}"),
            says,
        );
    };
    fails(Code::Expression, "median(value) > 1", "baseline(NAME)");
    fails(Code::Expression, "share(value) > 1", "share(NAME, TOTAL)");
    fails(Code::Expression, "'avg(value, 3) > 1'", "avg(NAME)");
    fails(Code::UnknownName, "avg(rate) > 1", "called `value`");
    fails(
        Code::UnknownName,
        "'share(value, rows_now) > 1'",
        "which this watch does not sample",
    );
    fails(
        Code::UnknownName,
        "value > baseline(value)",
        "no step before 2.1 measures `broken`",
    );
    breaks(
        Code::UnknownName,
        "checks: [rows_now >= 0]",
        "checks: [¦'share(rows_now, regressions) > 1']",
        "only a later phase records `regressions`",
    );
    breaks(
        Code::UnknownName,
        "checks: [rows_now >= 0]",
        "checks: [¦rows_now >= baseline(rows_now)]",
        "only one step measures `rows_now`",
    );
    breaks(
        Code::UnknownName,
        "target: value == 0",
        "target: ¦value <= baseline(value)",
        "only one step measures `regressions`",
    );
    breaks(
        Code::UnknownName,
        "target: value == 0",
        "target: ¦'share(value, totals) < 1'",
        "no step records `totals`",
    );
    breaks(
        Code::Expression,
        "expect: [rows_now >= 0]",
        "expect: [¦avg(rows_now) >= 0]",
        "needs several values",
    );
    breaks(
        Code::UnknownName,
        "expect: [rows_now >= 0]",
        "expect: [¦rows_now >= baseline(rows_now)]",
        "no step before 1.5 measures `rows_now`",
    );
    breaks(
        Code::Expression,
        "        title: Flag\n",
        "        title: Flag\n        when: ¦share > baseline(share)\n",
        "here are parameters",
    );
}

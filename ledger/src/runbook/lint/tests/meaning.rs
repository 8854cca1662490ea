//! References, undos, measurements, people.

use super::*;

#[test]
fn references() {
    let r = Code::UnknownReference;
    breaks(
        r,
        "sign_offs: [{role: ops}]",
        "sign_offs: [{role: ¦opps}]",
        "did you mean `ops`?",
    );
    breaks(r, "flag: {key: NEW,", "flag: {key: ¦NOW,", "no flag `NOW`");
    breaks(
        r,
        "          source: db\n",
        "          source: ¦dc\n",
        "did you mean `db`?",
    );
    breaks(
        r,
        "          source: db\n",
        "          source: ¦web\n",
        "a database is needed",
    );
    breaks(
        r,
        "notify: {channel: all",
        "notify: {channel: ¦some",
        "no channel",
    );
    breaks(
        r,
        "window: night",
        "window: ¦nights",
        "did you mean `night`?",
    );
    breaks(
        r,
        "snapshot: {of: deals, label: after}",
        "snapshot: {of: ¦dealz, label: after}",
        "did you mean `deals`?",
    );
    breaks(
        r,
        "        title: Flag\n",
        "        title: Flag\n        environment: ¦stagin\n",
        "did you mean `staging`?",
    );
    breaks(
        r,
        "deals: {source: db, awareness_flag: NEW}",
        "deals: {source: db, awareness_flag: ¦OLD}",
        "no flag `OLD`",
    );
    breaks(
        Code::Credential,
        "{env: P}",
        "{value: ¦postgres://bob:secret@db/x}",
        "carries a password",
    );
    breaks(
        Code::Unused,
        "channels:\n",
        "channels:\n  ¦other: {file: x}\n",
        "channel `other` is not used",
    );
}

#[test]
fn a_source_must_reach_the_environment_it_is_used_in() {
    let text = BASE.replace(
        "{staging: {env: S}, production: {env: P}}",
        "{staging: {env: S}}",
    );
    let origin = Origin::new("base.yaml", &NoFiles);
    let with = |environment: Option<&str>| {
        inspect(&text, &origin, &BTreeMap::new(), environment)
            .diagnostics
            .0
    };
    let open = with(None);
    assert!(open.iter().any(|d| d.code == Code::SourceUrl));
    assert!(open.iter().all(|d| d.severity == Severity::Warning));
    assert_eq!(with(Some("staging")), []);
    assert!(
        with(Some("production"))
            .iter()
            .any(|d| d.code == Code::SourceUrl && d.severity == Severity::Error)
    );
}

#[test]
fn effects_and_ways_back() {
    breaks(
        Code::NoVerify,
        "      - id: \"1.2\"\n        title: Do\n        run: {command: do it}\n        verify: {run: {command: check it}}",
        "      - ¦id: \"1.2\"\n        title: Do\n        run: {command: do it}",
        "changes: nothing",
    );
    breaks(
        Code::NoUndo,
        "      - id: \"1.2\"\n        title: Do\n        run: {command: do it}\n        verify: {run: {command: check it}}\n        undo: {run: {command: undo it}}",
        "      - ¦id: \"1.2\"\n        title: Do\n        run: {command: do it}\n        verify: {run: {command: check it}}",
        "no way back",
    );
    breaks(
        Code::NoUndo,
        "      - id: \"1.4\"\n        title: Migrate\n        sql:\n          source: db\n          deploy: CREATE TABLE t (x int)\n          verify: SELECT x FROM t\n          revert: DROP TABLE t",
        "      - ¦id: \"1.4\"\n        title: Migrate\n        sql:\n          source: db\n          deploy: CREATE TABLE t (x int)\n          verify: SELECT x FROM t",
        "add `revert`",
    );
    breaks(
        Code::NoVerify,
        "      - id: \"1.4\"\n        title: Migrate\n        sql:\n          source: db\n          deploy: CREATE TABLE t (x int)\n          verify: SELECT x FROM t\n",
        "      - ¦id: \"1.4\"\n        title: Migrate\n        sql:\n          source: db\n          deploy: CREATE TABLE t (x int)\n",
        "",
    );
    breaks(
        Code::SqlShape,
        "        sql:\n          source: db\n",
        "        ¦sql:\n          source: db\n          query: SELECT 1\n",
        "both `deploy` and `query`",
    );
    breaks(
        Code::File,
        "deploy: CREATE TABLE t (x int)",
        "deploy: {file: ¦gone.sql}",
        "there is no file `gone.sql`",
    );
    breaks(
        Code::File,
        "deploy: CREATE TABLE t (x int)",
        "deploy: {file: ¦/etc/passwd}",
        "points outside",
    );
}

#[test]
fn nothing_to_verify_when_nothing_changes() {
    let text = BASE.replace(
        "        verify: {run: {command: check it}}\n        undo: {run: {command: undo it}}\n",
        "        changes: nothing\n",
    );
    assert_eq!(findings_of(&text), []);
    let text = BASE.replace("undo: {run: {command: undo it}}", "undo: none");
    assert_eq!(findings_of(&text), []);
}

#[test]
fn captures_flags_and_bounds() {
    breaks(
        Code::UnknownLabel,
        "before: before, after: after}",
        "before: ¦befor, after: after}",
        "did you mean `before`?",
    );
    breaks(
        Code::Duplicate,
        "label: after}",
        "label: ¦before}",
        "already has a label",
    );
    breaks(
        Code::FlagSetting,
        "to: {percentage: \"${{ share }}\"}",
        "to: {percentage: ¦101}",
        "not between 0 and 100",
    );
    breaks(
        Code::FlagSetting,
        "to: {percentage: \"${{ share }}\"}",
        "to: {¦beta: []}",
        "no label",
    );
    breaks(
        Code::Bounds,
        "        title: Flag\n",
        "        title: Flag\n        retry: {attempts: ¦1}\n",
        "between 2 and 20",
    );
    breaks(
        Code::Bounds,
        "        title: Flag\n",
        "        title: Flag\n        timeout: ¦0s\n",
        "timeout",
    );
    breaks(Code::Bounds, "every: 1s", "every: ¦11s", "between samples");
    breaks(Code::Bounds, "every: 1s", "every: ¦0s", "between samples");
    breaks(
        Code::Window,
        "cron: 0 2 * * TUE",
        "cron: ¦0 2 * *",
        "RB-WINDOW-2",
    );
    breaks(
        Code::Window,
        "time_zone: Europe/Berlin",
        "time_zone: ¦Europe/Berln",
        "RB-WINDOW-3",
    );
    breaks(
        Code::Window,
        "  - name: night",
        "  - ¦name: night\n    from: 2026-01-01T00:00:00Z",
        "RB-WINDOW-1",
    );
}

#[test]
fn measurements() {
    breaks(
        Code::ThresholdWithoutMetric,
        "{metric: broken, fail",
        "{metric: ¦brokn, fail",
        "did you mean `broken`?",
    );
    breaks(
        Code::EmptyThreshold,
        "{metric: broken, fail: value > 0}",
        "¦{metric: broken}",
        "neither warn nor fail",
    );
    breaks(
        Code::MetricShape,
        "  broken:\n",
        "  ¦broken:\n    step: regressions\n",
        "2 ways: sql, step",
    );
    breaks(
        Code::MetricShape,
        "metrics:\n",
        "metrics:\n  ¦empty: {unit: x}\n",
        "how it is taken",
    );
    breaks(
        Code::UnknownName,
        "metrics:\n",
        "metrics:\n  x: {step: ¦regresions}\n",
        "did you mean `regressions`?",
    );
    breaks(
        Code::Pattern,
        "pointer: /rate",
        "pointer: ¦rate",
        "write `/rate`",
    );
    breaks(
        Code::Pattern,
        "run: {command: do it}",
        "run: {command: do it, measure: {n: ¦'\\d+'}}",
        "0 groups",
    );
    breaks(
        Code::Expression,
        "fail: value > 0}",
        "fail: ¦value >}",
        "RB-EXPR-2",
    );
    breaks(
        Code::Expression,
        "fail: value > 0}",
        "fail: ¦value = 0}",
        "write `==`",
    );
    breaks(
        Code::UnknownName,
        "fail: value > 0}",
        "fail: ¦broken > 0}",
        "called `value`",
    );
    breaks(
        Code::UnknownName,
        "expect: [rows_now >= 0]",
        "expect: [¦rows_then >= 0]",
        "does not measure",
    );
    breaks(
        Code::UnknownName,
        "checks: [rows_now >= 0]",
        "checks: [¦regressions == 0]",
        "only a later phase records `regressions`",
    );
    breaks(
        Code::UnknownName,
        "{when: affected_percent > 50",
        "{when: ¦afected_percent > 50",
        "did you mean `affected_percent`?",
    );
    breaks(
        Code::UnknownName,
        "        title: Flag\n",
        "        title: Flag\n        when: ¦shape > 1\n",
        "did you mean `share`?",
    );
    breaks(
        Code::ThresholdWithoutMetric,
        "metric: regressions, target",
        "metric: ¦regression, target",
        "did you mean `regressions`?",
    );
    let unsampled = BASE
        .replace(
            "{metric: rate, warn: value > 1, fail: value > 5}",
            "{metric: broken, fail: value > 1}",
        )
        .replace("affected_percent > 50", "rate > 50");
    let found: Vec<String> = findings_of(&unsampled)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        found.iter().any(|d| d.contains("no watch samples it")),
        "{found:?}"
    );
}

#[test]
fn people_and_notices() {
    breaks(
        Code::Quorum,
        "[{role: ops}]",
        "[{role: ops, quorum: ¦3}]",
        "role `ops` has 2",
    );
    breaks(
        Code::Quorum,
        "[{role: ops}]",
        "[{role: ops, quorum: ¦0}]",
        "asks for nobody",
    );
    breaks(
        Code::EmptyRole,
        "  ops: [alice, bob]",
        "  ¦ops: []",
        "no person",
    );
    breaks(
        Code::Duplicate,
        "  ops: [alice, bob]",
        "  ops: [alice, ¦alice]",
        "occurs twice in role",
    );
    breaks(
        Code::Anchor,
        "anchor: phase/1",
        "anchor: ¦phase/9",
        "does not exist",
    );
    breaks(
        Code::Anchor,
        "anchor: phase/1",
        "anchor: ¦tomorrow",
        "RFC 3339",
    );
    breaks(
        Code::Anchor,
        "offset: 7d",
        "offset: ¦-7d",
        "not known before it comes",
    );
    breaks(
        Code::DanglingNeed,
        "        window: night",
        "        on_fail: {undo: [¦nine]}\n        window: night",
        "there is no step `nine` to undo",
    );
    breaks(
        Code::NoUndo,
        "        window: night",
        "        on_fail: {undo: [¦\"1.1\"]}\n        window: night",
        "has no undo that a worker can do",
    );
    let empty = BASE.replace(
        "      sign_offs: [{role: ops}]\n      checks: [rows_now >= 0]\n",
        "      statement: s\n",
    );
    let found = findings_of(&empty);
    assert!(
        found
            .iter()
            .any(|d| d.code == Code::EmptyGate && d.severity == Severity::Warning)
    );
    assert!(
        found.iter().all(|d| d.severity == Severity::Warning),
        "{found:?}"
    );
}

#[test]
fn a_finding_is_one_line_with_its_place() {
    let found = findings_of(&BASE.replace("window: night", "window: nights"));
    assert_eq!(
        found.last().map(ToString::to_string).as_deref(),
        Some(
            "base.yaml:58:17: error RB-RUNBOOK-11: there is no allow window `nights` (at phases[0].steps[1].window); did you mean `night`?"
        )
    );
}

#[test]
fn calculators() {
    let exec = |text: &str| {
        format!("deals: {{source: db, awareness_flag: NEW, calculator: {{exec: {{{text}}}}}}}")
    };
    let deals = "deals: {source: db, awareness_flag: NEW}";
    let good = "command: [./model], metrics: [{name: cost, unit: cents}]";
    assert_eq!(findings_of(&BASE.replace(deals, &exec(good))), []);
    let cases = [
        (
            Code::Calculator,
            "¦command: [], metrics: [{name: cost, unit: cents}]",
            "no program",
        ),
        (
            Code::Bounds,
            "command: [x], ¦metrics: []",
            "0 metrics are declared",
        ),
        (
            Code::InvalidId,
            "command: [x], metrics: [{name: ¦digest, unit: count}]",
            "`digest` cannot name a metric",
        ),
        (
            Code::Duplicate,
            "command: [x], metrics: [{name: a, unit: count}, {name: ¦a, unit: cents}]",
            "declared twice",
        ),
        (
            Code::Type,
            "command: [x], metrics: [{name: a, unit: ¦euro}]",
            "euro",
        ),
        (
            Code::Bounds,
            "command: [x], timeout: ¦0s, metrics: [{name: a, unit: count}]",
            "above 0",
        ),
        (
            Code::UnknownReference,
            "command: [x], env_sources: {DB: ¦bd}, metrics: [{name: a, unit: count}]",
            "did you mean `db`?",
        ),
    ];
    for (code, text, message) in cases {
        breaks(code, deals, &exec(text), message);
    }
    breaks(
        Code::Calculator,
        deals,
        &format!(
            "deals: {{source: db, awareness_flag: NEW, model: ¦x, calculator: {{exec: {{{good}}}}}}}"
        ),
        "which `calculator` replaces",
    );
    let sql = |text: &str| format!("deals: {{source: db, awareness_flag: NEW, {text}}}");
    let metrics = "metrics: [{name: cost, unit: cents}]";
    breaks(
        Code::Calculator,
        deals,
        &sql(&format!("calculator: {{sql: {{query: ¦\"\", {metrics}}}}}")),
        "`query` is empty",
    );
    breaks(
        Code::Calculator,
        deals,
        &sql(&format!(
            "inventory_query: ¦x, calculator: {{sql: {{query: SELECT 1, {metrics}}}}}"
        )),
        "remove `inventory_query`",
    );
}

#[test]
fn no_input_panics() {
    use proptest::prelude::*;
    let lines: Vec<&str> = BASE.lines().collect();
    proptest!(ProptestConfig::with_cases(64), |(cut in 0..lines.len(), junk in "[ -~]{0,12}", drop in 0..lines.len())| {
        let mut text: Vec<&str> = lines.clone();
        text.insert(cut, &junk);
        text.remove(drop);
        let origin = Origin::new("x.yaml", &NoFiles);
        let loaded = inspect(&text.join("\n"), &origin, &BTreeMap::new(), None);
        prop_assert_eq!(loaded.plan.is_none(), loaded.diagnostics.has_errors());
    });
}

#[test]
fn plans_are_the_same_whatever_the_order_of_keys() {
    let origin = Origin::new("x.yaml", &NoFiles);
    let digest = |text: &str| {
        let plan = inspect(text, &origin, &BTreeMap::new(), None).plan.unwrap();
        plan.digest().to_owned()
    };
    let turned = BASE.replace(
        "  name: base\n  version: \"1.0\"",
        "  version: \"1.0\"\n  name: base",
    );
    assert_eq!(digest(BASE), digest(&turned));
    assert_ne!(
        digest(BASE),
        digest(&BASE.replace("title: Two", "title: Zwei"))
    );
}

#[test]
fn authority() {
    let roles = "  ops: [alice, bob]";
    let with = |authority: &str| format!("{roles}\n  solo: [alice]\nauthority:\n{authority}");
    for (code, authority, message) in [
        (
            Code::UnknownReference,
            "  verbs: {pause: [¦nobody, ops]}",
            "there is no role `nobody`",
        ),
        (
            Code::Authority,
            "  verbs: {¦abort: [solo]}",
            "`abort` takes 2 persons, and the roles it is narrowed to have 1: nobody could do it",
        ),
        (
            Code::Authority,
            "  verbs: {¦pause: []}",
            "`pause` takes 1 person, and the roles it is narrowed to have 0",
        ),
        (
            Code::Authority,
            "  verbs: {¦rollback: [ops]}",
            "stays open to every person",
        ),
        (
            Code::Authority,
            "  verbs: {¦flag_on: [ops]}",
            "not done in a rollout",
        ),
        (
            Code::Authority,
            "  break_glass: {verbs: [¦pause], review_within: 1h}",
            "takes one person",
        ),
        (
            Code::UnknownReference,
            "  break_glass: {verbs: [abort], roles: [¦nobody], review_within: 1h}",
            "there is no role",
        ),
        (
            Code::Bounds,
            "  break_glass: {verbs: [abort], review_within: ¦0s}",
            "never be in time",
        ),
        (Code::Bounds, "  request_expires: ¦0s", "never be confirmed"),
    ] {
        breaks(code, roles, &with(authority), message);
    }
    breaks(
        Code::Authority,
        "environments:\n  staging: {}\n  production: {protected: true}\nroles:\n  ops: [alice, bob]",
        "environments:\n  staging: {}\n  ¦production: {protected: true}\nroles:\n  ops: [alice]",
        "only one person has a role",
    );
}

//! Each rule, broken once in a runbook that is otherwise right. `¦` marks where the finding
//! must point.

use std::collections::BTreeMap;

use super::super::files::NoFiles;
use super::super::{Code, Diagnostic, Origin, Severity, inspect};

const BASE: &str = r#"apiVersion: rollbook/v1
kind: Runbook
metadata:
  name: base
  version: "1.0"
  owner: team
params:
  length:
    description: Length of the watch
    default: 10s
  share:
    description: Share of the flag
    default: "50"
environments:
  staging: {}
  production: {protected: true}
roles:
  ops: [alice, bob]
windows:
  - name: night
    kind: allow
    cron: 0 2 * * TUE
    duration: 15m
    time_zone: Europe/Berlin
    named_only: true
flags:
  NEW:
    description: New path
    owner: team
sources:
  db:
    kind: database
    url: {staging: {env: S}, production: {env: P}}
  web:
    kind: http
    url: {staging: {env: SW}, production: {env: PW}}
channels:
  all: {file: notices.jsonl}
snapshots:
  deals: {source: db, awareness_flag: NEW}
metrics:
  broken:
    sql: {source: db, query: SELECT 1}
  rate:
    http: {source: web, path: /health, pointer: /rate}
phases:
  - id: "1"
    title: One
    steps:
      - id: "1.1"
        title: Before
        snapshot: {of: deals, label: before}
      - id: "1.2"
        title: Do
        run: {command: do it}
        verify: {run: {command: check it}}
        undo: {run: {command: undo it}}
        window: night
      - id: "1.3"
        title: Flag
        flag: {key: NEW, to: {percentage: "${{ share }}"}}
      - id: "1.4"
        title: Migrate
        sql:
          source: db
          deploy: CREATE TABLE t (x int)
          verify: SELECT x FROM t
          revert: DROP TABLE t
      - id: "1.5"
        title: Count
        sql: {source: db, query: SELECT count(*) AS rows_now FROM t}
        expect: [rows_now >= 0]
    gate:
      sign_offs: [{role: ops}]
      checks: [rows_now >= 0]
  - id: "2"
    title: Two
    steps:
      - id: "2.1"
        title: Watch
        watch:
          for: ${{ length }}
          every: 1s
          thresholds:
            - {metric: broken, fail: value > 0}
            - {metric: rate, warn: value > 1, fail: value > 5}
      - id: "2.2"
        title: After
        snapshot: {of: deals, label: after}
      - id: "2.3"
        title: Compare
        compare: {of: deals, before: before, after: after}
      - id: "2.4"
        title: Tell
        notify: {channel: all, subject: s, body: b}
decide:
  - {when: affected_percent > 50, then: full}
notices:
  - {id: n1, channel: all, audience: users, anchor: phase/1, offset: -7d, subject: s, body: b}
success:
  - {name: No regression, metric: regressions, target: value == 0}
"#;

fn findings_of(text: &str) -> Vec<Diagnostic> {
    let origin = Origin::new("base.yaml", &NoFiles);
    inspect(text, &origin, &BTreeMap::new(), None).diagnostics.0
}

/// Replaces `from` in the base by `to`, whose `¦` marks the place of the finding.
#[track_caller]
fn breaks(code: Code, from: &str, to: &str, message: &str) {
    assert_eq!(BASE.matches(from).count(), 1, "`{from}` is not unique");
    let marked = BASE.replace(from, to);
    let (before, _) = marked.split_once('¦').expect("a mark");
    let line = u32::try_from(before.matches('\n').count()).unwrap() + 1;
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    let findings = findings_of(&marked.replace('¦', ""));
    let found: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(
        findings.iter().any(|d| d.code == code
            && d.line == line
            && d.column == u32::try_from(column).unwrap()
            && d.to_string().contains(message)),
        "expected {code} at {line}:{column} with `{message}`, found:\n{}",
        found.join("\n")
    );
}

#[test]
fn the_base_is_right() {
    assert_eq!(findings_of(BASE), []);
}

#[test]
fn yaml_and_keys() {
    breaks(
        Code::Yaml,
        "  owner: team\nparams",
        "  owner: team\n  ¦name: again\nparams",
        "duplicate",
    );
    breaks(
        Code::UnknownKey,
        "  owner: team\nparams",
        "  owner: team\n  ¦ownr: x\nparams",
        "did you mean `owner`?",
    );
    breaks(
        Code::UnknownKey,
        "        run: {command: do it}",
        "        ¦rnu: {command: do it}",
        "did you mean `run`?",
    );
    breaks(
        Code::StepAction,
        "      - id: \"2.4\"\n        title: Tell\n        notify: {channel: all, subject: s, body: b}",
        "      - ¦id: \"2.4\"\n        title: Tell",
        "nothing to do",
    );
    breaks(
        Code::StepAction,
        "      - id: \"2.4\"",
        "      - ¦wait: {for: 1s}\n        id: \"2.4\"",
        "2 actions: wait, notify",
    );
    breaks(
        Code::MissingKey,
        "compare: {of: deals, before: before, after: after}",
        "compare: ¦{of: deals, before: before}",
        "`after` is missing",
    );
    breaks(
        Code::Type,
        "version: \"1.0\"",
        "version: ¦1.10",
        "write it in quotes: \"1.10\"",
    );
    breaks(
        Code::Type,
        "      - id: \"2.1\"",
        "      - id: ¦2.10",
        "write it in quotes: \"2.10\"",
    );
    breaks(Code::Type, "every: 1s", "every: ¦soon", "is not a duration");
    breaks(
        Code::Type,
        "kind: allow",
        "kind: ¦alow",
        "did you mean `allow`?",
    );
    breaks(Code::Type, "  ops: [alice, bob]", "  ops: ¦alice", "a list");
    breaks(
        Code::Version,
        "apiVersion: rollbook/v1",
        "apiVersion: ¦rollbook/v2",
        "write `apiVersion: rollbook/v1`",
    );
}

#[test]
fn all_findings_are_reported_and_not_only_the_first() {
    let text = BASE
        .replace("  owner: team\nparams", "  ownr: team\nparams")
        .replace("every: 1s", "every: soon")
        .replace("kind: allow", "kind: alow");
    let codes: Vec<Code> = findings_of(&text).iter().map(|d| d.code).collect();
    assert_eq!(
        codes,
        [Code::MissingKey, Code::UnknownKey, Code::Type, Code::Type]
    );
}

#[test]
fn parameters() {
    breaks(
        Code::UnknownParam,
        "${{ length }}",
        "¦${{ lenght }}",
        "did you mean `length`?",
    );
    breaks(
        Code::UnknownParam,
        "run: {command: do it}",
        "run: {command: ¦\"do ${{ length\"}",
        "not closed",
    );
    breaks(
        Code::MissingParam,
        "  length:\n    description: Length of the watch\n    default: 10s",
        "  ¦length:\n    description: Length of the watch",
        "--param length=",
    );
    breaks(
        Code::Unused,
        "params:\n",
        "params:\n  ¦spare: {description: Spare, default: x}\n",
        "is not used",
    );
}

#[test]
#[should_panic(expected = "expected RB-RUNBOOK-25")]
fn a_golden_test_can_fail() {
    breaks(
        Code::FlagSetting,
        "to: {percentage: \"${{ share }}\"}",
        "to: {percentage: ¦60}",
        "",
    );
}

#[test]
fn given_parameters() {
    let origin = Origin::new("base.yaml", &NoFiles);
    let given = BTreeMap::from([("lengt".to_owned(), "1s".to_owned())]);
    let found = inspect(BASE, &origin, &given, None).diagnostics;
    assert!(
        found.to_string().contains("did you mean `length`?"),
        "{found}"
    );
    let given = BTreeMap::from([("length".to_owned(), "30s".to_owned())]);
    let plan = inspect(BASE, &origin, &given, None).plan.unwrap();
    assert_eq!(plan.params().get("length").map(String::as_str), Some("30s"));
    let found = inspect(BASE, &origin, &BTreeMap::new(), Some("prod")).diagnostics;
    assert!(
        found.to_string().contains("no environment `prod`"),
        "{found}"
    );
}

#[test]
fn ids_and_order() {
    breaks(
        Code::Duplicate,
        "      - id: \"1.3\"",
        "      - id: ¦\"1.2\"",
        "first on line",
    );
    breaks(
        Code::InvalidId,
        "      - id: \"1.3\"",
        "      - id: ¦\"1 3\"",
        "RB-ID-3",
    );
    breaks(
        Code::InvalidId,
        "  name: base",
        "  name: ¦\"my book\"",
        "is not a runbook name",
    );
    breaks(
        Code::DanglingNeed,
        "        title: Flag\n",
        "        title: Flag\n        needs: [¦\"1.9\"]\n",
        "which is no step",
    );
    breaks(
        Code::DanglingNeed,
        "    title: Two\n",
        "    title: Two\n    needs: [¦\"7\"]\n",
        "which is no phase",
    );
    breaks(
        Code::Cycle,
        "        title: Do\n",
        "        title: Do\n        ¦needs: [\"1.4\"]\n",
        "step 1.2 → step 1.4 → step 1.3 → step 1.2",
    );
    breaks(
        Code::Cycle,
        "        title: Before\n",
        "        title: Before\n        ¦needs: [\"2.1\"]\n",
        "phase 1",
    );
    breaks(
        Code::Empty,
        "decide:\n",
        "  - ¦id: \"3\"\n    title: Three\n    steps: []\ndecide:\n",
        "has no step",
    );
}

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
        "leads out",
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
        "stands twice in role",
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

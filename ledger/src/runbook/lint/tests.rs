//! Each rule, violated once in an otherwise correct runbook. `¦` marks the expected position of the
//! finding.

use std::collections::BTreeMap;

mod figures;
mod meaning;
mod programs;

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
  - {id: n1, channel: all, audience: users, anchor: phase/1, offset: 7d, subject: s, body: b}
success:
  - {name: No regression, metric: regressions, target: value == 0}
"#;

fn findings_of(text: &str) -> Vec<Diagnostic> {
    let origin = Origin::new("base.yaml", &NoFiles);
    inspect(text, &origin, &BTreeMap::new(), None).diagnostics.0
}

/// Replaces `from` in the base with `to`, whose `¦` marks the position of the expected finding.
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

/// Checks that the base stays correct with one text replaced.
fn holds(from: &str, to: &str) {
    assert_eq!(BASE.matches(from).count(), 1, "`{from}` is not unique");
    assert_eq!(findings_of(&BASE.replace(from, to)), [], "{to}");
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

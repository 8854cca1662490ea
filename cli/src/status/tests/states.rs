//! One rollout in many states.

use rollbook_ledger::runbook::{NoFiles, Origin, Plan, load};
use rollbook_server::api::StatusAnswer;
use serde_json::{Value, json};

const RUNBOOK: &str = r#"
apiVersion: rollbook/v1
kind: Runbook
metadata:
  name: prices
  version: "2.1"
  owner: team/pricing
  contacts: {database-administrator: dora, on-call: "+1 555 0100"}
environments: {production: {}}
roles: {dba: [dora, dan], lead: [alice, bob]}
metrics:
  error_rate: {unit: "%", run: {command: "echo 0"}}
  p95: {unit: s, run: {command: "echo 0"}}
phases:
  - id: "0"
    title: Preparation
    planned: 10m
    steps:
      - {id: "0.1", title: Check that the backups are younger than a day, run: {command: "true"}, changes: nothing}
      - {id: "0.2", title: Tell the shop, run: {command: "true"}, changes: nothing}
      - {id: "0.3-production-copy", title: Dry run on the copy, run: {command: "true"}, changes: nothing}
  - id: "1"
    title: Migrate the prices
    planned: 45m
    responsible: Database team
    steps:
      - {id: "1.1", title: "Copy prices into the new table, in batches of ten thousand rows, oldest first", run: {command: "true"}, changes: nothing, timeout: 30m}
      - {id: "1.2", title: Watch errors and latency, watch: {for: 30m, every: 30s, thresholds: [{metric: error_rate, warn: value > 1, fail: value > 5}, {metric: p95, fail: value > 2}]}}
      - {id: "1.3", title: Let caches expire, wait: {for: 1h}}
      - {id: "1.4", title: Remove the old column by hand, manual: {instructions: "Drop it.", checklist: ["It is gone"], role: dba}}
    gate:
      statement: The new prices are right.
      sign_offs: [{role: dba}, {role: lead}]
  - id: "2"
    title: Clean up
    steps:
      - {id: "2.1", title: Remove the flag, run: {command: "true"}, changes: nothing}
      - {id: "2.2", title: Tell everybody, run: {command: "true"}, changes: nothing}
"#;

/// The time of every picture.
pub(super) const NOW: &str = "2026-11-29T16:22:53Z";

pub(super) fn plan() -> Plan {
    load(
        RUNBOOK,
        &Origin::new("prices.yaml", &NoFiles),
        &std::collections::BTreeMap::new(),
        Some("production"),
    )
    .unwrap()
}

/// A time of that day.
fn at(time: &str) -> Value {
    json!(format!("2026-11-29T{time}Z"))
}

/// Lays the fields of `over` over those of `base`.
fn with(mut base: Value, over: Value) -> Value {
    let (Value::Object(fields), Value::Object(over)) = (&mut base, over) else {
        unreachable!("both are objects");
    };
    fields.extend(over);
    base
}

fn step(id: &str, title: &str, kind: &str) -> Value {
    json!({
        "rollout": "prices-1", "step": id, "phase": id[..1], "position": 0, "title": title,
        "kind": kind, "critical": true, "dropped": false, "status": "pending", "attempt": 0,
        "verdict": null, "rule": "", "message": "", "worker": "", "intent": "", "started_at": null,
        "finished_at": null, "duration_ms": null, "not_before": null, "by_verification": false,
        "effect": false, "partial": null, "checklist": [], "evidence": [], "measurements": [],
        "undo_verdict": null, "undo_verification": null, "undo_message": "", "undo_partial": null,
        "undo_finished_at": null, "updated_sequence": 7,
        "skipped_by": "", "undo_worker": ""
    })
}

/// The fields of a step that has passed.
fn passed(from: &str, to: &str, millis: u64) -> Value {
    json!({
        "status": "finished", "attempt": 1, "verdict": "pass", "worker": "worker-1",
        "started_at": at(from), "finished_at": at(to), "duration_ms": millis
    })
}

fn gate(status: &str, sign_offs: &[Value]) -> Value {
    json!({
        "rollout": "prices-1", "gate": "1", "position": 1, "title": "Migrate the prices",
        "dropped": false, "status": status, "reasons": [], "decided_at": null, "decided_by": "",
        "updated_sequence": 7, "sign_offs": sign_offs
    })
}

fn sign_off(person: &str, role: &str, over: Value) -> Value {
    let row = json!({
        "sequence": 9, "idx": 0, "rollout": "prices-1", "gate": "1", "person": person,
        "authentication": "asserted", "role": role, "on_behalf_of": "", "status": "given",
        "statement": "The new prices are right.", "plan_digest": "d1", "evidence_seen": [],
        "given_at": at("16:00:00"), "expires_at": null, "voided_cause": "", "voided_at": null,
        "updated_sequence": 9
    });
    with(row, over)
}

fn measured(metric: &str, value: &str, unit: &str, rule: &str, verdict: &str) -> Value {
    json!({
        "metric": metric, "value": null, "decimal": value, "text": "", "unit": unit, "rule": rule,
        "verdict": verdict, "measured_at": at("16:22:30")
    })
}

/// A rollout whose preparation is done.
pub(super) struct Rollout {
    rollout: Value,
    steps: Vec<Value>,
    gate: Value,
    /// Further fields of the rollout's detail, and of the answer.
    detail: Value,
    answer: Value,
}

impl Rollout {
    fn new() -> Self {
        let copy = "Copy prices into the new table, in batches of ten thousand rows, oldest first";
        let mut rollout = Self {
            rollout: json!({
                "rollout": "prices-1", "name": "prices", "runbook": "prices",
                "runbook_version": "2.1", "plan_digest": "d1", "revision": 1,
                "revision_accepted": true, "environment": "production", "protected": true,
                "params": {}, "status": "running", "reason": "", "outcome": null, "summary": "",
                "current_phase": "1", "health": "HEALTHY", "health_score": 100, "open_reviews": 0,
                "opened_by": "alice", "opened_at": at("15:00:00"), "started_at": at("15:10:00"),
                "closed_at": null, "opened_sequence": 1, "updated_sequence": 7
            }),
            steps: vec![
                step(
                    "0.1",
                    "Check that the backups are younger than a day",
                    "run",
                ),
                step("0.2", "Tell the shop", "run"),
                step("0.3-production-copy", "Dry run on the copy", "run"),
                step("1.1", copy, "run"),
                step("1.2", "Watch errors and latency", "watch"),
                step("1.3", "Let caches expire", "wait"),
                step("1.4", "Remove the old column by hand", "manual"),
                step("2.1", "Remove the flag", "run"),
                step("2.2", "Tell everybody", "run"),
            ],
            gate: gate("waiting", &[]),
            detail: json!({}),
            answer: json!({}),
        };
        rollout.step("0.1", passed("15:10:01", "15:10:03", 1_250));
        rollout.step(
            "0.2",
            json!({"status": "skipped", "message": "the shop was told by telephone"}),
        );
        rollout.step(
            "0.3-production-copy",
            passed("15:10:04", "15:13:13", 189_000),
        );
        rollout
    }

    /// Changes fields of a step.
    fn step(&mut self, id: &str, over: Value) {
        let place = self
            .steps
            .iter()
            .position(|step| step["step"] == id)
            .unwrap();
        self.steps[place] = with(self.steps[place].take(), over);
    }

    /// Steps 1.1 to 1.3 have passed.
    fn migrated(&mut self) {
        self.step("1.1", passed("15:20:00", "15:41:07", 1_267_000));
        self.step("1.2", passed("15:41:08", "16:11:08", 1_800_000));
        self.step("1.3", passed("15:11:09", "16:11:09", 3_600_000));
    }

    pub(super) fn answer(self) -> StatusAnswer {
        let titles = ["Preparation", "Migrate the prices", "Clean up"];
        let phases: Vec<Value> = (0..3)
            .map(|number| {
                let id = number.to_string();
                let steps: Vec<&Value> =
                    self.steps.iter().filter(|it| it["phase"] == *id).collect();
                json!({
                    "rollout": "prices-1", "phase": id, "position": number,
                    "title": titles[number], "gate": number == 1, "dropped": false,
                    "updated_sequence": 7, "steps": steps,
                    "gate_detail": if number == 1 { self.gate.clone() } else { Value::Null }
                })
            })
            .collect();
        let health = json!({
            "rollout": "prices-1", "status": "HEALTHY", "score": 100, "deductions": [],
            "changed_at": null, "updated_sequence": 7
        });
        let detail = json!({
            "health_detail": health, "phases": phases, "alerts": [], "rollback_points": [],
            "rollbacks": [], "advice": [], "success_metrics": [], "notices": [], "snapshots": [],
            "comparisons": [], "audits": [], "revisions": [], "requests": []
        });
        let detail = with(with(detail, self.rollout), self.detail);
        let answer = json!({
            "as_of": {"sequence": 42, "recorded_at": at("16:22:50")}, "lag": 0, "data": detail,
            "blocked": [], "next": []
        });
        serde_json::from_value(with(answer, self.answer)).unwrap()
    }
}

pub(super) fn running_step() -> Rollout {
    let mut rollout = Rollout::new();
    rollout.step(
        "1.1",
        json!({"status": "running", "attempt": 2, "worker": "worker-2", "started_at": at("16:18:41")}),
    );
    rollout.answer = json!({"progress": [{
        "rollout": "prices-1", "step": "1.1", "attempt": 2, "done": 1_234_000, "total": 5_000_000,
        "errors": 3, "deals_per_second": 5_120, "seconds_left": 735,
        "shards": {"done": 12, "total": 50}, "since": at("16:18:41"), "at": at("16:22:50"),
        "ended": false, "workers": [
            {"name": "worker-1", "shards": 5, "deals": 600_000, "deals_per_second": 2_400},
            {"name": "worker-2", "shards": 7, "deals": 634_000, "deals_per_second": 2_720}
        ]
    }]});
    rollout
}

pub(super) fn running_watch() -> Rollout {
    let mut rollout = Rollout::new();
    rollout.step("1.1", passed("15:20:00", "15:41:07", 1_267_000));
    rollout.step(
        "1.2",
        json!({
            "status": "running", "attempt": 1, "worker": "worker-1", "started_at": at("16:18:30"),
            "measurements": [
                measured("error_rate", "2.4", "%", "value > 1", "warning"),
                measured("p95", "0.31", "s", "value > 2", "pass")
            ]
        }),
    );
    rollout.detail = json!({"alerts": [{
        "sequence": 40, "idx": 0, "rollout": "prices-1", "alert": "1.2/error_rate",
        "severity": "warning", "step": "1.2", "status": "open",
        "raised": measured("error_rate", "2.4", "%", "value > 1", "warning"),
        "raised_at": at("16:21:00"), "resolved": null, "resolved_at": null, "updated_sequence": 40
    }]});
    rollout
}

pub(super) fn blocked_gate() -> Rollout {
    let mut rollout = Rollout::new();
    rollout.migrated();
    rollout.step("1.4", passed("16:12:00", "16:15:00", 180_000));
    rollout.gate = gate(
        "blocked",
        &[sign_off(
            "dora",
            "dba",
            json!({"expires_at": at("20:22:53")}),
        )],
    );
    rollout.answer = json!({"blocked": [{
        "what": "gate 1", "rule": "sign_offs_missing", "figures": {},
        "why": "0 of 1 sign-offs by lead", "who": ["lead: alice or bob"], "waits_for": "person",
        "remedies": [], "how": "rollbook approve 1 prices-1 --as <lead>"
    }]});
    rollout
}

pub(super) fn refused_sign_off() -> Rollout {
    let mut rollout = blocked_gate();
    rollout.rollout["health"] = json!("CRITICAL");
    rollout.rollout["health_score"] = json!(65);
    let given = json!({"status": "voided", "voided_cause": "refused"});
    let refused = json!({
        "status": "refused", "plan_digest": "",
        "statement": "the prices of bundles are a cent off in twelve of the thirty samples that I took"
    });
    rollout.gate = gate(
        "blocked",
        &[
            sign_off("dora", "dba", given),
            sign_off("bob", "lead", refused),
        ],
    );
    rollout.detail = json!({"health_detail": {
        "rollout": "prices-1", "status": "CRITICAL", "score": 65, "changed_at": null,
        "updated_sequence": 7, "deductions": [{
            "reason": "refused_sign_off", "subject": "1", "points": 15,
            "message": "bob refused to sign off gate 1 as lead: the prices of bundles are a cent off"
        }]
    }});
    rollout.answer = json!({"blocked": [{
        "what": "gate 1", "rule": "sign_off_refused", "figures": {},
        "why": "0 of 1 sign-offs by dba; 0 of 1 sign-offs by lead; refused by bob as lead: the prices of bundles are a cent off in twelve of the thirty samples that I took",
        "who": ["dba: dora or dan", "lead: alice", "bob (by signing after all)"],
        "waits_for": "person", "remedies": [],
        "how": "rollbook approve 1 prices-1 --as <dba>"
    }]});
    rollout
}

/// A gate that passed after all: the rejection no longer counts, and says so.
fn passed_after_refusal() -> Rollout {
    let mut rollout = blocked_gate();
    let refused = |over: Value| {
        sign_off(
            "bob",
            "lead",
            with(json!({"plan_digest": "", "statement": "too early"}), over),
        )
    };
    rollout.gate = gate(
        "passed",
        &[
            refused(json!({"status": "voided", "voided_cause": "signed"})),
            refused(json!({"status": "refused"})),
            sign_off("dora", "dba", json!({})),
            sign_off("bob", "lead", json!({})),
        ],
    );
    rollout.rollout["current_phase"] = json!("2");
    rollout.answer = json!({});
    rollout
}

/// It was paused while a new revision waits to be accepted.
pub(super) fn paused_with_revision() -> Rollout {
    let mut rollout = Rollout::new();
    let blocked = |rule: &str, why: &str| {
        json!({
            "what": "rollout", "rule": rule, "figures": {}, "why": why, "who": ["any operator"],
            "waits_for": "person", "remedies": [], "how": null
        })
    };
    rollout.answer = json!({"blocked": [
        blocked("paused", "paused by alice"),
        blocked("revision_waits", "revision 2 is not accepted"),
    ]});
    rollout
}

pub(super) fn failed_step() -> Rollout {
    let mut rollout = Rollout::new();
    rollout.rollout["health"] = json!("CRITICAL");
    rollout.rollout["health_score"] = json!(60);
    rollout.step(
        "1.1",
        json!({
            "status": "finished", "attempt": 2, "verdict": "fail", "worker": "worker-2",
            "started_at": at("16:18:41"), "finished_at": at("16:20:02"), "duration_ms": 81_000,
            "rule": "exit code 0",
            "message": "exit code 3; psql:copy.sql:12: ERROR: duplicate key value violates unique constraint \"prices_pkey\"\nDETAIL: Key (id)=(4711) already exists."
        }),
    );
    rollout.answer = json!({"blocked": [{
        "what": "step 1.1", "rule": "step_failed", "figures": {},
        "why": "attempt 2 is failed by rule `exit code 0`: exit code 3; psql:copy.sql:12: ERROR: duplicate key value violates unique constraint \"prices_pkey\"",
        "who": ["dba: dora or dan", "lead: alice or bob"], "waits_for": "person", "remedies": [],
        "how": "rollbook retry 1.1 prices-1 --reason …   or: rollbook skip 1.1 prices-1 --reason …"
    }]});
    rollout
}

fn rolling_back() -> Rollout {
    let mut rollout = Rollout::new();
    rollout.migrated();
    rollout.rollout["status"] = json!("rolling_back");
    rollout.rollout["health"] = json!("NEEDS_ATTENTION");
    rollout.rollout["health_score"] = json!(75);
    rollout.step("1.3", json!({"status": "not_applicable", "message": "there are no caches", "attempt": 0, "started_at": null, "finished_at": null, "duration_ms": null}));
    rollout.step(
        "1.2",
        json!({"status": "undone", "undo_verification": "not_verified", "undo_message": "nothing could verify it"}),
    );
    rollout.step("1.1", json!({"status": "undoing", "worker": "worker-2"}));
    rollout.detail = json!({"rollbacks": [{
        "rollout": "prices-1", "rollback": "rollback-1", "level": "full",
        "reason": "prices of bundles are wrong in the shop, support has forty tickets already",
        "undo_steps": ["1.2", "1.1"], "running": [], "left": [], "not_verified": ["1.2"],
        "started_by": "erin", "started_at": at("16:20:50"), "finished_at": null, "verdict": null,
        "summary": "", "started_sequence": 30, "updated_sequence": 31
    }]});
    rollout
}

fn finished() -> Rollout {
    let mut rollout = blocked_gate();
    rollout.gate = gate(
        "passed",
        &[
            sign_off("dora", "dba", json!({})),
            sign_off("bob", "lead", json!({})),
        ],
    );
    rollout.step("2.1", passed("16:16:00", "16:16:02", 2_100));
    rollout.step("2.2", passed("16:16:03", "16:16:04", 900));
    rollout.rollout["status"] = json!("closed");
    rollout.rollout["outcome"] = json!("succeeded");
    rollout.rollout["current_phase"] = Value::Null;
    rollout.rollout["closed_at"] = at("16:16:05");
    rollout.answer = json!({});
    rollout
}

/// It waits for a window and for a person at the same time, whose titles are wide.
fn window_and_wide_titles() -> Rollout {
    let mut rollout = Rollout::new();
    let title = "価格を新しい表に写す、古い行から一万行ずつ、確認しながら進める";
    rollout.step("1.1", json!({"title": title}));
    rollout.answer = json!({"blocked": [{
        "what": "step 1.1", "rule": "window", "figures": {},
        "why": "the window `night` is closed", "who": ["time"], "waits_for": "time",
        "until": "2026-11-30T02:00:00Z", "remedies": [], "how": null
    }]});
    rollout
}

/// Every id is long.
fn long_ids() -> Rollout {
    let mut rollout = failed_step();
    for step in &mut rollout.steps {
        let id = step["step"].as_str().unwrap_or_default();
        let id: String = format!("{id}-of-the-migration-of-all-prices")
            .chars()
            .take(34)
            .collect();
        step["step"] = json!(id);
    }
    rollout
}

/// A name, and what makes the rollout.
pub(super) type State = (&'static str, fn() -> Rollout);

pub(super) const STATES: &[State] = &[
    ("running_step", running_step),
    ("running_watch", running_watch),
    ("blocked_gate", blocked_gate),
    ("refused_sign_off", refused_sign_off),
    ("passed_after_refusal", passed_after_refusal),
    ("failed_step", failed_step),
    ("rolling_back", rolling_back),
    ("finished", finished),
    ("window", window_and_wide_titles),
    ("long_ids", long_ids),
];

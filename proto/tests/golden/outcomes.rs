//! Examples: advice, alerts, notices, snapshots, comparisons, audits, success metrics.

use rollbook_proto::v1::event::Kind;
use rollbook_proto::v1::{
    AdviceGiven, AlertRaised, AlertResolved, AlertUnwatched, AuditTaken, ComparisonMade,
    NoticeSent, Regression, SnapshotTaken, SuccessMetricRecorded, TypeClasses, TypeTotal,
    UncomputedDeal, Verdict,
};

use crate::values::Distinct;

pub(crate) fn advice_given(d: &mut Distinct) -> Kind {
    Kind::AdviceGiven(AdviceGiven {
        rule: d.text("rule"),
        advice: d.text("advice"),
        inputs: d.texts("input"),
        automatic: true,
    })
}

pub(crate) fn alert_raised(d: &mut Distinct) -> Kind {
    Kind::AlertRaised(AlertRaised {
        alert_id: d.text("alert"),
        severity: d.text("severity"),
        step_id: d.text("step"),
        measurement: Some(d.measurement(Verdict::Fail)),
    })
}

pub(crate) fn alert_resolved(d: &mut Distinct) -> Kind {
    Kind::AlertResolved(AlertResolved {
        alert_id: d.text("alert"),
        measurement: Some(d.measurement(Verdict::Pass)),
    })
}

pub(crate) fn alert_unwatched(d: &mut Distinct) -> Kind {
    Kind::AlertUnwatched(AlertUnwatched {
        alert_id: d.text("alert"),
        step_id: d.text("step"),
        attempt: d.small(),
    })
}

pub(crate) fn notice_sent(d: &mut Distinct) -> Kind {
    Kind::NoticeSent(NoticeSent {
        notice_id: d.text("notice"),
        channel: d.text("channel"),
        verdict: Verdict::Fail.into(),
        message: d.text("message"),
    })
}

pub(crate) fn snapshot_taken(d: &mut Distinct) -> Kind {
    Kind::SnapshotTaken(SnapshotTaken {
        step_id: d.text("step"),
        snapshot: d.text("snapshot"),
        label: d.text("label"),
        manifest: Some(d.evidence()),
        deals: d.large(),
        errors: d.large(),
        model_digest: d.digest(),
        flags_sequence: d.large(),
        flags: d.text_map("flag"),
    })
}

pub(crate) fn comparison_made(d: &mut Distinct) -> Kind {
    Kind::ComparisonMade(ComparisonMade {
        step_id: d.text("step"),
        snapshot: d.text("snapshot"),
        before_manifest: d.digest(),
        after_manifest: d.digest(),
        result: Some(d.evidence()),
        compared: d.large(),
        equal: d.large(),
        regressions: d.large(),
        warnings: d.large(),
        expected: d.large(),
        ignored: d.large(),
        missing: d.large(),
        added: d.large(),
        worst: vec![regression(d), regression_of_a_new_figure(d)],
        totals: vec![total(d), total(d)],
        ..ComparisonMade::default()
    })
}

pub(crate) fn comparison_made_by_type(d: &mut Distinct) -> Kind {
    Kind::ComparisonMade(ComparisonMade {
        step_id: d.text("step"),
        within_tolerance: d.large(),
        unexpected: d.large(),
        errors: d.large(),
        type_changed: d.large(),
        by_type: vec![type_classes(d), type_classes(d)],
        ..ComparisonMade::default()
    })
}

/// The verdict of the rules, and deals without figures on both sides.
pub(crate) fn comparison_made_with_verdict(d: &mut Distinct) -> Kind {
    let judged = Regression {
        judged_as: d.text("type"),
        ..regression(d)
    };
    Kind::ComparisonMade(ComparisonMade {
        step_id: d.text("step"),
        verdict: Verdict::Warning.into(),
        worst: vec![judged],
        uncomputed: vec![UncomputedDeal {
            deal_id: d.text("deal"),
            before: d.text("reason"),
            after: d.text("reason"),
        }],
        ..ComparisonMade::default()
    })
}

fn type_classes(d: &mut Distinct) -> TypeClasses {
    TypeClasses {
        deal_type: d.text("type"),
        equal: d.large(),
        within_tolerance: d.large(),
        ignored: d.large(),
        expected: d.large(),
        warnings: d.large(),
        unexpected: d.large(),
        regressions: d.large(),
    }
}

fn regression(d: &mut Distinct) -> Regression {
    Regression {
        deal_id: d.text("deal"),
        deal_type: d.text("type"),
        metric: d.text("metric"),
        before: Some(d.negative()),
        after: Some(d.negative()),
        rule: d.text("rule"),
        threshold: d.text("threshold"),
        ..Regression::default()
    }
}

/// Regressions of texts: one changed, one NULL before and empty after.
pub(crate) fn comparison_made_of_texts(d: &mut Distinct) -> Kind {
    let text = |d: &mut Distinct, before: Option<String>, after: Option<String>| Regression {
        before: None,
        after: None,
        before_text: before,
        after_text: after,
        ..regression(d)
    };
    let (before, after) = (d.text("text"), d.text("text"));
    Kind::ComparisonMade(ComparisonMade {
        worst: vec![
            text(d, Some(before), Some(after)),
            text(d, None, Some(String::new())),
        ],
        ..ComparisonMade::default()
    })
}

/// Absent before, zero after: these differ.
fn regression_of_a_new_figure(d: &mut Distinct) -> Regression {
    Regression {
        before: None,
        after: Some(0),
        ..regression(d)
    }
}

fn total(d: &mut Distinct) -> TypeTotal {
    TypeTotal {
        deal_type: d.text("type"),
        deals: d.large(),
        before_cents: d.negative(),
        after_cents: d.negative(),
    }
}

pub(crate) fn audit_taken(d: &mut Distinct) -> Kind {
    Kind::AuditTaken(AuditTaken {
        step_id: d.text("step"),
        total: d.large(),
        active: d.large(),
        deleted: d.large(),
        null_count: d.large(),
        invalid_count: d.large(),
        distribution: d.count_map("type"),
        health_permille: d.small(),
        health: d.text("health"),
        report: Some(d.evidence()),
    })
}

pub(crate) fn success_metric_recorded(d: &mut Distinct) -> Kind {
    Kind::SuccessMetricRecorded(SuccessMetricRecorded {
        metric: d.text("metric"),
        target: d.text("target"),
        actual: d.text("actual"),
        status: Verdict::Inconclusive.into(),
    })
}

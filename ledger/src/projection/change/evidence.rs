//! Projects measurements and records: snapshots, comparisons, audits, alerts, metrics, advice,
//! notices.

use rollbook_proto::v1::event::Kind;
use rollbook_proto::v1::{AlertRaised, AuditTaken, ComparisonMade};

use super::lifecycle::new_metric;
use super::{At, Out};
use crate::projection::row::{Json, clean};
use crate::projection::rows::{
    AdviceRow, AlertRow, AuditRow, ComparisonRow, NoticeRow, RegressionRow, SnapshotRow,
};
use crate::projection::state::RolloutRows;
use crate::projection::words::{
    AlertSeverity, AlertStatus, DealTypeClasses, DealTypeTotal, EvidenceRef, Health, MeasuredValue,
    Verdict,
};

pub(super) fn apply(
    rollout: &mut RolloutRows,
    at: &At<'_>,
    kind: &Kind,
    out: &mut Out,
) -> Result<(), String> {
    let id = rollout.rollout.rollout.clone();
    match kind {
        Kind::SnapshotTaken(taken) => out.put(&SnapshotRow {
            sequence: at.sequence,
            idx: at.idx,
            rollout: id,
            step: clean(&taken.step_id),
            snapshot: clean(&taken.snapshot),
            label: clean(&taken.label),
            manifest: Json(EvidenceRef::from_wire(taken.manifest.as_ref())),
            deals: taken.deals,
            errors: taken.errors,
            model_digest: clean(&taken.model_digest),
            flags_sequence: taken.flags_sequence,
            flags: Json(
                taken
                    .flags
                    .iter()
                    .map(|(key, value)| (clean(key), clean(value)))
                    .collect(),
            ),
            taken_at: at.recorded_at,
        }),
        Kind::ComparisonMade(made) => compare(rollout, at, made, out),
        Kind::AuditTaken(taken) => audit(rollout, at, taken, out),
        Kind::SuccessMetricRecorded(recorded) => {
            let name = clean(&recorded.metric);
            let row = rollout
                .metrics
                .entry(name.clone())
                .or_insert_with(|| new_metric(&id, &name));
            row.target = clean(&recorded.target);
            row.actual = clean(&recorded.actual);
            row.status = Verdict::from_wire(recorded.status);
            if row.status.is_none() {
                out.note("a success metric without a verdict");
            }
            row.recorded_at = at.recorded_at;
            row.updated_sequence = at.sequence;
            out.put(row);
        }
        Kind::AlertRaised(raised) => raise(rollout, at, raised, out),
        Kind::AlertResolved(resolved) => {
            let alert = clean(&resolved.alert_id);
            let row = rollout
                .alerts
                .iter_mut()
                .find(|row| row.alert == alert)
                .ok_or_else(|| format!("alert {alert} is not open"))?;
            row.status = AlertStatus::Resolved;
            row.resolved = resolved
                .measurement
                .as_ref()
                .map(|measurement| Json(MeasuredValue::from_wire(measurement)));
            row.resolved_at = at.recorded_at;
            row.updated_sequence = at.sequence;
            out.put(row);
            // A later event of the same commit may raise it again.
            rollout.drop_final_rows();
        }
        Kind::AlertUnwatched(unwatched) => {
            let alert = clean(&unwatched.alert_id);
            let row = rollout
                .alerts
                .iter_mut()
                .find(|row| row.alert == alert)
                .ok_or_else(|| format!("alert {alert} is not open"))?;
            row.status = AlertStatus::Unwatched;
            row.updated_sequence = at.sequence;
            out.put(row);
        }
        Kind::AdviceGiven(given) => out.put(&AdviceRow {
            sequence: at.sequence,
            idx: at.idx,
            rollout: id,
            rule: clean(&given.rule),
            advice: clean(&given.advice),
            inputs: Json(given.inputs.iter().map(|input| clean(input)).collect()),
            automatic: given.automatic,
            given_at: at.recorded_at,
        }),
        Kind::NoticeSent(sent) => {
            let verdict = Verdict::from_wire(sent.verdict);
            if verdict.is_none() {
                out.note("a notice without a verdict");
            }
            out.put(&NoticeRow {
                sequence: at.sequence,
                idx: at.idx,
                rollout: id,
                notice: clean(&sent.notice_id),
                channel: clean(&sent.channel),
                verdict,
                message: clean(&sent.message),
                sent_at: at.recorded_at,
            });
        }
        _ => return Err("not an event of evidence".to_owned()),
    }
    Ok(())
}

/// Raises a new alert, or updates the open alert of that id.
fn raise(rollout: &mut RolloutRows, at: &At<'_>, raised: &AlertRaised, out: &mut Out) {
    let severity = AlertSeverity::of(&raised.severity).unwrap_or_else(|| {
        out.note(format!(
            "the severity `{}` is not one of ours",
            clean(&raised.severity)
        ));
        AlertSeverity::Error
    });
    let measured = Json(
        raised
            .measurement
            .as_ref()
            .map_or_else(MeasuredValue::default, MeasuredValue::from_wire),
    );
    let alert = clean(&raised.alert_id);
    if let Some(row) = rollout.alerts.iter_mut().find(|row| row.alert == alert) {
        row.severity = severity;
        row.status = AlertStatus::Open;
        row.raised = measured;
        row.updated_sequence = at.sequence;
        out.put(row);
        return;
    }
    let row = AlertRow {
        sequence: at.sequence,
        idx: at.idx,
        rollout: rollout.rollout.rollout.clone(),
        alert,
        severity,
        step: clean(&raised.step_id),
        status: AlertStatus::Open,
        raised: measured,
        raised_at: at.recorded_at,
        resolved: None,
        resolved_at: None,
        updated_sequence: at.sequence,
    };
    out.put(&row);
    rollout.alerts.push(row);
}

fn compare(rollout: &mut RolloutRows, at: &At<'_>, made: &ComparisonMade, out: &mut Out) {
    let id = rollout.rollout.rollout.clone();
    let snapshot = clean(&made.snapshot);
    for earlier in &mut rollout.comparisons {
        if earlier.snapshot == snapshot && earlier.superseded_by.is_none() {
            earlier.superseded_by = Some(at.sequence);
            earlier.updated_sequence = at.sequence;
            out.put(earlier);
        }
    }
    if u64::try_from(made.worst.len()).is_ok_and(|worst| worst > made.regressions) {
        out.note("the comparison names more regressions than it counts");
    }
    for (place, worst) in made.worst.iter().enumerate() {
        out.put(&RegressionRow {
            sequence: at.sequence,
            idx: at.idx,
            ordinal: u32::try_from(place).unwrap_or(u32::MAX),
            rollout: id.clone(),
            step: clean(&made.step_id),
            snapshot: snapshot.clone(),
            deal_id: clean(&worst.deal_id),
            deal_type: clean(&worst.deal_type),
            judged_as: clean(&worst.judged_as),
            metric: clean(&worst.metric),
            before: worst.before,
            after: worst.after,
            before_text: worst.before_text.as_deref().map(clean),
            after_text: worst.after_text.as_deref().map(clean),
            rule: clean(&worst.rule),
            threshold: clean(&worst.threshold),
        });
    }
    let row = ComparisonRow {
        sequence: at.sequence,
        idx: at.idx,
        rollout: id,
        step: clean(&made.step_id),
        snapshot,
        before_manifest: clean(&made.before_manifest),
        after_manifest: clean(&made.after_manifest),
        result: Json(EvidenceRef::from_wire(made.result.as_ref())),
        compared: made.compared,
        equal: made.equal,
        regressions: made.regressions,
        warnings: made.warnings,
        expected: made.expected,
        ignored: made.ignored,
        missing: made.missing,
        added: made.added,
        within_tolerance: made.within_tolerance,
        unexpected: made.unexpected,
        errors: made.errors,
        type_changed: made.type_changed,
        verdict: Verdict::from_wire(made.verdict),
        totals: Json(
            made.totals
                .iter()
                .map(|total| DealTypeTotal {
                    deal_type: clean(&total.deal_type),
                    deals: total.deals,
                    before_cents: total.before_cents,
                    after_cents: total.after_cents,
                })
                .collect(),
        ),
        by_type: Json(
            made.by_type
                .iter()
                .map(|classes| DealTypeClasses {
                    deal_type: clean(&classes.deal_type),
                    equal: classes.equal,
                    within_tolerance: classes.within_tolerance,
                    ignored: classes.ignored,
                    expected: classes.expected,
                    warnings: classes.warnings,
                    unexpected: classes.unexpected,
                    regressions: classes.regressions,
                })
                .collect(),
        ),
        superseded_by: None,
        made_at: at.recorded_at,
        updated_sequence: at.sequence,
    };
    out.put(&row);
    rollout.comparisons.push(row);
}

fn audit(rollout: &mut RolloutRows, at: &At<'_>, taken: &AuditTaken, out: &mut Out) {
    let health = Health::of(&taken.health).unwrap_or_else(|| {
        out.note(format!(
            "the health `{}` is not one of ours",
            clean(&taken.health)
        ));
        Health::NoData
    });
    let row = AuditRow {
        sequence: at.sequence,
        idx: at.idx,
        rollout: rollout.rollout.rollout.clone(),
        step: clean(&taken.step_id),
        total: taken.total,
        active: taken.active,
        deleted: taken.deleted,
        null_count: taken.null_count,
        invalid_count: taken.invalid_count,
        distribution: Json(
            taken
                .distribution
                .iter()
                .map(|(deal_type, count)| (clean(deal_type), *count))
                .collect(),
        ),
        health_permille: taken.health_permille,
        health,
        report: Json(EvidenceRef::from_wire(taken.report.as_ref())),
        taken_at: at.recorded_at,
    };
    out.put(&row);
    rollout.audit = Some(row);
}

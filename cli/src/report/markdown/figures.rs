//! Success metrics, health, comparisons and audits.

use std::fmt::Write;

use rollbook_ledger::projection::views::RolloutDetail;
use rollbook_ledger::projection::words::DealTypeClasses;

use super::{cell, time};
use crate::print::dollars;

pub(super) fn success(out: &mut String, detail: &RolloutDetail) -> std::fmt::Result {
    if detail.success_metrics.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## Success metrics\n\n| Metric | Target | Actual | Status |\n|---|---|---|---|"
    )?;
    for metric in &detail.success_metrics {
        let status = metric
            .status
            .map_or_else(|| "not measured".to_owned(), |status| status.to_string());
        writeln!(
            out,
            "| {} | {} | {} | {status} |",
            cell(&metric.metric),
            cell(&metric.target),
            cell(&metric.actual)
        )?;
    }
    Ok(())
}

pub(super) fn health(out: &mut String, detail: &RolloutDetail) -> std::fmt::Result {
    if detail.health_detail.deductions.0.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## What health was deducted for\n\n| Points | Reason | Where | Why |\n|---:|---|---|---|"
    )?;
    for deduction in &detail.health_detail.deductions.0 {
        writeln!(
            out,
            "| −{} | {} | {} | {} |",
            deduction.points,
            cell(&deduction.reason),
            cell(&deduction.subject),
            cell(&deduction.message)
        )?;
    }
    Ok(())
}

/// Deals per type and class; comparisons of earlier versions recorded none.
fn classes(out: &mut String, types: &[DealTypeClasses]) -> std::fmt::Result {
    if types.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n| Deal type | Equal | Within tolerance | Ignored | Expected | Warnings | Unexpected | Regressions |\n|---|---:|---:|---:|---:|---:|---:|---:|"
    )?;
    for of in types {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            cell(&of.deal_type),
            of.equal,
            of.within_tolerance,
            of.ignored,
            of.expected,
            of.warnings,
            of.unexpected,
            of.regressions
        )?;
    }
    Ok(())
}

pub(super) fn comparisons(out: &mut String, detail: &RolloutDetail) -> std::fmt::Result {
    if detail.comparisons.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Comparisons\n")?;
    for row in &detail.comparisons {
        let superseded = row
            .superseded_by
            .map(|by| format!(", superseded by the one at {by}"))
            .unwrap_or_default();
        writeln!(
            out,
            "Step {} at sequence {}{superseded}: {} compared, {} equal, **{} regressions**, {} warnings, {} expected differences, {} unexpected, {} ignored, {} within tolerance, {} in error, {} missing, {} added.\n",
            cell(&row.step),
            row.sequence,
            row.compared,
            row.equal,
            row.regressions,
            row.warnings,
            row.expected,
            row.unexpected,
            row.ignored,
            row.within_tolerance,
            row.errors,
            row.missing,
            row.added
        )?;
        writeln!(
            out,
            "| Deal type | Deals | Cost before | Cost after | Ratio |\n|---|---:|---:|---:|---:|"
        )?;
        for total in &row.totals.0 {
            writeln!(
                out,
                "| {} | {} | {} | {} | {} |",
                cell(&total.deal_type),
                total.deals,
                dollars(total.before_cents),
                dollars(total.after_cents),
                ratio(total.before_cents, total.after_cents)
            )?;
        }
        classes(out, &row.by_type.0)?;
        writeln!(out, "\nResult `{}`\n", row.result.0.sha256)?;
    }
    Ok(())
}

/// after ÷ before to two decimals, a half up, in integer arithmetic.
fn ratio(before: i64, after: i64) -> String {
    if before <= 0 {
        return "–".to_owned();
    }
    let (before, after) = (i128::from(before), i128::from(after).max(0));
    let hundredths = (after * 200 + before) / (before * 2);
    format!("{}.{:02}×", hundredths / 100, hundredths % 100)
}

pub(super) fn audits(out: &mut String, detail: &RolloutDetail) -> std::fmt::Result {
    if detail.audits.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## Audits of deal types\n\n| Step | When | Active | Without type | Invalid | Health |\n|---|---|---:|---:|---:|---|"
    )?;
    for audit in &detail.audits {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} {}.{} % |",
            cell(&audit.step),
            time(audit.taken_at),
            audit.active,
            audit.null_count,
            audit.invalid_count,
            audit.health,
            audit.health_permille / 10,
            audit.health_permille % 10
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_has_two_decimals() {
        assert_eq!(ratio(100, 250), "2.50×");
        assert_eq!(ratio(1_000, 1_048), "1.05×");
        assert_eq!(ratio(200, 199), "1.00×");
        assert_eq!(ratio(0, 250), "–");
    }
}

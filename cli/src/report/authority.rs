//! Changed plans with their differences, requests for two persons, and break-glass uses.

use std::fmt::Write;

use rollbook_ledger::projection::views::RolloutDetail;
use rollbook_ledger::projection::words::RequestKind;

use super::markdown::{cell, time};

/// Each changed plan with its difference.
pub(super) fn revisions(out: &mut String, detail: &RolloutDetail) -> std::fmt::Result {
    if detail.revisions.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Revisions of the plan\n")?;
    for row in &detail.revisions {
        writeln!(
            out,
            "Revision {} (plan `{}`), proposed by {} at {}: {}.",
            row.revision,
            row.plan_digest,
            cell(&row.proposed_by),
            time(row.proposed_at),
            cell(&row.reason)
        )?;
        if row.decided_by.is_empty() {
            writeln!(out, "It waits to be accepted.\n")?;
        } else {
            writeln!(
                out,
                "It was {} by {} at {}.\n",
                row.status,
                cell(&row.decided_by),
                time(row.decided_at)
            )?;
        }
        for change in &row.difference.0 {
            writeln!(out, "- {}", cell(change))?;
        }
        if row.difference_sha256.is_empty() {
            writeln!(out, "What it changes was not recorded.")?;
        } else {
            writeln!(
                out,
                "\n{} of {} changes; the whole has {} bytes and SHA-256 `{}`.",
                row.difference.len(),
                row.changes,
                row.difference_bytes,
                row.difference_sha256
            )?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Requests for two persons, and break-glass uses with their reviews.
pub(super) fn requests(out: &mut String, detail: &RolloutDetail) -> std::fmt::Result {
    if detail.requests.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Two persons, and broken glass\n")?;
    writeln!(out, "| What | Kind | By | Why | Stands | Ended by | Note |")?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for row in &detail.requests {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            cell(&row.what),
            match row.kind {
                RequestKind::Confirm => "request",
                RequestKind::Review => "broken glass",
            },
            cell(&row.made_by),
            cell(&row.reason),
            match (row.status.is_open(), row.due_at) {
                (true, Some(due)) => format!("{}, due {}", row.status, time(Some(due))),
                _ => row.status.to_string(),
            },
            cell(&row.ended_by),
            cell(&row.note)
        )?;
    }
    writeln!(out)
}

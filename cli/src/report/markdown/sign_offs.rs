//! Gates and who signed them.

use std::fmt::Write;

use rollbook_ledger::projection::rows::SignOffRow;
use rollbook_ledger::projection::views::RolloutDetail;

use super::{cell, time};

/// Each gate with its signatures, and what each person had been shown.
pub(super) fn gates(out: &mut String, detail: &RolloutDetail) -> std::fmt::Result {
    writeln!(
        out,
        "\n## Sign-offs\n\n| Gate | Person | Role | Signature | When | How identified | Having seen | Statement |\n|---|---|---|---|---|---|---|---|"
    )?;
    for gate in detail
        .phases
        .iter()
        .filter_map(|phase| phase.gate_detail.as_ref())
    {
        let name = format!("{} ({})", cell(&gate.gate.gate), gate.gate.status);
        if gate.sign_offs.is_empty() {
            writeln!(out, "| {name} | – | – | none | – | – | – | – |")?;
        }
        for sign_off in &gate.sign_offs {
            let voided = if sign_off.voided_cause.is_empty() {
                String::new()
            } else {
                format!(": {}", sign_off.voided_cause)
            };
            writeln!(
                out,
                "| {name} | {} | {} | {}{} | {} | {} | {} | {} |",
                cell(&sign_off.person),
                cell(&sign_off.role),
                sign_off.status,
                cell(&voided),
                time(sign_off.given_at),
                cell(&sign_off.authentication),
                seen(sign_off),
                cell(&sign_off.statement)
            )?;
        }
    }
    writeln!(out)
}

/// The plan and the evidence that a signature names.
fn seen(sign_off: &SignOffRow) -> String {
    let plan: String = sign_off.plan_digest.chars().take(12).collect();
    let pieces = match sign_off.evidence_seen.len() {
        1 => "1 piece of evidence".to_owned(),
        pieces => format!("{pieces} pieces of evidence"),
    };
    match plan.as_str() {
        "" => pieces,
        plan => format!("plan `{plan}…`, {pieces}"),
    }
}

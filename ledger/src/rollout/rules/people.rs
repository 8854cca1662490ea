//! Roles and who took part in which step.

use super::super::state::RolloutState;
use crate::ids::PhaseId;
use crate::runbook::Plan;
use crate::runbook::model::Gate;

/// Formats a role with its members for display: `dba: dora or dan`.
pub(crate) fn role_text(plan: &Plan, role: &str) -> String {
    let members = plan.role_members(role);
    if members.is_empty() {
        format!("{role}: nobody")
    } else {
        format!("{role}: {}", members.join(" or "))
    }
}

/// True if the person is a member of the role.
pub(crate) fn has_role(plan: &Plan, person: &str, role: &str) -> bool {
    plan.role_members(role)
        .iter()
        .any(|member| member == person)
}

/// Returns the roles that a gate requires, without duplicates.
pub(crate) fn gate_roles(gate: &Gate) -> Vec<&str> {
    let mut roles: Vec<&str> = Vec::new();
    for rule in &gate.sign_offs {
        if !roles.contains(&rule.role.as_str()) {
            roles.push(&rule.role);
        }
    }
    roles
}

/// True if the person took part in a step of the phase.
pub(crate) fn has_hand_in(state: &RolloutState, phase: &PhaseId, person: &str) -> bool {
    state
        .steps
        .values()
        .any(|step| step.phase == *phase && step.executors.contains(person))
}

/// Returns the steps of the phase in which the person took part.
pub(crate) fn executed_by(state: &RolloutState, phase: &PhaseId, person: &str) -> Vec<String> {
    state
        .steps
        .iter()
        .filter(|(_, step)| step.phase == *phase && step.executors.contains(person))
        .map(|(id, _)| id.to_string())
        .collect()
}

//! Remedies as the command line takes them: verb, step or gate, rollout, options. `…` stands for
//! words, `<role>` for a person of the role. The only place that knows both.

use rollbook_ledger::rollout::Remedy;

/// Between two commands of which either helps.
pub const OR: &str = "   or: ";

/// Some of these commands on one line, any of which helps; `None`: there is none.
#[must_use]
pub fn command_lines(remedies: &[Remedy]) -> Option<String> {
    let lines: Vec<String> = remedies.iter().map(line).collect();
    (!lines.is_empty()).then(|| lines.join(OR))
}

/// One command as typed.
#[must_use]
pub fn line(remedy: &Remedy) -> String {
    match remedy {
        Remedy::Start { rollout } => format!("rollbook start {rollout}"),
        Remedy::Resume { rollout } => format!("rollbook resume {rollout}"),
        Remedy::Abort { rollout } => format!("rollbook abort {rollout} --reason …"),
        Remedy::Rollback { rollout, level } => {
            format!("rollbook rollback {} {rollout} --reason …", level.as_str())
        }
        Remedy::Revise { rollout } => {
            format!("rollbook revise RUNBOOK {rollout} --reason …")
        }
        Remedy::AcceptRevision { rollout, revision } => {
            format!("rollbook accept {revision} {rollout} --as <person>")
        }
        Remedy::Confirm { rollout, request } => {
            format!("rollbook confirm {request} {rollout} --as <person>")
        }
        Remedy::Review { rollout, review } => {
            format!("rollbook review {review} {rollout} --agree --note … --as <person>")
        }
        Remedy::Retry { rollout, step } => format!("rollbook retry {step} {rollout} --reason …"),
        Remedy::Skip { rollout, step } => format!("rollbook skip {step} {rollout} --reason …"),
        Remedy::Undo { rollout, step } => format!("rollbook undo {step} {rollout} --reason …"),
        Remedy::Complete {
            rollout,
            step,
            role,
            answers,
            evidence,
        } => {
            let answers = if *answers {
                " --answer 'ITEM=pass'"
            } else {
                ""
            };
            let evidence = if *evidence { " --evidence FILE" } else { "" };
            format!(
                "rollbook complete {step} {rollout}{answers}{evidence} --as <{}>",
                role.as_deref().unwrap_or("person")
            )
        }
        Remedy::AcceptNotApplicable { rollout, step } => {
            format!("rollbook not-applicable {step} {rollout} --accept")
        }
        Remedy::Approve {
            rollout,
            gate,
            role,
        } => format!(
            "rollbook approve {gate} {rollout} --as <{}>",
            role.as_deref().unwrap_or("person")
        ),
        Remedy::ShowGate { rollout, gate } => format!("rollbook gate {gate} {rollout}"),
        Remedy::Status { rollout } => format!("rollbook status {rollout}"),
        Remedy::ConfirmFlag { request, .. } => {
            format!("rollbook confirm {request} --as <person>")
        }
        Remedy::ShowFlag { environment, flag } => {
            format!("rollbook flag get {flag} --env {environment}")
        }
        Remedy::SetEnvironment { environment } => format!(
            "rollbook environment set {environment} --protected --role ROLE=PERSON,PERSON --reason … --as <person>"
        ),
        Remedy::ShowEnvironment { environment } => {
            format!("rollbook environment show {environment}")
        }
    }
}

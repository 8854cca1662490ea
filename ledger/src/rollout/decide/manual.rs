//! Manual steps: one commit records intent and result, by the person who did the work.

use rollbook_proto::v1::{self, event::Kind};

use super::super::command::{Answer, AnswerValue, MAX_EVIDENCE};
use super::super::limits::shortened;
use super::super::refusal::Refusal;
use super::super::rules::{people, start};
use super::super::state::StepStatus;
use super::{Decided, Decider, bounds, optional};
use crate::evidence::is_address;
use crate::ids::StepId;
use crate::runbook::kind::{DoneBy, Manual};
use crate::runbook::plan::has_effect;

impl Decider<'_> {
    pub(super) fn complete(
        &self,
        id: &StepId,
        checklist: &[Answer],
        evidence: &[v1::Evidence],
        note: &str,
    ) -> Decided {
        let (at, step) = self.step(id)?;
        let DoneBy::Person(manual) = step.action.kind().done_by() else {
            return Err(Refusal::NotManual {
                step: id.to_string(),
                kind: step.action.kind().name().to_owned(),
            });
        };
        if at.status != StepStatus::Pending {
            return Err(Refusal::StepStatus {
                what: "to complete",
                step: id.to_string(),
                status: at.status.as_str(),
                remedy: match at.status {
                    StepStatus::Succeeded => {
                        "if it must be done again, refuse the gate of its phase, then retry it"
                    }
                    _ => "retry it first if it must be done again",
                }
                .to_owned(),
                remedies: Vec::new(),
            });
        }
        match &manual.role {
            Some(role) if !people::has_role(self.plan, self.actor(), role) => {
                return Err(Refusal::NotInRole {
                    person: self.actor().to_owned(),
                    what: format!("complete step {id}"),
                    roles: people::role_text(self.plan, role),
                    remedies: Vec::new(),
                });
            }
            Some(_) => {}
            None => self.in_any_role(&format!("complete step {id}"))?,
        }
        let attempt = self.may_start(id)?;
        check_answers(id, manual, checklist)?;
        check_evidence(id, manual, evidence)?;
        bounds::evidence(evidence)?;
        let note = optional("note", note.trim())?;
        let failed: Vec<&str> = checklist
            .iter()
            .filter(|answer| answer.answer == AnswerValue::Fail)
            .map(|answer| answer.item.as_str())
            .collect();
        let verdict = if failed.is_empty() {
            v1::Verdict::Pass
        } else {
            v1::Verdict::Fail
        };
        let count = checklist.len();
        let mut message = if failed.is_empty() {
            format!("{count} of {count} checklist items without failure")
        } else {
            format!(
                "{} of {count} checklist items failed: {}",
                failed.len(),
                failed.join("; ")
            )
        };
        if !note.is_empty() {
            message.push_str(". ");
            message.push_str(note);
        }
        Ok(vec![
            Kind::StepStarted(v1::StepStarted {
                step_id: id.to_string(),
                attempt,
                worker: self.actor().to_owned(),
                intent: "done by hand".to_owned(),
            }),
            Kind::StepFinished(v1::StepFinished {
                step_id: id.to_string(),
                attempt,
                verdict: verdict.into(),
                rule: "every checklist item is answered and none failed".to_owned(),
                message: shortened(&message),
                evidence: evidence.to_vec(),
                checklist: checklist.iter().map(answer).collect(),
                effect: has_effect(step),
                ..v1::StepFinished::default()
            }),
        ])
    }

    /// Returns the attempt that may start, or why none may.
    pub(super) fn may_start(&self, id: &StepId) -> Result<u32, Refusal> {
        start::check(self.state, self.plan, id, self.ctx.now).map_err(|hold| Refusal::NotReady {
            step: id.to_string(),
            why: hold.why.into(),
            who: hold.who,
            remedies: hold.remedies,
            until: hold.until,
        })
    }
}

fn answer(answer: &Answer) -> v1::ChecklistAnswer {
    let value = match answer.answer {
        AnswerValue::Pass => v1::Verdict::Pass,
        AnswerValue::Fail => v1::Verdict::Fail,
        AnswerValue::NotApplicable => v1::Verdict::NotApplicable,
    };
    v1::ChecklistAnswer {
        item: answer.item.clone(),
        answer: value.into(),
        note: answer.note.clone(),
    }
}

/// Checks that every item of the plan is answered exactly once, and nothing else.
fn check_answers(id: &StepId, manual: &Manual, answers: &[Answer]) -> Result<(), Refusal> {
    let refuse = |problem: String| Refusal::Checklist {
        step: id.to_string(),
        problem,
        items: manual.checklist.len(),
    };
    if let Some(unknown) = answers
        .iter()
        .find(|answer| !manual.checklist.contains(&answer.item))
    {
        return Err(refuse(format!("it has no item `{}`", unknown.item)));
    }
    for item in &manual.checklist {
        let mut given = answers.iter().filter(|answer| answer.item == *item);
        let Some(first) = given.next() else {
            return Err(refuse(format!("`{item}` is not answered")));
        };
        if given.next().is_some() {
            return Err(refuse(format!("`{item}` is answered more than once")));
        }
        if first.answer == AnswerValue::NotApplicable && !manual.accept_not_applicable {
            return Err(Refusal::NotApplicableRefused {
                what: format!("item `{item}`"),
                step: id.to_string(),
            });
        }
        optional("note of a checklist item", &first.note)?;
    }
    Ok(())
}

fn check_evidence(id: &StepId, manual: &Manual, evidence: &[v1::Evidence]) -> Result<(), Refusal> {
    if manual.evidence_required && evidence.is_empty() {
        return Err(Refusal::EvidenceMissing {
            step: id.to_string(),
        });
    }
    if evidence.len() > MAX_EVIDENCE {
        return Err(Refusal::Record {
            step: id.to_string(),
            problem: format!(
                "{} pieces of evidence, at most {MAX_EVIDENCE} are kept; bundle them",
                evidence.len()
            ),
        });
    }
    for piece in evidence {
        if !is_address(&piece.sha256) {
            return Err(Refusal::EvidenceMalformed {
                sha256: piece.sha256.chars().take(80).collect(),
            });
        }
    }
    Ok(())
}

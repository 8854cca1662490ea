//! Commands of the orchestrator.

use rollbook_proto::v1::{self, event::Kind};

use super::super::limits::shortened;
use super::super::refusal::Refusal;
use super::super::state::StepStatus;
use super::{Decided, Decider, required};
use crate::ids::StepId;

impl Decider<'_> {
    pub(super) fn give_up(&self, id: &StepId, attempt: u32, reason: &str) -> Decided {
        let (at, _) = self.step(id)?;
        let reason = required("giving up", "reason", reason)?.to_owned();
        match at.status {
            StepStatus::Running if at.attempt == attempt => {
                Ok(vec![Kind::StepInterrupted(v1::StepInterrupted {
                    step_id: id.to_string(),
                    attempt,
                    reason,
                    retry: false,
                    resumed_by: String::new(),
                })])
            }
            StepStatus::Pending if at.attempt.checked_add(1) == Some(attempt) => {
                Ok(vec![Kind::StepFinished(v1::StepFinished {
                    step_id: id.to_string(),
                    attempt,
                    verdict: v1::Verdict::Error.into(),
                    rule: "a worker takes the task".to_owned(),
                    message: reason,
                    ..v1::StepFinished::default()
                })])
            }
            StepStatus::Undoing if at.undo.attempt == attempt => {
                Ok(vec![Kind::UndoFinished(v1::UndoFinished {
                    step_id: id.to_string(),
                    attempt,
                    verdict: v1::Verdict::Error.into(),
                    message: reason,
                    ..v1::UndoFinished::default()
                })])
            }
            _ => Err(Refusal::LateResult {
                step: id.to_string(),
                attempt,
                status: at.status.as_str(),
                current: at.attempt,
            }),
        }
    }

    pub(super) fn record_notice(&self, sent: &v1::NoticeSent) -> Decided {
        let known = self
            .plan
            .runbook()
            .notices
            .iter()
            .any(|notice| notice.id == sent.notice_id);
        if !known {
            return Err(Refusal::NoSuchNotice {
                notice: sent.notice_id.clone(),
            });
        }
        if self.state.notices.contains(&sent.notice_id) {
            return Ok(Vec::new());
        }
        // Shorten the receiver's answer, whose size we do not control: a refusal here would make
        // the notice go out again.
        Ok(vec![Kind::NoticeSent(v1::NoticeSent {
            channel: shortened(&sent.channel),
            message: shortened(&sent.message),
            ..sent.clone()
        })])
    }
}

//! Workers' records about steps.

use rollbook_proto::v1::{self, event::Kind};

use super::super::refusal::Refusal;
use super::super::settle::alerts;
use super::super::state::{StepState, StepStatus};
use super::{Decided, Decider, bounds, optional, required};
use crate::decimal::Decimal;
use crate::ids::StepId;
use crate::runbook::kind::DoneBy;
use crate::runbook::plan::only_reads;

/// Number of interrupted attempts after which a person must decide, even for an idempotent step.
const MAX_UNASKED_ATTEMPTS: u32 = 20;

/// Number of workers an attempt may lose before it is no longer handed on; the attempt may be what
/// kills them.
const MAX_LOSSES: u32 = 20;

impl Decider<'_> {
    /// Parses the step id of a record.
    pub(super) fn named(&self, id: &str) -> Result<StepId, Refusal> {
        StepId::new(id).map_err(|_| Refusal::no_such_step(self.state, id))
    }

    pub(super) fn start_step(
        &self,
        id: &StepId,
        attempt: u32,
        worker: &str,
        intent: &str,
    ) -> Decided {
        let (at, step) = self.step(id)?;
        let worker = required("start of a step", "worker", worker)?.to_owned();
        let intent = optional("intent", intent)?.to_owned();
        if at.status == StepStatus::Running {
            return Err(Refusal::AlreadyRunning {
                step: id.to_string(),
                attempt: at.attempt,
                by: at.worker.clone(),
            });
        }
        if step.action.kind().done_by() != DoneBy::Worker {
            return Err(Refusal::Record {
                step: id.to_string(),
                problem: format!("a {} step has no worker", step.action.kind().name()),
            });
        }
        let expected = self.may_start(id)?;
        if attempt != expected {
            return Err(Refusal::WrongAttempt {
                step: id.to_string(),
                given: attempt,
                expected,
            });
        }
        Ok(vec![Kind::StepStarted(v1::StepStarted {
            step_id: id.to_string(),
            attempt,
            worker,
            intent,
        })])
    }

    fn runs(&self, id: &StepId, at: &StepState, attempt: u32) -> Result<(), Refusal> {
        if at.status == StepStatus::Running && at.attempt == attempt {
            return Ok(());
        }
        Err(Refusal::LateResult {
            step: id.to_string(),
            attempt,
            status: at.status.as_str(),
            current: at.attempt,
        })
    }

    pub(super) fn measure(
        &self,
        id: &StepId,
        attempt: u32,
        measurement: &v1::Measurement,
    ) -> Decided {
        let (at, step) = self.step(id)?;
        self.runs(id, at, attempt)?;
        bounds::measurement(measurement)?;
        check_measurement(id, measurement)?;
        let mut kinds = vec![Kind::StepMeasured(v1::StepMeasured {
            step_id: id.to_string(),
            attempt,
            measurement: Some(measurement.clone()),
        })];
        kinds.extend(alerts::after_sample(self.state, step, id, measurement));
        Ok(kinds)
    }

    pub(super) fn finish_step(&self, finished: &v1::StepFinished, details: &[Kind]) -> Decided {
        let id = self.named(&finished.step_id)?;
        let (at, _) = self.step(&id)?;
        // The worker was only disconnected and nobody has acted since, so its result still counts.
        let is_late = at.status == StepStatus::Interrupted
            && at.attempt == finished.attempt
            && !self.state.status.is_closed();
        if !is_late {
            self.runs(&id, at, finished.attempt)?;
        }
        let refuse = |problem: &str| Refusal::Record {
            step: id.to_string(),
            problem: problem.to_owned(),
        };
        match v1::Verdict::try_from(finished.verdict) {
            Ok(
                v1::Verdict::Pass
                | v1::Verdict::Warning
                | v1::Verdict::Fail
                | v1::Verdict::Inconclusive
                | v1::Verdict::Error,
            ) => {}
            _ => {
                return Err(refuse(
                    "a step ends with pass, warning, fail, inconclusive or error",
                ));
            }
        }
        bounds::result(finished)?;
        for measurement in &finished.measurements {
            check_measurement(&id, measurement)?;
        }
        let mut kinds = Vec::with_capacity(details.len().saturating_add(1));
        for detail in details {
            let of = match detail {
                Kind::SnapshotTaken(taken) if taken.manifest.is_none() => {
                    return Err(refuse("a snapshot without a manifest"));
                }
                Kind::SnapshotTaken(taken) => &taken.step_id,
                Kind::ComparisonMade(made) => &made.step_id,
                Kind::AuditTaken(taken) => &taken.step_id,
                _ => {
                    return Err(refuse(
                        "only snapshots, comparisons and audits may go with a result",
                    ));
                }
            };
            if *of != finished.step_id {
                return Err(refuse("a fact of another step goes with the result"));
            }
            bounds::detail(detail)?;
            kinds.push(detail.clone());
        }
        kinds.push(Kind::StepFinished(finished.clone()));
        Ok(kinds)
    }

    pub(super) fn interrupt_step(&self, id: &StepId, attempt: u32, reason: &str) -> Decided {
        let (at, step) = self.step(id)?;
        self.runs(id, at, attempt)?;
        let reason = required("interruption", "reason", reason)?.to_owned();
        Ok(vec![Kind::StepInterrupted(v1::StepInterrupted {
            step_id: id.to_string(),
            attempt,
            reason,
            retry: step.idempotent && attempt < MAX_UNASKED_ATTEMPTS,
            resumed_by: String::new(),
        })])
    }

    /// Lets another worker continue an attempt, only of steps that Rollbook itself knows to be
    /// read-only. A command is read-only only by the plan's declaration, and two runs of it may
    /// interfere.
    pub(super) fn resume_step(
        &self,
        id: &StepId,
        attempt: u32,
        worker: &str,
        reason: &str,
    ) -> Decided {
        let (at, step) = self.step(id)?;
        self.runs(id, at, attempt)?;
        let worker = required("resumption", "worker", worker)?.to_owned();
        let reason = required("resumption", "reason", reason)?;
        if !only_reads(step) {
            return Err(Refusal::Record {
                step: id.to_string(),
                problem: "only a step that reads and changes nothing goes on elsewhere".to_owned(),
            });
        }
        let is_worn = at.losses >= MAX_LOSSES;
        let reason = if is_worn {
            format!("{reason}; {MAX_LOSSES} workers were lost in this attempt before")
        } else {
            reason.to_owned()
        };
        Ok(vec![Kind::StepInterrupted(v1::StepInterrupted {
            step_id: id.to_string(),
            attempt,
            reason,
            retry: false,
            resumed_by: if is_worn { String::new() } else { worker },
        })])
    }
}

fn check_measurement(id: &StepId, measurement: &v1::Measurement) -> Result<(), Refusal> {
    let problem = if measurement.metric.is_empty() {
        "a measurement without a name"
    } else if v1::Verdict::try_from(measurement.verdict).is_err() {
        "a measurement with an unknown verdict"
    } else if !measurement.decimal.is_empty() && measurement.decimal.parse::<Decimal>().is_err() {
        "a measurement whose decimal is not a number of at most 28 digits"
    } else {
        return Ok(());
    };
    Err(Refusal::Record {
        step: id.to_string(),
        problem: problem.to_owned(),
    })
}

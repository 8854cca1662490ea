//! Describes each event in one sentence.

use rollbook_proto::v1::Event;
use rollbook_proto::v1::event::Kind;

use crate::projection::row::clean;
use crate::projection::words::{FlagSetting, MeasuredValue, RolloutEnding, Verdict, WorkerStatus};
use crate::runbook::RollbackLevel;

/// Maximum length of a sentence in characters; the event itself has the full text.
const MAX_SENTENCE_CHARS: usize = 400;

/// The timeline's description of an event, without its type.
pub(super) struct Described {
    /// The step, gate or other part it concerns.
    pub(super) subject: String,
    /// The sentence.
    pub(super) sentence: String,
}

fn verdict(number: i32) -> &'static str {
    Verdict::from_wire(number).map_or("no verdict", Verdict::as_str)
}

/// Returns ": text", or nothing if the text is blank.
fn tail(text: &str) -> String {
    if text.trim().is_empty() {
        String::new()
    } else {
        format!(": {}", text.trim())
    }
}

fn setting(setting: Option<&rollbook_proto::v1::FlagSetting>) -> String {
    FlagSetting::from_wire(setting).map_or_else(|| "?".to_owned(), |setting| setting.to_string())
}

fn wire_figure(measurement: Option<&rollbook_proto::v1::Measurement>) -> String {
    measurement.map_or_else(
        || "no data".to_owned(),
        |measurement| MeasuredValue::from_wire(measurement).sentence(),
    )
}

fn clip(text: &str) -> String {
    let text = clean(text);
    match text.char_indices().nth(MAX_SENTENCE_CHARS) {
        None => text,
        Some((end, _)) => {
            let mut clipped: String = text.get(..end).unwrap_or_default().to_owned();
            clipped.push('…');
            clipped
        }
    }
}

/// Returns the sentence of an event, as the timeline has it. `actor` is the name of whoever caused
/// the commit, `aggregate` its aggregate as in [`Aggregate`](crate::ids::Aggregate).
pub fn sentence(event: &Event, actor: &str, aggregate: &str) -> String {
    describe(event.kind.as_ref(), &clean(actor), &clean(aggregate)).sentence
}

/// Describes an event of `aggregate` caused by `actor`.
pub(super) fn describe(kind: Option<&Kind>, actor: &str, aggregate: &str) -> Described {
    let (subject, sentence) = words(kind, actor, aggregate);
    Described {
        subject: clip(subject),
        sentence: clip(&sentence),
    }
}

fn words<'e>(kind: Option<&'e Kind>, actor: &str, aggregate: &str) -> (&'e str, String) {
    let Some(kind) = kind else {
        return ("", "An event of a type unknown to this version".to_owned());
    };
    match kind {
        Kind::RolloutOpened(e) => (
            "",
            format!(
                "{actor} opened rollout {} of runbook {} {} in {}",
                e.name, e.runbook, e.runbook_version, e.environment
            ),
        ),
        Kind::RolloutStarted(_) => ("", format!("{actor} started the rollout")),
        Kind::RolloutPaused(e) => ("", format!("{actor} paused the rollout{}", tail(&e.reason))),
        Kind::RolloutResumed(e) => (
            "",
            format!("{actor} resumed the rollout{}", tail(&e.reason)),
        ),
        Kind::RolloutAborted(e) => (
            "",
            format!("{actor} aborted the rollout{}", tail(&e.reason)),
        ),
        Kind::RolloutClosed(e) => (
            "",
            format!(
                "The rollout was closed as {}{}",
                RolloutEnding::from_wire(e.outcome).map_or("?", RolloutEnding::as_str),
                tail(&e.summary)
            ),
        ),
        Kind::StepStarted(e) => (
            &e.step_id,
            format!(
                "Step {} started, attempt {} by {}{}",
                e.step_id,
                e.attempt,
                e.worker,
                tail(&e.intent)
            ),
        ),
        Kind::StepMeasured(e) => (
            &e.step_id,
            format!(
                "Step {} measured {}",
                e.step_id,
                wire_figure(e.measurement.as_ref())
            ),
        ),
        Kind::StepFinished(e) => (
            &e.step_id,
            format!(
                "Step {} finished, attempt {}: {}{}{}",
                e.step_id,
                e.attempt,
                verdict(e.verdict),
                if e.by_verification {
                    " (by verification, the action was not repeated)"
                } else {
                    ""
                },
                tail(&e.message)
            ),
        ),
        Kind::StepInterrupted(e) if !e.resumed_by.is_empty() => (
            &e.step_id,
            format!(
                "Step {} continues with worker {}, attempt {}{}",
                e.step_id,
                e.resumed_by,
                e.attempt,
                tail(&e.reason)
            ),
        ),
        Kind::StepInterrupted(e) => (
            &e.step_id,
            format!(
                "Step {} was interrupted in attempt {}, what it did is not known{}",
                e.step_id,
                e.attempt,
                tail(&e.reason)
            ),
        ),
        Kind::StepRetried(e) => (
            &e.step_id,
            format!("Step {} will be tried again{}", e.step_id, tail(&e.reason)),
        ),
        Kind::StepSkipped(e) => (
            &e.step_id,
            format!("{actor} skipped step {}{}", e.step_id, tail(&e.reason)),
        ),
        Kind::NotApplicableProposed(e) => (
            &e.step_id,
            format!(
                "{actor} proposed step {} as not applicable{}",
                e.step_id,
                tail(&e.reason)
            ),
        ),
        Kind::NotApplicableReviewed(e) => (
            &e.step_id,
            format!(
                "{actor} {} that step {} is not applicable{}",
                if e.accepted {
                    "agreed"
                } else {
                    "did not agree"
                },
                e.step_id,
                tail(&e.reason)
            ),
        ),
        Kind::UndoStarted(e) => (
            &e.step_id,
            format!(
                "Undo of step {} started by {}{}",
                e.step_id,
                e.worker,
                tail(&e.intent)
            ),
        ),
        Kind::UndoFinished(e) => (
            &e.step_id,
            format!(
                "Undo of step {} finished: {}{}",
                e.step_id,
                verdict(e.verdict),
                tail(&e.message)
            ),
        ),
        Kind::SignOffGiven(e) => (
            &e.gate_id,
            format!(
                "{actor} signed off gate {} as {}{}",
                e.gate_id,
                e.role,
                tail(&e.statement)
            ),
        ),
        Kind::SignOffRefused(e) => (
            &e.gate_id,
            format!(
                "{actor} refused to sign off gate {} as {}{}",
                e.gate_id,
                e.role,
                tail(&e.reason)
            ),
        ),
        Kind::SignOffVoided(e) => (
            &e.gate_id,
            format!(
                "The sign-off of gate {} by {} as {} no longer counts{}",
                e.gate_id,
                e.person,
                e.role,
                tail(&e.cause)
            ),
        ),
        Kind::GatePassed(e) => (
            &e.gate_id,
            format!("Gate {} passed{}", e.gate_id, tail(&e.reasons.join("; "))),
        ),
        Kind::GateBlocked(e) => (
            &e.gate_id,
            format!(
                "Gate {} is blocked{}",
                e.gate_id,
                tail(&e.reasons.join("; "))
            ),
        ),
        Kind::PlanRevised(e) => (
            "",
            format!(
                "{actor} proposed revision {} of the plan{}",
                e.revision,
                tail(&e.reason)
            ),
        ),
        Kind::PlanRevisionAccepted(e) => (
            "",
            format!("{actor} accepted revision {} of the plan", e.revision),
        ),
        Kind::PlanRevisionWithdrawn(e) => (
            "",
            format!(
                "{actor} withdrew revision {} of the plan{}",
                e.revision,
                tail(&e.reason)
            ),
        ),
        Kind::RequestMade(e) => (
            &e.request_id,
            format!(
                "{actor} asks to {} ({}); a second person must confirm it{}",
                e.what,
                e.request_id,
                tail(&e.reason)
            ),
        ),
        Kind::RequestConfirmed(e) => (
            &e.request_id,
            format!("{actor} confirmed request {}", e.request_id),
        ),
        Kind::RequestEnded(e) => (
            &e.request_id,
            format!(
                "Request {} is {}{}",
                e.request_id,
                e.end().as_str_name().to_lowercase(),
                tail(&e.reason)
            ),
        ),
        Kind::GlassBroken(e) => (
            &e.review_id,
            format!(
                "{actor} used break-glass to {} ({}), as {} allows{}",
                e.what,
                e.review_id,
                e.rule,
                tail(&e.reason)
            ),
        ),
        Kind::GlassReviewed(e) => (
            &e.review_id,
            format!(
                "{actor} reviewed {} and {}{}",
                e.review_id,
                if e.agreed { "agrees" } else { "does not agree" },
                tail(&e.note)
            ),
        ),
        Kind::ReviewOverdue(e) => (&e.review_id, format!("Review {} is overdue", e.review_id)),
        Kind::RollbackPointRecorded(e) => (
            &e.point_id,
            format!(
                "Rollback point {} recorded before phase {}{}",
                e.point_id,
                e.phase_id,
                tail(&e.description)
            ),
        ),
        Kind::RollbackStarted(e) => (
            &e.rollback_id,
            format!(
                "{actor} started rollback {} ({}), {} steps to undo{}",
                e.rollback_id,
                RollbackLevel::from_wire(e.level).map_or("?", RollbackLevel::as_str),
                e.undo_steps.len(),
                tail(&e.reason)
            ),
        ),
        Kind::RollbackFinished(e) => (
            &e.rollback_id,
            format!(
                "Rollback {} finished: {}{}",
                e.rollback_id,
                verdict(e.verdict),
                tail(&e.summary)
            ),
        ),
        Kind::AdviceGiven(e) if e.advice == crate::rollout::NO_ADVICE => (
            &e.rule,
            format!(
                "Rule {} no longer holds{}",
                e.rule,
                tail(&e.inputs.join(", "))
            ),
        ),
        Kind::AdviceGiven(e) => (
            &e.rule,
            format!(
                "Rule {} advises {}{}{}",
                e.rule,
                e.advice,
                if e.automatic {
                    ", carried out automatically"
                } else {
                    ""
                },
                tail(&e.inputs.join(", "))
            ),
        ),
        Kind::AlertRaised(e) => (
            &e.alert_id,
            format!(
                "Alert {} ({}) raised{}",
                e.alert_id,
                e.severity,
                tail(&wire_figure(e.measurement.as_ref()))
            ),
        ),
        Kind::AlertResolved(e) => (
            &e.alert_id,
            format!(
                "Alert {} resolved{}",
                e.alert_id,
                tail(&wire_figure(e.measurement.as_ref()))
            ),
        ),
        Kind::AlertUnwatched(e) => (
            &e.alert_id,
            format!(
                "Alert {} stays open: attempt {} of step {}, which watched it, has ended",
                e.alert_id, e.attempt, e.step_id
            ),
        ),
        Kind::NoticeSent(e) => (
            &e.notice_id,
            format!(
                "Notice {} through {}: {}{}",
                e.notice_id,
                e.channel,
                verdict(e.verdict),
                tail(&e.message)
            ),
        ),
        Kind::SnapshotTaken(e) => (
            &e.step_id,
            format!(
                "Snapshot {} ({}) taken of {} deals, {} errors",
                e.snapshot, e.label, e.deals, e.errors
            ),
        ),
        Kind::ComparisonMade(e) => (
            &e.step_id,
            format!(
                "Comparison of {}: {} figures, {} regressions, {} warnings, {} expected, {} ignored, {} deals missing, {} added",
                e.snapshot,
                e.compared,
                e.regressions,
                e.warnings,
                e.expected,
                e.ignored,
                e.missing,
                e.added
            ),
        ),
        Kind::AuditTaken(e) => (
            &e.step_id,
            format!(
                "Audit: {}.{} % of {} active deals have a valid type ({}); {} without, {} invalid",
                e.health_permille / 10,
                e.health_permille % 10,
                e.active,
                e.health,
                e.null_count,
                e.invalid_count
            ),
        ),
        Kind::SuccessMetricRecorded(e) => (
            &e.metric,
            format!(
                "Success metric {}: target {}, actual {}, {}",
                e.metric,
                e.target,
                e.actual,
                verdict(e.status)
            ),
        ),
        Kind::FlagDefined(e) => (
            &e.key,
            format!(
                "{actor} defined flag {} in {} as {}, safe value {}",
                e.key,
                e.environment,
                setting(e.initial.as_ref()),
                setting(e.safe.as_ref())
            ),
        ),
        Kind::FlagChanged(e) => (
            &e.step_id,
            format!(
                "{actor} changed {aggregate} from {} to {}{}",
                setting(e.from.as_ref()),
                setting(e.to.as_ref()),
                tail(&e.reason)
            ),
        ),
        Kind::FlagArchived(e) => (
            "",
            format!("{actor} archived {aggregate}{}", tail(&e.reason)),
        ),
        Kind::WorkerJoined(e) => (
            "",
            format!(
                "{aggregate} joined: version {}, {} steps and {} shards at a time{}",
                e.version,
                e.concurrency,
                e.threads,
                match e.labels.as_slice() {
                    [] => String::new(),
                    labels => format!(", labels {}", labels.join(", ")),
                }
            ),
        ),
        Kind::EnvironmentRecorded(e) => (
            "",
            format!(
                "{actor} recorded environment {} as {}{}",
                e.name,
                if e.terms.as_ref().is_some_and(|terms| terms.protected) {
                    "protected"
                } else {
                    "not protected"
                },
                tail(&e.reason)
            ),
        ),
        Kind::EnvironmentRevised(e) => (
            "",
            format!(
                "{actor} proposed revision {} of {aggregate}{}",
                e.revision,
                tail(&e.reason)
            ),
        ),
        Kind::EnvironmentRevisionAccepted(e) => (
            "",
            format!("{actor} accepted revision {} of {aggregate}", e.revision),
        ),
        Kind::EnvironmentRevisionWithdrawn(e) => (
            "",
            format!(
                "{actor} withdrew revision {} of {aggregate}{}",
                e.revision,
                tail(&e.reason)
            ),
        ),
        Kind::WorkerLeft(e) => (
            "",
            format!(
                "{aggregate} left: {}",
                WorkerStatus::of_leaving(e.reason).map_or("?", WorkerStatus::as_str)
            ),
        ),
    }
}

//! A person's commands to a rollout.

use rollbook_ledger::ids::{RolloutId, StepId};
use rollbook_ledger::projection::rows::RolloutRow;
use rollbook_ledger::projection::views::ViewAnswer;
use rollbook_ledger::projection::words::RolloutStatus;
use rollbook_ledger::rollout::Command;
use rollbook_ledger::rollout::command::{Answer as ChecklistAnswer, AnswerValue};
use rollbook_ledger::runbook::kind::DoneBy;
use rollbook_server::api::{CommandAnswer, RollbackAnswer, StatusAnswer};

use super::gate::gate_id;
use super::{Session, authority, checklist};
use crate::args::{
    AbortArgs, CompleteArgs, NotApplicableArgs, RejectArgs, RiskyStepArgs, RollbackArgs,
    StepReasonArgs,
};
use crate::exit::{Exit, Failure, Outcome};
use crate::print;

/// The largest file that can be attached, in bytes.
const MAX_ATTACHMENT_BYTES: u64 = 8 * 1024 * 1024;

impl Session {
    /// The rollout meant: by id, by an unambiguous prefix, or the only open one.
    pub(crate) async fn resolve(&self, given: Option<&str>) -> Result<String, Failure> {
        if let Some(given) = given {
            // It becomes part of a URL path.
            RolloutId::new(given).map_err(Failure::usage)?;
        }
        let all: ViewAnswer<Vec<RolloutRow>> = self.client.get("/v1/rollouts", &[]).await?;
        let mut rollouts = all.data;
        if given.is_none() {
            // The open one may be older than a whole page of closed ones.
            let open = [("open_only", "true".to_owned())];
            let open: ViewAnswer<Vec<RolloutRow>> = self.client.get("/v1/rollouts", &open).await?;
            if !open.data.is_empty() {
                rollouts = open.data;
            }
        }
        let candidates: Vec<&RolloutRow> = match given {
            Some(given) => {
                if rollouts.iter().any(|rollout| rollout.rollout == given) {
                    return Ok(given.to_owned());
                }
                rollouts
                    .iter()
                    .filter(|rollout| rollout.rollout.starts_with(given))
                    .collect()
            }
            None => rollouts
                .iter()
                .filter(|rollout| rollout.status != RolloutStatus::Closed)
                .collect(),
        };
        match (candidates.as_slice(), given) {
            ([one], _) => Ok(one.rollout.clone()),
            ([], Some(given)) => self.unlisted(given, &rollouts).await,
            ([], None) => match rollouts.as_slice() {
                [one] => Ok(one.rollout.clone()),
                _ => Err(Failure::own(
                    Exit::Usage,
                    "RB-CLI-10",
                    "no rollout is open; name one (`rollbook list`) or open one (`rollbook open`)",
                )),
            },
            (many, _) => {
                let ids: Vec<&str> = many
                    .iter()
                    .map(|rollout| rollout.rollout.as_str())
                    .collect();
                Err(Failure::own(
                    Exit::Usage,
                    "RB-CLI-11",
                    format!(
                        "which rollout? {}; add its id as the last word",
                        ids.join(", ")
                    ),
                ))
            }
        }
    }

    /// Sends a command and prints its result.
    pub(crate) async fn act(&self, rollout: Option<&str>, command: &Command) -> Outcome {
        self.act_as_typed(rollout, command, &[]).await
    }

    /// The same; repeating it takes these words too.
    pub(crate) async fn act_as_typed(
        &self,
        rollout: Option<&str>,
        command: &Command,
        words: &[&str],
    ) -> Outcome {
        let actor = self.config.actor()?;
        let id = self.resolve(rollout).await?;
        let path = format!("/v1/rollouts/{id}/commands");
        let answer: CommandAnswer = self
            .client
            .with_words(words)
            .command(&path, &actor, command)
            .await?;
        print::command_answer(&answer, self.json)?;
        Ok(authority::exit_of(&answer.events, self.json))
    }

    /// The current state of the rollout.
    pub(crate) async fn status_of(&self, id: &str) -> Result<StatusAnswer, Failure> {
        self.client.get(&format!("/v1/rollouts/{id}"), &[]).await
    }
}

/// A step id from the command line.
pub(crate) fn step_id(text: &str) -> Result<StepId, Failure> {
    StepId::new(text).map_err(Failure::usage)
}

/// `skip STEP`.
pub(crate) async fn skip(session: &Session, args: RiskyStepArgs) -> Outcome {
    let of = args.of;
    let command = Command::Skip {
        step: step_id(&of.step)?,
        reason: of.reason,
    };
    let command = authority::with(&args.glass, command);
    session.act(of.rollout.rollout.as_deref(), &command).await
}

/// `retry STEP`.
pub(crate) async fn retry(session: &Session, args: StepReasonArgs) -> Outcome {
    let command = Command::Retry {
        step: step_id(&args.step)?,
        reason: args.reason,
    };
    session.act(args.rollout.rollout.as_deref(), &command).await
}

/// `undo STEP`.
pub(crate) async fn undo(session: &Session, args: RiskyStepArgs) -> Outcome {
    let of = args.of;
    let command = Command::Undo {
        step: step_id(&of.step)?,
        reason: of.reason,
    };
    let command = authority::with(&args.glass, command);
    session.act(of.rollout.rollout.as_deref(), &command).await
}

/// `abort`.
pub(crate) async fn abort(session: &Session, args: AbortArgs) -> Outcome {
    let of = args.of;
    let command = Command::Abort { reason: of.reason };
    let command = authority::with(&args.glass, command);
    session.act(of.rollout.rollout.as_deref(), &command).await
}

/// `complete STEP`.
pub(crate) async fn complete(session: &Session, args: CompleteArgs) -> Outcome {
    let actor = session.config.actor()?;
    let id = session.resolve(args.rollout.rollout.as_deref()).await?;
    let items = if args.answers.is_empty() && !args.all_pass {
        Vec::new()
    } else {
        checklist_of(session, &id, &args.step).await?
    };
    let mut checklist = Vec::new();
    for answer in &args.answers {
        checklist.push(checklist::parse(answer, &items)?);
    }
    if args.all_pass {
        for item in items {
            if !checklist.iter().any(|answer| answer.item == item) {
                checklist.push(ChecklistAnswer {
                    item,
                    answer: AnswerValue::Pass,
                    note: String::new(),
                });
            }
        }
    }
    let mut evidence = Vec::new();
    for file in &args.evidence {
        let unreadable = |error: &dyn std::fmt::Display| {
            Failure::own(
                Exit::Usage,
                "RB-CLI-12",
                format!("{}: cannot be attached: {error}", file.display()),
            )
        };
        let size = std::fs::metadata(file)
            .map_err(|error| unreadable(&error))?
            .len();
        if size > MAX_ATTACHMENT_BYTES {
            return Err(unreadable(&format!(
                "{size} bytes, at most {MAX_ATTACHMENT_BYTES} are allowed"
            )));
        }
        let bytes = std::fs::read(file).map_err(|error| unreadable(&error))?;
        let name = file
            .file_name()
            .map_or_else(|| "evidence".into(), |name| name.to_string_lossy());
        evidence.push(session.client.put_evidence(&actor, &name, bytes).await?);
    }
    let command = Command::Complete {
        step: step_id(&args.step)?,
        checklist,
        evidence,
        note: args.note,
    };
    session.act(Some(&id), &command).await
}

/// The checklist from the plan in force.
async fn checklist_of(session: &Session, id: &str, step: &str) -> Result<Vec<String>, Failure> {
    let plan = session.plan_of(id, None).await?;
    let found = plan.step(&step_id(step)?);
    Ok(match found.map(|(_, step)| step.action.kind().done_by()) {
        Some(DoneBy::Person(manual)) => manual.checklist.clone(),
        _ => Vec::new(),
    })
}

/// `not-applicable STEP`.
pub(crate) async fn not_applicable(session: &Session, args: NotApplicableArgs) -> Outcome {
    let step = step_id(&args.step)?;
    let command = if args.accept || args.decline {
        Command::ReviewNotApplicable {
            step,
            accept: args.accept,
            reason: args.reason,
        }
    } else if args.reason.is_empty() {
        return Err(Failure::own(
            Exit::Usage,
            "RB-CLI-14",
            "say why with --reason, or review a claim with --accept or --decline",
        ));
    } else {
        Command::ProposeNotApplicable {
            step,
            reason: args.reason,
        }
    };
    session.act(args.rollout.rollout.as_deref(), &command).await
}

/// `reject GATE`.
pub(crate) async fn reject(session: &Session, args: RejectArgs) -> Outcome {
    let command = Command::Reject {
        gate: gate_id(&args.gate)?,
        role: args.role,
        reason: args.reason,
    };
    session.act(args.rollout.rollout.as_deref(), &command).await
}

/// `rollback LEVEL`.
pub(crate) async fn rollback(session: &Session, args: RollbackArgs) -> Outcome {
    let level = args.level;
    let mut steps = Vec::new();
    for step in &args.steps {
        steps.push(step_id(step)?);
    }
    if args.dry_run {
        let id = session.resolve(args.rollout.rollout.as_deref()).await?;
        let path = format!("/v1/rollouts/{id}/rollback/{}", level.as_str());
        let named = args.steps.join(",");
        let answer: RollbackAnswer = session.client.get(&path, &[("steps", named)]).await?;
        print::preview_rollback(&answer, session.json)?;
        return Ok(Exit::Success);
    }
    let command = Command::Rollback {
        level,
        steps,
        reason: args.reason,
    };
    session.act(args.rollout.rollout.as_deref(), &command).await
}

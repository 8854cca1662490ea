//! Commands on a flag, and the rules that refuse them.

use std::collections::BTreeSet;

use rollbook_proto::v1::{self, event::Kind};
use serde::{Deserialize, Serialize};

use super::authority::{self, Gatekeeper};
use super::bucket::{BUCKETING, TOTAL_MILLIS};
use super::state::FlagState;
use crate::environment::EnvironmentState;
use crate::error_code::Coded;
use crate::ids::{EnvironmentId, FlagKey, RolloutId, StepId};
use crate::person;
use crate::rollout::{RefusalKind, Remedy};

/// Maximum length of a command's text in an event, in bytes.
const MAX_TEXT_BYTES: usize = 4_096;
/// Maximum number of labels in mode `BETA`.
const MAX_LABELS: usize = 100;

/// A command to one flag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum FlagCommand {
    /// Defines the flag; repeating the same definition does nothing.
    Define {
        /// What it switches.
        description: String,
        /// Who is responsible for it.
        owner: String,
        /// The setting that an instant rollback writes.
        safe: v1::FlagSetting,
        /// The initial setting.
        initial: v1::FlagSetting,
        /// RFC 3339 date by which to retire it; empty means permanent.
        #[serde(default)]
        retire_by: String,
        /// Salt of the buckets; default: the key.
        #[serde(default)]
        salt: Option<String>,
    },
    /// Changes the setting.
    Set {
        /// The new setting.
        to: v1::FlagSetting,
        /// The reason.
        reason: String,
        /// The rollout whose step makes the change, if any.
        #[serde(default)]
        rollout: Option<RolloutId>,
        /// The step that makes the change, if any.
        #[serde(default)]
        step: Option<StepId>,
        /// Change it only if this is the current setting.
        #[serde(default)]
        expect: Option<v1::FlagSetting>,
    },
    /// The instant rollback: sets the flag to its safe value.
    Safe {
        /// The reason.
        reason: String,
        /// The rollout whose step makes the change, if any.
        #[serde(default)]
        rollout: Option<RolloutId>,
        /// The step that makes the change, if any.
        #[serde(default)]
        step: Option<StepId>,
    },
    /// Archives the flag: it is no longer evaluated and never changes again.
    Archive {
        /// The reason.
        reason: String,
    },
    /// Confirms another person's request, which executes the requested command.
    Confirm {
        /// Its id.
        request: String,
    },
    /// Withdraws or refuses a request.
    Withdraw {
        /// Its id.
        request: String,
        /// The reason.
        reason: String,
    },
    /// Executes at once, alone, a command that takes two persons, where a rule allows it; opens a
    /// review.
    BreakGlass {
        /// The command.
        of: Box<FlagCommand>,
    },
    /// Closes the review of a command that another person executed by breaking glass.
    Review {
        /// Its id.
        review: String,
        /// True if the reviewer would have agreed.
        agreed: bool,
        /// The reviewer's findings.
        note: String,
    },
}

/// Who asks, when, under which command id, and the record of the environment.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who asks.
    pub actor: &'a v1::Actor,
    /// Current time of the injected clock.
    pub now: jiff::Timestamp,
    /// Idempotency key; a command id that the state knows has already been applied.
    pub command_id: &'a str,
    /// The record of the flag's environment, if there is one.
    pub environment: Option<&'a EnvironmentState>,
}

/// A refused command, with the rule that refused it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
pub enum FlagRefusal {
    /// The flag was never defined.
    #[error("RB-FLAG-1: flag {key} is not defined in {environment}; define it first")]
    NotDefined {
        /// The flag.
        key: FlagKey,
        /// The environment.
        environment: EnvironmentId,
    },
    /// The flag has a different definition.
    #[error(
        "RB-FLAG-2: flag {key} is defined in {environment} already, with another {field}; a definition does not change, set its value instead"
    )]
    Exists {
        /// The flag.
        key: FlagKey,
        /// The environment.
        environment: EnvironmentId,
        /// The differing field.
        field: &'static str,
    },
    /// The flag is archived.
    #[error("RB-FLAG-3: flag {key} is archived ({reason}) and does not change; define a new one")]
    Archived {
        /// The flag.
        key: FlagKey,
        /// The reason for archiving it.
        reason: String,
    },
    /// The reason is missing.
    #[error("RB-FLAG-4: a change of flag {key} needs a reason; give one, it stays on the record")]
    ReasonMissing {
        /// The flag.
        key: FlagKey,
    },
    /// The setting is invalid.
    #[error("RB-FLAG-5: the {what} setting of flag {key} is refused: {problem}")]
    Setting {
        /// The flag.
        key: FlagKey,
        /// `initial`, `safe` or `new`.
        what: &'static str,
        /// The problem and how to fix it.
        problem: String,
    },
    /// The current setting is not the expected one.
    #[error(
        "RB-FLAG-11: flag {key} is not set to what was expected; {by} changed it meanwhile; look at it again"
    )]
    Changed {
        /// The flag.
        key: FlagKey,
        /// Who changed it last.
        by: String,
    },
    /// A text is missing, too long or malformed.
    #[error("RB-FLAG-6: the {field} of flag {key} is refused: {problem}")]
    Text {
        /// The flag.
        key: FlagKey,
        /// The field.
        field: &'static str,
        /// The problem and how to fix it.
        problem: String,
    },
    /// The person has no role that permits the command.
    #[error("RB-FLAG-7: {person} may not {what} in {environment}: it takes {roles}")]
    NotInRole {
        /// The person.
        person: String,
        /// The command.
        what: String,
        /// The environment.
        environment: EnvironmentId,
        /// The permitted roles with their members.
        roles: String,
        /// The environment has no roles.
        lacks_roles: bool,
    },
    /// The four-eyes principle: the person may not decide on their own work.
    #[error("RB-FLAG-8: {person} {did} and may not {what}; another person must")]
    OwnWork {
        /// The person.
        person: String,
        /// What they did.
        did: String,
        /// What they may not do.
        what: &'static str,
    },
    /// The named request or review does not exist, or is no longer valid.
    #[error("RB-FLAG-9: {request}: {problem}")]
    Request {
        /// Its id.
        request: String,
        /// The problem and how to fix it.
        problem: String,
        /// The commands that fix it.
        remedies: Vec<Remedy>,
    },
    /// Glass cannot be broken for this command.
    #[error("RB-FLAG-10: break-glass is refused to {what}: {problem}")]
    Glass {
        /// The command.
        what: String,
        /// The problem and how to fix it.
        problem: &'static str,
    },
    /// A person's command claims to come from a step.
    #[error(
        "RB-FLAG-12: a person changes flag {key} in their own name; leave out `rollout` and `step`, which only the steps of a rollout record"
    )]
    NotAStep {
        /// The flag.
        key: FlagKey,
    },
}

impl FlagRefusal {
    /// Returns the commands that help; any one of them is enough.
    pub fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Request { remedies, .. } => remedies.clone(),
            Self::NotInRole {
                environment,
                lacks_roles: true,
                ..
            } => vec![Remedy::SetEnvironment {
                environment: environment.clone(),
            }],
            _ => Vec::new(),
        }
    }

    /// Returns the class of this refusal.
    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::NotDefined { .. } => RefusalKind::NotFound,
            Self::Exists { .. } | Self::Archived { .. } | Self::Changed { .. } => {
                RefusalKind::NotNow
            }
            Self::NotInRole { .. } | Self::OwnWork { .. } => RefusalKind::NotAllowed,
            Self::Request { .. } => RefusalKind::Stale,
            Self::ReasonMissing { .. }
            | Self::Setting { .. }
            | Self::Text { .. }
            | Self::NotAStep { .. }
            | Self::Glass { .. } => RefusalKind::Invalid,
        }
    }
}

/// Decides a command. Returns an empty list if there is nothing to do: this command id was already
/// applied, or the flag is already as requested. People are checked against the authority table;
/// workers write what the steps of a rollout say, which was authorized there.
pub fn decide(
    state: Option<&FlagState>,
    environment: &EnvironmentId,
    key: &FlagKey,
    command: &FlagCommand,
    asked: &Asked<'_>,
) -> Result<Vec<v1::Event>, FlagRefusal> {
    if state.is_some_and(|state| {
        let kind = asked.actor.kind();
        state.command_ids.find(kind, asked.command_id).is_some()
    }) {
        return Ok(Vec::new());
    }
    let gatekeeper = Gatekeeper {
        state,
        environment,
        key,
        asked,
    };
    if asked.actor.kind() == v1::ActorKind::Person {
        return gatekeeper.decide(command);
    }
    let mut events = act(state, environment, key, command)?;
    if let Some(state) = state.filter(|_| !events.is_empty()) {
        events.extend(authority::voided(state, None, asked.now));
    }
    Ok(events)
}

/// Records what time makes due: expired requests and late reviews.
pub fn settle(state: &FlagState, now: jiff::Timestamp) -> Vec<v1::Event> {
    authority::expired(state, now)
}

/// Decides a command whose actor is authorized.
pub(super) fn act(
    state: Option<&FlagState>,
    environment: &EnvironmentId,
    key: &FlagKey,
    command: &FlagCommand,
) -> Result<Vec<v1::Event>, FlagRefusal> {
    if let FlagCommand::Define { .. } = command {
        return define(state, environment, key, command);
    }
    let Some(state) = state else {
        return Err(FlagRefusal::NotDefined {
            key: key.clone(),
            environment: environment.clone(),
        });
    };
    match command {
        FlagCommand::Define { .. } => Ok(Vec::new()),
        FlagCommand::Set {
            to,
            reason,
            rollout,
            step,
            expect,
        } => {
            check_setting(key, "new", to)?;
            if expect
                .as_ref()
                .is_some_and(|expect| *expect != state.setting)
            {
                return Err(FlagRefusal::Changed {
                    key: key.clone(),
                    by: state.changed_by.clone(),
                });
            }
            change(state, to, reason, rollout.as_ref(), step.as_ref())
        }
        FlagCommand::Safe {
            reason,
            rollout,
            step,
        } => change(state, &state.safe, reason, rollout.as_ref(), step.as_ref()),
        FlagCommand::Archive { reason } => {
            let reason = check_reason(key, reason)?;
            if state.archived.is_some() {
                return Ok(Vec::new());
            }
            Ok(vec![event(Kind::FlagArchived(v1::FlagArchived { reason }))])
        }
        FlagCommand::Confirm { .. }
        | FlagCommand::Withdraw { .. }
        | FlagCommand::BreakGlass { .. }
        | FlagCommand::Review { .. } => Err(FlagRefusal::Glass {
            what: "settle requests".to_owned(),
            problem: "only persons do that",
        }),
    }
}

pub(super) fn event(kind: Kind) -> v1::Event {
    v1::Event { kind: Some(kind) }
}

fn define(
    state: Option<&FlagState>,
    environment: &EnvironmentId,
    key: &FlagKey,
    command: &FlagCommand,
) -> Result<Vec<v1::Event>, FlagRefusal> {
    let FlagCommand::Define {
        description,
        owner,
        safe,
        initial,
        retire_by,
        salt,
    } = command
    else {
        return Ok(Vec::new());
    };
    check_setting(key, "safe", safe)?;
    check_setting(key, "initial", initial)?;
    check_text(key, "description", description)?;
    check_text(key, "owner", owner)?;
    if !retire_by.is_empty() && retire_by.parse::<jiff::civil::Date>().is_err() {
        return Err(FlagRefusal::Text {
            key: key.clone(),
            field: "retire_by",
            problem: format!("`{retire_by}` is not a date; write one such as 2026-03-31"),
        });
    }
    let salt = salt.as_deref().unwrap_or(key.as_str());
    check_text(key, "salt", salt)?;
    if let Some(state) = state {
        if let Some(reason) = &state.archived {
            return Err(FlagRefusal::Archived {
                key: key.clone(),
                reason: reason.clone(),
            });
        }
        let differs = if state.safe != *safe {
            Some("safe value")
        } else if state.owner != *owner {
            Some("owner")
        } else if state.description != *description {
            Some("description")
        } else if state.retire_by != *retire_by {
            Some("retire-by date")
        } else if state.salt != salt {
            Some("salt")
        } else {
            None
        };
        return match differs {
            None => Ok(Vec::new()),
            Some(field) => Err(FlagRefusal::Exists {
                key: key.clone(),
                environment: environment.clone(),
                field,
            }),
        };
    }
    Ok(vec![event(Kind::FlagDefined(v1::FlagDefined {
        key: key.to_string(),
        environment: environment.to_string(),
        description: description.clone(),
        owner: owner.clone(),
        safe: Some(safe.clone()),
        initial: Some(initial.clone()),
        retire_by: retire_by.clone(),
        bucketing: BUCKETING.to_owned(),
        salt: salt.to_owned(),
    }))])
}

fn change(
    state: &FlagState,
    to: &v1::FlagSetting,
    reason: &str,
    rollout: Option<&RolloutId>,
    step: Option<&StepId>,
) -> Result<Vec<v1::Event>, FlagRefusal> {
    let reason = check_reason(&state.key, reason)?;
    if let Some(archived) = &state.archived {
        return Err(FlagRefusal::Archived {
            key: state.key.clone(),
            reason: archived.clone(),
        });
    }
    // A person who switches off a flag that a rollout has already switched off takes it over:
    // record it, so that the rollout's undo does not switch it on again.
    let takes_over = rollout.is_none() && state.held_by_rollout && to.mode() == v1::FlagMode::Off;
    if state.setting == *to && !takes_over {
        return Ok(Vec::new());
    }
    Ok(vec![event(Kind::FlagChanged(v1::FlagChanged {
        from: Some(state.setting.clone()),
        to: Some(to.clone()),
        reason,
        rollout_id: rollout.map(ToString::to_string).unwrap_or_default(),
        step_id: step.map(ToString::to_string).unwrap_or_default(),
    }))])
}

pub(super) fn check_reason(key: &FlagKey, reason: &str) -> Result<String, FlagRefusal> {
    let reason = reason.trim();
    if person::is_blank(reason) {
        return Err(FlagRefusal::ReasonMissing { key: key.clone() });
    }
    check_text(key, "reason", reason)?;
    Ok(reason.to_owned())
}

fn check_text(key: &FlagKey, field: &'static str, text: &str) -> Result<(), FlagRefusal> {
    let problem = if text.trim().is_empty() {
        "it is empty; give one".to_owned()
    } else if text.len() > MAX_TEXT_BYTES {
        format!(
            "it has {} bytes, at most {MAX_TEXT_BYTES} are kept; shorten it",
            text.len()
        )
    } else {
        return Ok(());
    };
    Err(FlagRefusal::Text {
        key: key.clone(),
        field,
        problem,
    })
}

fn check_setting(
    key: &FlagKey,
    what: &'static str,
    setting: &v1::FlagSetting,
) -> Result<(), FlagRefusal> {
    let refuse = |problem: String| {
        Err(FlagRefusal::Setting {
            key: key.clone(),
            what,
            problem,
        })
    };
    let mode = match v1::FlagMode::try_from(setting.mode) {
        Ok(mode) if mode != v1::FlagMode::Unspecified => mode,
        _ => {
            return refuse(
                "it has no mode; give one of OFF, BETA, PARALLEL, PERCENTAGE, ON".to_owned(),
            );
        }
    };
    if setting.percentage_millis > TOTAL_MILLIS {
        return refuse(format!(
            "{} thousandths of a percent are more than {TOTAL_MILLIS}; give 0 to {TOTAL_MILLIS}",
            setting.percentage_millis
        ));
    }
    if mode != v1::FlagMode::Percentage && setting.percentage_millis != 0 {
        return refuse(format!(
            "mode {} takes no percentage; use mode PERCENTAGE",
            mode.as_str_name()
        ));
    }
    if mode != v1::FlagMode::Beta {
        if setting.beta_labels.is_empty() {
            return Ok(());
        }
        return refuse(format!(
            "mode {} takes no labels; use mode BETA",
            mode.as_str_name()
        ));
    }
    let labels = &setting.beta_labels;
    let different: BTreeSet<&String> = labels.iter().collect();
    if labels.is_empty() || labels.len() > MAX_LABELS || different.len() != labels.len() {
        return refuse(format!(
            "mode BETA takes 1 to {MAX_LABELS} different labels, {} of {} are different",
            different.len(),
            labels.len()
        ));
    }
    match labels
        .iter()
        .find(|l| l.trim() != l.as_str() || l.is_empty() || l.len() > 128)
    {
        Some(label) => refuse(format!(
            "label `{label}` is empty, padded or longer than 128 bytes"
        )),
        None => Ok(()),
    }
}

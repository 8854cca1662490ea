//! Decides how to undo a step's flag change, given the flag's current setting: compare and set. The
//! answer is the same when a rollback is listed and when the undo acts on it.

use rollbook_proto::v1::{self, FlagMode, event::Kind};

use crate::ids::{RolloutId, StepId};
use crate::journal::StoredCommit;

/// The change to undo.
#[derive(Debug, Clone, Copy)]
pub struct ChangeToUndo<'a> {
    /// The rollout that made it.
    pub rollout: &'a RolloutId,
    /// Its step.
    pub step: &'a StepId,
    /// The setting that the step writes.
    pub target: &'a v1::FlagSetting,
    /// Undo to the flag's safe value (a rollback of level `flags`) instead of the previous setting.
    pub to_safe: bool,
}

/// How to undo the change.
#[derive(Debug, Clone, PartialEq)]
pub enum FlagUndo {
    /// Write this setting, if the flag has not changed meanwhile.
    Write(v1::FlagSetting),
    /// Leave the flag as it is, for this reason: nothing of the change is left to undo.
    Leave(String),
    /// Leave the flag as it is, for this reason: it is neither off nor as before, but someone else
    /// set it.
    LeaveOn(String),
}

/// Decides how to undo the change from the flag's own history, so that it is right even after a
/// crash between the change and the step's result. `now` is the flag's current setting, or its
/// setting once the undos before this one are done.
///
/// A flag that someone else has changed since is left alone. Going to the safe value is always
/// allowed, except that it never switches on a flag that is off.
pub fn flag_undo(
    history: &[StoredCommit],
    now: &v1::FlagSetting,
    safe: &v1::FlagSetting,
    change: &ChangeToUndo<'_>,
) -> FlagUndo {
    let changes = || {
        let events = history.iter().flat_map(|stored| {
            let actor = stored.commit.actor.as_ref();
            let by = actor.map_or("", |actor| actor.name.as_str());
            stored.commit.events.iter().map(move |event| (by, event))
        });
        events.filter_map(|(by, event)| match &event.kind {
            Some(Kind::FlagChanged(changed)) => Some((by, changed)),
            _ => None,
        })
    };
    let is_off = now.mode() == FlagMode::Off;
    if change.to_safe {
        return if now == safe {
            FlagUndo::Leave("it has its safe value already".to_owned())
        } else if is_off {
            FlagUndo::Leave("it is off, and going back switches no flag on".to_owned())
        } else {
            FlagUndo::Write(safe.clone())
        };
    }
    let own = |changed: &v1::FlagChanged| changed.rollout_id == change.rollout.as_str();
    let before = changes()
        .filter(|(_, changed)| {
            own(changed)
                && changed.step_id == change.step.as_str()
                && changed.to.as_ref() == Some(change.target)
        })
        .filter_map(|(_, changed)| changed.from.clone())
        .next_back();
    let Some(before) = before else {
        return FlagUndo::Leave("this step never changed it".to_owned());
    };
    // The last change that was not made by this rollout.
    let other = changes().next_back().filter(|(_, changed)| !own(changed));
    let since = other.map_or_else(String::new, |(by, changed)| {
        format!("; {by} changed it since: {}", changed.reason)
    });
    if now != change.target {
        let why = format!("it is no longer as this step set it{since}");
        if is_off || *now == before {
            FlagUndo::Leave(why)
        } else {
            FlagUndo::LeaveOn(why)
        }
    } else if is_off && other.is_some() {
        FlagUndo::Leave(format!(
            "it was switched off independently of this step{since}"
        ))
    } else {
        FlagUndo::Write(before)
    }
}

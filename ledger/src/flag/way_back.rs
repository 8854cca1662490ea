//! What taking a step's flag change back means, as the flag stands now: compare and set. The same
//! answer is listed before a rollback and acted upon by the undo.

use rollbook_proto::v1::{self, FlagMode, event::Kind};

use crate::ids::{RolloutId, StepId};
use crate::journal::StoredCommit;

/// Which change is to be taken back, and how far.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// The rollout that made it.
    pub rollout: &'a RolloutId,
    /// Its step.
    pub step: &'a StepId,
    /// What the step sets.
    pub target: &'a v1::FlagSetting,
    /// To the flag's safe value (a rollback of level `flags`), not to what was before.
    pub to_safe: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum WayBack {
    /// Write this, if the flag still is as it was looked at.
    Write(v1::FlagSetting),
    /// Leave it as it is, for this reason: nothing of the change is left to take back.
    Leave(String),
    /// Leave it as it is, for this reason: it is not off, and not what it was before either, but
    /// that is somebody else's doing.
    LeaveOn(String),
}

/// Decides by the flag's own history, so that it is right after a crash between the change and
/// the step's result. `now` is what the flag is set to, or will be once what comes before this
/// undo is done.
///
/// A flag that somebody else has changed since is theirs: it is left. Going to the safe value is
/// allowed from anywhere, except that it never switches a flag on again that is off.
pub fn way_back(
    history: &[StoredCommit],
    now: &v1::FlagSetting,
    safe: &v1::FlagSetting,
    change: &Change<'_>,
) -> WayBack {
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
            WayBack::Leave("it has its safe value already".to_owned())
        } else if is_off {
            WayBack::Leave("it is off, and going back switches no flag on".to_owned())
        } else {
            WayBack::Write(safe.clone())
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
        return WayBack::Leave("this step never changed it".to_owned());
    };
    // Who has had the last word, besides this rollout.
    let other = changes().next_back().filter(|(_, changed)| !own(changed));
    let since = other.map_or_else(String::new, |(by, changed)| {
        format!("; {by} changed it since: {}", changed.reason)
    });
    if now != change.target {
        let why = format!("it is no longer as this step set it{since}");
        if is_off || *now == before {
            WayBack::Leave(why)
        } else {
            WayBack::LeaveOn(why)
        }
    } else if is_off && other.is_some() {
        WayBack::Leave(format!("it was switched off apart from this step{since}"))
    } else {
        WayBack::Write(before)
    }
}

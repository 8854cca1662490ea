//! What a step does to the world, and what takes it back.

use super::super::step::{Action, Changes, Http, Run, Script, Sql, Step, Undo};

/// How a step's effect is taken back, with what flags and migrations derive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EffectiveUndo<'a> {
    /// There is no effect to take back.
    Nothing,
    /// It has an effect, and the plan says that nothing takes it back (`undo: none`).
    None,
    /// It has an effect that cannot be taken back.
    Irreversible,
    /// Write the value the flag had before the step.
    RestoreFlag {
        /// The flag.
        key: &'a str,
    },
    /// Run the migration's `revert`.
    Revert {
        /// Source of the migration.
        source: &'a str,
        /// The script.
        revert: &'a Script,
    },
    /// A command.
    Run(&'a Run),
    /// A request.
    Http(&'a Http),
    /// A script; its `deploy` is run.
    Sql(&'a Sql),
    /// Instructions for a person.
    Manual(&'a str),
}

impl EffectiveUndo<'_> {
    /// A machine or a person has something to do.
    pub fn is_possible(&self) -> bool {
        !matches!(self, Self::Nothing | Self::None | Self::Irreversible)
    }

    /// A worker can do it alone.
    pub fn is_automatic(&self) -> bool {
        self.is_possible() && !matches!(self, Self::Manual(_))
    }
}

/// The step changes something outside the ledger that could need taking back.
///
/// Commands and requests do unless `changes: nothing`; requests by a method that RFC 9110
/// §9.2.1 calls safe (GET, HEAD, OPTIONS) do not unless `changes` says otherwise.
pub fn has_effect(step: &Step) -> bool {
    match (&step.action, step.changes) {
        (_, Some(Changes::Nothing)) => false,
        (Action::Run(_), _) => true,
        (Action::Http(http), None) => !is_safe_method(&http.method),
        (Action::Http(_), Some(_)) => true,
        (Action::Sql(sql), _) => sql.deploy.is_some(),
        (Action::Flag(_), _) => true,
        (Action::Manual(_), changes) => changes.is_some(),
        (
            Action::Snapshot(_)
            | Action::Compare(_)
            | Action::Audit(_)
            | Action::Watch(_)
            | Action::Notify(_)
            | Action::Wait(_),
            _,
        ) => false,
    }
}

/// What can tell that the step's effect is gone once it was undone, in words; `None`: nothing of
/// the plan can. The same for an undo by a worker and by a person.
pub fn undo_verified_by(step: &Step) -> Option<&'static str> {
    if matches!(effective_undo(step), EffectiveUndo::RestoreFlag { .. }) {
        return Some("the flag is read");
    }
    if step.undo_verify.is_some() {
        return Some("`undo.verify` holds");
    }
    match &step.action {
        _ if step.verify.is_some() => Some("`verify` no longer passes"),
        Action::Sql(Sql {
            deploy: Some(_),
            verify: Some(_),
            ..
        }) => Some("`verify` no longer passes"),
        Action::Flag(_) => Some("the flag is read"),
        _ => None,
    }
}

/// The step's action reads and measures and can do nothing else, by its kind and not only by what
/// the plan says of it: after a crash it goes on elsewhere. Of a command, a message and a request
/// that is more than a question nobody but their author can say what doing them twice does.
pub fn only_reads(step: &Step) -> bool {
    match &step.action {
        Action::Sql(sql) => sql.deploy.is_none(),
        Action::Http(http) => is_safe_method(&http.method),
        Action::Snapshot(_) | Action::Compare(_) | Action::Audit(_) | Action::Watch(_) => true,
        Action::Run(_)
        | Action::Flag(_)
        | Action::Manual(_)
        | Action::Notify(_)
        | Action::Wait(_) => false,
    }
}

/// By the definition of HTTP a request that asks and changes nothing.
fn is_safe_method(method: &str) -> bool {
    ["GET", "HEAD", "OPTIONS"].contains(&method.to_ascii_uppercase().as_str())
}

/// How a step's effect is taken back: what the plan says, or what flags and migrations derive.
pub fn effective_undo(step: &Step) -> EffectiveUndo<'_> {
    match &step.undo {
        Undo::None if has_effect(step) => EffectiveUndo::None,
        Undo::None => EffectiveUndo::Nothing,
        Undo::Irreversible => EffectiveUndo::Irreversible,
        Undo::Run(run) => EffectiveUndo::Run(run),
        Undo::Http(http) => EffectiveUndo::Http(http),
        Undo::Sql(sql) => EffectiveUndo::Sql(sql),
        Undo::Manual(text) => EffectiveUndo::Manual(text),
        Undo::Unset => match &step.action {
            Action::Flag(flag) => EffectiveUndo::RestoreFlag { key: &flag.key },
            Action::Sql(Sql {
                source,
                deploy: Some(_),
                revert: Some(revert),
                ..
            }) => EffectiveUndo::Revert { source, revert },
            _ if has_effect(step) => EffectiveUndo::None,
            _ => EffectiveUndo::Nothing,
        },
    }
}

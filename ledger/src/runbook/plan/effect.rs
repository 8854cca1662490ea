//! What effect a step has, and what undoes it.

use super::super::step::{Action, Changes, Http, Run, Script, Sql, Step, Undo};

/// How a step's effect is undone, including the undo derived for flags and migrations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EffectiveUndo<'a> {
    /// There is no effect to undo.
    Nothing,
    /// There is an effect, and the plan declares that nothing undoes it (`undo: none`).
    None,
    /// There is an effect that cannot be undone.
    Irreversible,
    /// Write the flag's value from before the step.
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
    /// Run a command.
    Run(&'a Run),
    /// Send a request.
    Http(&'a Http),
    /// Run a script; its `deploy` is executed.
    Sql(&'a Sql),
    /// A person follows instructions.
    Manual(&'a str),
}

impl EffectiveUndo<'_> {
    /// True if a worker or a person has to do something.
    pub fn is_possible(&self) -> bool {
        !matches!(self, Self::Nothing | Self::None | Self::Irreversible)
    }

    /// True if a worker can do it alone.
    pub fn is_automatic(&self) -> bool {
        self.is_possible() && !matches!(self, Self::Manual(_))
    }
}

/// True if the step changes something outside the ledger that may need undoing.
///
/// Commands and requests do unless `changes: nothing`; requests by a method that RFC 9110 §9.2.1
/// calls safe (GET, HEAD, OPTIONS) do not unless `changes` says otherwise.
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

/// Describes what can verify that the step's effect is gone after an undo; `None` if nothing in the
/// plan can. It is the same whether a worker or a person did the undo.
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

/// True if the step only reads and measures, by its kind and not just by the plan's declaration:
/// after a crash another worker continues it. For a command, a message or a request that may change
/// something, only the author can say whether it may run twice.
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

/// True for methods that HTTP defines as safe.
fn is_safe_method(method: &str) -> bool {
    ["GET", "HEAD", "OPTIONS"].contains(&method.to_ascii_uppercase().as_str())
}

/// Returns how a step's effect is undone, as the plan says or as derived for flags and migrations.
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

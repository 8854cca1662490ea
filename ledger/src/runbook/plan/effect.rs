//! What effect a step has, and what undoes it.

use super::super::kind::{Http, Run, Sql};
use super::super::script::Script;
use super::super::step::{Changes, Step};
use super::super::undo::Undo;

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
    step.changes != Some(Changes::Nothing) && step.action.kind().has_effect(step.changes)
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
    if step.verify.is_some() {
        return Some("`verify` no longer passes");
    }
    step.action.kind().verified_undo()
}

/// True if the step only reads and measures, by its kind and not just by the plan's declaration:
/// after a crash another worker continues it. For a command, a message or a request that may change
/// something, only the author can say whether it may run twice.
pub fn only_reads(step: &Step) -> bool {
    step.action.kind().only_reads()
}

/// Returns how a step's effect is undone, as the plan says or as derived for flags and migrations.
pub fn effective_undo(step: &Step) -> EffectiveUndo<'_> {
    let otherwise = || {
        if has_effect(step) {
            EffectiveUndo::None
        } else {
            EffectiveUndo::Nothing
        }
    };
    match &step.undo {
        Undo::None => otherwise(),
        Undo::Irreversible => EffectiveUndo::Irreversible,
        Undo::Run(run) => EffectiveUndo::Run(run),
        Undo::Http(http) => EffectiveUndo::Http(http),
        Undo::Sql(sql) => EffectiveUndo::Sql(sql),
        Undo::Manual(text) => EffectiveUndo::Manual(text),
        Undo::Unset => step.action.kind().derived_undo().unwrap_or_else(otherwise),
    }
}

//! The kinds of steps: one file for each, with its fields, its lint rules and its answers to the
//! questions that other rules ask.

mod audit;
mod compare;
mod flag;
mod http;
mod manual;
mod notify;
mod run;
mod snapshot;
mod sql;
mod wait;
mod watch;

pub use audit::AuditStep;
pub use compare::{COMPARE_RECORDS, CompareStep};
pub use flag::FlagStep;
pub use http::Http;
pub use manual::Manual;
pub use notify::Notify;
pub use run::Run;
pub use snapshot::SnapshotStep;
pub use sql::{Sql, Transaction};
pub use wait::Wait;
pub use watch::{Threshold, Watch};

use super::diagnostic::Path;
use super::environment::Env;
use super::lint::{Linter, StepPart};
use super::plan::EffectiveUndo;
use super::script::Script;
use super::span::Span;
use super::step::Changes;

/// Registers the kinds: passes the key in the file, the variant of [`Action`] and the type of the
/// fields of each kind to the macro `$make`.
macro_rules! with_step_kinds {
    ($make:ident) => {
        $make! {
            /// Action: a command.
            run: Run(Run),
            /// Action: an HTTP request.
            http: Http(Http),
            /// Action: a migration, or a query with an expectation.
            sql: Sql(Sql),
            /// Action: a flag change.
            flag: Flag(FlagStep),
            /// Action: something a person does.
            manual: Manual(Manual),
            /// Action: capture outputs.
            snapshot: Snapshot(SnapshotStep),
            /// Action: compare two captures.
            compare: Compare(CompareStep),
            /// Action: audit deal types.
            audit: Audit(AuditStep),
            /// Action: measure over a time.
            watch: Watch(Watch),
            /// Action: tell someone.
            notify: Notify(Notify),
            /// Action: let time pass.
            wait: Wait(Wait),
        }
    };
}
pub(super) use with_step_kinds;

macro_rules! action {
    ($($(#[$($about:tt)*])* $key:ident: $variant:ident($fields:ident),)*) => {
        /// What a step does.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Action {
            $(
                $(#[$($about)*])*
                $variant($fields),
            )*
        }

        impl Action {
            /// The keys of all kinds, in the order in which error texts list them.
            pub const KEYS: &'static [&'static str] = &[$($fields::KEY),*];

            /// Returns the kind with its answers.
            pub fn kind(&self) -> &dyn StepKind {
                match self {
                    $(Self::$variant(fields) => fields,)*
                }
            }

            /// Returns the kind, to fill in its scripts.
            pub(super) fn kind_mut(&mut self) -> &mut dyn StepKind {
                match self {
                    $(Self::$variant(fields) => fields,)*
                }
            }
        }

        $(
            impl $fields {
                /// Its key in the file.
                pub const KEY: &'static str = stringify!($key);
            }
        )*
    };
}
with_step_kinds!(action);

/// What a kind of step answers to the rules of plans and rollouts. The defaults are those of a step
/// that a worker carries out and that changes nothing.
///
/// The answers rest on the fields of the kind alone. What the step declares besides (`changes`,
/// `undo`, `idempotent`) is combined with them by the rules, such as
/// [`has_effect`](super::plan::has_effect).
pub trait StepKind {
    /// Returns its key in the file.
    fn name(&self) -> &'static str;

    /// Describes what it does, for `plan`. URLs in the text may still have passwords.
    fn describe(&self) -> String;

    /// Describes what else a reader of the plan needs to know, one line each.
    fn details(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns what it refers to elsewhere in the file, each with the path of the reference. `path`
    /// is that of its own fields.
    fn references(&self, path: &Path) -> Vec<(Path, Referent<'_>)> {
        let _ = path;
        Vec::new()
    }

    /// Reports the mistakes that concern this kind alone.
    fn lint(&self, linter: &mut Linter<'_>, part: &StepPart<'_>) {
        let _ = (linter, part);
    }

    /// Returns who carries it out.
    fn done_by(&self) -> DoneBy<'_> {
        DoneBy::Worker
    }

    /// True if it holds one of the worker's slots for steps while it runs.
    fn holds_slot(&self) -> bool {
        true
    }

    /// Returns how long a worker needs for it by the plan, besides the usual time limit.
    fn lasts(&self) -> Option<Span> {
        None
    }

    /// True if its worker reports how far it is.
    fn reports_progress(&self) -> bool {
        false
    }

    /// True if it changes something outside the ledger that may need undoing. `changes` is what the
    /// step declares, never [`Changes::Nothing`].
    fn has_effect(&self, changes: Option<Changes>) -> bool {
        let _ = changes;
        false
    }

    /// True if what it changes is data, whatever the step declares.
    fn changes_data(&self) -> bool {
        false
    }

    /// Returns the first words of a statement that removes data, if it looks like having one. Its
    /// undo does not bring the data back unless the undo itself kept it.
    fn removes_data(&self) -> Option<String> {
        None
    }

    /// True if it only reads and measures: after a crash another worker continues it.
    fn only_reads(&self) -> bool {
        false
    }

    /// True if it looks at something, so that running it again proves something and does no harm as
    /// long as it has no effect.
    fn is_check(&self) -> bool {
        matches!(self.done_by(), DoneBy::Worker)
    }

    /// Returns the undo that needs no `undo` in the plan.
    fn derived_undo(&self) -> Option<EffectiveUndo<'_>> {
        None
    }

    /// Tells how to give it an undo.
    fn undo_advice(&self) -> &'static str {
        "add `undo`, or say `undo: none` or `undo: irreversible`"
    }

    /// Says what holds once its effect is gone, if the kind itself can verify that, without a
    /// `verify` of the step.
    fn verified_undo(&self) -> Option<&'static str> {
        None
    }

    /// Returns the names of the measurements that it may record, except the columns of its query.
    fn records(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Returns the query whose columns it records.
    fn query(&self) -> Option<&str> {
        None
    }

    /// True if it passes although samples of this metric have no data.
    fn tolerates_gaps(&self, metric: &str) -> bool {
        let _ = metric;
        false
    }

    /// Returns the environment variables that it gives to a program.
    fn env(&self) -> Option<&Env> {
        None
    }

    /// Returns its scripts by key, to inline their files.
    fn scripts_mut(&mut self) -> Vec<(&'static str, &mut Script)> {
        Vec::new()
    }

    /// Returns the flag change that it makes. Since that is written to the ledger, any worker can
    /// undo it, it waits for no other step, and writing it twice is the same as writing it once.
    fn flag(&self) -> Option<&FlagStep> {
        None
    }

    /// Returns the capture that it takes.
    fn capture(&self) -> Option<&SnapshotStep> {
        None
    }

    /// Returns the comparison of two captures that it makes.
    fn comparison(&self) -> Option<&CompareStep> {
        None
    }

    /// Returns what it samples over a time, and how often.
    fn sampling(&self) -> Option<&Watch> {
        None
    }
}

/// Who carries a step out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DoneBy<'a> {
    /// A worker.
    Worker,
    /// A person, who then completes it.
    Person(&'a Manual),
    /// Nobody: it ends when this time has passed.
    Time(Span),
}

/// What a step refers to elsewhere in the file, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Referent<'a> {
    /// A source of any type.
    Source(&'a str),
    /// A source that is a database.
    Database(&'a str),
    /// A source that is an HTTP endpoint.
    Endpoint(&'a str),
    /// A flag.
    Flag(&'a str),
    /// A role.
    Role(&'a str),
    /// A channel.
    Channel(&'a str),
    /// A snapshot whose captures are read.
    Snapshot(&'a str),
    /// A snapshot that is taken from its source.
    Capture(&'a str),
    /// A metric that is sampled from its source.
    Metric(&'a str),
}

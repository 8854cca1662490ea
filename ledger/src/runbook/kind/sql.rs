//! The `sql` step: a migration, or a query with an expectation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Referent, StepKind};
use crate::runbook::diagnostic::{Code, Path};
use crate::runbook::lint::{Linter, Role, StepPart};
use crate::runbook::model::SourceKind;
use crate::runbook::plan::{EffectiveUndo, has_effect};
use crate::runbook::script::Script;
use crate::runbook::sql_text::{self, Dialect, Ending};
use crate::runbook::step::Changes;

/// A migration (`deploy`, `verify`, `revert`) or a `query` whose first row is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sql {
    /// Source name.
    pub source: String,
    /// Applied in one transaction, unless `transaction` says `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy: Option<Script>,
    /// Raises an error when the deployed shape is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Script>,
    /// Takes `deploy` back, data included; the step's undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revert: Option<Script>,
    /// A query, one statement: each column of the first row becomes a measurement of its name;
    /// no row is no data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The query must fail (a constraint that must refuse); it is rolled back either way.
    #[serde(default)]
    pub must_fail: bool,
    /// `none`: `deploy` and `revert` run one statement at a time, each by itself, for statements
    /// that no transaction holds (`VACUUM`, `CREATE INDEX CONCURRENTLY`). What was done before an
    /// error stays. Needs `verify` and `revert` or `undo`.
    #[serde(default, skip_serializing_if = "Transaction::is_one")]
    pub transaction: Transaction,
}

/// Whether a script happens whole or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transaction {
    /// One transaction around all of it. The default.
    #[default]
    One,
    /// None: each statement by itself.
    None,
}

impl Transaction {
    fn is_one(&self) -> bool {
        *self == Self::One
    }
}

impl StepKind for Sql {
    fn name(&self) -> &'static str {
        Self::KEY
    }

    fn describe(&self) -> String {
        if let Some(query) = &self.query {
            let must_fail = if self.must_fail {
                " (must be refused)"
            } else {
                ""
            };
            return format!("query {}: {query}{must_fail}", self.source);
        }
        let scripts: Vec<String> = [
            ("deploy", &self.deploy),
            ("verify", &self.verify),
            ("revert", &self.revert),
        ]
        .into_iter()
        .filter_map(|(key, script)| Some(format!("{key} {}", script.as_ref()?.shown())))
        .collect();
        let alone = match self.transaction {
            Transaction::One => "",
            Transaction::None => ", each statement by itself",
        };
        format!("{}: {}{alone}", self.source, scripts.join(", "))
    }

    fn references(&self, path: &Path) -> Vec<(Path, Referent<'_>)> {
        vec![(path.key("source"), Referent::Database(&self.source))]
    }

    fn lint(&self, linter: &mut Linter<'_>, part: &StepPart<'_>) {
        match part.role {
            Role::Action => self.check_action(linter, part),
            Role::Check => self.check_check(linter, &part.path),
            Role::Undo => self.check_undo(linter, &part.path),
        }
    }

    fn has_effect(&self, _: Option<Changes>) -> bool {
        self.deploy.is_some()
    }

    fn changes_data(&self) -> bool {
        true
    }

    fn removes_data(&self) -> Option<String> {
        let script = self.deploy.as_ref()?.text()?;
        sql_text::statements(script, Dialect::Postgres)
            .iter()
            .find_map(sql_text::Statement::removes_data)
    }

    fn only_reads(&self) -> bool {
        self.deploy.is_none()
    }

    fn derived_undo(&self) -> Option<EffectiveUndo<'_>> {
        self.deploy.as_ref()?;
        Some(EffectiveUndo::Revert {
            source: &self.source,
            revert: self.revert.as_ref()?,
        })
    }

    fn undo_advice(&self) -> &'static str {
        "add `revert`, or `undo: none`, or `undo: irreversible`"
    }

    fn verified_undo(&self) -> Option<&'static str> {
        let is_verified = self.deploy.is_some() && self.verify.is_some();
        is_verified.then_some("`verify` no longer passes")
    }

    fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    fn scripts_mut(&mut self) -> Vec<(&'static str, &mut Script)> {
        [
            ("deploy", &mut self.deploy),
            ("verify", &mut self.verify),
            ("revert", &mut self.revert),
        ]
        .into_iter()
        .filter_map(|(key, script)| Some((key, script.as_mut()?)))
        .collect()
    }
}

impl Sql {
    fn check_action(&self, linter: &mut Linter<'_>, part: &StepPart<'_>) {
        let path = &part.path;
        match (&self.deploy, &self.query) {
            (Some(_), Some(_)) => shape(linter, path, "has both `deploy` and `query`"),
            (None, None) if self.verify.is_none() => {
                shape(linter, path, "has none of `deploy`, `query` and `verify`");
            }
            (None, Some(_)) if self.verify.is_some() => {
                shape(linter, path, "has both `verify` and `query`");
            }
            (None, _) if self.revert.is_some() => {
                shape(linter, path, "has `revert` without `deploy`");
            }
            (_, None) if self.must_fail => {
                shape(linter, path, "has `must_fail` without `query`");
            }
            (None, _) if self.transaction == Transaction::None => {
                shape(linter, path, "has `transaction: none` without `deploy`");
            }
            _ => {}
        }
        if self.transaction == Transaction::None && !has_effect(part.placed.step) {
            shape(
                linter,
                path,
                "has `transaction: none`, which leaves what was done before an error, and says \
                 `changes: nothing`",
            );
        }
        self.check_statements(linter, path);
    }

    fn check_check(&self, linter: &mut Linter<'_>, path: &Path) {
        if self.query.is_some() == self.verify.is_some()
            || self.deploy.is_some()
            || self.revert.is_some()
        {
            shape(
                linter,
                path,
                "is a check and needs either `query` or `verify`",
            );
        }
    }

    fn check_undo(&self, linter: &mut Linter<'_>, path: &Path) {
        if self.deploy.is_none() || self.query.is_some() || self.revert.is_some() {
            shape(linter, path, "is an undo and needs `deploy`");
        }
        self.check_statements(linter, path);
    }

    /// Warns of statements that look like ones a step's transaction cannot hold. Only a warning,
    /// because only the database knows.
    fn check_statements(&self, linter: &mut Linter<'_>, path: &Path) {
        if self.transaction == Transaction::None {
            return;
        }
        let kind = linter.runbook.sources.get(&self.source).map(|s| s.kind);
        let dialect = match kind {
            Some(SourceKind::Sqlite) => Dialect::Sqlite,
            _ => Dialect::Postgres,
        };
        for (key, script, ending) in [
            ("deploy", &self.deploy, Ending::Commit),
            ("revert", &self.revert, Ending::Commit),
            ("verify", &self.verify, Ending::Any),
        ] {
            if let Some(text) = script.as_ref().and_then(Script::text) {
                let text = sql_text::without_mark(text);
                let text = sql_text::without_transaction(text, dialect, ending);
                check_script(linter, &text, dialect, (key, &path.key(key)));
            }
        }
    }
}

fn shape(linter: &mut Linter<'_>, path: &Path, what: &str) {
    linter.error(Code::SqlShape, path, format!("`sql` {what}"), None);
}

fn check_script(linter: &mut Linter<'_>, text: &str, dialect: Dialect, at: (&str, &Path)) {
    for statement in sql_text::statements(text, dialect) {
        let line = || sql_text::line_of(text, statement.range.start);
        let refused = if let Some(name) = statement.outside_transactions() {
            Some((
                format!("line {} of `{}`: no transaction holds {name}", line(), at.0),
                "give it to a step of its own with `transaction: none`",
            ))
        } else if statement.is_transaction_control()
            && (dialect == Dialect::Postgres || !statement.is_savepoint())
        {
            Some((
                format!(
                    "line {} of `{}`: {} begins, ends or marks a transaction, and the script \
                     runs in the step's own",
                    line(),
                    at.0,
                    statement.keyword()
                ),
                "leave it out, or split the script into two steps",
            ))
        } else {
            None
        };
        if let Some((message, todo)) = refused {
            linter.warn(Code::SqlTransaction, at.1, message, Some(todo.to_owned()));
        }
    }
}

//! SQL scripts: their shape, and statements that the database will refuse.

use super::super::action::{Check, Script, Sql, Transaction, Undo};
use super::super::diagnostic::{Code, Path};
use super::super::model::SourceKind;
use super::super::plan::has_effect;
use super::super::sql_text::{self, Dialect, Ending};
use super::super::step::Action;
use super::{Linter, Placed};

pub(super) fn check(linter: &mut Linter<'_>, placed: &Placed<'_>) {
    shapes(linter, placed);
    if let Action::Sql(sql) = &placed.step.action {
        statements(linter, sql, &placed.path.key("sql"));
    }
    if let Undo::Sql(sql) = &placed.step.undo {
        statements(linter, sql, &placed.path.key("undo").key("sql"));
    }
}

fn shapes(linter: &mut Linter<'_>, placed: &Placed<'_>) {
    if let Action::Sql(sql) = &placed.step.action {
        let path = placed.path.key("sql");
        match (&sql.deploy, &sql.query) {
            (Some(_), Some(_)) => shape(linter, &path, "has both `deploy` and `query`"),
            (None, None) if sql.verify.is_none() => {
                shape(linter, &path, "has none of `deploy`, `query` and `verify`");
            }
            (None, Some(_)) if sql.verify.is_some() => {
                shape(linter, &path, "has both `verify` and `query`");
            }
            (None, _) if sql.revert.is_some() => {
                shape(linter, &path, "has `revert` without `deploy`");
            }
            (_, None) if sql.must_fail => {
                shape(linter, &path, "has `must_fail` without `query`");
            }
            (None, _) if sql.transaction == Transaction::None => {
                shape(linter, &path, "has `transaction: none` without `deploy`");
            }
            _ => {}
        }
        if sql.transaction == Transaction::None && !has_effect(placed.step) {
            shape(
                linter,
                &path,
                "has `transaction: none`, which leaves what was done before an error, and says \
                 `changes: nothing`",
            );
        }
    }
    let checks = [
        (&placed.step.verify, placed.path.key("verify")),
        (
            &placed.step.undo_verify,
            placed.path.key("undo").key("verify"),
        ),
    ];
    for (check, path) in &checks {
        let Some(Check::Sql(sql)) = check else {
            continue;
        };
        let path = path.key("sql");
        if sql.query.is_some() == sql.verify.is_some()
            || sql.deploy.is_some()
            || sql.revert.is_some()
        {
            shape(
                linter,
                &path,
                "is a check and needs either `query` or `verify`",
            );
        }
    }
    if let Undo::Sql(sql) = &placed.step.undo {
        let path = placed.path.key("undo").key("sql");
        if sql.deploy.is_none() || sql.query.is_some() || sql.revert.is_some() {
            shape(linter, &path, "is an undo and needs `deploy`");
        }
    }
}

fn shape(linter: &mut Linter<'_>, path: &Path, what: &str) {
    linter.error(Code::SqlShape, path, format!("`sql` {what}"), None);
}

/// Warns of statements that look like ones a step's transaction cannot hold. Only a warning,
/// because only the database knows.
fn statements(linter: &mut Linter<'_>, sql: &Sql, path: &Path) {
    if sql.transaction == Transaction::None {
        return;
    }
    let kind = linter.runbook.sources.get(&sql.source).map(|s| s.kind);
    let dialect = match kind {
        Some(SourceKind::Sqlite) => Dialect::Sqlite,
        _ => Dialect::Postgres,
    };
    for (key, script, ending) in [
        ("deploy", &sql.deploy, Ending::Commit),
        ("revert", &sql.revert, Ending::Commit),
        ("verify", &sql.verify, Ending::Any),
    ] {
        if let Some(text) = script.as_ref().and_then(Script::text) {
            let text = sql_text::without_mark(text);
            let text = sql_text::without_transaction(text, dialect, ending);
            one_script(linter, &text, dialect, (key, &path.key(key)));
        }
    }
}

fn one_script(linter: &mut Linter<'_>, text: &str, dialect: Dialect, at: (&str, &Path)) {
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

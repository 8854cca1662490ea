//! Checks what a runbook means: references, order, undos, measurements, people and times. One file
//! per topic; each reports everything it finds. What concerns one kind of step alone is checked by
//! [`StepKind::lint`].

mod authority;
mod bounds;
mod calculators;
mod captures;
pub(super) mod effects;
pub(super) mod figures;
pub(super) mod flags;
pub(super) mod measures;
mod order;
mod people;
pub(super) mod programs;
mod references;
mod seats;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

use std::collections::BTreeMap;

use super::diagnostic::{Code, Diagnostics, Path, Severity};
use super::document::{Node, Position};
use super::findings::Findings;
use super::kind::StepKind;
use super::model::{Phase, Runbook};
use super::plan::Plan;
use super::step::Step;
use super::undo::Check;

/// Maximum duration of any wait, watch or timeout, in ms.
pub(super) const MAX_SPAN_MS: i64 = 400 * 86_400_000;

/// Checks a well-formed runbook; `params` are the effective parameters.
pub(super) fn lint(
    runbook: &Runbook,
    document: &Node,
    params: &BTreeMap<String, String>,
    environment: Option<&str>,
    findings: &mut Findings,
) {
    let mut linter = Linter {
        runbook,
        document,
        params,
        environment,
        findings,
    };
    order::check(&mut linter);
    references::check(&mut linter);
    effects::check(&mut linter);
    captures::check(&mut linter);
    flags::check(&mut linter);
    kinds(&mut linter);
    measures::check(&mut linter);
    people::check(&mut linter);
    seats::check(&mut linter);
    authority::check(&mut linter);
    programs::check(&mut linter);
    bounds::check(&mut linter);
    calculators::check(&mut linter);
}

/// Checks each action, check and undo by the rules of its kind.
fn kinds(linter: &mut Linter<'_>) {
    for placed in linter.steps() {
        for part in placed.parts() {
            part.kind.lint(linter, &part);
        }
    }
}

/// Checks a pinned plan by the rules of its runbook, so that a plan cannot pass where a file would
/// not. Findings have a path but no line.
pub fn check(plan: &Plan, environment: Option<&str>) -> Diagnostics {
    let mut findings = Findings::new("plan");
    match serde_json::to_value(plan.runbook()) {
        Ok(value) => lint(
            plan.runbook(),
            &Node::of(value),
            plan.params(),
            environment,
            &mut findings,
        ),
        Err(error) => findings.error(
            Code::Type,
            Position::NOWHERE,
            &Path::root(),
            error.to_string(),
            None,
        ),
    }
    findings.finish()
}

/// A runbook that is being checked, and what has been found.
pub struct Linter<'a> {
    pub(super) runbook: &'a Runbook,
    document: &'a Node,
    params: &'a BTreeMap<String, String>,
    environment: Option<&'a str>,
    findings: &'a mut Findings,
}

/// A step with its position.
#[derive(Clone)]
pub(super) struct Placed<'a> {
    phase: usize,
    pub(super) step: &'a Step,
    path: Path,
}

/// What a part is to its step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// What the step does.
    Action,
    /// Its `verify`, or that of its undo.
    Check,
    /// Its undo.
    Undo,
}

/// The action, a check or the undo of a step.
pub struct StepPart<'a> {
    pub(super) placed: &'a Placed<'a>,
    pub(super) role: Role,
    pub(super) kind: &'a dyn StepKind,
    /// The path of the kind's fields.
    pub(super) path: Path,
}

impl StepPart<'_> {
    pub(super) fn is_action(&self) -> bool {
        self.role == Role::Action
    }
}

impl<'a> Placed<'a> {
    fn parts(&'a self) -> Vec<StepPart<'a>> {
        let (step, undo) = (self.step, self.path.key("undo"));
        let parts = [
            (Role::Action, Some(step.action.kind()), &self.path),
            (
                Role::Check,
                step.verify.as_ref().map(Check::kind),
                &self.path.key("verify"),
            ),
            (
                Role::Check,
                step.undo_verify.as_ref().map(Check::kind),
                &undo.key("verify"),
            ),
            (Role::Undo, step.undo.kind(), &undo),
        ];
        let part = |(role, kind, path): (Role, Option<&'a dyn StepKind>, &Path)| {
            let kind = kind?;
            Some(StepPart {
                placed: self,
                role,
                kind,
                path: path.key(kind.name()),
            })
        };
        parts.into_iter().filter_map(part).collect()
    }
}

impl<'a> Linter<'a> {
    pub(super) fn error(
        &mut self,
        code: Code,
        path: &Path,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        self.findings
            .at(self.document, code, path, message, suggestion);
    }

    pub(super) fn warn(
        &mut self,
        code: Code,
        path: &Path,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        self.findings.add(
            (code, Severity::Warning),
            self.document.locate(path),
            path,
            message,
            suggestion,
        );
    }

    fn phases(&self) -> Vec<(&'a Phase, Path)> {
        self.runbook
            .phases
            .iter()
            .enumerate()
            .map(|(p, phase)| (phase, Path::root().key("phases").index(p)))
            .collect()
    }

    fn steps(&self) -> Vec<Placed<'a>> {
        self.runbook
            .phases
            .iter()
            .enumerate()
            .flat_map(|(p, phase)| {
                phase.steps.iter().enumerate().map(move |(s, step)| Placed {
                    phase: p,
                    step,
                    path: Path::root().key("phases").index(p).key("steps").index(s),
                })
            })
            .collect()
    }
}

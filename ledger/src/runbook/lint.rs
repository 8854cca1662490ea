//! Checks what a runbook means: references, order, undos, measurements, people and times. One file
//! per topic; each reports everything it finds.

mod authority;
mod bounds;
mod calculators;
mod checklists;
mod effects;
mod figures;
mod measures;
mod order;
mod people;
mod programs;
mod references;
mod scripts;
mod seats;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

use std::collections::BTreeMap;

use super::diagnostic::{Code, Diagnostics, Path, Severity};
use super::document::{Node, Position};
use super::findings::Findings;
use super::model::{Phase, Runbook};
use super::plan::Plan;
use super::step::Step;

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
    measures::check(&mut linter);
    people::check(&mut linter);
    seats::check(&mut linter);
    checklists::check(&mut linter);
    authority::check(&mut linter);
    programs::check(&mut linter);
    bounds::check(&mut linter);
    calculators::check(&mut linter);
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

struct Linter<'a> {
    runbook: &'a Runbook,
    document: &'a Node,
    params: &'a BTreeMap<String, String>,
    environment: Option<&'a str>,
    findings: &'a mut Findings,
}

/// A step with its position.
#[derive(Clone)]
struct Placed<'a> {
    phase: usize,
    step: &'a Step,
    path: Path,
}

impl<'a> Linter<'a> {
    fn error(
        &mut self,
        code: Code,
        path: &Path,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        self.findings
            .at(self.document, code, path, message, suggestion);
    }

    fn warn(
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

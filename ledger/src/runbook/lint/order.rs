//! Ids, needs and cycles.

use std::collections::{HashMap, HashSet};

use prost::Message;

use super::super::diagnostic::{Code, Path};
use super::super::plan::Plan;
use super::Linter;
use crate::ids::{EnvironmentId, FlagKey, IdError, PhaseId, StepId};
use crate::suggestion::suggest;

/// Maximum size of the plan's outline, which travels in one event, in bytes.
const MAX_OUTLINE_BYTES: usize = 48 * 1024;

pub(super) fn check(linter: &mut Linter<'_>) {
    names(linter);
    ids(linter);
    let dangling = needs(linter);
    if !dangling {
        cycles(linter);
    }
    size(linter);
}

fn names(linter: &mut Linter<'_>) {
    let runbook = linter.runbook;
    let root = Path::root();
    for name in runbook.environments.keys() {
        id(
            linter,
            &root.key("environments").key(name),
            EnvironmentId::new(name).err(),
        );
    }
    for name in runbook.flags.keys() {
        id(
            linter,
            &root.key("flags").key(name),
            FlagKey::new(name).err(),
        );
    }
    let path = root.key("metadata").key("name");
    let name = &runbook.metadata.name;
    let right = !name.is_empty()
        && name.len() <= crate::ids::MAX_ID_BYTES
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if !right {
        linter.error(
            Code::InvalidId,
            &path,
            format!("`{name}` is not a runbook name"),
            Some("use letters, digits and `-`".to_owned()),
        );
    }
}

fn id(linter: &mut Linter<'_>, path: &Path, error: Option<IdError>) {
    if let Some(error) = error {
        linter.error(Code::InvalidId, path, error.to_string(), None);
    }
}

fn duplicate<'a>(
    linter: &mut Linter<'_>,
    seen: &mut HashMap<&'a str, Path>,
    what: &str,
    name: &'a str,
    path: Path,
) {
    match seen.get(name) {
        Some(first) => {
            let at = linter.document.locate(first);
            linter.error(
                Code::Duplicate,
                &path,
                format!("{what} `{name}` occurs twice; first on line {}", at.line),
                Some("give each its own".to_owned()),
            );
        }
        None => {
            seen.insert(name, path);
        }
    }
}

fn ids(linter: &mut Linter<'_>) {
    let runbook = linter.runbook;
    let root = Path::root();
    if runbook.phases.is_empty() {
        linter.error(Code::Empty, &root.key("phases"), "there is no phase", None);
    }
    let mut seen = HashMap::new();
    for (phase, path) in linter.phases() {
        id(linter, &path.key("id"), PhaseId::new(&phase.id).err());
        duplicate(linter, &mut seen, "phase", &phase.id, path.key("id"));
        if phase.steps.is_empty() {
            linter.error(
                Code::Empty,
                &path,
                format!("phase `{}` has no step", phase.id),
                None,
            );
        }
    }
    let mut seen = HashMap::new();
    for placed in linter.steps() {
        let path = placed.path.key("id");
        id(linter, &path, StepId::new(&placed.step.id).err());
        duplicate(linter, &mut seen, "step", &placed.step.id, path);
    }
    let mut seen = HashMap::new();
    for (i, notice) in runbook.notices.iter().enumerate() {
        let path = root.key("notices").index(i).key("id");
        let error = StepId::new(&notice.id).err();
        id(linter, &path, error.map(|error| error.of("notice id")));
        duplicate(linter, &mut seen, "notice", &notice.id, path);
    }
    let mut seen = HashMap::new();
    for (i, window) in runbook.windows.iter().enumerate() {
        let path = root.key("windows").index(i).key("name");
        let error = StepId::new(&window.name).err();
        id(linter, &path, error.map(|error| error.of("window name")));
        duplicate(linter, &mut seen, "window", &window.name, path);
    }
    let mut seen = HashMap::new();
    for (i, metric) in runbook.success.iter().enumerate() {
        let path = root.key("success").index(i).key("name");
        duplicate(linter, &mut seen, "success metric", &metric.name, path);
    }
}

/// Checks that needs name existing steps; returns true if one does not, so that cycles are not
/// searched.
fn needs(linter: &mut Linter<'_>) -> bool {
    let phases: Vec<&str> = linter
        .runbook
        .phases
        .iter()
        .map(|p| p.id.as_str())
        .collect();
    let steps: Vec<&str> = linter.steps().iter().map(|p| p.step.id.as_str()).collect();
    let mut dangling = false;
    for (phase, path) in linter.phases() {
        for (i, need) in phase.needs.iter().flatten().enumerate() {
            if !phases.contains(&need.as_str()) {
                dangling = true;
                linter.error(
                    Code::DanglingNeed,
                    &path.key("needs").index(i),
                    format!("phase `{}` needs `{need}`, which is no phase", phase.id),
                    suggest(need, &phases),
                );
            }
        }
    }
    for placed in linter.steps() {
        for (i, need) in placed.step.needs.iter().flatten().enumerate() {
            if !steps.contains(&need.as_str()) {
                dangling = true;
                linter.error(
                    Code::DanglingNeed,
                    &placed.path.key("needs").index(i),
                    format!("step `{}` needs `{need}`, which is no step", placed.step.id),
                    suggest(need, &steps),
                );
            }
        }
    }
    dangling
}

/// A node that waits: a step, or the end of a phase (all its steps, then its gate).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Waiter<'a> {
    Step(&'a str),
    Phase(&'a str),
}

impl std::fmt::Display for Waiter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Step(id) => write!(f, "step {id}"),
            Self::Phase(id) => write!(f, "phase {id}"),
        }
    }
}

/// Finds cycles by depth-first search without recursion; reports each once, at one of its members.
fn cycles(linter: &mut Linter<'_>) {
    let mut edges: HashMap<Waiter<'_>, Vec<Waiter<'_>>> = HashMap::new();
    let mut order: Vec<(Waiter<'_>, Path)> = Vec::new();
    let mut before_phase: Option<&str> = None;
    for (phase, path) in linter.phases() {
        let phase_needs: Vec<Waiter<'_>> = match &phase.needs {
            Some(needs) => needs.iter().map(|n| Waiter::Phase(n)).collect(),
            None => before_phase.into_iter().map(Waiter::Phase).collect(),
        };
        let mut before: Option<&str> = None;
        for (s, step) in phase.steps.iter().enumerate() {
            let mut needs: Vec<Waiter<'_>> = match &step.needs {
                Some(needs) => needs.iter().map(|n| Waiter::Step(n)).collect(),
                None => before.into_iter().map(Waiter::Step).collect(),
            };
            needs.extend(&phase_needs);
            let waiter = Waiter::Step(&step.id);
            edges.insert(waiter, needs);
            let step_path = path.key("steps").index(s);
            order.push((
                waiter,
                if step.needs.is_some() {
                    step_path.key("needs")
                } else {
                    step_path
                },
            ));
            before = Some(&step.id);
        }
        let waiter = Waiter::Phase(&phase.id);
        edges.insert(
            waiter,
            phase.steps.iter().map(|s| Waiter::Step(&s.id)).collect(),
        );
        order.push((waiter, path));
        before_phase = Some(&phase.id);
    }
    let mut done: HashSet<Waiter<'_>> = HashSet::new();
    for (start, path) in &order {
        if done.contains(start) {
            continue;
        }
        if let Some(cycle) = search(*start, &edges, &mut done) {
            let names: Vec<String> = cycle.iter().map(ToString::to_string).collect();
            // Report it at a member's needs, not where the search began.
            let at = order
                .iter()
                .filter(|(waiter, _)| cycle.contains(waiter))
                .max_by_key(|(_, path)| {
                    path.segments().last() == Path::root().key("needs").segments().last()
                })
                .map_or(path, |(_, path)| path);
            linter.error(
                Code::Cycle,
                at,
                format!("these wait for each other: {}", names.join(" → ")),
                Some("remove one of these needs".to_owned()),
            );
        }
    }
}

fn search<'a>(
    start: Waiter<'a>,
    edges: &HashMap<Waiter<'a>, Vec<Waiter<'a>>>,
    done: &mut HashSet<Waiter<'a>>,
) -> Option<Vec<Waiter<'a>>> {
    let mut way: Vec<(Waiter<'a>, usize)> = vec![(start, 0)];
    let mut on_way: HashSet<Waiter<'a>> = HashSet::from([start]);
    let mut found = None;
    while let Some((waiter, next)) = way.last_mut() {
        let waiter = *waiter;
        let target = edges
            .get(&waiter)
            .and_then(|needs| needs.get(*next))
            .copied();
        *next += 1;
        match target {
            None => {
                way.pop();
                on_way.remove(&waiter);
                done.insert(waiter);
            }
            Some(target) if on_way.contains(&target) => {
                if found.is_none() {
                    let mut cycle: Vec<Waiter<'a>> = way
                        .iter()
                        .map(|(w, _)| *w)
                        .skip_while(|w| *w != target)
                        .collect();
                    cycle.push(target);
                    found = Some(cycle);
                }
            }
            Some(target) if done.contains(&target) => {}
            Some(target) => {
                way.push((target, 0));
                on_way.insert(target);
            }
        }
    }
    found
}

fn size(linter: &mut Linter<'_>) {
    // If the plan cannot be pinned, the checks above have reported it.
    let Ok(plan) = Plan::from_runbook(linter.runbook.clone(), linter.params.clone()) else {
        return;
    };
    let bytes = plan.outline().encoded_len();
    if bytes > MAX_OUTLINE_BYTES {
        linter.error(
            Code::TooLarge,
            &Path::root().key("phases"),
            format!(
                "ids and titles of all steps take {bytes} bytes, more than {MAX_OUTLINE_BYTES}"
            ),
            Some("split the runbook or shorten titles".to_owned()),
        );
    }
}

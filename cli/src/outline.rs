//! A plan as text: steps and gates in order, then windows, people, messages and ways back.

use std::collections::BTreeMap;

use rollbook_ledger::runbook::describe::{self, PlannedItem};
use rollbook_ledger::runbook::model::{Notice, Phase, Window, WindowKind};
use rollbook_ledger::runbook::{Plan, kind::DoneBy};

use crate::print::{self, BOLD, DIM, RED, paint};

/// The column of what belongs to a step.
const INDENT: &str = "      ";

/// The lines of a plan. `full`: with each step as written instead of in short.
pub(crate) fn of(plan: &Plan, full: bool) -> Vec<String> {
    let mut out = head(plan);
    let items = describe::describe(plan);
    for (id, phase) in plan.phases() {
        out.push(String::new());
        phase_head(plan, phase, &mut out);
        let mut before = None;
        for item in items.iter().filter(|item| item.phase == id.as_str()) {
            shown(plan, item, before, full, &mut out);
            before = Some(item.id.as_str());
        }
    }
    windows(plan, &mut out);
    people(plan, &mut out);
    notices(plan, &mut out);
    ways_back(plan, &mut out);
    success(plan, &mut out);
    parameters(plan, &mut out);
    out
}

fn head(plan: &Plan) -> Vec<String> {
    let metadata = &plan.runbook().metadata;
    let mut out = vec![format!(
        "{} {}",
        paint(BOLD, print::visible(&metadata.name)),
        print::visible(&metadata.version)
    )];
    if let Some(title) = &metadata.title {
        out.extend(print::wrapped("", title));
    }
    if let Some(description) = &metadata.description {
        out.extend(print::wrapped("", description));
    }
    out.extend(print::wrapped("owner: ", &metadata.owner));
    out.push(paint(DIM, format!("digest {}", plan.digest())));
    out
}

fn parameters(plan: &Plan, out: &mut Vec<String>) {
    if plan.params().is_empty() {
        return;
    }
    out.push(String::new());
    out.push(paint(BOLD, "Parameters"));
    for (name, value) in plan.params() {
        out.extend(print::wrapped(&format!("  {name} = "), value));
    }
}

fn phase_head(plan: &Plan, phase: &Phase, out: &mut Vec<String>) {
    out.push(paint(
        BOLD,
        format!(
            "Phase {} {}",
            print::visible(&phase.id),
            print::visible(&phase.title)
        ),
    ));
    let mut parts = Vec::new();
    if let Some(responsible) = &phase.responsible {
        parts.push(format!("done by {responsible}"));
    }
    if let Some(planned) = phase.planned {
        parts.push(format!("planned for {planned}"));
    }
    let before = plan.phases().find(|(id, _)| id.as_str() == phase.id);
    let needs = before.and_then(|(id, _)| plan.needs_of_phase(id));
    if let Some(needs) = needs.filter(|needs| !needs.is_empty()) {
        let needs: Vec<String> = needs.iter().map(ToString::to_string).collect();
        parts.push(format!("after phase {}", needs.join(", ")));
    }
    if !parts.is_empty() {
        out.extend(print::wrapped("  ", &parts.join(" · ")));
    }
}

/// One step or gate; `before` is the step that stands before it in its phase.
fn shown(plan: &Plan, item: &PlannedItem, before: Option<&str>, full: bool, out: &mut Vec<String>) {
    if item.kind == "gate" {
        out.extend(print::wrapped(
            &format!("  {} ", paint(BOLD, "◆ gate")),
            &item.what,
        ));
        return;
    }
    out.extend(print::wrapped(
        &format!("  {}  ", paint(BOLD, print::visible(&item.id))),
        &format!("{} ({})", item.title, item.kind),
    ));
    if let Some(loss) = &item.loss {
        let text = format!("[DESTRUCTIVE] {loss}");
        out.extend(
            print::wrapped(INDENT, &text)
                .into_iter()
                .map(|line| paint(RED, line)),
        );
    }
    if full {
        out.extend(written(plan, &item.id, INDENT));
        return;
    }
    out.extend(print::wrapped(INDENT, &item.what));
    for detail in &item.details {
        out.extend(print::wrapped(INDENT, detail));
    }
    let mut terms = Vec::new();
    // What comes first is said where it is not the step above; the phase says which phases do.
    let needs: Vec<&str> = item
        .needs
        .iter()
        .map(String::as_str)
        .filter(|need| !need.starts_with("phase "))
        .collect();
    if needs != before.into_iter().collect::<Vec<_>>() {
        terms.push(match needs.as_slice() {
            [] => "waits for no other step of the phase".to_owned(),
            needs => format!("after {}", needs.join(", ")),
        });
    }
    if let Some(environment) = &item.environment {
        terms.push(format!("in {environment}"));
    }
    if let Some(window) = &item.window {
        terms.push(format!("in window {window}"));
    }
    if let Some(when) = &item.when {
        terms.push(format!("when {when}"));
    }
    if let Some(undo) = &item.undo {
        terms.push(format!("undo: {undo}"));
    }
    if !terms.is_empty() {
        out.extend(
            print::wrapped(INDENT, &terms.join(" · "))
                .into_iter()
                .map(|line| paint(DIM, line)),
        );
    }
}

/// A step as written, each line after `indent`; empty if the plan has no such step.
pub(crate) fn written(plan: &Plan, id: &str, indent: &str) -> Vec<String> {
    let planned = plan.steps().find(|planned| planned.id.as_str() == id);
    let text = planned.map(|planned| describe::written(planned.step));
    let text = text.unwrap_or_default();
    text.lines()
        .map(|line| format!("{indent}{}", print::visible(line)))
        .collect()
}

fn windows(plan: &Plan, out: &mut Vec<String>) {
    let windows = &plan.runbook().windows;
    if windows.is_empty() {
        return;
    }
    out.push(String::new());
    out.push(paint(BOLD, "Windows"));
    for window in windows {
        out.extend(print::wrapped(
            &format!("  {:<12} ", print::visible(&window.name)),
            &window_text(window),
        ));
    }
}

fn window_text(window: &Window) -> String {
    let kind = match window.kind {
        WindowKind::Allow => "steps run only then",
        WindowKind::Deny => "no step runs then",
    };
    let mut parts = vec![kind.to_owned()];
    if let Some(cron) = &window.cron {
        let zone = window.time_zone.as_deref().unwrap_or("UTC");
        let lasts = window
            .duration
            .map(|duration| format!(" for {duration}"))
            .unwrap_or_default();
        parts.push(format!("cron {cron} ({zone}){lasts}"));
    }
    if let Some(from) = window.from {
        parts.push(format!("from {}", print::time(from)));
    }
    if let Some(until) = window.until {
        parts.push(format!("until {}", print::time(until)));
    }
    if !window.environments.is_empty() {
        parts.push(format!("in {}", window.environments.join(", ")));
    }
    if window.named_only {
        parts.push("only for the steps that name it".to_owned());
    }
    parts.join(" · ")
}

/// What a role is needed for.
#[derive(Default)]
struct Needed {
    gates: Vec<String>,
    steps: Vec<String>,
}

impl Needed {
    fn text(&self) -> String {
        let mut parts = Vec::new();
        for (verb, one, many, ids) in [
            ("signs", "gate", "gates", &self.gates),
            ("completes", "step", "steps", &self.steps),
        ] {
            match ids.as_slice() {
                [] => {}
                [id] => parts.push(format!("{verb} {one} {id}")),
                ids => parts.push(format!("{verb} {many} {}", ids.join(", "))),
            }
        }
        if parts.is_empty() {
            return "no gate or step in particular".to_owned();
        }
        parts.join("; ")
    }
}

/// Who is needed, and for what.
fn people(plan: &Plan, out: &mut Vec<String>) {
    let mut needed: BTreeMap<&str, Needed> = plan
        .roles()
        .keys()
        .map(|role| (role.as_str(), Needed::default()))
        .collect();
    for (id, phase) in plan.phases() {
        for rule in phase.gate.iter().flat_map(|gate| &gate.sign_offs) {
            let gates = &mut needed.entry(&rule.role).or_default().gates;
            gates.push(match rule.quorum {
                1 => id.to_string(),
                quorum => format!("{id} ({quorum} persons)"),
            });
        }
    }
    for planned in plan.steps() {
        if let DoneBy::Person(manual) = planned.step.action.kind().done_by()
            && let Some(role) = &manual.role
        {
            let steps = &mut needed.entry(role).or_default().steps;
            steps.push(planned.id.to_string());
        }
    }
    let contacts = &plan.runbook().metadata.contacts;
    if needed.is_empty() && contacts.is_empty() {
        return;
    }
    out.push(String::new());
    out.push(paint(BOLD, "Who is needed"));
    for (role, needs) in needed {
        let members = plan.role_members(role).join(" or ");
        out.extend(print::wrapped(
            &format!("  {:<12} ", print::visible(role)),
            &format!("{members}: {}", needs.text()),
        ));
    }
    if !contacts.is_empty() {
        out.push(String::new());
        out.push(paint(BOLD, "Whom to call"));
    }
    for (role, contact) in contacts {
        out.extend(print::wrapped(
            &format!("  {}: ", print::visible(role)),
            contact,
        ));
    }
}

fn notices(plan: &Plan, out: &mut Vec<String>) {
    let notices = &plan.runbook().notices;
    if notices.is_empty() {
        return;
    }
    out.push(String::new());
    out.push(paint(BOLD, "Notices"));
    for notice in notices {
        out.extend(print::wrapped(
            &format!("  {:<12} ", print::visible(&notice.id)),
            &format!(
                "to {} through {}, {}: {}",
                notice.audience,
                notice.channel,
                due(notice),
                notice.subject
            ),
        ));
    }
}

/// When a notice is sent.
fn due(notice: &Notice) -> String {
    let anchor = match notice.anchor.as_str() {
        event @ ("opened" | "started" | "closed") => format!("the rollout is {event}"),
        "rollback" => "a rollback starts".to_owned(),
        other => match other.strip_prefix("phase/") {
            Some(phase) => format!("phase {phase} starts"),
            None => other.to_owned(),
        },
    };
    let offset = notice.offset.to_string();
    match notice.offset.as_millis() {
        0 => format!("when {anchor}"),
        before if before < 0 => format!("{} before {anchor}", offset.trim_start_matches('-')),
        _ => format!("{offset} after {anchor}"),
    }
}

fn ways_back(plan: &Plan, out: &mut Vec<String>) {
    let runbook = plan.runbook();
    if runbook.rollbacks.is_empty() && runbook.decide.is_empty() {
        return;
    }
    out.push(String::new());
    out.push(paint(BOLD, "Ways back"));
    for (level, spec) in &runbook.rollbacks {
        let mut parts = Vec::new();
        if let Some(target) = spec.target {
            parts.push(format!("within {target}"));
        }
        parts.extend(spec.description.clone());
        out.extend(print::wrapped(
            &format!("  {:<14} ", level.as_str()),
            &parts.join(": "),
        ));
    }
    for decision in &runbook.decide {
        let automatic = if decision.auto {
            ", without asking"
        } else {
            ""
        };
        out.extend(print::wrapped(
            "  ",
            &format!(
                "if {}: {}{automatic}",
                decision.when,
                decision.then.as_str()
            ),
        ));
    }
}

fn success(plan: &Plan, out: &mut Vec<String>) {
    let success = &plan.runbook().success;
    if success.is_empty() {
        return;
    }
    out.push(String::new());
    out.push(paint(BOLD, "Success is measured by"));
    for metric in success {
        out.extend(print::wrapped(
            "  ",
            &format!("{}: {} ({})", metric.name, metric.target, metric.metric),
        ));
    }
}

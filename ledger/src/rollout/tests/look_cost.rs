//! What a look visits: everything that has something to report, and no step that has passed or only
//! waits.

use rollbook_proto::v1::Verdict;

use super::super::frontier::{Frontier, Look};
use super::super::{is_wanted, look, settle};
use super::story::*;
use crate::runbook::plan::VISITED;

/// Checks that a look by the frontier finds what a look at everything finds.
pub(super) fn looks_agree(story: &Story) {
    let (state, plan, now) = (&story.state, &story.plan, story.now);
    let whole = Frontier::whole(state, plan);
    let expected = look(state, plan, &whole, now);
    let due = |frontier| {
        settle::due(Look {
            state,
            plan,
            frontier,
            now,
        })
    };
    for frontier in [&story.frontier, &Frontier::of(state, plan)] {
        assert_eq!(look(state, plan, frontier, now), expected);
        assert_eq!(due(frontier), due(&whole));
    }
    for task in &expected.tasks {
        assert!(is_wanted(state, plan, task, now), "{task:?}");
    }
}

/// Returns the number of steps visited by one commit and the look after it, in the middle of a
/// chain of `phases` phases with `each` checks.
fn cost_of_a_look(phases: usize, each: usize) -> u64 {
    let steps = |p: usize| (0..each).map(move |s| check(&format!("{p}.{s}"))).collect();
    let listed = (0..phases)
        .map(|p| phase(&p.to_string(), steps(p)))
        .collect();
    let mut story = given(plan(serde_json::Value::Array(listed)));
    // Run each step by events alone; the settles in between are measured below.
    let carry_out = |step: &str, story: &mut Story| {
        for ask in [
            worker(start(step, 1)),
            worker(finish(step, 1, Verdict::Pass)),
        ] {
            let command_id = format!("{}", story.state.sequence);
            let events = story.decide(&ask, &command_id).unwrap();
            story.record(&events, &ask, &command_id);
        }
    };
    let ids: Vec<String> = story.state.steps.keys().map(ToString::to_string).collect();
    // Use the middle of a phase, so that each length does the same work.
    let middle = phases / 2 * each + each / 2;
    for step in ids.iter().take(middle) {
        carry_out(step, &mut story);
    }
    story.frontier.advance(&story.state, &story.plan);
    VISITED.set(0);
    carry_out(&ids[middle], &mut story);
    story.frontier.advance(&story.state, &story.plan);
    let next = look(&story.state, &story.plan, &story.frontier, story.now);
    let tasks: Vec<&str> = next.tasks.iter().map(|task| task.step.as_str()).collect();
    assert_eq!(tasks, [&ids[middle + 1]]);
    VISITED.get()
}

#[test]
fn a_look_costs_the_same_however_long_the_chain_of_passed_checks_is() {
    for (short, long) in [((1, 40), (1, 1_600)), ((2, 20), (80, 20))] {
        let visits = [short, long].map(|(phases, each)| cost_of_a_look(phases, each));
        assert_eq!(visits[0], visits[1], "{short:?} and {long:?}");
        // A decision walks the phase before its own.
        assert!(visits[1] <= 120, "{visits:?} visits");
    }
}

//! What a look costs, counted in look-ups of steps.

use rollbook_proto::v1::Verdict;

use super::story::*;
use crate::runbook::plan::LOOKED_UP;

/// Look-ups of one look at a chain of passed checks of this length, all but the last two done.
fn cost_of_a_look(length: usize, phases: usize) -> u64 {
    let each = length / phases;
    let phases: Vec<_> = (0..phases)
        .map(|p| {
            let steps = (0..each).map(|s| check(&format!("{p}.{s}"))).collect();
            phase(&p.to_string(), steps)
        })
        .collect();
    let last = format!("{}.{}", phases.len() - 1, each - 1);
    let mut story = given(plan(serde_json::Value::Array(phases)));
    // Each step is carried out by events alone: settling in between is what is measured below.
    let ids: Vec<String> = story.state.steps.keys().map(ToString::to_string).collect();
    for step in ids.iter().take(ids.len() - 2) {
        for ask in [
            worker(start(step, 1)),
            worker(finish(step, 1, Verdict::Pass)),
        ] {
            let command_id = format!("{}", story.state.sequence);
            let events = story.decide(&ask, &command_id).unwrap();
            story.apply(&events, &ask, &command_id);
        }
    }
    LOOKED_UP.set(0);
    assert_eq!(story.tasks().len(), 1);
    assert_ne!(story.tasks(), [last]);
    LOOKED_UP.get()
}

#[test]
fn a_look_at_a_chain_of_passed_checks_costs_a_few_look_ups_for_each_step() {
    for phases in [1, 4] {
        let (short, long) = (cost_of_a_look(40, phases), cost_of_a_look(160, phases));
        assert!(
            long <= short * 5,
            "four times as long a chain of {phases} phases costs {long} look-ups, not {short}"
        );
        assert!(long <= 160 * 40, "{long} look-ups for 160 steps");
    }
}

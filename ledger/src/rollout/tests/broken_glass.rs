//! What signers are told of what one person did alone.

use serde_json::json;

use super::super::command::Command;
use super::super::presented::presented;
use super::authority::{glass, running, text};
use super::story::*;

#[test]
fn a_gate_shows_what_was_done_alone_and_who_reviewed_it() {
    let gated = gated(
        "0",
        vec![change("0.1")],
        json!({"sign_offs": [{"role": "lead"}]}),
    );
    let plan = plan_with(
        json!([gated]),
        json!({"authority": {"break_glass": {
            "verbs": ["skip_critical"], "roles": ["lead"], "review_within": "2h"
        }}}),
    );
    let gate = gate_id("0");
    let story = running(plan);
    let before = presented(&story.state, &story.plan, &gate).unwrap();
    assert!(before.broken_glass.is_empty());
    let story = story
        .when(by("lee", glass(skip("0.1"))))
        .then(&["GlassBroken", "StepSkipped"]);
    let shown = presented(&story.state, &story.plan, &gate).unwrap();
    let [used] = shown.broken_glass.as_slice() else {
        panic!("{shown:?}")
    };
    assert_eq!(
        (used.what.as_str(), used.by.as_str()),
        ("skip step 0.1", "lee")
    );
    assert_eq!(used.reviewed_by, "");
    assert_ne!(shown.seen(), before.seen());
    let review = Command::Review {
        review: used.review.clone(),
        agreed: false,
        note: text("somebody was"),
    };
    let story = story.when(by("dora", review)).then(&["GlassReviewed"]);
    let reviewed = presented(&story.state, &story.plan, &gate).unwrap();
    let used = &reviewed.broken_glass[0];
    assert_eq!((used.reviewed_by.as_str(), used.agreed), ("dora", false));
}

//! Rules over state and plan that several decisions share.

pub(super) mod effects;
pub(super) mod gates;
pub(super) mod measures;
pub(super) mod people;
pub(super) mod progress;
pub(super) mod requests;
pub(super) mod reruns;
pub(super) mod rollback_preview;
pub(super) mod sources;
pub(super) mod start;
pub(super) mod terms;

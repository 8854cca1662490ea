//! Every rule as given / when / then: what it allows, and each way it refuses.

mod authority;
mod bounds;
mod broken_glass;
mod gates;
mod history;
mod lifecycle;
mod look_cost;
mod manual;
mod measured;
mod revision;
mod rollback;
mod rollback_report;
mod rollback_scope;
mod settling;
mod steps;
mod story;
mod views;
mod workers;

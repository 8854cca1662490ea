//! Every rule as given / when / then: what it allows, and each way it refuses.

mod authority;
mod bounds;
mod cost;
mod gates;
mod going_back;
mod history;
mod lifecycle;
mod manual;
mod measured;
mod revision;
mod rollback;
mod rollback_scope;
mod settling;
mod steps;
mod story;
mod views;
mod workers;

//! Every rule as given / when / then: the ways it allows, and each way it refuses.

mod authority;
mod gates;
mod history;
mod lifecycle;
mod manual;
mod revision;
mod rollback;
mod settling;
mod steps;
mod story;
mod workers;

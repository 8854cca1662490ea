//! The deals: what an inventory costs to integrate or to separate, and all that depends on it.
//!
//! [`Deals`] is what the worker fleet reaches of it, by ports of its own: calculators, what
//! comparisons are told of types and figures, and the audit of deal types.
//!
//! The model is pure: bytes and a table in, integer cents out. The same inputs give the same outputs
//! on every machine. `inventory` parses the stored JSON, `drivers` condenses it, `cost`,
//! `application`, `tsa`, `synergy` and `separation` are one rule set each, `assess` puts them
//! together and `outputs` names the results. [`audit`], [`lines`], [`load`] and [`migrate`] read and
//! write databases.
//!
//! "deal rules §n" in a comment names a section of the facts gathered about the deal tool that the
//! deal-type rollout describes; "deal rules, decisions" is the list of choices made where that tool
//! contradicts itself.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod application;
mod assess;
pub mod audit;
mod calculator;
mod category;
mod contribution;
mod cost;
mod declaration;
mod drivers;
mod error;
mod exact;
pub mod generate;
pub mod insight;
mod inventory;
mod kind;
pub mod lines;
pub mod load;
pub mod migrate;
pub mod model;
mod number;
mod outputs;
mod ports;
mod separation;
mod synergy;
mod tsa;
mod word;

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod worked_tests;

pub use application::ApplicationCost;
pub use assess::{Assessment, assess, compute};
pub use calculator::DealCalculator;
pub use category::AppCategory;
pub use contribution::{Contribution, DriverSource, contributions, driver_sources};
pub use cost::{CostLine, WorkItemKind};
pub use declaration::DealDeclaration;
pub use drivers::Drivers;
pub use error::DealError;
pub use inventory::{
    Application, Complexity, Deployment, Entity, Infrastructure, InfrastructureKind, Inventory,
    Organization, Vendor, parse,
};
pub use kind::{BUILT_IN_ALIASES, DealType, TypeClass, classify};
pub use model::{Model, ModelError, Phase};
pub use outputs::{METRICS, MetricDef, Outputs, Unit};
pub use ports::Deals;
pub use separation::SeparationItem;
pub use synergy::Synergy;
pub use tsa::Tsa;

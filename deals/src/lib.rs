//! The deals: what an inventory costs to integrate or to separate, and everything that depends on
//! it.
//!
//! [`Deals`] implements the ports of the worker fleet: calculators, the declaration of types and
//! figures for comparisons, and the audit of deal types.
//!
//! The model is pure: bytes and a table in, integer cents out. The same inputs give the same
//! outputs on every machine. `inventory` parses the stored JSON, `drivers` counts what the cost
//! rules use, `cost`, `application`, `tsa`, `synergy` and `separation` are one rule set each,
//! `assess` applies them all and `outputs` names the results. [`audit`], [`lines`], [`load`] and
//! [`migrate`] read and write databases.
//!
//! "deal rules §n" in a comment names a section of the facts collected about the deal tool that the
//! deal-type rollout describes; "deal rules, decisions" is the list of choices made where that tool
//! contradicts itself.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod application;
mod assess;
pub mod audit;
pub mod breakdown;
mod calculator;
mod category;
mod contribution;
mod cost;
mod declaration;
pub mod description;
mod drivers;
mod error;
mod exact;
mod formula;
pub mod generate;
mod inventory;
mod kind;
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
pub use drivers::{DriverDef, Drivers};
pub use error::DealError;
pub use formula::Formula;
pub use inventory::{
    Application, Complexity, Deployment, Entity, Infrastructure, InfrastructureKind, Inventory,
    Organization, Vendor, parse,
};
pub use kind::{BUILT_IN_ALIASES, DealType, TypeClass, classify};
pub use model::{Model, ModelError, WorkPhase};
pub use outputs::{METRICS, MetricDef, Outputs, Unit};
pub use ports::Deals;
pub use separation::SeparationItem;
pub use synergy::Synergy;
pub use tsa::Tsa;

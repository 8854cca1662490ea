//! The named results of the model, in a fixed order.

use serde::Serialize;

use super::application::MOVE;
use super::cost::{LICENCES, ONE_TIME};
use super::formula::Formula;
use super::kind::DealType;
use super::separation::SEPARATION;
use super::synergy::{ACHIEVE, SAVINGS};
use super::tsa::TSA;

/// The unit of a metric's integer value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// US cents.
    Cents,
    /// A number of things.
    Count,
}

/// One metric: its name in snapshots, rules and reports, and its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MetricDef {
    /// Stable name.
    pub name: &'static str,
    /// Unit of the value.
    pub unit: Unit,
    /// How it follows from the formulas of the parts.
    pub formula: &'static str,
    /// The deal types that it can be other than 0 for.
    pub deal_types: &'static [DealType],
}

const fn cents(name: &'static str, of: &Formula, formula: &'static str) -> MetricDef {
    MetricDef {
        name,
        unit: Unit::Cents,
        formula,
        deal_types: of.deal_types,
    }
}

const fn count(name: &'static str, of: &Formula, formula: &'static str) -> MetricDef {
    MetricDef {
        unit: Unit::Count,
        ..cents(name, of, formula)
    }
}

/// Every metric, in the order of [`Outputs::values`] (deal rules, "Outputs of the model"). The
/// order is part of the snapshot format: append new ones at the end.
pub const METRICS: [MetricDef; 23] = [
    cents(
        "cost_one_time_upside",
        &ONE_TIME,
        "sum of one-time costs of work items, scenario upside",
    ),
    cents(
        "cost_one_time_base",
        &ONE_TIME,
        "sum of one-time costs of work items, scenario base",
    ),
    cents(
        "cost_one_time_stress",
        &ONE_TIME,
        "sum of one-time costs of work items, scenario stress",
    ),
    cents(
        "cost_licences_annual",
        &LICENCES,
        "sum of licences of work items, a year",
    ),
    cents(
        "cost_applications",
        &MOVE,
        "sum of one-time costs of target applications",
    ),
    cents("cost_tsa", &TSA, "transition services over their term"),
    cents(
        "cost_day_1",
        &ONE_TIME,
        "part of cost_one_time_base: work items of phase day1",
    ),
    cents(
        "cost_day_100",
        &ONE_TIME,
        "part of cost_one_time_base: work items of phase day100",
    ),
    cents(
        "cost_post_100",
        &ONE_TIME,
        "part of cost_one_time_base: work items of phase post100",
    ),
    cents(
        "cost_total",
        &ONE_TIME,
        "cost_one_time_base + cost_applications + cost_licences_annual + cost_tsa",
    ),
    count("synergy_count", &SAVINGS, "number of synergies"),
    cents(
        "synergy_savings_low",
        &SAVINGS,
        "sum of savings a year, with larger_low",
    ),
    cents(
        "synergy_savings_high",
        &SAVINGS,
        "sum of savings a year, with larger_high",
    ),
    cents(
        "synergy_cost_low",
        &ACHIEVE,
        "sum of costs to achieve them, with achieve_low",
    ),
    cents(
        "synergy_cost_high",
        &ACHIEVE,
        "sum of costs to achieve them, with achieve_high",
    ),
    count(
        "separation_count",
        &SEPARATION,
        "number of categories to separate",
    ),
    cents(
        "separation_low",
        &SEPARATION,
        "sum of separations, with setup_low",
    ),
    cents(
        "separation_high",
        &SEPARATION,
        "sum of separations, with setup_high",
    ),
    count(
        "work_item_count",
        &ONE_TIME,
        "work items + synergy_count + separation_count + 1 if cost_tsa > 0",
    ),
    count(
        "applications",
        &MOVE,
        "active applications of target and buyer",
    ),
    count(
        "infrastructure",
        &MOVE,
        "active infrastructure items of target and buyer",
    ),
    count("organization", &MOVE, "active teams of target and buyer"),
    count("vendors", &MOVE, "active vendors of target and buyer"),
];

/// The results for one deal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outputs {
    /// One value for each of [`METRICS`], in the same order.
    pub values: [i64; METRICS.len()],
}

impl Outputs {
    /// The outputs of an empty deal before any rule.
    pub(super) const ZERO: Self = Self {
        values: [0; METRICS.len()],
    };

    /// The value of a metric; `None` if no metric has this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<i64> {
        let position = METRICS.iter().position(|metric| metric.name == name)?;
        self.values.get(position).copied()
    }
}

//! The named results of the model, in a fixed order.

/// The unit of a metric's integer value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// US cents.
    Cents,
    /// A number of things.
    Count,
}

/// One metric: its name in snapshots, rules and reports, and its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricDef {
    /// Stable name.
    pub name: &'static str,
    /// Unit of the value.
    pub unit: Unit,
}

const fn cents(name: &'static str) -> MetricDef {
    MetricDef {
        name,
        unit: Unit::Cents,
    }
}

const fn count(name: &'static str) -> MetricDef {
    MetricDef {
        name,
        unit: Unit::Count,
    }
}

/// Every metric, in the order of [`Outputs::values`] (deal rules, "Outputs of the model"). The
/// order is part of the snapshot format: append new ones at the end.
pub const METRICS: [MetricDef; 23] = [
    cents("cost_one_time_upside"),
    cents("cost_one_time_base"),
    cents("cost_one_time_stress"),
    cents("cost_licences_annual"),
    cents("cost_applications"),
    cents("cost_tsa"),
    cents("cost_day_1"),
    cents("cost_day_100"),
    cents("cost_post_100"),
    cents("cost_total"),
    count("synergy_count"),
    cents("synergy_savings_low"),
    cents("synergy_savings_high"),
    cents("synergy_cost_low"),
    cents("synergy_cost_high"),
    count("separation_count"),
    cents("separation_low"),
    cents("separation_high"),
    count("work_item_count"),
    count("applications"),
    count("infrastructure"),
    count("organization"),
    count("vendors"),
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

//! The calculator and declaration that these tests use: it counts the items of an inventory. The
//! deals' own model is tested in its crate.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rollbook_workers::audit::{Audit, Auditor};
use rollbook_workers::calculators::Calculators;
use rollbook_workers::compare::declaration::{
    Declaration, Measures, PresenceCount, Ratio, TotalFigure,
};
use rollbook_workers::compare::rules::{Rule, RuleSeverity, Scope, Test};
use rollbook_workers::compare::{Millionths, Rules};
use rollbook_workers::snapshot::{
    Calculator, CalculatorDescription, Manifest, MetricInfo, RawDeal, SnapshotError,
    SnapshotSource, Values,
};
use serde_json::Value;

const METRICS: [(&str, &str); 4] = [
    ("weight", "cents"),
    ("items", "count"),
    ("vendors", "count"),
    ("applications", "count"),
];

const TYPES: [&str; 5] = ["acquisition", "carveout", "divestiture", "merger", ""];

/// Counts items by kind and adds up the numbers in them.
#[derive(Debug)]
struct Counter(CalculatorDescription);

impl Calculator for Counter {
    fn description(&self) -> &CalculatorDescription {
        &self.0
    }

    fn compute(&self, deal: &RawDeal) -> Result<Values, String> {
        let deal_type = deal.deal_type.as_deref().unwrap_or_default().trim();
        if self.0.deal_type_awareness && !TYPES.contains(&deal_type) {
            return Err(format!("counter: {deal_type:?} is no type"));
        }
        let items: Vec<serde_json::Map<String, Value>> =
            serde_json::from_slice(&deal.inventory).map_err(|error| format!("counter: {error}"))?;
        let of_kind = |kind: &str| {
            let is = |item: &&serde_json::Map<String, Value>| item["inventory_type"] == kind;
            i64::try_from(items.iter().filter(is).count()).unwrap()
        };
        let data = items
            .iter()
            .filter_map(|item| item.get("data")?.as_object());
        let weight: i64 = data
            .flat_map(|data| data.values())
            .filter_map(Value::as_i64)
            .sum();
        let all = i64::try_from(items.len()).unwrap();
        Ok(vec![weight, all, of_kind("vendor"), of_kind("application")].into())
    }
}

pub(crate) fn calculator(awareness: bool) -> Arc<dyn Calculator> {
    let metrics = METRICS.map(|(name, unit)| MetricInfo {
        name: name.to_owned(),
        unit: unit.to_owned(),
    });
    Arc::new(Counter(CalculatorDescription {
        name: "counter".to_owned(),
        digest: "0".repeat(64),
        deal_type_awareness: awareness,
        metrics: metrics.to_vec(),
    }))
}

/// Provides the counter and its declaration, and no auditor.
#[derive(Debug)]
struct Counters;

impl Declaration for Counters {
    fn class_of(&self, stored: Option<&str>) -> Option<&'static str> {
        let stored = stored.unwrap_or_default().trim();
        match TYPES.into_iter().find(|known| *known == stored) {
            Some("") => Some("acquisition"),
            known => known,
        }
    }

    fn unknown_as(&self, _: &Manifest) -> Option<&'static str> {
        None
    }

    fn default_guard(&self) -> Vec<String> {
        vec!["acquisition".to_owned()]
    }

    fn default_rules(&self, tolerance_percent: Millionths) -> Rules {
        let rule = |id: &str, scope, test, severity| Rule {
            id: id.to_owned(),
            metric: "*".to_owned(),
            scope,
            deal_types: Vec::new(),
            test,
            severity,
        };
        let relative = Test::Relative { tolerance_percent };
        Rules {
            guard: self.default_guard(),
            allow_model_change: false,
            rules: vec![
                rule(
                    "guarded",
                    Scope::Guarded,
                    relative,
                    RuleSeverity::Regression,
                ),
                rule(
                    "others",
                    Scope::Unguarded,
                    Test::Exact,
                    RuleSeverity::Warning,
                ),
            ],
        }
    }

    fn measures(&self) -> &Measures {
        const MEASURES: Measures = Measures {
            total: Some(TotalFigure {
                metric: "weight",
                called: "weight",
            }),
            ratios: &[Ratio {
                name: "carveout",
                metric: "items",
                class: "carveout",
            }],
            presences: &[PresenceCount {
                name: "vendor",
                metric: "vendors",
                class: "acquisition",
            }],
        };
        &MEASURES
    }
}

impl Calculators for Counters {
    fn built_in(
        &self,
        model: Option<&[u8]>,
        types_in_force: bool,
    ) -> Result<Arc<dyn Calculator>, String> {
        match model {
            None => Ok(calculator(types_in_force)),
            Some(_) => Err("the counter has no model".to_owned()),
        }
    }

    fn declaration(&self) -> Arc<dyn Declaration> {
        declared()
    }
}

#[async_trait]
impl Auditor for Counters {
    async fn audit(&self, _: &SnapshotSource, _: Timestamp) -> Result<Audit, SnapshotError> {
        Err(SnapshotError::Request {
            field: "audit",
            reason: "the counter audits nothing".to_owned(),
        })
    }
}

pub(crate) fn declared() -> Arc<dyn Declaration> {
    Arc::new(Counters)
}

pub(crate) fn calculators() -> Arc<dyn Calculators> {
    Arc::new(Counters)
}

pub(crate) fn auditor() -> Arc<dyn Auditor> {
    Arc::new(Counters)
}

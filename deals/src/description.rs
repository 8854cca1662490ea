//! The model as people read it: formulas, fields, words, numbers and units.
//!
//! Everything comes from the tables that the rules themselves use; nothing is written down twice.

use serde::Serialize;

use super::application::{CORE, MOVE, OFFICE};
use super::calculator::NAME;
use super::category::AppCategory;
use super::cost::{LICENCES, ONE_TIME, WorkItemKind};
use super::drivers::{DRIVERS, DriverDef};
use super::formula::Formula;
use super::inventory::Field;
use super::inventory::facts::category_words;
use super::kind::{BUILT_IN_ALIASES, DealType};
use super::model::{CostItem, Model, ModelError, Multipliers};
use super::outputs::{METRICS, MetricDef};
use super::separation::SEPARATION;
use super::synergy::{ACHIEVE, SAVINGS};
use super::tsa::TSA;

pub use super::inventory::facts::FieldDescription;

/// The formulas that metrics are sums of, in the order of the rules.
const FORMULAS: [Formula; 7] = [ONE_TIME, LICENCES, MOVE, TSA, SAVINGS, ACHIEVE, SEPARATION];

/// How the names of the model's numbers end, and what they are in.
const UNITS: [UnitDef; 4] = [
    UnitDef {
        ending: "_cents",
        unit: "US cents, whole numbers",
    },
    UnitDef {
        ending: "_bp",
        unit: "basis points: 10,000 is the factor 1.0",
    },
    UnitDef {
        ending: "_months, months, months_low, months_high",
        unit: "months",
    },
    UnitDef {
        ending: "_above, _below, at_least, _at_least",
        unit: "a number of users, sites, machines or items",
    },
];

/// How figures are computed.
const ROUNDING: &str = "amounts are exact fractions of whole numbers and rounded once, half up, each \
                        to the step of its formula; sums are of rounded amounts";

/// A unit of the model's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct UnitDef {
    /// How the names end.
    pub ending: &'static str,
    /// The unit.
    pub unit: &'static str,
}

/// A deal type and what a stored word means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DealTypeDescription {
    /// Its name.
    pub deal_type: DealType,
    /// What happens to the target.
    pub meaning: &'static str,
    /// Other words for it.
    pub aliases: Vec<&'static str>,
    /// Whether deals without a type count as this one.
    pub without_type: bool,
    /// Deal multipliers by category, in basis points.
    pub multipliers_bp: Multipliers,
}

/// An application category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CategoryDescription {
    /// Its name.
    pub category: AppCategory,
    /// The words that mean it.
    pub words: Vec<&'static str>,
    /// The factor of moving such an application, in basis points.
    pub factor_bp: i64,
    /// Whether it belongs to the business core: critical unless stated otherwise.
    pub core: bool,
    /// Whether it is an office tool: simple if small and in the cloud.
    pub office: bool,
}

/// A work item with its numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkItemDescription {
    /// Its name.
    pub work_item: &'static str,
    /// When it applies.
    pub applies_when: String,
    /// Its line of the cost table.
    pub numbers: CostItem,
}

/// A model in full, or what of it applies to one deal type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelDescription {
    /// Its name in manifests.
    pub model: &'static str,
    /// Its digest, as manifests have it; it covers `numbers`.
    pub model_digest: String,
    /// Whether it is the built-in model.
    pub built_in: bool,
    /// The deal type that this is limited to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limited_to: Option<DealType>,
    /// How figures are rounded.
    pub rounding: &'static str,
    /// The units of `numbers`.
    pub units: Vec<UnitDef>,
    /// The deal types. Words are compared trimmed, without regard to ASCII case.
    pub deal_types: Vec<DealTypeDescription>,
    /// The figures of every deal, in the order of snapshots.
    pub metrics: Vec<MetricDef>,
    /// What metrics are sums of.
    pub formulas: Vec<Formula>,
    /// The work items.
    pub work_items: Vec<WorkItemDescription>,
    /// What the formulas count.
    pub drivers: Vec<DriverDef>,
    /// The categories of applications.
    pub categories: Vec<CategoryDescription>,
    /// The fields of an inventory item that are read; all others are ignored.
    pub fields: Vec<FieldDescription>,
    /// Every number of the model, as in a model file.
    pub numbers: Model,
}

impl ModelDescription {
    /// Describes a model, for all deals or for those of one type.
    ///
    /// # Errors
    /// [`ModelError`] if the model has no digest, as no checked model does.
    pub fn of(model: &Model, limited_to: Option<DealType>) -> Result<Self, ModelError> {
        let is_wanted = |of: &[DealType]| limited_to.is_none_or(|wanted| of.contains(&wanted));
        let model_digest = model.digest()?;
        Ok(Self {
            model: NAME,
            built_in: model_digest == Model::built_in().digest()?,
            model_digest,
            limited_to,
            rounding: ROUNDING,
            units: UNITS.to_vec(),
            deal_types: DealType::ALL
                .into_iter()
                .filter(|deal_type| is_wanted(&[*deal_type]))
                .map(|deal_type| deal_type_of(deal_type, model))
                .collect(),
            metrics: METRICS
                .into_iter()
                .filter(|metric| is_wanted(metric.deal_types))
                .collect(),
            formulas: FORMULAS
                .into_iter()
                .filter(|formula| is_wanted(formula.deal_types))
                .collect(),
            work_items: WorkItemKind::ALL
                .into_iter()
                .map(|kind| WorkItemDescription {
                    work_item: kind.as_str(),
                    applies_when: kind.applies_when(&model.applicability),
                    numbers: kind.item(&model.cost_items).clone(),
                })
                .collect(),
            drivers: DRIVERS.to_vec(),
            categories: categories(model),
            fields: Field::ALL.into_iter().map(Field::describe).collect(),
            numbers: model.clone(),
        })
    }
}

fn deal_type_of(deal_type: DealType, model: &Model) -> DealTypeDescription {
    let aliases = BUILT_IN_ALIASES.iter();
    DealTypeDescription {
        deal_type,
        meaning: deal_type.meaning(),
        aliases: aliases
            .filter(|(_, of)| *of == deal_type)
            .map(|(alias, _)| *alias)
            .collect(),
        without_type: deal_type == DealType::WITHOUT_TYPE,
        multipliers_bp: match deal_type {
            DealType::Acquisition => model.multipliers.acquisition,
            DealType::Carveout => model.multipliers.carveout,
            DealType::Divestiture => model.multipliers.divestiture,
        },
    }
}

fn categories(model: &Model) -> Vec<CategoryDescription> {
    let words = category_words();
    let words_of = |category: AppCategory| {
        let group = words
            .iter()
            .find(|group| group.contains(&category.as_str()));
        group.cloned().unwrap_or_default()
    };
    let factors = &model.per_application.category_bp;
    AppCategory::ALL
        .into_iter()
        .map(|category| CategoryDescription {
            category,
            words: words_of(category),
            factor_bp: factors.get(&category).copied().unwrap_or_default(),
            core: CORE.contains(&category),
            office: OFFICE.contains(&category),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{GenerateOptions, generate};
    use crate::{Drivers, assess, parse};

    #[test]
    fn every_table_of_the_model_is_described_in_full() {
        let model = Model::built_in();
        let described = ModelDescription::of(&model, None).unwrap();
        assert!(described.built_in);
        let aliases: usize = described.deal_types.iter().map(|it| it.aliases.len()).sum();
        assert_eq!(aliases, BUILT_IN_ALIASES.len());
        let words: usize = described.categories.iter().map(|it| it.words.len()).sum();
        assert_eq!(words, AppCategory::WORDS.len());
        assert_eq!(
            described.categories.len(),
            model.per_application.category_bp.len()
        );
        assert_eq!(described.metrics.len(), METRICS.len());
        let used: std::collections::BTreeSet<_> = FORMULAS
            .iter()
            .flat_map(|formula| formula.numbers)
            .copied()
            .collect();
        let numbers = serde_json::to_value(&model).unwrap();
        let sections = numbers.as_object().unwrap().keys().map(String::as_str);
        assert!(
            used.into_iter()
                .eq(sections.collect::<std::collections::BTreeSet<_>>())
        );
        assert_eq!(described.fields.len(), Field::ALL.len());
        let items = serde_json::to_value(&model.cost_items).unwrap();
        let items: Vec<_> = items.as_object().unwrap().keys().cloned().collect();
        let mut named: Vec<_> = described.work_items.iter().map(|it| it.work_item).collect();
        named.sort_unstable();
        assert_eq!(named, items);
        // A new driver does not compile here without its place in the table.
        let inventory = parse(b"[]").unwrap();
        let Drivers {
            users: _,
            sites: _,
            servers: _,
            vms: _,
            endpoints: _,
            applications: _,
            parent_identity: _,
            parent_wan: _,
            parent_soc: _,
            parent_erp: _,
            parent_dc: _,
            erp_system: _,
            shared_applications: _,
            shared_infrastructure: _,
        } = Drivers::of(&inventory).unwrap();
        for driver in crate::driver_sources(&inventory, &Drivers::of(&inventory).unwrap()) {
            let known = DRIVERS.iter().any(|it| it.name == driver.driver);
            assert!(known, "{}", driver.driver);
        }
    }

    #[test]
    fn a_metric_is_0_for_the_deal_types_that_it_is_not_for() {
        let model = Model::built_in();
        let mut seen = [false; METRICS.len()];
        for deal in generate(GenerateOptions::new(200, 11)) {
            let inventory = parse(deal.inventory_json.as_bytes()).unwrap();
            for deal_type in DealType::ALL {
                let values = assess(&inventory, deal_type, true, &model)
                    .unwrap()
                    .outputs
                    .values;
                for ((metric, value), seen) in METRICS.iter().zip(values).zip(&mut seen) {
                    let is_for = metric.deal_types.contains(&deal_type);
                    assert!(
                        is_for || value == 0,
                        "{} of {deal_type}: {value}",
                        metric.name
                    );
                    *seen |= value != 0;
                }
            }
        }
        assert_eq!(seen, [true; METRICS.len()], "some metric is always 0");
    }

    #[test]
    fn the_description_can_be_limited_to_a_deal_type() {
        let model = Model::built_in();
        let limited = ModelDescription::of(&model, Some(DealType::Carveout)).unwrap();
        let names: Vec<_> = limited.metrics.iter().map(|metric| metric.name).collect();
        assert!(names.contains(&"cost_tsa") && names.contains(&"separation_low"));
        assert!(!names.contains(&"synergy_count"));
        assert_eq!(limited.deal_types.len(), 1);
    }
}

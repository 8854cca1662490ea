//! The numbers behind the rules, as data: a JSON file, or the built-in table.
//!
//! Money is integer cents, factors are basis points (10,000 = 1.0). A model is complete or it is
//! refused; there are no partial overrides, so that its digest names everything that was applied.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::category::AppCategory;
use super::kind::DealType;

mod built_in;
mod validate;

/// A model file that cannot be used. Never retryable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Not JSON of the model's shape.
    #[error("RB-MODEL-1: model does not parse: {reason}; start from the printed built-in model")]
    Malformed {
        /// What is wrong, with line and column.
        reason: String,
    },
    /// A number out of its range or a table with a hole.
    #[error("RB-MODEL-2: model field {field}: {reason}")]
    BadValue {
        /// Path of the field.
        field: String,
        /// What is wrong and what is accepted.
        reason: String,
    },
}

/// When a work item is due, counted from the closing of the deal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// On the first day.
    Day1,
    /// Within the first hundred days.
    Day100,
    /// After them.
    Post100,
}

/// The categories that deal multipliers are given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // The variants are the category words of deal rules §3.
pub enum CostCategory {
    Identity,
    Application,
    Infrastructure,
    Network,
    Cybersecurity,
    Organization,
}

/// One deal type's multipliers, in basis points (deal rules §3 "Deal multipliers").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The fields are the categories.
pub struct Multipliers {
    pub identity: i64,
    pub application: i64,
    pub infrastructure: i64,
    pub network: i64,
    pub cybersecurity: i64,
    pub organization: i64,
}

/// The multipliers of all three types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The fields are the deal types.
pub struct MultiplierTable {
    pub acquisition: Multipliers,
    pub carveout: Multipliers,
    pub divestiture: Multipliers,
}

/// Three factors, by how complex the work is, in basis points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The fields are the levels.
pub struct ComplexityLevels {
    pub low_bp: i64,
    pub medium_bp: i64,
    pub high_bp: i64,
}

/// A driver that complexity is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// People.
    Users,
    /// Locations.
    Sites,
    /// Devices of users.
    Endpoints,
    /// Servers and virtual machines.
    Machines,
}

/// When work counts as low or high complexity; otherwise it is medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum CutOff {
    /// By one driver.
    Driver {
        /// The driver.
        measure: Measure,
        /// Low under this.
        low_below: i64,
        /// High over this.
        high_above: i64,
    },
    /// The transition programme: low when both drivers are low, high when either is high.
    Programme {
        /// Sites: low under this.
        sites_low_below: i64,
        /// Sites: high over this.
        sites_high_above: i64,
        /// Users: low under this.
        users_low_below: i64,
        /// Users: high over this.
        users_high_above: i64,
    },
    /// By the ERP's vendor or name, which contains one of these words; high wins.
    ErpSystem {
        /// Words of small systems.
        low: Vec<String>,
        /// Words of large systems.
        high: Vec<String>,
    },
}

/// Yearly licences in cents; no complexity, scenario or deal multiplier applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The fields are the drivers they are counted by.
pub struct Licences {
    pub flat_cents: i64,
    pub per_user_cents: i64,
    pub per_site_cents: i64,
    pub per_endpoint_cents: i64,
}

/// One line of the cost table (deal rules §3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostItem {
    /// Which deal multiplier applies.
    pub category: CostCategory,
    /// When it is due.
    pub phase: Phase,
    /// Fixed part, cents.
    pub base_cents: i64,
    /// For each user, cents.
    pub per_user_cents: i64,
    /// For each site, cents.
    pub per_site_cents: i64,
    /// For each server and virtual machine, cents.
    pub per_machine_cents: i64,
    /// For each target application, cents.
    pub per_application_cents: i64,
    /// Factors by complexity.
    pub complexity: ComplexityLevels,
    /// How complexity is judged.
    pub cut_off: CutOff,
    /// Yearly licences.
    pub licences: Licences,
}

/// The eight cost items (deal rules §3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The fields are the work items of the table.
pub struct CostItems {
    pub identity_separation: CostItem,
    pub email_migration: CostItem,
    pub wan_separation: CostItem,
    pub endpoint_edr: CostItem,
    pub security_ops: CostItem,
    pub erp_standalone: CostItem,
    pub dc_hosting_exit: CostItem,
    pub pmo_transition: CostItem,
}

/// Thresholds of applicability (deal rules §3 "Applicability").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applicability {
    /// WAN work when there are more sites.
    pub wan_sites_above: i64,
    /// Security work when there are more users.
    pub security_users_above: i64,
    /// Data centre work when there are more servers.
    pub dc_servers_above: i64,
    /// A programme office when at least this many other items apply.
    pub pmo_items_at_least: i64,
}

/// Scenario factors in basis points (deal rules §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The fields are the scenarios.
pub struct Scenarios {
    pub upside_bp: i64,
    pub base_bp: i64,
    pub stress_bp: i64,
}

/// The per-application table (deal rules §3 "Per-application").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerApplication {
    /// Fixed part, cents.
    pub base_cents: i64,
    /// Factor by complexity.
    pub complexity: AppComplexityLevels,
    /// Factor by category, basis points; every category has one.
    pub category_bp: BTreeMap<AppCategory, i64>,
    /// Factor by deployment.
    pub deployment: DeploymentLevels,
    /// For each API integration, cents; no multiplier.
    pub per_api_cents: i64,
    /// For single sign-on, cents; no multiplier.
    pub sso_cents: i64,
    /// For each 100 GB to move, pro rata, cents; no multiplier.
    pub per_100_gb_cents: i64,
    /// For each custom interface, cents; no multiplier.
    pub per_custom_interface_cents: i64,
    /// Inferred complex when users exceed this.
    pub complex_users_above: i64,
    /// Inferred complex when API integrations exceed this.
    pub complex_apis_above: i64,
    /// Inferred simple when an office tool from the cloud has fewer users.
    pub simple_users_below: i64,
}

/// Factors by an application's complexity, basis points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The fields are the levels.
pub struct AppComplexityLevels {
    pub simple_bp: i64,
    pub medium_bp: i64,
    pub complex_bp: i64,
    pub critical_bp: i64,
}

/// Factors by an application's deployment, basis points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The fields are the deployments.
pub struct DeploymentLevels {
    pub saas_bp: i64,
    pub cloud_iaas_bp: i64,
    pub hybrid_bp: i64,
    pub on_prem_bp: i64,
    pub custom_bp: i64,
    pub unknown_bp: i64,
}

/// Transition services, deal level (deal rules §4 and decisions).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TsaTable {
    /// For each shared application, cents a month.
    pub per_application_cents: i64,
    /// For each shared infrastructure item, cents a month.
    pub per_infrastructure_cents: i64,
    /// At least this, cents a month, once anything is shared.
    pub floor_cents: i64,
    /// At most this, cents a month.
    pub ceiling_cents: i64,
    /// How long.
    pub months: i64,
}

/// Synergies of an acquisition (deal rules §5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SynergyTable {
    /// Overlaps whose combined yearly cost is under this are skipped, cents.
    pub combined_at_least_cents: i64,
    /// Share of the larger side saved besides the whole smaller one, low.
    pub larger_low_bp: i64,
    /// The same, high.
    pub larger_high_bp: i64,
    /// Cost to achieve as a share of the smaller side, low.
    pub achieve_low_bp: i64,
    /// The same, high.
    pub achieve_high_bp: i64,
    /// Years the net counts.
    pub net_years: i64,
    /// Categories that take 12–18 months with medium confidence.
    pub slow_categories: Vec<AppCategory>,
}

/// One category that a separated company must have (deal rules §5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeparationCategory {
    /// The category of target applications it looks for.
    pub category: AppCategory,
    /// `critical` or `high`.
    pub criticality: String,
    /// Setup, low, cents.
    pub setup_low_cents: i64,
    /// Setup, high, cents.
    pub setup_high_cents: i64,
    /// Months of transition services until then.
    pub tsa_months: i64,
    /// Shortest duration in months.
    pub months_low: i64,
    /// Longest duration in months.
    pub months_high: i64,
}

/// Separation of a carveout or divestiture (deal rules §5 and decisions).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeparationTable {
    /// The categories.
    pub categories: Vec<SeparationCategory>,
    /// Transition services for a category the target does not have, cents a month.
    pub absent_monthly_cents: i64,
    /// The same for a shared one whose yearly cost is unknown.
    pub unknown_cost_monthly_cents: i64,
    /// Yearly transition services for a shared one, as a share of its yearly cost.
    pub shared_yearly_bp: i64,
    /// Factor on setup by users, used with the option `separation_user_scaling`: each tier from its
    /// number of users on.
    pub user_scaling: Vec<Tier>,
}

/// A factor that applies from a quantity on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// The quantity.
    pub at_least: i64,
    /// The factor, basis points.
    pub factor_bp: i64,
}

/// Factors on the variable part (deal rules §3 "Volume discounts").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The fields are the drivers.
pub struct VolumeDiscounts {
    pub users: Vec<Tier>,
    pub sites: Vec<Tier>,
    pub machines: Vec<Tier>,
}

/// Rules that are off unless asked for (deal rules, decisions).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Apply the volume discounts to the variable part of one-time cost.
    pub volume_discounts: bool,
    /// Scale separation setup by users.
    pub separation_user_scaling: bool,
}

/// Every number the rules use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Deal multipliers. They apply with deal-type awareness on; off is 1.0 whatever they say.
    pub multipliers: MultiplierTable,
    /// Cost items.
    pub cost_items: CostItems,
    /// When cost items apply.
    pub applicability: Applicability,
    /// Scenario factors.
    pub scenarios: Scenarios,
    /// Per-application table.
    pub per_application: PerApplication,
    /// Transition services.
    pub tsa: TsaTable,
    /// Synergies.
    pub synergy: SynergyTable,
    /// Separation.
    pub separation: SeparationTable,
    /// Volume discounts, used when the option is on.
    pub volume_discounts: VolumeDiscounts,
    /// Optional rules.
    pub options: Options,
}

impl Model {
    /// Reads and checks a model file.
    ///
    /// # Errors
    /// [`ModelError::Malformed`] with line and column, or [`ModelError::BadValue`] with the field.
    pub fn from_json(json: &[u8]) -> Result<Self, ModelError> {
        let model: Self = serde_json::from_slice(json).map_err(|error| ModelError::Malformed {
            reason: error.to_string(),
        })?;
        validate::check(&model)?;
        Ok(model)
    }

    /// The table of deal rules §3–§5 with both options off.
    #[must_use]
    pub fn built_in() -> Self {
        built_in::model()
    }

    /// SHA-256 of the canonical JSON (RFC 8785), in lower-case hex: equal exactly when every number
    /// is.
    ///
    /// # Errors
    /// [`ModelError::Malformed`] if the model has no canonical JSON, which a checked one always has.
    pub fn digest(&self) -> Result<String, ModelError> {
        let canonical =
            serde_json_canonicalizer::to_vec(self).map_err(|error| ModelError::Malformed {
                reason: error.to_string(),
            })?;
        Ok(hex::encode(Sha256::digest(&canonical)))
    }

    /// The multiplier of a deal type for a category, in basis points.
    #[must_use]
    pub fn multiplier_bp(&self, deal_type: DealType, category: CostCategory) -> i64 {
        let row = match deal_type {
            DealType::Acquisition => &self.multipliers.acquisition,
            DealType::Carveout => &self.multipliers.carveout,
            DealType::Divestiture => &self.multipliers.divestiture,
        };
        match category {
            CostCategory::Identity => row.identity,
            CostCategory::Application => row.application,
            CostCategory::Infrastructure => row.infrastructure,
            CostCategory::Network => row.network,
            CostCategory::Cybersecurity => row.cybersecurity,
            CostCategory::Organization => row.organization,
        }
    }
}

#[cfg(test)]
mod tests;

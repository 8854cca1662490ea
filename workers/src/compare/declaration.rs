//! What whoever makes figures declares about them. It is all that a comparison knows of the types
//! of deals and of what their figures mean.

use super::millionths::Millionths;
use super::rules::Rules;
use crate::snapshot::Manifest;

/// The types and figures of a domain, for the comparison of its snapshots.
///
/// A declaration is part of what a comparison's result rests on: every program that merges a range
/// of one comparison must have the same.
pub trait Declaration: Send + Sync + std::fmt::Debug {
    /// The class of deals that a stored type means, by its own name or another word for it; `None`
    /// is no type at all (SQL NULL). Rules name types by their class or by any word for it.
    /// Nothing for a text that means no class.
    fn class_of(&self, stored: Option<&str>) -> Option<&'static str>;

    /// The class by which the deals of a snapshot were computed whose type means none. Nothing
    /// where that is not known, or where such deals have no figures.
    fn unknown_as(&self, manifest: &Manifest) -> Option<&'static str>;

    /// The types (before) that are guarded against regression where rules name none.
    fn default_guard(&self) -> Vec<String>;

    /// The rules that judge where none are given. `tolerance_percent` is that of guarded figures.
    fn default_rules(&self, tolerance_percent: Millionths) -> Rules;

    /// The figures by name that a result tells of besides what its rules count.
    fn measures(&self) -> &Measures;
}

/// What a result tells of besides what its rules count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// The figure that is summed up by type and whose change is distributed.
    pub total: Option<Total>,
    /// Figures whose ratio, after ÷ before, has a smallest and a largest.
    pub ratios: &'static [Ratio],
    /// Figures whose deals are counted.
    pub presences: &'static [Presence],
}

/// The figure that stands for a whole deal. Its change on guarded deals is `worst_change_percent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// Its metric.
    pub metric: &'static str,
    /// What it is, in a word for readers.
    pub called: &'static str,
}

/// The ratio of a figure of the deals of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    /// What it is called: see [`Ratio::figures`].
    pub name: &'static str,
    /// Its metric.
    pub metric: &'static str,
    /// The class of deals before.
    pub class: &'static str,
}

/// The deals of the later snapshot whose figure is not zero, and those of them that are not of the
/// one class that may have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// What it is called: see [`Presence::figures`].
    pub name: &'static str,
    /// Its metric.
    pub metric: &'static str,
    /// The class that may have it.
    pub class: &'static str,
}

impl Ratio {
    /// The names of the smallest and of the largest ratio.
    pub fn figures(&self) -> [String; 2] {
        ["min", "max"].map(|end| format!("{}_ratio_{end}", self.name))
    }
}

impl Presence {
    /// The names of the count of all and of the count of those elsewhere.
    pub fn figures(&self) -> [String; 2] {
        ["deals", "elsewhere"].map(|what| format!("{}_{what}", self.name))
    }
}

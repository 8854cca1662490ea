//! The port through which a domain declares its deal types and figures; a comparison knows nothing
//! else about them.

use super::millionths::Millionths;
use super::rules::Rules;
use crate::snapshot::Manifest;

/// The deal types and figures of a domain, as the comparison of its snapshots needs them.
///
/// The result of a comparison depends on the declaration: every program that merges a range of one
/// comparison must use the same one.
pub trait Declaration: Send + Sync + std::fmt::Debug {
    /// The class that a stored type belongs to, whether the type is the class's own name or an
    /// alias; `stored` is `None` for SQL NULL. Rules may name a type by its class or any alias.
    ///
    /// Returns `None` for a text that belongs to no class.
    fn class_of(&self, stored: Option<&str>) -> Option<&'static str>;

    /// The class as which the snapshot computed deals whose type belongs to no class. `None` where
    /// that is unknown, or where such deals have no figures.
    fn unknown_as(&self, manifest: &Manifest) -> Option<&'static str>;

    /// The types (before) that are guarded against regression when the rules name none.
    fn default_guard(&self) -> Vec<String>;

    /// The rules that apply when none are given. `tolerance_percent` is the tolerance for guarded
    /// figures.
    fn default_rules(&self, tolerance_percent: Millionths) -> Rules;

    /// The named figures that a result reports besides what its rules count.
    fn measures(&self) -> &Measures;
}

/// The figures that a result reports besides what its rules count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// The figure that is summed per type and whose relative change goes into the histogram.
    pub total: Option<TotalFigure>,
    /// Figures whose smallest and largest ratio, after ÷ before, is reported.
    pub ratios: &'static [Ratio],
    /// Figures whose deals are counted.
    pub presences: &'static [PresenceCount],
}

/// The figure that stands for a whole deal. The largest change of a guarded deal's total is
/// reported as `worst_change_percent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TotalFigure {
    /// Its metric.
    pub metric: &'static str,
    /// The word for it in texts.
    pub called: &'static str,
}

/// The ratio of a figure of the deals of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    /// Its name, from which [`Ratio::figures`] makes the names of its figures.
    pub name: &'static str,
    /// Its metric.
    pub metric: &'static str,
    /// The class (before) of the deals it is measured on.
    pub class: &'static str,
}

/// Counts deals of the later snapshot whose figure is not zero, and those among them that are
/// outside the one class that may have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresenceCount {
    /// Its name, from which [`PresenceCount::figures`] makes the names of its figures.
    pub name: &'static str,
    /// Its metric.
    pub metric: &'static str,
    /// The class that may have it.
    pub class: &'static str,
}

impl Ratio {
    /// The names of the smallest and the largest ratio.
    pub fn figures(&self) -> [String; 2] {
        ["min", "max"].map(|end| format!("{}_ratio_{end}", self.name))
    }
}

impl PresenceCount {
    /// The names of two counts: of all deals, and of those outside the class.
    pub fn figures(&self) -> [String; 2] {
        ["deals", "elsewhere"].map(|what| format!("{}_{what}", self.name))
    }
}

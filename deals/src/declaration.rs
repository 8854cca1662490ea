//! Declares deals for comparisons: the words for their types, the rules of a deal-type rollout
//! (acquisitions must not change; carveouts and divestitures must change as their rules say), and
//! the figures that gates use. Pure.

use rollbook_workers::compare::declaration::{
    Declaration, Measures, PresenceCount, Ratio, TotalFigure,
};
use rollbook_workers::compare::millionths::Millionths;
use rollbook_workers::compare::rules::{Rule, RuleSeverity, Rules, Scope, Test};
use rollbook_workers::snapshot::Manifest;

use super::calculator::NAME;
use super::kind::{DealType, TypeClass, classify};

/// The largest TSA cost of a carveout: $500,000 a month for 12 months, in cents.
const TSA_MAX_CENTS: i64 = 600_000_000;

const CARVEOUT: &str = DealType::Carveout.as_str();

const MEASURES: Measures = Measures {
    total: Some(TotalFigure {
        metric: "cost_total",
        called: "cost",
    }),
    ratios: &[Ratio {
        name: "carveout",
        metric: "cost_one_time_base",
        class: CARVEOUT,
    }],
    // Only carveouts pay for transition services.
    presences: &[PresenceCount {
        name: "tsa",
        metric: "cost_tsa",
        class: CARVEOUT,
    }],
};

/// The declaration of deals, whichever calculator computes their figures.
#[derive(Clone, Copy, Debug, Default)]
pub struct DealDeclaration;

impl Declaration for DealDeclaration {
    fn class_of(&self, stored: Option<&str>) -> Option<&'static str> {
        match classify(stored) {
            TypeClass::Valid(kind) | TypeClass::Alias(kind) => Some(kind.as_str()),
            TypeClass::Null => Some(DealType::Acquisition.as_str()),
            TypeClass::Invalid => None,
        }
    }

    /// With deal-type awareness off every calculator computes every deal as an acquisition. With it
    /// on, a deal of unknown type has an error from the built-in model; what other calculators make
    /// of it is unknown.
    fn unknown_as(&self, manifest: &Manifest) -> Option<&'static str> {
        let known = manifest.model == NAME || !manifest.deal_type_awareness;
        known.then_some(DealType::Acquisition.as_str())
    }

    fn default_guard(&self) -> Vec<String> {
        vec![DealType::Acquisition.as_str().to_owned()]
    }

    /// Deals computed as acquisitions are guarded. For the others every intended change has bounds,
    /// and a change beyond them is a regression; any other difference is unexpected.
    ///
    /// The bounds follow the deal multipliers: 1.6 to 2.5 for carveouts and 2.0 to 3.0 for
    /// divestitures, on one-time costs, widened for the rounding of every work item to $1,000. They
    /// apply to one-time cost and its phases, not to `cost_total`, which adds licences (no
    /// multiplier) and TSA cost.
    fn default_rules(&self, tolerance_percent: Millionths) -> Rules {
        let mut rules = guarded(tolerance_percent);
        rules.extend(by_type(CARVEOUT, Millionths::whole(3), TSA_MAX_CENTS));
        let divestiture_max = Millionths::from_millionths(3_500_000);
        rules.extend(by_type(DealType::Divestiture.as_str(), divestiture_max, 0));
        rules.push(rule(
            "unguarded-other",
            "*",
            Scope::Unguarded,
            &[],
            Test::Exact,
            RuleSeverity::Warning,
        ));
        Rules {
            guard: self.default_guard(),
            allow_model_change: false,
            rules,
        }
    }

    fn measures(&self) -> &Measures {
        &MEASURES
    }
}

fn guarded(tolerance_percent: Millionths) -> Vec<Rule> {
    let rule = |id, metric, test, severity| rule(id, metric, Scope::Guarded, &[], test, severity);
    vec![
        rule(
            "synergy-count",
            "synergy_count",
            Test::Exact,
            RuleSeverity::Regression,
        ),
        rule(
            "work-item-count",
            "work_item_count",
            Test::Absolute { limit: 2 },
            RuleSeverity::Warning,
        ),
        // An acquisition never pays for a TSA, not even a small amount.
        rule(
            "tsa-on-acquisition",
            "cost_tsa",
            after(0, 0, "only carveouts have TSA cost"),
            RuleSeverity::Regression,
        ),
        rule(
            "cost",
            "cost_*",
            Test::Relative { tolerance_percent },
            RuleSeverity::Regression,
        ),
        rule("guarded-other", "*", Test::Exact, RuleSeverity::Warning),
    ]
}

fn by_type(deal_type: &'static str, max_ratio: Millionths, tsa_max_cents: i64) -> Vec<Rule> {
    let rule = |what: &str, metric, test| {
        rule(
            &format!("{deal_type}-{what}"),
            metric,
            Scope::Unguarded,
            &[deal_type],
            test,
            RuleSeverity::Regression,
        )
    };
    let one_and_a_half = Millionths::from_millionths(1_500_000);
    let ratio = |min, max, reason: &str| Test::Expected {
        min_ratio: Some(min),
        max_ratio: max,
        min_after: None,
        max_after: None,
        reason: reason.to_owned(),
    };
    let multiplied = || ratio(one_and_a_half, Some(max_ratio), "the deal multipliers");
    vec![
        rule("one-time", "cost_one_time_*", multiplied()),
        rule("day-1", "cost_day_1", multiplied()),
        rule("day-100", "cost_day_100", multiplied()),
        rule("post-100", "cost_post_100", multiplied()),
        rule(
            "applications",
            "cost_applications",
            ratio(
                Millionths::whole(1),
                Some(max_ratio),
                "the multiplier applies to a part of it",
            ),
        ),
        rule(
            "tsa",
            "cost_tsa",
            after(0, tsa_max_cents, "TSA cost of carveouts, clamped"),
        ),
        rule(
            "total",
            "cost_total",
            ratio(
                Millionths::whole(1),
                None,
                "sum of multiplied one-time cost, licences and TSA",
            ),
        ),
        rule(
            "synergies",
            "synergy_*",
            after(0, 0, "only acquisitions have synergies"),
        ),
        rule(
            "separation",
            "separation_*",
            after(0, i64::MAX, "what must be separated or extracted"),
        ),
        rule(
            "work-items",
            "work_item_count",
            after(0, i64::MAX, "separations in place of synergies"),
        ),
    ]
}

fn after(min: i64, max: i64, reason: &str) -> Test {
    Test::Expected {
        min_ratio: None,
        max_ratio: None,
        min_after: Some(min),
        max_after: (max < i64::MAX).then_some(max),
        reason: reason.to_owned(),
    }
}

fn rule(
    id: &str,
    metric: &str,
    scope: Scope,
    deal_types: &[&str],
    test: Test,
    severity: RuleSeverity,
) -> Rule {
    Rule {
        id: id.to_owned(),
        metric: metric.to_owned(),
        scope,
        deal_types: deal_types.iter().map(|t| (*t).to_owned()).collect(),
        test,
        severity,
    }
}

#[cfg(test)]
mod tests;

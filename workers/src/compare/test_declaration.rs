//! A declaration for the tests of this module: figures of shapes, in three classes with aliases.

use super::declaration::{Declaration, Measures, PresenceCount, Ratio, TotalFigure};
use super::millionths::Millionths;
use super::rules::{Rule, RuleSeverity, Rules, Scope, Test};
use crate::snapshot::Manifest;

/// Declares figures of shapes. Circles are guarded; shapes without a type are circles.
#[derive(Debug)]
pub(super) struct Shapes;

const WORDS: [(&str, &str); 6] = [
    ("circle", "circle"),
    ("disc", "circle"),
    ("square", "square"),
    ("box", "square"),
    ("triangle", "triangle"),
    ("wedge", "triangle"),
];

const MEASURES: Measures = Measures {
    total: Some(TotalFigure {
        metric: "price_total",
        called: "price",
    }),
    ratios: &[Ratio {
        name: "square",
        metric: "price_total",
        class: "square",
    }],
    presences: &[PresenceCount {
        name: "link",
        metric: "link_count",
        class: "circle",
    }],
};

fn rule(id: &str, metric: &str, scope: Scope, test: Test, severity: RuleSeverity) -> Rule {
    Rule {
        id: id.to_owned(),
        metric: metric.to_owned(),
        scope,
        deal_types: Vec::new(),
        test,
        severity,
    }
}

impl Declaration for Shapes {
    fn class_of(&self, stored: Option<&str>) -> Option<&'static str> {
        let word = stored.unwrap_or_default().trim();
        if word.is_empty() {
            return Some("circle");
        }
        let mut words = WORDS.into_iter();
        let known = words.find(|(it, _)| it.eq_ignore_ascii_case(word));
        known.map(|(_, class)| class)
    }

    fn unknown_as(&self, _: &Manifest) -> Option<&'static str> {
        None
    }

    fn default_guard(&self) -> Vec<String> {
        vec!["circle".to_owned()]
    }

    fn default_rules(&self, tolerance_percent: Millionths) -> Rules {
        let meant = |id: &str, metric: &str, min_ratio, max_after| {
            let mut meant = rule(
                id,
                metric,
                Scope::Unguarded,
                Test::Expected {
                    min_ratio,
                    max_ratio: None,
                    min_after: Some(0),
                    max_after,
                    reason: "corners are dear".to_owned(),
                },
                RuleSeverity::Regression,
            );
            meant.deal_types = vec!["square".to_owned(), "triangle".to_owned()];
            meant
        };
        let guarded = |id: &str, metric: &str, test, severity| {
            rule(id, metric, Scope::Guarded, test, severity)
        };
        Rules {
            guard: self.default_guard(),
            allow_model_change: false,
            rules: vec![
                guarded("links", "link_count", Test::Exact, RuleSeverity::Regression),
                guarded(
                    "items",
                    "item_count",
                    Test::Absolute { limit: 2 },
                    RuleSeverity::Warning,
                ),
                guarded(
                    "price",
                    "price_*",
                    Test::Relative { tolerance_percent },
                    RuleSeverity::Regression,
                ),
                guarded("guarded-other", "*", Test::Exact, RuleSeverity::Warning),
                meant("dearer", "price_total", Some(Millionths::whole(1)), None),
                meant("unlinked", "link_*", None, Some(0)),
                meant("more-items", "item_count", None, None),
                rule(
                    "other",
                    "*",
                    Scope::Unguarded,
                    Test::Exact,
                    RuleSeverity::Warning,
                ),
            ],
        }
    }

    fn measures(&self) -> &Measures {
        &MEASURES
    }
}

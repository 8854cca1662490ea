//! Applies rules to the metrics of two snapshots. Pure.

use super::declaration::{Declaration, Measures};
use super::declared_rules::class_of;
use super::rules::{Class, Judgement, RuleSeverity, Rules, judge_by, judge_text_by};
use super::tally::NO_RULE;
use crate::snapshot::{Manifest, MetricInfo};

/// Maximum number of deal types that are cached; for further types the rules are looked up each
/// time, and their deals are counted together.
pub(super) const MAX_KINDS: usize = 256;
const NO_RULE_THRESHOLD: &str = "no rule allows a difference";

/// What the rules say about a deal type.
#[derive(Debug, Default)]
pub(super) struct Kind {
    name: String,
    /// The class as which its deals were computed.
    pub(super) computed: Option<&'static str>,
    pub(super) guarded: bool,
    /// The rule for each metric, by its index in the set.
    rules: Vec<Option<usize>>,
}

/// Judges figures and caches what the rules say about each deal type.
#[derive(Debug)]
pub struct Judge<'r> {
    rules: &'r Rules,
    metrics: &'r [MetricInfo],
    declared: &'r dyn Declaration,
    unknown_as: Option<&'static str>,
    thresholds: Vec<String>,
    kinds: Vec<Kind>,
    /// The type looked up last; in most snapshots the next deal often has the same one.
    last: usize,
}

impl<'r> Judge<'r> {
    /// Judges the figures of a snapshot against those of a later one with the same metrics.
    pub fn of(rules: &'r Rules, declared: &'r dyn Declaration, before: &'r Manifest) -> Self {
        Self::new(
            rules,
            declared,
            &before.metrics,
            declared.unknown_as(before),
        )
    }

    /// Judges these metrics. `unknown_as` is the class as which deals before were computed if their
    /// type belongs to no class.
    pub fn new(
        rules: &'r Rules,
        declared: &'r dyn Declaration,
        metrics: &'r [MetricInfo],
        unknown_as: Option<&'static str>,
    ) -> Self {
        Self {
            rules,
            metrics,
            declared,
            unknown_as,
            thresholds: rules.rules.iter().map(|r| r.test.threshold()).collect(),
            kinds: Vec::new(),
            last: 0,
        }
    }

    /// The index of a deal type in the cache. All types beyond the first [`MAX_KINDS`] take turns
    /// at the last index.
    pub(super) fn kind(&mut self, deal_type: &str) -> usize {
        let is = |kind: &Kind| kind.name == deal_type;
        if self.kinds.get(self.last).is_some_and(is) {
            return self.last;
        }
        self.last = match self.kinds.iter().position(is) {
            Some(known) => known,
            None => {
                self.kinds.truncate(MAX_KINDS);
                let computed = class_of(self.declared, deal_type).or(self.unknown_as);
                let guarded = self.rules.guards(self.declared, deal_type, computed);
                let found = self.metrics.iter().map(|metric| {
                    let of = (deal_type, computed);
                    self.rules.find(self.declared, of, guarded, &metric.name)
                });
                self.kinds.push(Kind {
                    name: deal_type.to_owned(),
                    computed,
                    guarded,
                    rules: found.collect(),
                });
                self.kinds.len() - 1
            }
        };
        self.last
    }

    /// What the rules say about a cached type.
    pub(super) fn known(&self, kind: usize) -> Option<&Kind> {
        self.kinds.get(kind)
    }

    /// The class as which deals of a type were computed, if that differs from the stored word.
    pub fn judged_as(&mut self, deal_type: &str) -> Option<&'static str> {
        let kind = self.kind(deal_type);
        let computed = self.kinds.get(kind).and_then(|kind| kind.computed)?;
        (computed != deal_type).then_some(computed)
    }

    /// Whether the rules guard deals of a type.
    pub fn guards(&mut self, deal_type: &str) -> bool {
        let kind = self.kind(deal_type);
        self.kinds.get(kind).is_some_and(|kind| kind.guarded)
    }

    /// The figures to measure besides those of the rules.
    pub(super) fn measures(&self) -> &Measures {
        self.declared.measures()
    }

    /// The name of the cached type at an index.
    pub(super) fn kind_name(&self, kind: usize) -> &str {
        self.kinds.get(kind).map_or("", |kind| kind.name.as_str())
    }

    /// Judges one figure of a deal; `deal_type` is its type before.
    pub fn judge(&mut self, deal_type: &str, metric: usize, before: i64, after: i64) -> Judgement {
        let kind = self.kind(deal_type);
        self.judge_kind(kind, metric, before, after)
    }

    /// Like [`Judge::judge`], for a type that [`Judge::kind`] has just returned.
    pub(super) fn judge_kind(
        &self,
        kind: usize,
        metric: usize,
        before: i64,
        after: i64,
    ) -> Judgement {
        let kind = self.kinds.get(kind);
        let rule = kind.and_then(|kind| kind.rules.get(metric).copied().flatten());
        if before == after {
            return Judgement {
                class: Class::Equal,
                rule,
            };
        }
        let guarded = kind.is_some_and(|kind| kind.guarded);
        let class = match rule.and_then(|index| self.rules.rules.get(index)) {
            Some(rule) => judge_by(rule, guarded, before, after),
            // A figure without a rule must not change silently.
            None => RuleSeverity::Regression.broken(guarded),
        };
        Judgement { class, rule }
    }

    /// Judges a text of a deal; `deal_type` is its type before.
    pub fn judge_text(&mut self, deal_type: &str, metric: usize, same: bool) -> Judgement {
        let kind = self.kind(deal_type);
        self.judge_text_kind(kind, metric, same)
    }

    /// Like [`Judge::judge_text`], for a type that [`Judge::kind`] has just returned.
    pub(super) fn judge_text_kind(&self, kind: usize, metric: usize, same: bool) -> Judgement {
        let kind = self.kinds.get(kind);
        let rule = kind.and_then(|kind| kind.rules.get(metric).copied().flatten());
        let guarded = kind.is_some_and(|kind| kind.guarded);
        let class = match rule.and_then(|index| self.rules.rules.get(index)) {
            _ if same => Class::Equal,
            Some(rule) => judge_text_by(rule, guarded),
            None => RuleSeverity::Regression.broken(guarded),
        };
        Judgement { class, rule }
    }

    /// The id of a rule and its threshold in words.
    pub fn describe(&self, rule: Option<usize>) -> (&str, &str) {
        let found = rule.and_then(|index| {
            let rule = self.rules.rules.get(index)?;
            Some((rule.id.as_str(), self.thresholds.get(index)?.as_str()))
        });
        found.unwrap_or((NO_RULE, NO_RULE_THRESHOLD))
    }

    /// The name of a metric.
    pub fn metric(&self, metric: usize) -> &str {
        self.metrics.get(metric).map_or("", |metric| &metric.name)
    }

    /// The number of rules.
    pub(super) fn rules(&self) -> usize {
        self.rules.rules.len()
    }

    /// All metrics.
    pub(super) fn metrics(&self) -> &[MetricInfo] {
        self.metrics
    }
}

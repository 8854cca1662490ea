//! Names of the measurements that steps record automatically. Executors write exactly these names;
//! gates, the decision tree, `expect` and metrics (`step: <name>`) read them.

use super::step::Step;

/// Rows that violate a rule of the comparison.
pub const REGRESSIONS: &str = "regressions";
/// Rows that a rule marks without failing.
pub const WARNINGS: &str = "warnings";
/// Deals present on both sides.
pub const COMPARED: &str = "compared";
/// Deals whose outputs are equal on both sides.
pub const EQUAL: &str = "equal";
/// Deals only in the earlier capture.
pub const MISSING: &str = "missing";
/// Deals only in the later capture.
pub const ADDED: &str = "added";
/// Error rows: of a snapshot, or of either side of a comparison.
pub const ERRORS: &str = "errors";
/// Differences of unguarded deals that the rules do not explain.
pub const UNEXPECTED: &str = "unexpected";
/// Deals with a regression, including missing ones, as a percentage of the deals of the earlier
/// capture.
pub const AFFECTED_PERCENT: &str = "affected_percent";
/// Largest absolute change of a guarded cost, in percent.
pub const WORST_CHANGE_PERCENT: &str = "worst_change_percent";
/// Smallest ratio of a carve-out's one-time cost to its cost as an acquisition.
pub const CARVEOUT_RATIO_MIN: &str = "carveout_ratio_min";
/// Largest ratio of a carve-out's one-time cost to its cost as an acquisition.
pub const CARVEOUT_RATIO_MAX: &str = "carveout_ratio_max";
/// Deals with a TSA cost in the later capture.
pub const TSA_DEALS: &str = "tsa_deals";
/// Those of them that are not carve-outs.
pub const TSA_ELSEWHERE: &str = "tsa_elsewhere";
/// Active deals with a valid type, in percent.
pub const HEALTH_PERCENT: &str = "health_percent";
/// Active deals without a type.
pub const NULL_COUNT: &str = "null_count";
/// Active deals with an invalid type.
pub const INVALID_COUNT: &str = "invalid_count";
/// Deals that are not soft-deleted.
pub const ACTIVE: &str = "active";
/// All deals.
pub const TOTAL: &str = "total";
/// Deals in a snapshot.
pub const DEALS: &str = "deals";
/// Exit code of a `run` step.
pub const EXIT_CODE: &str = "exit_code";
/// HTTP status of an `http` step's response.
pub const HTTP_STATUS: &str = "http_status";

/// Returns the names that a step may record: those of its kind, those of its `measure`, and the
/// metrics that its watch samples.
///
/// The columns of a `sql` query are not known before it runs: see [`records_columns`].
pub fn of_step(step: &Step) -> Vec<&str> {
    step.action.kind().records()
}

/// Returns the query whose columns the step records, if any; its text is searched for their names.
pub fn records_columns(step: &Step) -> Option<&str> {
    step.action.kind().query()
}

/// True if the query may return a column of this name: its text contains the name as a word.
pub fn query_mentions(query: &str, name: &str) -> bool {
    query
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .any(|word| word.eq_ignore_ascii_case(name))
}

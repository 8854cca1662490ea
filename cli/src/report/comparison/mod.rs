//! Renders a comparison for people: as text and as one HTML page.

mod chart;
mod html;
mod table;
mod text;

pub(crate) use html::html;
pub(crate) use text::{explanation, regressions, text};

use rollbook_workers::compare::ComparisonResult;
use rollbook_workers::compare::rules::Class;
use rollbook_workers::compare::tally::Regression;
use rollbook_workers::snapshot::manifest::Total;

use crate::print::dollars;

/// All classes in display order, from harmless to failing.
const CLASSES: [(Class, &str); 7] = [
    (Class::Equal, "equal"),
    (Class::WithinTolerance, "within tolerance"),
    (Class::Ignored, "ignored"),
    (Class::Expected, "expected"),
    (Class::Warning, "warning"),
    (Class::Unexpected, "unexpected"),
    (Class::Regression, "regression"),
];

/// How many deals are in a class; one-sided deals are shown separately.
fn deals_in(result: &ComparisonResult, class: Class) -> u64 {
    match class {
        Class::Equal => result.equal,
        Class::WithinTolerance => result.within_tolerance,
        Class::Ignored => result.ignored,
        Class::Expected => result.expected,
        Class::Warning => result.warnings,
        Class::Unexpected => result.unexpected,
        Class::Regression => result.regressions,
    }
}

/// Which deals are in no sum of a comparison.
const ONE_SIDE: &str =
    "in no sum above: deals with figures on one side only (missing, added, in error)";

/// Which deals the sums of the metrics are over.
fn summed(result: &ComparisonResult) -> String {
    match result.computed {
        Some(deals) => format!("sums over the {deals} deals with figures before and after"),
        None => "sums over each whole snapshot, as an earlier version compared".to_owned(),
    }
}

/// A deal type as stored, with the type it is judged by if that differs.
fn typed(stored: &str, judged_as: Option<&str>) -> String {
    match judged_as {
        Some(judged) => format!("{}, judged as {judged}", shown(stored)),
        None => shown(stored),
    }
}

/// A figure with its unit.
fn figure(value: i64, unit: &str) -> String {
    if unit == "cents" {
        dollars(value)
    } else {
        value.to_string()
    }
}

/// The unit of a metric; what concerns a whole deal has none.
fn unit<'r>(result: &'r ComparisonResult, metric: &str) -> &'r str {
    let mut metrics = result.metrics.iter();
    metrics
        .find(|known| known.metric == metric)
        .map_or("", |known| known.unit.as_str())
}

/// How many characters of a text a table shows.
const TABLE_TEXT_CHARS: usize = 60;

/// The two sides of a regression: figures, texts, or dashes if there is neither.
fn sides(result: &ComparisonResult, regression: &Regression) -> [String; 2] {
    let cut = |text: &str| match text.char_indices().nth(TABLE_TEXT_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    };
    let texts = [&regression.before_text, &regression.after_text].map(|t| t.as_deref().map(cut));
    values(
        [regression.before, regression.after],
        texts.each_ref().map(Option::as_deref),
        unit(result, &regression.metric),
    )
}

/// A metric before and after. If a metric has a text on one side, a missing text is NULL.
fn values(figures: [Option<i64>; 2], texts: [Option<&str>; 2], unit: &str) -> [String; 2] {
    if texts.iter().any(Option::is_some) {
        return texts.map(quoted);
    }
    let of = |value: i64| figure(value, unit);
    figures.map(|value| value.map_or_else(|| "–".to_owned(), of))
}

/// A text in quotes on one line, to distinguish it from NULL.
fn quoted(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), |text| format!("\"{}\"", shown(text)))
}

/// An exact sum with its unit; sums beyond 64 bits are a bare number.
fn total(value: Total, unit: &str) -> String {
    i64::try_from(value.0).map_or_else(|_| format!("{} {unit}", value.0), |v| figure(v, unit))
}

/// A difference with its sign.
fn delta(before: Total, after: Total, unit: &str) -> String {
    let change = Total(after.0.saturating_sub(before.0));
    let sign = if change.0 > 0 { "+" } else { "" };
    format!("{sign}{}", total(change, unit))
}

/// The relative change in percent with one decimal place, `–` if there was nothing before.
fn percent(before: i128, after: i128) -> String {
    if before <= 0 {
        return "–".to_owned();
    }
    // Tenths of a percent, rounded half away from zero, in integers.
    let change = after.saturating_sub(before).saturating_mul(2_000);
    let half = if change < 0 { -before } else { before };
    let tenths = change.saturating_add(half) / before.saturating_mul(2);
    let sign = match tenths.signum() {
        1 => "+",
        -1 => "-",
        _ => "",
    };
    let tenths = tenths.unsigned_abs();
    format!("{sign}{}.{} %", tenths / 10, tenths % 10)
}

/// Text from deals on one line, with terminal control characters made visible.
fn shown(text: &str) -> String {
    text.escape_debug().to_string().replace("\\'", "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_rounded_half_away_from_zero() {
        assert_eq!(percent(1_000, 1_070), "+7.0 %");
        assert_eq!(percent(10_000, 9_995), "-0.1 %");
        assert_eq!(percent(100_000, 100_049), "0.0 %");
        assert_eq!(percent(3, 4), "+33.3 %");
        assert_eq!(percent(0, 4), "–");
    }

    #[test]
    fn a_text_is_quoted_and_null_is_not() {
        let shown = values([None, None], [Some("a \"b\"\né\u{1b}"), None], "");
        assert_eq!(shown, [r#""a \"b\"\né\u{1b}""#, "NULL"]);
        assert_eq!(
            values([Some(150), None], [None; 2], "cents"),
            ["$1.50", "–"]
        );
    }

    #[test]
    fn control_characters_are_shown_escaped() {
        assert_eq!(shown("a\u{1b}[31m'\n"), "a\\u{1b}[31m'\\n");
    }
}

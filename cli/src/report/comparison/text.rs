//! A comparison on the terminal.

use std::fmt::{self, Write};

use rollbook_deals::breakdown::{BreakdownSide, FigureBreakdown};
use rollbook_workers::compare::ComparisonResult;
use rollbook_workers::compare::differences::RegressionPage;
use rollbook_workers::compare::explain::{ExplainedMetric, Explanation};
use rollbook_workers::compare::rules::Class;

use super::{
    CLASSES, deals_in, delta, figure, percent, quoted, shown, sides, total, typed, unit, values,
};
use crate::print::{BOLD, DIM, GREEN, RED, YELLOW, paint};

/// The widest bar of the histogram, in characters.
const BAR_WIDTH: u64 = 32;

/// A summary of the whole result.
pub(crate) fn text(result: &ComparisonResult) -> Result<String, fmt::Error> {
    let mut out = String::new();
    summary(&mut out, result)?;
    uncomputed(&mut out, result)?;
    by_type(&mut out, result)?;
    totals(&mut out, result)?;
    histogram(&mut out, result)?;
    worst(&mut out, result)?;
    Ok(out)
}

fn style(class: Class) -> anstyle::Style {
    match class {
        Class::Equal | Class::WithinTolerance | Class::Expected => GREEN,
        Class::Ignored => DIM,
        Class::Warning | Class::Unexpected => YELLOW,
        Class::Regression => RED,
    }
}

fn summary(out: &mut String, result: &ComparisonResult) -> fmt::Result {
    let regressions = format!("{} regressions", result.regressions);
    let colour = if result.regressions == 0 { GREEN } else { RED };
    writeln!(
        out,
        "{} compared, {} equal, {} within tolerance, {} ignored, {} expected, {} unexpected, {} warnings, {}, {} missing, {} added, {} errors on both sides",
        result.compared,
        result.equal,
        result.within_tolerance,
        result.ignored,
        result.expected,
        result.unexpected,
        result.warnings,
        paint(colour, regressions),
        result.missing,
        result.added,
        result.errors,
    )
}

/// Deals without figures on either side, about which nothing is known.
fn uncomputed(out: &mut String, result: &ComparisonResult) -> fmt::Result {
    for deal in &result.uncomputed {
        writeln!(
            out,
            "  {} {}: before: {}; after: {}",
            paint(RED, "no figures"),
            shown(&deal.deal_id),
            shown(&deal.before),
            shown(&deal.after),
        )?;
    }
    let listed = u64::try_from(result.uncomputed.len()).unwrap_or(u64::MAX);
    match result.errors.saturating_sub(listed) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more without figures on both sides"),
    }
}

fn by_type(out: &mut String, result: &ComparisonResult) -> fmt::Result {
    let used: Vec<_> = CLASSES
        .iter()
        .filter(|(class, _)| deals_in(result, *class) > 0)
        .collect();
    if result.by_type.is_empty() || used.is_empty() {
        return Ok(());
    }
    write!(out, "\n{}", paint(BOLD, format!("{:<16}", "deals by type")))?;
    for (_, name) in &used {
        write!(out, " {name:>16}")?;
    }
    writeln!(out)?;
    for (deal_type, counts) in &result.by_type {
        write!(out, "{:<16}", shown(deal_type))?;
        for (class, _) in &used {
            let count = counts.get(class).copied().unwrap_or(0);
            let cell = format!("{count:>16}");
            let colour = if count == 0 { DIM } else { style(*class) };
            write!(out, " {}", paint(colour, cell))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn totals(out: &mut String, result: &ComparisonResult) -> fmt::Result {
    if !result.totals.is_empty() {
        let head = format!("{:<16} {:>8}", "total cost", "deals");
        writeln!(
            out,
            "\n{} {:>22} {:>22} {:>20} {:>10}",
            paint(BOLD, head),
            "before",
            "after",
            "change",
            ""
        )?;
    }
    for (deal_type, sums) in &result.totals {
        writeln!(
            out,
            "{:<16} {:>8} {:>22} {:>22} {:>20} {:>10}",
            shown(deal_type),
            sums.deals,
            total(sums.before_cents, "cents"),
            total(sums.after_cents, "cents"),
            delta(sums.before_cents, sums.after_cents, "cents"),
            percent(sums.before_cents.0, sums.after_cents.0),
        )?;
    }
    let changed: Vec<_> = result
        .metrics
        .iter()
        .filter(|m| m.before != m.after)
        .collect();
    if !changed.is_empty() {
        writeln!(
            out,
            "\n{} {:>22} {:>22} {:>20} {:>10}",
            paint(BOLD, format!("{:<25}", "metric, all deals")),
            "before",
            "after",
            "change",
            ""
        )?;
    }
    for metric in changed {
        writeln!(
            out,
            "{:<25} {:>22} {:>22} {:>20} {:>10}",
            metric.metric,
            total(metric.before, &metric.unit),
            total(metric.after, &metric.unit),
            delta(metric.before, metric.after, &metric.unit),
            percent(metric.before.0, metric.after.0),
        )?;
    }
    Ok(())
}

fn histogram(out: &mut String, result: &ComparisonResult) -> fmt::Result {
    let most = result.histogram.iter().map(|bucket| bucket.deals).max();
    let most = most.unwrap_or(0).max(1);
    if result.histogram.iter().all(|bucket| bucket.deals == 0) {
        return Ok(());
    }
    writeln!(out, "\n{}", paint(BOLD, "relative change of total cost"))?;
    for bucket in &result.histogram {
        // At least a sliver for every bucket with deals, so that a single deal is visible.
        let width = (bucket.deals * BAR_WIDTH).div_ceil(most);
        let bar = "█".repeat(usize::try_from(width).unwrap_or(0));
        writeln!(out, "{:>18} {:>9} {bar}", bucket.label, bucket.deals)?;
    }
    Ok(())
}

fn worst(out: &mut String, result: &ComparisonResult) -> fmt::Result {
    if result.worst.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n{} (all of them: --regressions)",
        paint(BOLD, "regressions with the largest change")
    )?;
    for regression in &result.worst {
        let [before, after] = sides(result, regression);
        let change = regression.before.zip(regression.after);
        let change = change.map_or_else(String::new, |(b, a)| percent(b.into(), a.into()));
        writeln!(
            out,
            "  {} {} ({}) {}: {before} → {after} {change}  {} {}",
            paint(RED, "regression"),
            shown(&regression.deal_id),
            typed(&regression.deal_type, regression.judged_as.as_deref()),
            regression.metric,
            regression.rule,
            paint(DIM, &regression.threshold),
        )?;
    }
    Ok(())
}

/// A page of regressions, one per line.
pub(crate) fn regressions(
    result: &ComparisonResult,
    page: &RegressionPage,
) -> Result<String, fmt::Error> {
    let mut out = String::new();
    for row in &page.regressions {
        let [before, after] = values(
            [row.before, row.after],
            [row.before_text.as_deref(), row.after_text.as_deref()],
            unit(result, &row.metric),
        );
        let errors = [("before", &row.error_before), ("after", &row.error_after)];
        let errors = errors.iter().filter_map(|(side, error)| {
            let error = error.as_deref()?;
            Some(format!("  {side}: {}", shown(error)))
        });
        writeln!(
            out,
            "{} ({}) {}: {before} → {after}  {} {}{}",
            shown(&row.deal_id),
            shown(&row.deal_type),
            row.metric,
            row.rule,
            paint(DIM, &row.threshold),
            errors.collect::<String>(),
        )?;
    }
    match &page.next_after {
        Some(last) => writeln!(out, "more: --after {}", shell_word(last))?,
        None if page.regressions.is_empty() => writeln!(out, "no regressions")?,
        None => {}
    }
    Ok(out)
}

/// A text quoted as one shell word.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/@".contains(c);
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with('-') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// One deal side by side; with `behind`, each figure with its components.
pub(crate) fn explanation(
    deal: &Explanation,
    behind: Option<&FigureBreakdown>,
) -> Result<String, fmt::Error> {
    let mut out = String::new();
    let name = |name: &Option<String>| name.as_deref().map_or_else(|| "–".to_owned(), shown);
    writeln!(
        out,
        "{} {} → {}, {}{}, {}",
        paint(BOLD, shown(&deal.deal_id)),
        name(&deal.type_before),
        name(&deal.type_after),
        if deal.guarded {
            "guarded"
        } else {
            "not guarded"
        },
        deal.judged_as
            .as_ref()
            .map_or_else(String::new, |judged| format!(" as {judged}")),
        paint(style(deal.class), deal.class.as_str()),
    )?;
    for (side, error) in [("before", &deal.error_before), ("after", &deal.error_after)] {
        if let Some(error) = error {
            writeln!(out, "  no figures {side}: {}", shown(error))?;
        }
    }
    for metric in &deal.metrics {
        explained(&mut out, metric)?;
        if let Some(behind) = behind
            && (metric.before, metric.after) != (Some(0), Some(0))
        {
            lines(&mut out, metric, &behind.before, &behind.after)?;
        }
    }
    if let Some(behind) = behind {
        writeln!(out, "\ninventory read from {}", behind.source)?;
        for (name, side) in [("before", &behind.before), ("after", &behind.after)] {
            drivers(&mut out, name, side)?;
        }
    }
    Ok(out)
}

fn explained(out: &mut String, metric: &ExplainedMetric) -> fmt::Result {
    let [before, after] = match metric.unit.as_str() {
        "text" => [&metric.before_text, &metric.after_text].map(|text| match text {
            // The deal is absent, or was not computed on both sides.
            None if metric.class.is_none() => "–".to_owned(),
            text => quoted(text.as_deref()),
        }),
        unit => values([metric.before, metric.after], [None; 2], unit),
    };
    let class = metric.class.unwrap_or(Class::Equal);
    let change = metric.before.zip(metric.after);
    let change = change.filter(|(b, a)| b != a);
    let change = change.map_or_else(String::new, |(b, a)| percent(b.into(), a.into()));
    writeln!(
        out,
        "  {:<24} {before:>20} → {after:>18} {change:>9}  {}  {} {}",
        metric.metric,
        paint(style(class), class.as_str()),
        metric.rule,
        paint(DIM, &metric.threshold),
    )
}

/// The components of both sides; those equal on both are listed once.
fn lines(
    out: &mut String,
    metric: &ExplainedMetric,
    before: &BreakdownSide,
    after: &BreakdownSide,
) -> fmt::Result {
    let none = Vec::new();
    let old = before.figures.get(&metric.metric).unwrap_or(&none);
    let new = after.figures.get(&metric.metric).unwrap_or(&none);
    let mut shown_lines = Vec::new();
    for line in old {
        let same = new
            .iter()
            .find(|other| other.what == line.what && other.items == line.items);
        shown_lines.push((line, Some(line.amount), same.map(|same| same.amount)));
    }
    for line in new {
        let known = old
            .iter()
            .any(|other| other.what == line.what && other.items == line.items);
        if !known {
            shown_lines.push((line, None, Some(line.amount)));
        }
    }
    for (line, before, after) in shown_lines {
        let of = |value: Option<i64>| {
            value.map_or_else(|| "–".to_owned(), |value| figure(value, &metric.unit))
        };
        let items = if line.items.is_empty() {
            String::new()
        } else {
            format!("  [{}]", shown(&line.items.join(", ")))
        };
        let text = format!(
            "    {:<26} {:>16} → {:>18}{items}",
            shown(&line.what),
            of(before),
            of(after)
        );
        writeln!(out, "{}", paint(DIM, text))?;
    }
    Ok(())
}

fn drivers(out: &mut String, name: &str, side: &BreakdownSide) -> fmt::Result {
    if let Some(note) = &side.note {
        writeln!(out, "{} {name}: {}", paint(YELLOW, "note"), shown(note))?;
    }
    for moved in &side.moved {
        writeln!(
            out,
            "    {}: {} in the snapshot, {} by the inventory now",
            moved.metric, moved.snapshot, moved.now
        )?;
    }
    if side.explains && !side.drivers.is_empty() {
        writeln!(
            out,
            "{name}: the lines give exactly the snapshot's figures; counted from:"
        )?;
    } else if !side.drivers.is_empty() {
        writeln!(out, "{name}: counted from:")?;
    }
    for driver in &side.drivers {
        writeln!(
            out,
            "    {:<16} {:>8}  [{}]",
            driver.driver,
            driver.value,
            shown(&driver.items.join(", "))
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_can_be_pasted_into_a_shell() {
        assert_eq!(shell_word("a-1"), "a-1");
        assert_eq!(shell_word("it's $(x)"), "'it'\\''s $(x)'");
        assert_eq!(shell_word("-rf"), "'-rf'");
    }
}

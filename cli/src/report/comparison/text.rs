//! A comparison on the terminal.

use std::fmt::{self, Write};

use rollbook_deals::breakdown::{BreakdownSide, FigureBreakdown};
use rollbook_workers::compare::ComparisonResult;
use rollbook_workers::compare::differences::RegressionPage;
use rollbook_workers::compare::explain::{ExplainedMetric, Explanation};
use rollbook_workers::compare::merge::Change;
use rollbook_workers::compare::rules::Class;
use rollbook_workers::snapshot::manifest::Total;

use super::table::{Cell, list, table};
use super::{
    CLASSES, ONE_SIDE, deals_in, delta, figure, percent, quoted, shown, sides, summed, total,
    typed, unit, values,
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
    let colour = if result.regressions == 0 { GREEN } else { RED };
    let count = |number: u64, what: &str| Cell::new(format!("{number} {what}"));
    list(
        out,
        &[
            count(result.compared, "compared"),
            count(result.equal, "equal"),
            count(result.within_tolerance, "within tolerance"),
            count(result.ignored, "ignored"),
            count(result.expected, "expected"),
            count(result.unexpected, "unexpected"),
            count(result.warnings, "warnings"),
            Cell::painted(colour, format!("{} regressions", result.regressions)),
            count(result.missing, "missing"),
            count(result.added, "added"),
            count(result.errors, "errors on both sides"),
        ],
    )
}

/// Deals without figures on either side, about which nothing is known.
fn uncomputed(out: &mut String, result: &ComparisonResult) -> fmt::Result {
    for deal in &result.uncomputed {
        let reasons = match deal.before == deal.after {
            true => shown(&deal.before),
            false => format!(
                "before: {}; after: {}",
                shown(&deal.before),
                shown(&deal.after)
            ),
        };
        writeln!(
            out,
            "  {} {}: {reasons}",
            paint(RED, "no figures"),
            shown(&deal.deal_id),
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
    let mut head = vec!["deals by type"];
    head.extend(used.iter().map(|(_, name)| *name));
    let rows: Vec<Vec<Cell>> = result
        .by_type
        .iter()
        .map(|(deal_type, counts)| {
            let counted = used.iter().map(|(class, _)| {
                let count = counts.get(class).copied().unwrap_or(0);
                let colour = if count == 0 { DIM } else { style(*class) };
                Cell::painted(colour, count.to_string())
            });
            std::iter::once(Cell::new(shown(deal_type)))
                .chain(counted)
                .collect()
        })
        .collect();
    writeln!(out)?;
    table(out, &head, &rows)
}

/// Both sums of a row, their difference and its share.
fn sums(before: Total, after: Total, unit: &str) -> [Cell; 4] {
    [
        total(before, unit),
        total(after, unit),
        delta(before, after, unit),
        percent(before.0, after.0),
    ]
    .map(Cell::new)
}

fn totals(out: &mut String, result: &ComparisonResult) -> fmt::Result {
    let by_type: Vec<Vec<Cell>> = result
        .totals
        .iter()
        .map(|(deal_type, of)| {
            let name = [Cell::new(shown(deal_type)), Cell::new(of.deals.to_string())];
            let sums = sums(of.before_cents, of.after_cents, "cents");
            name.into_iter().chain(sums).collect()
        })
        .collect();
    if !by_type.is_empty() {
        writeln!(out)?;
        let head = ["total cost", "deals", "before", "after", "change", ""];
        table(out, &head, &by_type)?;
    }
    let changed: Vec<Vec<Cell>> = result
        .metrics
        .iter()
        .filter(|metric| metric.before != metric.after)
        .map(|metric| {
            let sums = sums(metric.before, metric.after, &metric.unit);
            std::iter::once(Cell::new(shown(&metric.metric)))
                .chain(sums)
                .collect()
        })
        .collect();
    if !changed.is_empty() {
        writeln!(out, "\n{}", paint(DIM, summed(result)))?;
        table(out, &["metric", "before", "after", "change", ""], &changed)?;
    }
    one_side(out, result)
}

/// The deals that have figures in one snapshot only, which no sum above contains.
fn one_side(out: &mut String, result: &ComparisonResult) -> fmt::Result {
    let only = [result.computed_before_only, result.computed_after_only];
    if only == [0, 0] {
        return Ok(());
    }
    let mut rows = vec![
        std::iter::once(Cell::new("deals"))
            .chain(only.map(|deals| Cell::new(deals.to_string())))
            .collect(),
    ];
    rows.extend(result.metrics.iter().filter_map(|metric| {
        let sums = [metric.before_only, metric.after_only];
        let cells = sums.map(|sum| Cell::new(total(sum, &metric.unit)));
        (sums != [Total(0); 2]).then(|| {
            std::iter::once(Cell::new(shown(&metric.metric)))
                .chain(cells)
                .collect::<Vec<_>>()
        })
    }));
    writeln!(out, "\n{}", paint(DIM, ONE_SIDE))?;
    table(out, &["", "before only", "after only"], &rows)
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
        "{}\n  {} → {}, {}{}, {}",
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
    if let Some(why) = deal.change.and_then(without_rule) {
        writeln!(out, "  {why}")?;
    }
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

/// What no rule about a figure decides.
fn without_rule(change: Change) -> Option<&'static str> {
    match change {
        Change::Changed => None,
        Change::Missing => Some("missing after, and no deal may be"),
        Change::Added => Some("added: there is nothing to compare it with"),
        Change::ErrorOnOneSide => {
            Some("computed on one side only; it must be on both sides or on none")
        }
        Change::ErrorOnBothSides => Some("computed on neither side"),
    }
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
    let class = metric
        .class
        .map(|class| paint(style(class), class.as_str()));
    let change = metric.before.zip(metric.after);
    let change = change.filter(|(b, a)| b != a);
    let change = change.map_or_else(String::new, |(b, a)| percent(b.into(), a.into()));
    writeln!(
        out,
        "  {:<22} {before:>16} → {after:>16} {change:>8}  {}",
        metric.metric,
        class.as_deref().unwrap_or("–"),
    )?;
    if metric.class.is_none_or(|class| class == Class::Equal) {
        return Ok(());
    }
    writeln!(
        out,
        "      by rule {}: {}",
        metric.rule,
        paint(DIM, &metric.threshold)
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
            "    {:<26} {:>16} → {:>16}{items}",
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

//! A comparison as one self-contained HTML page.

use std::fmt::{self, Write};

use rollbook_workers::compare::ComparisonResult;
use rollbook_workers::compare::result::Side;
use rollbook_workers::compare::rules::{Class, RuleSeverity, Scope};
use rollbook_workers::snapshot::manifest::Total;

use super::chart::{bars, stack};
use super::{CLASSES, ONE_SIDE, deals_in, delta, percent, sides, summed, total, typed};
use crate::report::html::escape;

const STYLE: &str = include_str!("style.css");

/// Renders the page. All text from deals and rules is escaped.
pub(crate) fn html(result: &ComparisonResult, address: &str) -> Result<String, fmt::Error> {
    let mut out = String::with_capacity(64 * 1024);
    let title = format!("Comparison of {}", result.after.snapshot);
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{}</title><style>{STYLE}</style></head><body>\n",
        escape(&title)
    )?;
    head(&mut out, result, address, &title)?;
    classes(&mut out, result)?;
    histogram(&mut out, result)?;
    totals(&mut out, result)?;
    worst(&mut out, result)?;
    rules(&mut out, result)?;
    out.push_str("</body></html>\n");
    Ok(out)
}

fn colour(class: Class) -> &'static str {
    match class {
        Class::Equal => "equal",
        Class::WithinTolerance => "within",
        Class::Ignored => "ignored",
        Class::Expected => "expected",
        Class::Warning => "warning",
        Class::Unexpected => "unexpected",
        Class::Regression => "regression",
    }
}

fn head(out: &mut String, result: &ComparisonResult, address: &str, title: &str) -> fmt::Result {
    let verdict = result.verdict().as_str_name().to_lowercase();
    let verdict = verdict.trim_start_matches("verdict_");
    writeln!(
        out,
        "<h1>{} <span class=\"verdict {}\">{}</span></h1>",
        escape(title),
        escape(verdict),
        escape(verdict)
    )?;
    writeln!(out, "<dl>")?;
    for (name, one) in [("Before", &result.before), ("After", &result.after)] {
        writeln!(out, "<dt>{name}</dt><dd>{}</dd>", side_of(one))?;
    }
    writeln!(
        out,
        "<dt>Result</dt><dd><code>{}</code></dd></dl>",
        escape(address)
    )?;
    writeln!(out, "<div class=\"cards\">")?;
    for (name, value) in [
        ("compared", result.compared),
        ("regressions", result.regressions),
        ("unexpected", result.unexpected),
        ("warnings", result.warnings),
        ("missing", result.missing),
        ("added", result.added),
        ("errors on both sides", result.errors),
        ("type changed", result.type_changed),
    ] {
        let alarm = matches!(name, "regressions" | "errors on both sides" | "missing") && value > 0;
        let class = if alarm { " class=\"alarm\"" } else { "" };
        writeln!(out, "<div{class}><b>{value}</b>{name}</div>")?;
    }
    writeln!(out, "</div>")
}

fn side_of(side: &Side) -> String {
    format!(
        "{} <code>{}</code>, {} deals, {} without figures, model <code>{}</code>, deal types {}",
        escape(&side.label),
        escape(&side.manifest),
        side.deals,
        side.errors,
        escape(&side.model_digest),
        if side.deal_type_awareness {
            "count"
        } else {
            "do not count"
        }
    )
}

fn classes(out: &mut String, result: &ComparisonResult) -> fmt::Result {
    writeln!(out, "<h2>Deals by class</h2>")?;
    let parts: Vec<_> = CLASSES
        .iter()
        .map(|(class, name)| (*name, deals_in(result, *class), colour(*class)))
        .collect();
    stack(out, "Deals by class", &parts)?;
    write!(out, "<table><thead><tr><th>Deal type</th>")?;
    for (class, name) in &CLASSES {
        let dot = colour(*class);
        write!(out, "<th class=\"n\"><i class=\"{dot}\"></i>{name}</th>")?;
    }
    writeln!(out, "</tr></thead><tbody>")?;
    for (deal_type, counts) in &result.by_type {
        write!(out, "<tr><td>{}</td>", escape(deal_type))?;
        for (class, _) in &CLASSES {
            let count = counts.get(class).copied().unwrap_or(0);
            let dim = if count == 0 { " z" } else { "" };
            write!(out, "<td class=\"n{dim}\">{count}</td>")?;
        }
        writeln!(out, "</tr>")?;
    }
    write!(out, "</tbody><tfoot><tr><td>All</td>")?;
    for (class, _) in &CLASSES {
        write!(out, "<td class=\"n\">{}</td>", deals_in(result, *class))?;
    }
    writeln!(out, "</tr></tfoot></table>")
}

fn histogram(out: &mut String, result: &ComparisonResult) -> fmt::Result {
    writeln!(out, "<h2>Relative change of total cost</h2>")?;
    let drawn: Vec<_> = result
        .histogram
        .iter()
        .map(|bucket| {
            let class = if bucket.label == "unchanged" {
                "equal"
            } else {
                "moved"
            };
            (bucket.label.as_str(), bucket.deals, class)
        })
        .collect();
    bars(out, "Deals by relative change of total cost", &drawn)
}

const TOTALS: &str = "<th class=\"n\">Before</th><th class=\"n\">After</th><th class=\"n\">Change</th><th class=\"n\"></th></tr></thead><tbody>";

fn totals(out: &mut String, result: &ComparisonResult) -> fmt::Result {
    writeln!(
        out,
        "<h2>Total cost by deal type</h2><p>Deals that could be computed on both sides.</p><table><thead><tr><th>Deal type</th><th class=\"n\">Deals</th>{TOTALS}"
    )?;
    for (deal_type, sums) in &result.totals {
        write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{}</td>",
            escape(deal_type),
            sums.deals
        )?;
        sums_row(out, sums.before_cents, sums.after_cents, "cents")?;
    }
    writeln!(
        out,
        "</tbody></table><h2>Every metric</h2><p>{}.</p><table><thead><tr><th>Metric</th>{TOTALS}",
        sentence(&summed(result))
    )?;
    for metric in &result.metrics {
        write!(out, "<tr><td>{}</td>", escape(&metric.metric))?;
        sums_row(out, metric.before, metric.after, &metric.unit)?;
    }
    writeln!(out, "</tbody></table>")?;
    one_side(out, result)
}

/// The deals that have figures in one snapshot only.
fn one_side(out: &mut String, result: &ComparisonResult) -> fmt::Result {
    let (before, after) = (result.computed_before_only, result.computed_after_only);
    if (before, after) == (0, 0) {
        return Ok(());
    }
    writeln!(
        out,
        "<h2>Deals on one side only</h2><p>{}.</p><table><thead><tr><th></th><th class=\"n\">Before only</th><th class=\"n\">After only</th></tr></thead><tbody><tr><td>Deals</td><td class=\"n\">{before}</td><td class=\"n\">{after}</td></tr>",
        sentence(ONE_SIDE),
    )?;
    for metric in &result.metrics {
        let sums = [metric.before_only, metric.after_only];
        if sums != [Total(0); 2] {
            let [before, after] = sums.map(|sum| escape(&total(sum, &metric.unit)));
            writeln!(
                out,
                "<tr><td>{}</td><td class=\"n\">{before}</td><td class=\"n\">{after}</td></tr>",
                escape(&metric.metric),
            )?;
        }
    }
    writeln!(out, "</tbody></table>")
}

/// A phrase with a capital at its start.
fn sentence(phrase: &str) -> String {
    let mut rest = phrase.chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    escape(&first.into_iter().chain(rest).collect::<String>())
}

fn sums_row(out: &mut String, before: Total, after: Total, unit: &str) -> fmt::Result {
    writeln!(
        out,
        "<td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
        escape(&total(before, unit)),
        escape(&total(after, unit)),
        escape(&delta(before, after, unit)),
        percent(before.0, after.0)
    )
}

fn worst(out: &mut String, result: &ComparisonResult) -> fmt::Result {
    writeln!(out, "<h2>Regressions with the largest change</h2>")?;
    if result.worst.is_empty() {
        return writeln!(out, "<p>There are no regressions.</p>");
    }
    writeln!(
        out,
        "<p>{} of {} deals with a regression; <code>rollbook compare --regressions</code> lists all.</p><table><thead><tr><th>Deal</th><th>Type</th><th>Metric</th><th class=\"n\">Before</th><th class=\"n\">After</th><th class=\"n\">Change</th><th>Rule</th></tr></thead><tbody>",
        result.worst.len(),
        result.regressions
    )?;
    for regression in &result.worst {
        let [before, after] = sides(result, regression);
        let change = regression.before.zip(regression.after);
        let change = change.map_or_else(String::new, |(b, a)| percent(b.into(), a.into()));
        writeln!(
            out,
            "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{change}</td><td>{}<br><small>{}</small></td></tr>",
            escape(&regression.deal_id),
            escape(&typed(
                &regression.deal_type,
                regression.judged_as.as_deref()
            )),
            escape(&regression.metric),
            escape(&before),
            escape(&after),
            escape(&regression.rule),
            escape(&regression.threshold),
        )?;
    }
    writeln!(out, "</tbody></table>")
}

fn rules(out: &mut String, result: &ComparisonResult) -> fmt::Result {
    writeln!(
        out,
        "<h2>Rules</h2><p>The first that fits deal and metric judges. Guarded types: {}.{}</p><table><thead><tr><th>Rule</th><th>Metric</th><th>Deals</th><th>Test</th><th>When broken</th><th>Differing figures</th></tr></thead><tbody>",
        escape(&result.rules.guard.join(", ")),
        if result.model_changed {
            " The snapshots were made by different models, which these rules allow."
        } else {
            ""
        }
    )?;
    for rule in &result.rules.rules {
        let scope = match rule.scope {
            Scope::Any => "all",
            Scope::Guarded => "guarded",
            Scope::Unguarded => "others",
        };
        let deals = if rule.deal_types.is_empty() {
            scope.to_owned()
        } else {
            format!("{scope}: {}", rule.deal_types.join(", "))
        };
        let severity = match rule.severity {
            RuleSeverity::Regression => "regression",
            RuleSeverity::Warning => "warning",
        };
        row_of_rule(
            out,
            result,
            &rule.id,
            [&rule.metric, &deals, &rule.test.threshold(), severity],
        )?;
    }
    let own = |name: &String| result.rules.rules.iter().all(|rule| rule.id != **name);
    for name in result.by_rule.keys().filter(|name| own(name)) {
        row_of_rule(out, result, name, ["", "all", "built in", "regression"])?;
    }
    writeln!(out, "</tbody></table>")
}

fn row_of_rule(
    out: &mut String,
    result: &ComparisonResult,
    id: &str,
    cells: [&str; 4],
) -> fmt::Result {
    let counts = result.by_rule.get(id).into_iter().flatten();
    let counts: Vec<String> = counts
        .map(|(class, count)| format!("{count} {}", class.as_str().replace('_', " ")))
        .collect();
    write!(out, "<tr><td>{}</td>", escape(id))?;
    for cell in cells {
        write!(out, "<td>{}</td>", escape(cell))?;
    }
    writeln!(out, "<td>{}</td></tr>", escape(&counts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        assert_eq!(
            escape("<script>'\"&\u{202e}\u{0}"),
            "&lt;script&gt;&#39;&quot;&amp;\u{fffd}\u{fffd}"
        );
    }
}

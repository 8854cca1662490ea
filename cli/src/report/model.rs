//! The model of the deals on the terminal, within 80 columns.

use std::fmt::{self, Write};

use rollbook_deals::description::{FieldDescription, ModelDescription, WorkItemDescription};
use rollbook_deals::model::{CutOff, Multipliers};
use serde_json::Value;

use crate::print::{BOLD, DIM, dollars, paint, visible};

/// The columns that a terminal surely has.
const COLUMNS: usize = 80;
/// The sections of a model file that are shown with what they are for.
const SHOWN_ABOVE: [&str; 4] = ["multipliers", "cost_items", "applicability", "scenarios"];
/// The column of numbers that are listed by their path.
const PATH_WIDTH: usize = 46;
/// Basis points of the factor 1.0.
const ONE_BP: i64 = 10_000;

/// The whole description.
pub(crate) fn text(model: &ModelDescription) -> Result<String, fmt::Error> {
    let mut out = String::new();
    head(&mut out, model)?;
    deal_types(&mut out, model)?;
    metrics(&mut out, model)?;
    formulas(&mut out, model)?;
    work_items(&mut out, model)?;
    drivers(&mut out, model)?;
    categories(&mut out, model)?;
    fields(&mut out, model)?;
    numbers(&mut out, model)?;
    Ok(out)
}

/// Writes a text whose further lines are indented, broken between words.
fn wrapped(out: &mut String, first: &str, indent: usize, text: &str) -> fmt::Result {
    let mut used = first.chars().count();
    write!(out, "{first}")?;
    let mut at_start = true;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if !at_start && used + 1 + width > COLUMNS {
            write!(out, "\n{:indent$}", "")?;
            used = indent;
            at_start = true;
        }
        if !at_start {
            write!(out, " ")?;
            used += 1;
        }
        write!(out, "{word}")?;
        used += width;
        at_start = false;
    }
    writeln!(out)
}

/// A name in a column of its own, and what it is.
fn entry(out: &mut String, name: &str, width: usize, text: &str) -> fmt::Result {
    wrapped(out, &format!("  {name:<width$}  "), width + 4, text)
}

fn title(out: &mut String, text: &str) -> fmt::Result {
    writeln!(out, "\n{}", paint(BOLD, text))
}

fn remark(out: &mut String, text: &str) -> fmt::Result {
    let mut remark = String::new();
    wrapped(&mut remark, "  ", 2, text)?;
    writeln!(out, "{}", paint(DIM, remark.trim_end()))
}

/// A factor of 1.0 in basis points as a decimal: `2.5`.
fn factor(bp: i64) -> String {
    let (whole, rest) = (bp / ONE_BP, bp % ONE_BP);
    let digits = format!("{rest:04}");
    match digits.trim_end_matches('0') {
        "" => format!("{whole}.0"),
        digits => format!("{whole}.{digits}"),
    }
}

fn head(out: &mut String, model: &ModelDescription) -> fmt::Result {
    let which = match model.built_in {
        true => "the built-in model",
        false => "a model file",
    };
    writeln!(out, "{} {}: {which}", paint(BOLD, "model"), model.model)?;
    writeln!(out, "  digest  {}", model.model_digest)?;
    if let Some(deal_type) = model.limited_to {
        writeln!(out, "  only what applies to deals of type {deal_type}")?;
    }
    entry(out, "money", 6, "US cents; shown here in dollars")?;
    entry(
        out,
        "factor",
        6,
        "basis points, of which 10,000 are 1.0; shown here as decimals",
    )?;
    entry(out, "round", 6, model.rounding)
}

fn deal_types(out: &mut String, model: &ModelDescription) -> fmt::Result {
    title(out, "Deal types")?;
    for of in &model.deal_types {
        entry(out, of.deal_type.as_str(), 11, of.meaning)?;
        let missing = of.without_type.then_some("no type or a blank one");
        let words: Vec<&str> = of.aliases.iter().copied().chain(missing).collect();
        entry(out, "", 11, &format!("also: {}", words.join(", ")))?;
        entry(
            out,
            "",
            11,
            &format!("multipliers: {}", multipliers(&of.multipliers_bp)),
        )?;
    }
    remark(
        out,
        "Words are compared trimmed and without regard to case; any other is an error of its deal. \
         With deal types off (--flag-off), every deal is an acquisition and every multiplier 1.0.",
    )
}

fn multipliers(of: &Multipliers) -> String {
    [
        ("identity", of.identity),
        ("application", of.application),
        ("infrastructure", of.infrastructure),
        ("network", of.network),
        ("cybersecurity", of.cybersecurity),
        ("organization", of.organization),
    ]
    .map(|(name, bp)| format!("{name} {}", factor(bp)))
    .join(", ")
}

fn metrics(out: &mut String, model: &ModelDescription) -> fmt::Result {
    title(out, "Metrics of every deal")?;
    for metric in &model.metrics {
        let unit = match metric.unit {
            rollbook_deals::Unit::Cents => "cents",
            rollbook_deals::Unit::Count => "count",
        };
        let name = format!("{:<21} {unit}", metric.name);
        entry(out, &name, 27, metric.formula)?;
    }
    Ok(())
}

fn formulas(out: &mut String, model: &ModelDescription) -> fmt::Result {
    title(out, "Formulas")?;
    for formula in &model.formulas {
        wrapped(out, "  ", 4, formula.name)?;
        wrapped(out, "      = ", 8, formula.formula)?;
        let types: Vec<&str> = formula.deal_types.iter().map(|it| it.as_str()).collect();
        let step = dollars(formula.rounded_to_cents);
        let about = format!(
            "for {}; rounded to {step}; numbers in {}",
            types.join(", "),
            formula.numbers.join(", ")
        );
        let mut lines = String::new();
        wrapped(&mut lines, "      ", 8, &about)?;
        writeln!(out, "{}", paint(DIM, lines.trim_end()))?;
    }
    Ok(())
}

fn work_items(out: &mut String, model: &ModelDescription) -> fmt::Result {
    title(out, "Work items")?;
    for item in &model.work_items {
        work_item(out, item)?;
    }
    let scenarios = &model.numbers.scenarios;
    let text = format!(
        "Scenarios: upside {}, base {}, stress {}.",
        factor(scenarios.upside_bp),
        factor(scenarios.base_bp),
        factor(scenarios.stress_bp)
    );
    remark(out, &text)
}

fn work_item(out: &mut String, item: &WorkItemDescription) -> fmt::Result {
    let of = &item.numbers;
    let (category, phase) = (word(&of.category), word(&of.phase));
    writeln!(out, "  {} ({category}, {phase})", item.work_item)?;
    let mut line = |name: &str, text: &str| wrapped(out, &format!("      {name:<11} "), 18, text);
    line("applies", &format!("if {}", item.applies_when))?;
    let amounts = [
        (of.base_cents, ""),
        (of.per_user_cents, " per user"),
        (of.per_site_cents, " per site"),
        (of.per_machine_cents, " per machine"),
        (of.per_application_cents, " per application"),
    ];
    line("one-time", &sum(&amounts))?;
    let levels = &of.complexity;
    let [low, medium, high] = [levels.low_bp, levels.medium_bp, levels.high_bp].map(factor);
    let (if_low, if_high) = cut_offs(&of.cut_off);
    line(
        "complexity",
        &format!("{high} {if_high}; else {low} {if_low}; else {medium}"),
    )?;
    let licences = &of.licences;
    let amounts = [
        (licences.flat_cents, ""),
        (licences.per_user_cents, " per user"),
        (licences.per_site_cents, " per site"),
        (licences.per_endpoint_cents, " per endpoint"),
    ];
    line("licences", &sum(&amounts))
}

/// A word of the model file.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// The amounts that are not 0, as a sum.
fn sum(amounts: &[(i64, &str)]) -> String {
    let parts: Vec<String> = amounts
        .iter()
        .filter(|(cents, _)| *cents != 0)
        .map(|(cents, per)| format!("{}{per}", dollars(*cents)))
        .collect();
    match parts.is_empty() {
        true => "none".to_owned(),
        false => parts.join(" + "),
    }
}

/// When complexity is low, and when it is high.
fn cut_offs(cut_off: &CutOff) -> (String, String) {
    match cut_off {
        CutOff::Driver {
            measure,
            low_below,
            high_above,
        } => {
            let measure = word(measure);
            (
                format!("if {measure} < {low_below}"),
                format!("if {measure} > {high_above}"),
            )
        }
        CutOff::Programme {
            sites_low_below,
            sites_high_above,
            users_low_below,
            users_high_above,
        } => (
            format!("if sites < {sites_low_below} and users < {users_low_below}"),
            format!("if sites > {sites_high_above} or users > {users_high_above}"),
        ),
        CutOff::ErpSystem { low, high } => (
            format!("if it is {}", words_of(low)),
            format!("if the ERP is {}", words_of(high)),
        ),
    }
}

/// Words from a model file, which may hold control characters.
fn words_of(words: &[String]) -> String {
    visible(&words.join(" or "))
}

fn drivers(out: &mut String, model: &ModelDescription) -> fmt::Result {
    title(out, "Drivers, counted over the target's active items")?;
    for driver in &model.drivers {
        entry(out, driver.name, 21, driver.counted)?;
    }
    remark(
        out,
        "An item is the parent's if data.hosted_by_parent is true, or data.ownership or \
         data.hosting says so.",
    )
}

fn categories(out: &mut String, model: &ModelDescription) -> fmt::Result {
    title(out, "Categories of applications")?;
    for of in &model.categories {
        let name = word(&of.category);
        let others = of.words.iter().filter(|word| **word != name);
        let others: Vec<&str> = others.copied().collect();
        let mut about = format!("factor {:<5}", factor(of.factor_bp));
        if of.core {
            about.push_str(" business core");
        }
        if of.office {
            about.push_str(" office tool");
        }
        if !others.is_empty() {
            write!(about, " also: {}", others.join(", "))?;
        }
        entry(out, &name, 17, &about)?;
    }
    let table = &model.numbers.per_application;
    let complexity = format!(
        "Complexity, unless stated: critical for the business core; complex with more than {} users \
         or {} API integrations; simple for an office tool in the cloud (saas) with fewer than {} \
         users; else medium. Any other category counts as other; in synergies it meets only itself.",
        table.complex_users_above, table.complex_apis_above, table.simple_users_below
    );
    remark(out, &complexity)
}

fn fields(out: &mut String, model: &ModelDescription) -> fmt::Result {
    title(out, "Fields of an inventory item; all others are ignored")?;
    for field in &model.fields {
        let name = format!("{} ({})", field.field, kinds(field));
        wrapped(out, "  ", 4, &name)?;
        wrapped(out, "      ", 6, field.meaning)?;
        let missing = format!("{}; missing: {}", field.read_as, field.missing);
        wrapped(out, "      ", 6, &missing)?;
        // The categories have a list of their own.
        if field.words.is_empty() || field.field == "data.category" {
            continue;
        }
        let groups: Vec<String> = field.words.iter().map(|group| group.join(" = ")).collect();
        wrapped(out, "      ", 6, &groups.join(", "))?;
        if let Some(other) = field.other_words {
            wrapped(out, "      ", 6, &format!("any other word: {other}"))?;
        }
    }
    Ok(())
}

fn kinds(field: &FieldDescription) -> String {
    match field.of.as_slice() {
        of if of.len() > 3 => "every item".to_owned(),
        of => of.join(", "),
    }
}

/// The numbers that no section above shows.
fn numbers(out: &mut String, model: &ModelDescription) -> fmt::Result {
    title(out, "Further numbers, by their path in a model file")?;
    let all = serde_json::to_value(&model.numbers).unwrap_or_default();
    let used = |section: &str| {
        let mut formulas = model.formulas.iter();
        formulas.any(|formula| formula.numbers.contains(&section))
    };
    for (section, value) in all.as_object().into_iter().flatten() {
        if used(section) && !SHOWN_ABOVE.contains(&section.as_str()) {
            number(out, section, value)?;
        }
    }
    remark(
        out,
        "`rollbook model show --numbers` prints all of them as a model file.",
    )
}

fn number(out: &mut String, path: &str, value: &Value) -> fmt::Result {
    let amount = value.as_i64();
    match value {
        // The factors of categories are in their list.
        Value::Object(_) if path == "per_application.category_bp" => Ok(()),
        Value::Object(fields) => fields
            .iter()
            .try_for_each(|(key, value)| number(out, &format!("{path}.{key}"), value)),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            entry(out, path, PATH_WIDTH, &words.join(", "))
        }
        Value::Array(items) => items.iter().enumerate().try_for_each(|(place, item)| {
            let named = item.get("category").and_then(Value::as_str);
            let name = named.map_or_else(|| place.to_string(), str::to_owned);
            number(out, &format!("{path}.{name}"), item)
        }),
        Value::String(_) if path.ends_with(".category") => Ok(()),
        Value::String(text) => entry(out, path, PATH_WIDTH, text),
        _ => {
            let shown = match amount {
                Some(cents) if path.ends_with("_cents") => dollars(cents),
                Some(bp) if path.ends_with("_bp") => factor(bp),
                _ => value.to_string(),
            };
            entry(out, path, PATH_WIDTH, &shown)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rollbook_deals::Model;

    use super::*;

    fn shown(model: &ModelDescription) -> String {
        let text = text(model).unwrap();
        anstream::adapter::strip_str(&text).to_string()
    }

    /// Every leaf of a JSON value with its path.
    fn leaves(path: &str, value: &Value, found: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| {
                leaves(&format!("{path}.{key}"), value, found);
            }),
            Value::Array(items) => items.iter().for_each(|item| leaves(path, item, found)),
            leaf => found.push((path.to_owned(), leaf.clone())),
        }
    }

    #[test]
    fn everything_that_is_described_is_printed_within_80_columns() {
        let model = ModelDescription::of(&Model::built_in(), None).unwrap();
        let text = shown(&model);
        // Wrapping may break a text anywhere between words.
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut found = Vec::new();
        leaves("", &serde_json::to_value(&model).unwrap(), &mut found);
        assert!(found.len() > 500, "{}", found.len());
        for (path, leaf) in found {
            // What is printed in other words: units, and numbers of factors and money.
            let said = match &leaf {
                Value::String(_) if path.starts_with(".units") || path.ends_with(".by") => continue,
                Value::String(word) => word.clone(),
                Value::Number(number) => {
                    let number = number.as_i64().unwrap();
                    match path.rsplit('_').next() {
                        _ if number == 0 => continue,
                        Some("cents") => dollars(number),
                        Some("bp") => factor(number),
                        _ if path.contains(".multipliers") || path.contains("category_bp.") => {
                            factor(number)
                        }
                        _ => number.to_string(),
                    }
                }
                _ => continue,
            };
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(flat.contains(&said), "{path}: {said:?} is not printed");
        }
        for line in text.lines() {
            assert!(line.chars().count() <= COLUMNS, "{line}");
        }
    }

    #[test]
    fn factors_are_decimals() {
        assert_eq!(factor(10_000), "1.0");
        assert_eq!(factor(25_000), "2.5");
        assert_eq!(factor(1_250), "0.125");
        assert_eq!(factor(8_500), "0.85");
    }
}

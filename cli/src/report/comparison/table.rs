//! Tables and lists on the terminal, no wider than their content.

use std::fmt::{self, Write};

use anstyle::Style;

use crate::print::{BOLD, paint};

/// The columns that a terminal surely has.
const COLUMNS: usize = 80;
/// Between two columns of a table, if it fits the terminal so, or else 1.
const GAP: usize = 2;

/// A text and how it is painted.
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self::painted(Style::new(), text)
    }

    pub(super) fn painted(style: Style, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text, style }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Writes a table: the first column to the left, all others to the right.
pub(super) fn table(out: &mut String, head: &[&str], rows: &[Vec<Cell>]) -> fmt::Result {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(Cell::width).max().unwrap_or_default();
        widest.max(head.get(column).map_or(0, |name| name.chars().count()))
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let gaps = GAP * widths.len().saturating_sub(1);
    let gap = match widths.iter().sum::<usize>() + gaps <= COLUMNS {
        true => GAP,
        false => 1,
    };
    let head: Vec<Cell> = head.iter().map(|name| Cell::painted(BOLD, *name)).collect();
    for row in std::iter::once(&head).chain(rows) {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let blanks = " ".repeat(width.saturating_sub(cell.width()));
            let text = match cell.text.as_str() {
                "" => String::new(),
                text => paint(cell.style, text),
            };
            match column {
                0 => write!(out, "{text}{blanks}")?,
                _ => write!(out, "{:gap$}{blanks}{text}", "")?,
            }
        }
        // What follows the last text is of no use.
        out.truncate(out.trim_end_matches(' ').len());
        writeln!(out)?;
    }
    Ok(())
}

/// Writes texts one after the other, separated by commas, on as many lines as they need.
pub(super) fn list(out: &mut String, cells: &[Cell]) -> fmt::Result {
    let mut used = 0;
    for (place, cell) in cells.iter().enumerate() {
        let is_last = place + 1 == cells.len();
        let width = cell.width() + usize::from(!is_last);
        if used > 0 && used + 1 + width > COLUMNS {
            writeln!(out)?;
            used = 0;
        } else if used > 0 {
            write!(out, " ")?;
            used += 1;
        }
        let comma = if is_last { "" } else { "," };
        write!(out, "{}{comma}", paint(cell.style, &cell.text))?;
        used += width;
    }
    writeln!(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn columns_are_as_wide_as_their_content() {
        let mut out = String::new();
        let row = |cells: [&str; 3]| cells.map(Cell::new).into_iter().collect();
        let rows: Vec<Vec<Cell>> = vec![row(["cost_total", "$1.50", ""]), row(["n", "12", "+1"])];
        table(&mut out, &["metric", "before", "change"], &rows).unwrap();
        let expected =
            "metric      before  change\ncost_total   $1.50\nn               12      +1\n";
        assert_eq!(plain(&out), expected);
    }

    #[test]
    fn a_list_continues_on_the_next_line() {
        let mut out = String::new();
        let cells: Vec<Cell> = (0..30).map(|n| Cell::new(format!("{n} things"))).collect();
        list(&mut out, &cells).unwrap();
        let text = plain(&out);
        assert!(
            text.lines().count() > 3 && text.ends_with(" 28 things,\n29 things\n"),
            "{text}"
        );
        assert!(
            text.lines().all(|line| line.chars().count() <= COLUMNS),
            "{text}"
        );
    }
}

//! Charts as inline SVG. Colours come from the page's style, so they follow its theme.

use std::fmt::{self, Write};

use crate::report::html::escape;

/// A bar: label, value, and the class of its colour.
pub(super) type Bar<'a> = (&'a str, u64, &'static str);

const WIDTH: u32 = 860;
const LABELS: u32 = 150;
const VALUES: u32 = 110;
const ROW: u32 = 26;

/// Horizontal bars. Lengths are proportional, but a value above zero always has a visible bar.
pub(super) fn bars(out: &mut String, title: &str, bars: &[Bar<'_>]) -> fmt::Result {
    let most = bars.iter().map(|(_, value, _)| *value).max();
    let most = most.unwrap_or(0).max(1);
    let room = u64::from(WIDTH - LABELS - VALUES);
    let height = ROW * u32::try_from(bars.len()).unwrap_or(0) + 4;
    write!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">",
        escape(title)
    )?;
    let mut y = 2;
    for (label, value, class) in bars {
        let length = u64::try_from(u128::from(*value) * u128::from(room) / u128::from(most));
        let length = length.unwrap_or(room).max(if *value > 0 { 2 } else { 0 });
        let text = y + 17;
        write!(
            out,
            "<text class=\"label\" x=\"{}\" y=\"{text}\">{}</text>",
            LABELS - 8,
            escape(label)
        )?;
        write!(
            out,
            "<rect class=\"{class}\" x=\"{LABELS}\" y=\"{}\" width=\"{length}\" height=\"{}\" rx=\"2\"><title>{}: {value}</title></rect>",
            y + 3,
            ROW - 6,
            escape(label)
        )?;
        write!(
            out,
            "<text x=\"{}\" y=\"{text}\">{value}</text>",
            u64::from(LABELS) + length + 6
        )?;
        y += ROW;
    }
    writeln!(out, "</svg>")
}

/// One segmented bar, as wide as the page.
pub(super) fn stack(out: &mut String, title: &str, parts: &[Bar<'_>]) -> fmt::Result {
    let sum: u128 = parts.iter().map(|(_, value, _)| u128::from(*value)).sum();
    write!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} 24\" role=\"img\" aria-label=\"{}\">",
        escape(title)
    )?;
    let mut before = 0u128;
    for (label, value, class) in parts.iter().filter(|(_, value, _)| *value > 0) {
        let place = |upto: u128| upto * u128::from(WIDTH) / sum.max(1);
        let (start, end) = (place(before), place(before + u128::from(*value)));
        write!(
            out,
            "<rect class=\"{class}\" x=\"{start}\" y=\"0\" width=\"{}\" height=\"24\"><title>{}: {value}</title></rect>",
            (end - start).max(1),
            escape(label)
        )?;
        before += u128::from(*value);
    }
    writeln!(out, "</svg>")
}

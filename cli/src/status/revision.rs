//! A changed plan that waits to be accepted.

use anstyle::Style;
use rollbook_ledger::projection::rows::RevisionRow;

use crate::layout::wrapped;
use crate::print::{BOLD, DIM, YELLOW, paint};

/// What a changed plan changes.
pub(crate) fn revision_lines(row: &RevisionRow, width: usize) -> Vec<String> {
    let plain = Style::new();
    let first = paint(BOLD, format!("revision {}", row.revision));
    let text = format!("by {}, {}: {}", row.proposed_by, row.status, row.reason);
    let mut lines = wrapped(&format!("{first} "), &text, plain, 4, width);
    for change in &row.difference.0 {
        lines.extend(wrapped("  ", change, plain, 6, width));
    }
    let shown = u32::try_from(row.difference.len()).unwrap_or(u32::MAX);
    if row.difference_sha256.is_empty() {
        lines.push(paint(DIM, "  what it changes was not recorded"));
    } else if row.changes == 0 {
        lines.push(paint(DIM, "  it changes nothing that runs"));
    } else if shown < row.changes {
        let more = row.changes - shown;
        lines.push(paint(YELLOW, format!("  … and {more} more changes")));
    }
    if !row.difference_sha256.is_empty() {
        // The address stays whole, to be copied.
        lines.push(paint(
            DIM,
            format!(
                "  the whole ({} bytes): rollbook evidence get {}",
                row.difference_bytes, row.difference_sha256
            ),
        ));
    }
    lines
}

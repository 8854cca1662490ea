//! The terminal at standard output: its width, and a screen that is redrawn in place. The screen is
//! not an alternate one, so the last frame stays in the scrollback, and the cursor is never hidden,
//! so nothing has to be restored however the program ends.

use anstream::ColorChoice;
use anstream::adapter::strip_str;
use console::{Term, measure_text_width};

/// Columns where there is no terminal.
const WIDTH: usize = 80;

/// Columns below which lines are not broken: nobody could read them.
const MIN_WIDTH: usize = 30;

/// The width of the terminal at standard output; 80 columns if there is none.
pub(crate) fn width() -> usize {
    width_if_any().unwrap_or(WIDTH)
}

/// The width of the terminal at standard output, if that is one.
pub(crate) fn width_if_any() -> Option<usize> {
    let (_, columns) = Term::stdout().size_checked()?;
    Some(usize::from(columns).max(MIN_WIDTH))
}

/// A screen whose frame is drawn over the one before.
#[derive(Debug)]
pub(crate) struct Screen {
    term: Term,
    colours: bool,
    /// Widths of the lines drawn last.
    drawn: Vec<usize>,
}

impl Screen {
    /// The terminal at standard output; `None` if that is none, or one that cannot move its cursor.
    pub(crate) fn open() -> Option<Self> {
        let term = Term::buffered_stdout();
        let able = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        (able && term.is_term()).then(|| Self {
            term,
            colours: anstream::AutoStream::choice(&std::io::stdout()) != ColorChoice::Never,
            drawn: Vec::new(),
        })
    }

    /// Rows and columns, as they are now.
    pub(crate) fn size(&self) -> (usize, usize) {
        let (rows, columns) = self.term.size();
        (
            usize::from(rows).max(2),
            usize::from(columns).max(MIN_WIDTH),
        )
    }

    /// Draws these lines in place of those drawn before, in one write. A terminal that has gone
    /// away is not an error: its hang-up ends the program.
    pub(crate) fn draw(&mut self, lines: &[String]) {
        let _ = self.try_draw(lines);
    }

    fn try_draw(&mut self, lines: &[String]) -> std::io::Result<()> {
        let (height, columns) = self.size();
        // A terminal that became narrower has broken the lines anew.
        let above: usize = self
            .drawn
            .iter()
            .map(|width| width.div_ceil(columns).max(1))
            .sum();
        self.term.move_cursor_up(above.min(height - 1))?;
        self.term.write_str("\r")?;
        self.term.clear_to_end_of_screen()?;
        self.drawn.clear();
        for line in lines {
            self.drawn.push(measure_text_width(line));
            if self.colours {
                self.term.write_line(line)?;
            } else {
                self.term.write_line(&strip_str(line).to_string())?;
            }
        }
        self.term.flush()
    }
}

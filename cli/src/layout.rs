//! Text in columns: cut, padded and broken between words. Widths count columns of a terminal, so
//! that wide characters take two and colours none.

use anstyle::Style;
use console::{measure_text_width, truncate_str};

use crate::print::{paint, visible};

/// Columns that a text takes.
pub(crate) fn width_of(text: &str) -> usize {
    measure_text_width(text)
}

/// A text of at most this many columns; one that is cut ends in `…`.
pub(crate) fn cut(text: &str, width: usize) -> String {
    truncate_str(text, width, "…").into_owned()
}

/// A text cut or padded to exactly this many columns.
pub(crate) fn column(text: &str, width: usize) -> String {
    let text = cut(text, width);
    let rest = width.saturating_sub(width_of(&text));
    format!("{text}{}", " ".repeat(rest))
}

/// The same, aligned to the right.
pub(crate) fn right(text: &str, width: usize) -> String {
    let text = cut(text, width);
    let rest = width.saturating_sub(width_of(&text));
    format!("{}{text}", " ".repeat(rest))
}

/// A text of others behind `first`, broken so that no line takes more than `width` columns. Further
/// lines are indented by `indent`. `first` may have colours of its own; `style` is for the text.
pub(crate) fn wrapped(
    first: &str,
    text: &str,
    style: Style,
    indent: usize,
    width: usize,
) -> Vec<String> {
    let mut paragraph = Paragraph {
        lines: Vec::new(),
        prefix: first.to_owned(),
        text: String::new(),
        taken: width_of(first),
        style,
        indent,
        width,
    };
    for (number, given) in text.lines().enumerate() {
        if number > 0 {
            paragraph.end_line();
        }
        for word in visible(given).split(' ').filter(|word| !word.is_empty()) {
            paragraph.add(word);
        }
    }
    paragraph.end_line();
    paragraph.lines
}

/// Texts of others with ` · ` between them, broken between two of them where that is enough.
pub(crate) fn listed(
    first: &str,
    parts: &[String],
    style: Style,
    indent: usize,
    width: usize,
) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        let part = visible(part);
        let fits = |line: &String| width_of(line) + width_of(&part) + 3 <= width;
        match lines.last_mut() {
            None => lines.extend(wrapped(first, &part, style, indent, width)),
            Some(line) if fits(line) => line.push_str(&paint(style, format!(" · {part}"))),
            Some(_) => {
                let indent_text = " ".repeat(indent);
                lines.extend(wrapped(&indent_text, &part, style, indent, width));
            }
        }
    }
    lines
}

/// A text that is being broken into lines.
struct Paragraph {
    lines: Vec<String>,
    /// What stands before the text of the current line.
    prefix: String,
    /// The text of the current line.
    text: String,
    /// Columns that both take.
    taken: usize,
    style: Style,
    indent: usize,
    width: usize,
}

impl Paragraph {
    fn add(&mut self, word: &str) {
        let gap = usize::from(!self.text.is_empty());
        let wide = width_of(word);
        if self.taken + gap + wide > self.width && self.taken > self.indent {
            let fits_a_line = self.indent + wide <= self.width;
            if fits_a_line || self.taken + gap >= self.width {
                self.end_line();
            }
        }
        if !self.text.is_empty() {
            self.push(' ');
        }
        for c in word.chars() {
            self.push(c);
        }
    }

    /// Adds a character; a word that is longer than a line is broken where the line ends.
    fn push(&mut self, c: char) {
        let wide = width_of(c.encode_utf8(&mut [0; 4]));
        if self.taken + wide > self.width && !self.text.is_empty() {
            self.end_line();
        }
        self.text.push(c);
        self.taken += wide;
    }

    fn end_line(&mut self) {
        let text = self.text.trim_end();
        self.lines.push(if text.is_empty() {
            self.prefix.trim_end().to_owned()
        } else {
            format!("{}{}", self.prefix, paint(self.style, text))
        });
        self.text.clear();
        self.prefix = " ".repeat(self.indent);
        self.taken = self.indent;
    }
}

/// Rows that a line takes at a terminal of this many columns, which breaks it where it ends.
pub(crate) fn rows(line: &str, columns: usize) -> usize {
    width_of(line).div_ceil(columns.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(first: &str, text: &str, indent: usize, width: usize) -> Vec<String> {
        wrapped(first, text, Style::new(), indent, width)
    }

    #[test]
    fn text_breaks_between_words_and_long_words_anywhere() {
        assert_eq!(
            plain("  what: ", "one two three four", 4, 16),
            ["  what: one two", "    three four"]
        );
        assert_eq!(plain("", "two\nlines", 2, 40), ["two", "  lines"]);
        assert_eq!(
            plain("x: ", "abcdefghijklmnop q", 2, 10),
            ["x: abcdefg", "  hijklmno", "  p q"]
        );
        assert_eq!(plain("empty", "", 2, 10), ["empty"]);
    }

    #[test]
    fn a_list_breaks_between_its_parts() {
        let parts = ["one two", "three four", "five"].map(str::to_owned);
        assert_eq!(
            listed("- ", &parts, Style::new(), 2, 17),
            ["- one two", "  three four", "  five"]
        );
        assert_eq!(
            listed("- ", &parts, Style::new(), 2, 22),
            ["- one two · three four", "  five"]
        );
    }

    #[test]
    fn columns_count_wide_characters_twice_and_colours_never() {
        assert_eq!(column("日本語", 5), "日本…");
        assert_eq!(column("日本", 5), "日本 ");
        assert_eq!(right("12", 4), "  12");
        let painted = paint(crate::print::RED, "日本");
        assert_eq!((width_of(&painted), rows(&painted, 3)), (4, 2));
        for line in plain("- ", &"日本 ".repeat(20), 2, 11) {
            assert!(width_of(&line) <= 11, "{line}");
        }
    }

    #[test]
    fn control_characters_of_others_are_shown() {
        assert_eq!(plain("", "a\u{1b}[2Jb", 0, 40), ["a\\u{1b}[2Jb"]);
    }
}

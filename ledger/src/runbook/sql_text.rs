//! Finds where the statements of a SQL script begin and end, to show lines and to give advice.
//!
//! Nothing depends on it: only the database's own parser decides whether a statement may run inside
//! a step's transaction. An error here costs an exact line number or a hint, and a statement cut in
//! the wrong place is a syntax error to the database.

use std::ops::Range;

pub use crate::database::Dialect;

/// How a script's own transaction may end and still be equivalent to the step's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// `COMMIT` or `END`: its effects are meant to stay.
    Commit,
    /// Also `ROLLBACK`: for a script whose effects are undone anyway.
    Any,
}

/// One statement, including its `;`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Byte range in the script, from its first word to its `;`.
    pub range: Range<usize>,
    /// Its first words in upper case.
    words: Vec<String>,
    /// It has a `DROP` of something that may be a column: `COLUMN` may be left out.
    drops_column: bool,
    /// It has the word `DELETE`.
    has_delete: bool,
}

/// Number of leading words kept.
const WORDS: usize = 8;

/// Removes the byte order mark that Windows editors write; psql skips it too.
#[must_use]
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Returns the line of a byte, from 1.
#[must_use]
pub fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
}

/// Removes a script's own transaction if it encloses the whole script (as in Sqitch's scripts). It
/// is replaced by spaces, so that lines and columns stay. A transaction with options (`ISOLATION
/// LEVEL …`, `AND CHAIN`) is kept for the database to refuse.
#[must_use]
pub fn without_transaction(script: &str, dialect: Dialect, ending: Ending) -> String {
    let found = statements(script, dialect);
    let mut text = script.to_owned();
    if let [first, .., last] = found.as_slice()
        && first.begins_plainly(dialect)
        && last.ends_plainly(ending)
    {
        blank(&mut text, &last.range);
        blank(&mut text, &first.range);
    }
    text
}

fn blank(text: &mut String, range: &Range<usize>) {
    let Some(old) = text.get(range.clone()) else {
        return;
    };
    // Keep the byte length, so that positions in the database's messages stay valid.
    let spaces: String = old
        .bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
        .collect();
    text.replace_range(range.clone(), &spaces);
}

impl Statement {
    /// Returns its first word in upper case; empty if it does not begin with a word.
    #[must_use]
    pub fn keyword(&self) -> &str {
        self.word(0)
    }

    fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", String::as_str)
    }

    fn begins_plainly(&self, dialect: Dialect) -> bool {
        let rest: Vec<&str> = self.words.iter().skip(1).map(String::as_str).collect();
        match (self.keyword(), rest.as_slice()) {
            ("BEGIN", [] | ["TRANSACTION"]) => true,
            ("BEGIN", ["WORK"]) | ("START", ["TRANSACTION"]) => dialect == Dialect::Postgres,
            ("BEGIN", ["DEFERRED" | "IMMEDIATE" | "EXCLUSIVE"] | [_, "TRANSACTION"]) => {
                dialect == Dialect::Sqlite
            }
            _ => false,
        }
    }

    fn ends_plainly(&self, ending: Ending) -> bool {
        let known = match self.keyword() {
            "COMMIT" | "END" => true,
            "ROLLBACK" => ending == Ending::Any,
            _ => false,
        };
        known
            && (self.words.len() == 1 || matches!(self.word(1), "TRANSACTION" | "WORK"))
            && self.words.len() <= 2
    }

    /// True if it looks like a statement that begins, ends or marks a transaction.
    #[must_use]
    pub fn is_transaction_control(&self) -> bool {
        match self.keyword() {
            "BEGIN" | "COMMIT" | "END" | "ABORT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" => true,
            "START" | "PREPARE" => self.word(1) == "TRANSACTION",
            _ => false,
        }
    }

    /// True if it looks like a savepoint statement, which SQLite accepts inside a step's
    /// transaction.
    #[must_use]
    pub fn is_savepoint(&self) -> bool {
        match self.keyword() {
            "SAVEPOINT" | "RELEASE" => true,
            "ROLLBACK" => self.words.iter().skip(1).take(2).any(|word| word == "TO"),
            _ => false,
        }
    }

    /// Returns the name of a statement that removes rows, columns or tables, if it looks like one:
    /// `DROP TABLE`.
    #[must_use]
    pub fn removes_data(&self) -> Option<String> {
        let second = self.word(1);
        match self.keyword() {
            word @ ("DELETE" | "TRUNCATE") => Some(word.to_owned()),
            "WITH" if self.has_delete => Some("WITH … DELETE".to_owned()),
            "DROP" if matches!(second, "TABLE" | "SCHEMA" | "DATABASE" | "MATERIALIZED") => {
                Some(format!("DROP {second}"))
            }
            "ALTER" if second == "TABLE" && self.drops_column => {
                Some("ALTER TABLE … DROP COLUMN".to_owned())
            }
            _ => None,
        }
    }

    /// Returns the name of a statement that no transaction can hold, if it looks like one:
    /// `VACUUM`.
    #[must_use]
    pub fn outside_transactions(&self) -> Option<&'static str> {
        let second = self.word(1);
        let has = |word: &str| self.words.iter().any(|w| w == word);
        Some(match self.keyword() {
            "VACUUM" => "VACUUM",
            "ALTER" if second == "SYSTEM" => "ALTER SYSTEM",
            "ALTER" if second == "DATABASE" && has("TABLESPACE") => "ALTER DATABASE … TABLESPACE",
            "CREATE" | "DROP" if second == "DATABASE" => match self.keyword() {
                "CREATE" => "CREATE DATABASE",
                _ => "DROP DATABASE",
            },
            "CREATE" | "DROP" if second == "TABLESPACE" => match self.keyword() {
                "CREATE" => "CREATE TABLESPACE",
                _ => "DROP TABLESPACE",
            },
            "CREATE" if has("INDEX") && has("CONCURRENTLY") => "CREATE INDEX CONCURRENTLY",
            "DROP" if second == "INDEX" && self.word(2) == "CONCURRENTLY" => {
                "DROP INDEX CONCURRENTLY"
            }
            "REINDEX" if has("CONCURRENTLY") => "REINDEX … CONCURRENTLY",
            "REINDEX" if matches!(second, "DATABASE" | "SYSTEM") => "REINDEX DATABASE",
            "DISCARD" if second == "ALL" => "DISCARD ALL",
            _ => return None,
        })
    }
}

/// Returns the statements of a script, in order.
#[must_use]
pub fn statements(script: &str, dialect: Dialect) -> Vec<Statement> {
    Cutter::new(script, dialect).collect()
}

/// Returns the first statement of a script without reading the rest.
#[must_use]
pub fn first(script: &str, dialect: Dialect) -> Option<Statement> {
    Cutter::new(script, dialect).next()
}

struct Cutter<'a> {
    reader: Reader<'a>,
    open: Open,
}

impl<'a> Cutter<'a> {
    fn new(script: &'a str, dialect: Dialect) -> Self {
        Self {
            reader: Reader {
                script,
                bytes: script.as_bytes(),
                dialect,
                at: 0,
            },
            open: Open::default(),
        }
    }
}

impl Iterator for Cutter<'_> {
    type Item = Statement;

    fn next(&mut self) -> Option<Statement> {
        let Reader {
            script, dialect, ..
        } = self.reader;
        while let Some(token) = self.reader.token() {
            let (from, to) = (token.range.start, token.range.end);
            if token.kind == Kind::Semicolon && self.open.ends_here(dialect) {
                let open = std::mem::take(&mut self.open);
                if let Some(start) = open.start {
                    return Some(Statement {
                        range: start..to,
                        words: open.words,
                        drops_column: open.drops_column,
                        has_delete: open.has_delete,
                    });
                }
                continue;
            }
            self.open.start.get_or_insert(from);
            let word = script.get(token.range).unwrap_or_default();
            self.open.take(token.kind, word, dialect);
        }
        let open = std::mem::take(&mut self.open);
        open.start.map(|start| Statement {
            range: start..script.len(),
            words: open.words,
            drops_column: open.drops_column,
            has_delete: open.has_delete,
        })
    }
}

/// The statement being read, with the nesting that decides whether a `;` ends it.
#[derive(Default)]
struct Open {
    start: Option<usize>,
    words: Vec<String>,
    /// The last word was `DROP`.
    after_drop: bool,
    drops_column: bool,
    has_delete: bool,
    /// Number of open parentheses; psql does not cut at a `;` inside them (`CREATE RULE … DO (a;
    /// b)`).
    parentheses: usize,
    /// Nesting depth of `BEGIN ATOMIC … END` and of `CASE` within it.
    atomic: usize,
    /// SQLite's triggers end with `; END ;`.
    after_semicolon: bool,
    after_end: bool,
}

impl Open {
    fn take(&mut self, kind: Kind, text: &str, dialect: Dialect) {
        self.after_end = false;
        match kind {
            Kind::Word => {
                let word = text.to_ascii_uppercase();
                self.after_end = self.after_semicolon && word == "END";
                if dialect == Dialect::Postgres && self.parentheses == 0 && self.is_routine() {
                    match word.as_str() {
                        "BEGIN" => self.atomic += 1,
                        "CASE" if self.atomic > 0 => self.atomic += 1,
                        "END" => self.atomic = self.atomic.saturating_sub(1),
                        _ => {}
                    }
                }
                self.drops_column |= self.after_drop
                    && !matches!(
                        word.as_str(),
                        "CONSTRAINT" | "DEFAULT" | "NOT" | "EXPRESSION" | "IDENTITY"
                    );
                self.after_drop = word == "DROP";
                self.has_delete |= word == "DELETE";
                if self.words.len() < WORDS {
                    self.words.push(word);
                }
            }
            Kind::Open => self.parentheses += 1,
            Kind::Close => self.parentheses = self.parentheses.saturating_sub(1),
            // A quoted name.
            Kind::Other => {
                self.drops_column |= self.after_drop;
                self.after_drop = false;
            }
            Kind::Semicolon => {}
        }
        self.after_semicolon = kind == Kind::Semicolon;
    }

    fn is_routine(&self) -> bool {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        matches!(
            words.as_slice(),
            ["CREATE", "FUNCTION" | "PROCEDURE", ..]
                | ["CREATE", "OR", "REPLACE", "FUNCTION" | "PROCEDURE", ..]
        )
    }

    fn is_trigger(&self) -> bool {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        matches!(
            words.as_slice(),
            ["CREATE", "TRIGGER", ..] | ["CREATE", "TEMP" | "TEMPORARY", "TRIGGER", ..]
        )
    }

    fn ends_here(&self, dialect: Dialect) -> bool {
        match dialect {
            Dialect::Postgres => self.parentheses == 0 && self.atomic == 0,
            Dialect::Sqlite => !self.is_trigger() || self.after_end,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Semicolon,
    Open,
    Close,
    Other,
}

struct Token {
    kind: Kind,
    range: Range<usize>,
}

/// Splits a script into tokens, skipping comments and whitespace.
struct Reader<'a> {
    script: &'a str,
    bytes: &'a [u8],
    dialect: Dialect,
    at: usize,
}

impl Reader<'_> {
    fn byte(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn token(&mut self) -> Option<Token> {
        loop {
            let from = self.at;
            let byte = *self.bytes.get(from)?;
            let kind = match byte {
                b'-' if self.byte(1) == b'-' => {
                    self.line_comment();
                    continue;
                }
                b'/' if self.byte(1) == b'*' => {
                    self.block_comment();
                    continue;
                }
                _ if byte.is_ascii_whitespace() || byte == 0x0b => {
                    self.at += 1;
                    continue;
                }
                b'\'' | b'"' => self.quoted(byte, false),
                b'`' if self.dialect == Dialect::Sqlite => self.quoted(byte, false),
                b'[' if self.dialect == Dialect::Sqlite => self.quoted(b']', false),
                b'$' if self.dialect == Dialect::Postgres => self.dollar_quoted(),
                b';' => self.one(Kind::Semicolon),
                b'(' => self.one(Kind::Open),
                b')' => self.one(Kind::Close),
                _ if is_word(byte) => self.word(),
                _ => self.one(Kind::Other),
            };
            return Some(Token {
                kind,
                range: from..self.at,
            });
        }
    }

    fn one(&mut self, kind: Kind) -> Kind {
        self.at += 1;
        kind
    }

    /// A name may contain `$` (`cost$eur$2026`); a number may not.
    fn word(&mut self) -> Kind {
        let from = self.at;
        let is_name = !self.byte(0).is_ascii_digit();
        while is_word(self.byte(0)) || (is_name && self.byte(0) == b'$') {
            self.at += 1;
        }
        let escapes = self.dialect == Dialect::Postgres
            && self.byte(0) == b'\''
            && matches!(self.script.get(from..self.at), Some("e" | "E"));
        if escapes {
            return self.quoted(b'\'', true);
        }
        Kind::Word
    }

    /// PostgreSQL also ends a line comment at CR.
    fn line_comment(&mut self) {
        let postgres = self.dialect == Dialect::Postgres;
        while self.at < self.bytes.len() {
            let byte = self.byte(0);
            self.at += 1;
            if byte == b'\n' || (postgres && byte == b'\r') {
                return;
            }
        }
    }

    /// Block comments nest in PostgreSQL but not in SQLite.
    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.bytes.len() {
            match (self.byte(0), self.byte(1)) {
                (b'*', b'/') => {
                    self.at += 2;
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return;
                    }
                }
                (b'/', b'*') if depth == 0 || self.dialect == Dialect::Postgres => {
                    self.at += 2;
                    depth += 1;
                }
                _ => self.at += 1,
            }
        }
    }

    /// A doubled quote is an escaped quote; reading it as two adjacent texts ends at the same
    /// position.
    fn quoted(&mut self, close: u8, escapes: bool) -> Kind {
        self.at += 1;
        while self.at < self.bytes.len() {
            let byte = self.byte(0);
            self.at += 1;
            // With escapes, a doubled quote must not start a new text, because that one would have
            // no escapes.
            let is_pair = escapes && (byte == b'\\' || (byte == close && self.byte(0) == close));
            if is_pair {
                self.at += 1;
            } else if byte == close {
                break;
            }
        }
        self.at = self.at.min(self.bytes.len());
        Kind::Other
    }

    /// Reads `$tag$ … $tag$`, or a `$` that starts no such text.
    fn dollar_quoted(&mut self) -> Kind {
        let rest = self.script.get(self.at..).unwrap_or_default();
        let tag = rest
            .get(1..)
            .and_then(|after| after.find('$'))
            .and_then(|length| rest.get(..length + 2));
        let Some(tag) = tag.filter(|tag| is_tag(tag)) else {
            return self.one(Kind::Other);
        };
        let body = rest.get(tag.len()..).unwrap_or_default();
        self.at += match body.find(tag) {
            Some(length) => tag.len() + length + tag.len(),
            None => rest.len(),
        };
        Kind::Other
    }
}

fn is_tag(tag: &str) -> bool {
    let name = tag.trim_matches('$');
    name.bytes().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

//! Reads just enough SQL to find statements that begin or end a transaction.
//!
//! A step's script runs in one transaction of Rollbook's own, so that it happens whole or not
//! at all. A script that brings its own `BEGIN … COMMIT` around everything (as Sqitch's do)
//! means the same: the pair is taken off. Transaction control anywhere else would break the
//! promise and is refused.

use std::ops::Range;

/// Which SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

/// Why a script cannot run in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line}: `{keyword}` ends or begins a transaction inside the script; the script runs in one transaction already, so leave it out or split the script into two steps"
)]
pub struct TransactionControl {
    /// Line, from 1.
    pub line: usize,
    /// The word.
    pub keyword: String,
}

/// The script without a surrounding transaction of its own.
pub fn body(script: &str, dialect: Dialect) -> Result<String, TransactionControl> {
    let mut statements = statements(script, dialect);
    let opens = statements
        .first()
        .is_some_and(|s| matches!(s.keyword(), "BEGIN" | "START"));
    let closes = statements
        .last()
        .is_some_and(|s| matches!(s.keyword(), "COMMIT" | "END" | "ROLLBACK") && !s.to_savepoint());
    let mut text = script.to_owned();
    if opens && closes && statements.len() > 1 {
        let last = statements.pop().map(|s| s.range).unwrap_or_default();
        let first = statements.remove(0).range;
        blank(&mut text, &last);
        blank(&mut text, &first);
    }
    for statement in &statements {
        if statement.is_control() {
            return Err(TransactionControl {
                line: line_of(script, statement.range.start),
                keyword: statement.keyword().to_owned(),
            });
        }
    }
    Ok(text)
}

/// Spaces instead of a statement, so that the database's line numbers stay right.
fn blank(text: &mut String, range: &Range<usize>) {
    let Some(old) = text.get(range.clone()) else {
        return;
    };
    let spaces: String = old
        .chars()
        .map(|c| if c == '\n' { '\n' } else { ' ' })
        .collect();
    text.replace_range(range.clone(), &spaces);
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
}

/// A statement with its `;`, and its words in upper case as far as they matter.
#[derive(Debug)]
struct Statement {
    range: Range<usize>,
    words: Vec<String>,
}

/// So many leading words are looked at.
const WORDS: usize = 64;

impl Statement {
    fn keyword(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    fn second(&self) -> &str {
        self.words.get(1).map_or("", String::as_str)
    }

    fn to_savepoint(&self) -> bool {
        self.words.iter().skip(1).take(2).any(|word| word == "TO")
    }

    fn is_control(&self) -> bool {
        match self.keyword() {
            "BEGIN" | "COMMIT" | "END" | "ABORT" => true,
            "START" | "PREPARE" => self.second() == "TRANSACTION",
            "ROLLBACK" => !self.to_savepoint(),
            _ => false,
        }
    }

    /// Its body holds statements of its own, up to `; END`.
    fn has_body(&self) -> bool {
        if self.keyword() != "CREATE" {
            return false;
        }
        let trigger = self.words.iter().take(4).any(|word| word == "TRIGGER");
        let begin = self.words.iter().position(|word| word == "BEGIN");
        begin.is_some_and(|at| {
            trigger || self.words.get(at + 1).is_some_and(|next| next == "ATOMIC")
        })
    }
}

fn statements(script: &str, dialect: Dialect) -> Vec<Statement> {
    let bytes = script.as_bytes();
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let mut found = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut start: Option<usize> = None;
    // In a body: whether the last thing seen was `;`, or `;` and `END`.
    let (mut after_semicolon, mut after_end) = (false, false);
    let mut i = 0;
    while i < bytes.len() {
        let byte = at(i);
        let skipped = if byte == b'-' && at(i + 1) == b'-' {
            Some((end_of_line(bytes, i), false))
        } else if byte == b'/' && at(i + 1) == b'*' {
            Some((end_of_comment(bytes, i, dialect), false))
        } else if byte.is_ascii_whitespace() {
            Some((i + 1, false))
        } else if matches!(byte, b'\'' | b'"' | b'`') {
            let escapes = byte == b'\''
                && dialect == Dialect::Postgres
                && i > 0
                && matches!(at(i - 1), b'e' | b'E');
            Some((end_of_quoted(bytes, i, escapes), true))
        } else if byte == b'$' && dialect == Dialect::Postgres {
            end_of_dollar_quoted(script, i).map(|end| (end, true))
        } else {
            None
        };
        if let Some((end, is_content)) = skipped {
            if is_content {
                start.get_or_insert(i);
                (after_semicolon, after_end) = (false, false);
            }
            i = end;
            continue;
        }
        if is_word(byte) {
            let from = i;
            while is_word(at(i)) {
                i += 1;
            }
            start.get_or_insert(from);
            let word = script.get(from..i).unwrap_or_default().to_ascii_uppercase();
            after_end = after_semicolon && word == "END";
            after_semicolon = false;
            if words.len() < WORDS {
                words.push(word);
            }
            continue;
        }
        i += 1;
        if byte == b';' {
            let Some(from) = start else { continue };
            let statement = Statement {
                range: from..i,
                words: std::mem::take(&mut words),
            };
            if statement.has_body() && !after_end {
                words = statement.words;
                after_semicolon = true;
            } else {
                found.push(statement);
                start = None;
                after_semicolon = false;
            }
            after_end = false;
        } else {
            start.get_or_insert(i - 1);
            (after_semicolon, after_end) = (false, false);
        }
    }
    if let Some(from) = start {
        found.push(Statement {
            range: from..bytes.len(),
            words,
        });
    }
    found
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn end_of_line(bytes: &[u8], from: usize) -> usize {
    bytes
        .iter()
        .skip(from)
        .position(|b| *b == b'\n')
        .map_or(bytes.len(), |n| from + n + 1)
}

/// PostgreSQL's comments nest, SQLite's do not.
fn end_of_comment(bytes: &[u8], from: usize, dialect: Dialect) -> usize {
    let mut depth = 1;
    let mut i = from + 2;
    while i < bytes.len() {
        match (bytes.get(i), bytes.get(i + 1)) {
            (Some(b'*'), Some(b'/')) => {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    return i;
                }
            }
            (Some(b'/'), Some(b'*')) if dialect == Dialect::Postgres => {
                depth += 1;
                i += 2;
            }
            _ => i += 1,
        }
    }
    bytes.len()
}

/// A doubled quote stands for itself: it looks like two texts side by side, which ends at the
/// same place.
fn end_of_quoted(bytes: &[u8], from: usize, escapes: bool) -> usize {
    let quote = bytes.get(from).copied();
    let mut i = from + 1;
    while i < bytes.len() {
        let byte = bytes.get(i).copied();
        if escapes && byte == Some(b'\\') {
            i += 2;
        } else if byte == quote {
            return i + 1;
        } else {
            i += 1;
        }
    }
    bytes.len()
}

/// `$tag$ … $tag$`; `None` when the `$` begins no such text.
fn end_of_dollar_quoted(script: &str, from: usize) -> Option<usize> {
    let rest = script.get(from..)?;
    let tag_bytes = rest.get(1..)?.find('$')? + 2;
    let tag = rest.get(..tag_bytes)?;
    let name = tag.trim_matches('$');
    let is_tag = name.bytes().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit());
    if !is_tag {
        return None;
    }
    let body = rest.get(tag_bytes..)?;
    Some(
        body.find(tag)
            .map_or(script.len(), |n| from + tag_bytes + n + tag_bytes),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PG: Dialect = Dialect::Postgres;
    const LITE: Dialect = Dialect::Sqlite;

    #[test]
    fn a_plain_script_is_left_as_it_is() {
        for script in [
            "",
            "-- only a comment; BEGIN;",
            "ALTER TABLE deals ADD x int; UPDATE deals SET x = 1",
            "SELECT 'COMMIT; BEGIN;'; SELECT \"COMMIT\"; /* COMMIT; /* nested */ ROLLBACK; */ SELECT 1;",
            "SAVEPOINT a; INSERT INTO t VALUES (1); ROLLBACK TO SAVEPOINT a; ROLLBACK TO a;",
            "DO $$ BEGIN RAISE EXCEPTION 'x'; END $$;",
            "CREATE FUNCTION f() RETURNS int AS $body$ BEGIN RETURN 1; END; $body$ LANGUAGE plpgsql;",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END;",
            "SELECT E'it\\'s; COMMIT;'; SELECT $1;",
        ] {
            assert_eq!(body(script, PG).unwrap(), script);
        }
        let trigger = "CREATE TRIGGER t AFTER UPDATE ON deals BEGIN UPDATE x SET y = CASE WHEN 1 THEN 2 END; SELECT 1; END; SELECT 1;";
        assert_eq!(body(trigger, LITE).unwrap(), trigger);
    }

    #[test]
    fn a_surrounding_transaction_is_taken_off() {
        let script = "-- Deploy\nBEGIN;\nALTER TABLE t ADD x int;\nCOMMIT;\n";
        assert_eq!(
            body(script, PG).unwrap(),
            "-- Deploy\n      \nALTER TABLE t ADD x int;\n       \n"
        );
        let verify = "BEGIN TRANSACTION; SELECT 1; ROLLBACK";
        assert_eq!(body(verify, LITE).unwrap().trim(), "SELECT 1;");
        let iso = "START TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT 1; END";
        assert_eq!(body(iso, PG).unwrap().trim(), "SELECT 1;");
    }

    #[test]
    fn transaction_control_inside_is_refused_with_its_line() {
        for (script, line, keyword) in [
            ("SELECT 1;\nCOMMIT;\nSELECT 2;", 2, "COMMIT"),
            ("BEGIN; SELECT 1;", 1, "BEGIN"),
            ("BEGIN; SELECT 1;\nCOMMIT;\nSELECT 2;\nCOMMIT;", 2, "COMMIT"),
            ("SELECT 1; ROLLBACK;", 1, "ROLLBACK"),
            ("SELECT 1;\n\nprepare transaction 'x';", 3, "PREPARE"),
            ("BEGIN", 1, "BEGIN"),
        ] {
            let error = body(script, PG).unwrap_err();
            assert_eq!(
                (error.line, error.keyword.as_str()),
                (line, keyword),
                "{script}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(script in "(BEGIN|COMMIT|END|;|'|\"|\\$|\\$a\\$|--|/\\*|\\*/|\n| |e|é|\\\\){0,30}") {
            let _ = body(&script, PG);
            let _ = body(&script, LITE);
        }
    }
}

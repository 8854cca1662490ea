//! Collects the findings about a file.

use super::diagnostic::{Code, Diagnostic, Diagnostics, Path, Severity};
use super::document::{Node, Position};

/// Maximum number of findings kept; a file that is wrong throughout need not list them all.
const MAX_FINDINGS: usize = 500;

#[derive(Debug)]
pub(super) struct Findings {
    file: String,
    list: Vec<Diagnostic>,
}

impl Findings {
    pub(super) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            list: Vec::new(),
        }
    }

    pub(super) fn add(
        &mut self,
        (code, severity): (Code, Severity),
        at: Position,
        path: &Path,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        if self.list.len() >= MAX_FINDINGS {
            return;
        }
        self.list.push(Diagnostic {
            code,
            severity,
            file: self.file.clone(),
            line: at.line,
            column: at.column,
            path: path.to_string(),
            message: message.into(),
            suggestion,
        });
    }

    pub(super) fn error(
        &mut self,
        code: Code,
        at: Position,
        path: &Path,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        self.add((code, Severity::Error), at, path, message, suggestion);
    }

    /// Adds an error at the position of `path` in the document.
    pub(super) fn at(
        &mut self,
        document: &Node,
        code: Code,
        path: &Path,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        self.error(code, document.locate(path), path, message, suggestion);
    }

    pub(super) fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    pub(super) fn finish(self) -> Diagnostics {
        Diagnostics(self.list).sorted()
    }
}

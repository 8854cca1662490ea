//! Diagnostics: what is wrong with a runbook, where, and how to fix it.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::error_code::{Coded, ErrorCode};

/// One segment of a path into a document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// A key of a map.
    Key(String),
    /// An index into a list, from 0.
    Index(usize),
}

/// A path into a document, such as `phases[1].steps[3].needs[0]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Path(Vec<Segment>);

impl Path {
    /// Returns the path of the whole document.
    pub fn root() -> Self {
        Self::default()
    }

    /// Returns the path of a key below this one.
    #[must_use]
    pub fn key(&self, key: impl Into<String>) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Key(key.into()));
        path
    }

    /// Returns the path of an item of the list at this path.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Index(index));
        path
    }

    /// Returns the segments from the root.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if i == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Whether a finding forbids the use of the runbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, but someone should look at it.
    Warning,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $remedy:literal;)+) => {
        /// The rules by which a runbook is checked; their numbers are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[doc = $doc])+ $name = $number,)+
        }

        impl Code {
            /// All rules, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Returns the rule's title, for the reference.
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+).trim_ascii(),)+
                }
            }

            /// Returns how to fix it, for the reference.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)+ }
            }
        }

        impl Coded for Code {
            fn code(&self) -> ErrorCode {
                ErrorCode::new(match self {
                    $(Self::$name => concat!("RB-RUNBOOK-", $number),)+
                })
            }
        }
    };
}

codes! {
    /// The file is not readable YAML.
    Yaml = 1, "Mend the YAML at the position; quote texts that contain `: ` or begin with a special character.";
    /// The file, a value or the whole plan is too large.
    TooLarge = 2, "Split the runbook, or keep large data outside of it.";
    /// A key that the format does not have.
    UnknownKey = 3, "Correct the spelling or remove the key.";
    /// A key that must be there is not.
    MissingKey = 4, "Add the key.";
    /// A value of the wrong kind.
    Type = 5, "Give the kind of value named; write texts that look like numbers in quotes.";
    /// Not `apiVersion: rollbook/v1` and `kind: Runbook`.
    Version = 6, "Use the program version that reads this file, or correct the two lines.";
    /// A `${{ name }}` that names no parameter, or is not closed.
    UnknownParam = 7, "Declare the parameter under `params`, or write `$${{` for the text itself.";
    /// A parameter without a default was not given.
    MissingParam = 8, "Give it with `--param name=value`, or add a default.";
    /// A given parameter is not declared.
    UndeclaredParam = 9, "Correct the name, or declare it under `params`.";
    /// A file that the runbook names cannot be read.
    File = 10, "Paths are relative to the runbook and stay inside its repository.";
    /// A name that refers to nothing.
    UnknownReference = 11, "Correct the name, or declare what it refers to.";
    /// An id or name that occurs twice.
    Duplicate = 12, "Give each its own.";
    /// Not a valid id or name.
    InvalidId = 13, "Use letters, digits, `.`, `-` and `_`; metric names: letters, digits and `_`.";
    /// A need that names no step or phase.
    DanglingNeed = 14, "Correct the name.";
    /// Steps that wait for each other.
    Cycle = 15, "Remove one of the needs named.";
    /// A threshold or success metric without a metric.
    ThresholdWithoutMetric = 16, "Declare the metric under `metrics`.";
    /// A metric without exactly one way to take it.
    MetricShape = 17, "Give it exactly one of `sql`, `http`, `run`, `step`.";
    /// A threshold that can neither warn nor fail.
    EmptyThreshold = 18, "Give it `warn`, `fail` or both.";
    /// An expression that does not parse.
    Expression = 19, "Write a condition such as `value > 5` or `regressions == 0`.";
    /// An expression that reads a name nothing records.
    UnknownName = 20, "Use a name that a step before it records, `value` in thresholds, parameters in `when`.";
    /// A step with an effect and no `verify`.
    NoVerify = 21, "Add `verify`, or say `changes: nothing`.";
    /// A step with an effect and no way back.
    NoUndo = 22, "Add `undo`, or say `undo: none` or `undo: irreversible`.";
    /// A `sql` action, check or undo of the wrong shape.
    SqlShape = 23, "A step has `deploy`, `query` or `verify`; a check has `query` or `verify`; an undo has `deploy`.";
    /// A comparison of a capture that no step before it takes.
    UnknownLabel = 24, "Use the `label` of an earlier `snapshot` step of the same snapshot.";
    /// A flag setting that cannot be.
    FlagSetting = 25, "Percentages go from 0 to 100, `beta` needs a label, `safe` cannot be its own value.";
    /// A window that is not one.
    Window = 26, "Give it `cron` with `duration`, or `from` with `until`, and an IANA time zone.";
    /// A quorum that its role cannot reach.
    Quorum = 27, "Name more persons in the role, or ask for fewer.";
    /// A role without persons.
    EmptyRole = 28, "Name at least one person.";
    /// Retries, times or counts outside their bounds.
    Bounds = 29, "Use the bounds named.";
    /// A gate that asks for nothing.
    EmptyGate = 30, "Add `sign_offs` or `checks`, or remove the gate.";
    /// A notice that hangs on nothing.
    Anchor = 31, "Use a time, `opened`, `started`, `closed` or `phase/<id>`.";
    /// A step without exactly one action.
    StepAction = 32, "Give the step exactly one of run, http, sql, flag, manual, snapshot, compare, audit, watch, notify, wait.";
    /// A source without a URL for an environment it is used in.
    SourceUrl = 33, "Add the environment under the source's `url`.";
    /// A pattern that is not a regular expression with one group, or a pointer that is not one.
    Pattern = 34, "Write a regular expression with one group, or a JSON pointer such as `/a/b`.";
    /// A credential in the file.
    Credential = 35, "Refer to it: `env: NAME` or `file: PATH`.";
    /// Declared and never used.
    Unused = 36, "Use it or remove it.";
    /// A plan with nothing in it.
    Empty = 37, "Add phases, and steps to each phase.";
    /// A calculator that cannot compute.
    Calculator = 38, "Name a program or a query; remove `model`, and with `sql` also `inventory_query`.";
    /// A script with a statement that the step's transaction cannot hold.
    SqlTransaction = 48, "Leave `BEGIN` and `COMMIT` out; give what no transaction holds to a step with `transaction: none`.";
    /// A gate whose sign-offs cannot all be given.
    Seats = 50, "Name more persons in its roles, let another role do the manual steps, or say `not_executor: false`.";
    /// A checklist item that is empty or occurs twice.
    Checklist = 51, "Give each item words of its own.";
    /// An evidence pattern that leaves the step's directory.
    OutsideDirectory = 52, "Name files below the step's `directory`, without a leading `/` and `..`.";
    /// A text with a character that cannot be seen.
    Unseen = 53, "Write it without: a title is one line, other texts have lines and tabs.";
    /// Who may what leaves nobody who could, or closes a way back.
    Authority = 60, "Name roles that have enough persons; leave the ways back open.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code().as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The violated rule.
    pub code: Code,
    /// Its severity.
    pub severity: Severity,
    /// The file as it was named.
    pub file: String,
    /// Line, from 1; 0 if there is no text, only a plan.
    #[serde(skip_serializing_if = "is_zero")]
    pub line: u32,
    /// Column in characters, from 1; 0 if there is no text.
    #[serde(skip_serializing_if = "is_zero")]
    pub column: u32,
    /// Path in the document, such as `phases[1].steps[3].needs[0]`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// How to fix it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {severity} {}: {}", self.code, self.message)?;
        if !self.path.is_empty() {
            write!(f, " (at {})", self.path)?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; {suggestion}")?;
        }
        Ok(())
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// All findings of one file, by position.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// True if at least one finding is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }

    /// Iterates over the findings.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    pub(super) fn sorted(mut self) -> Self {
        self.0.sort_by(|a, b| {
            (a.line, a.column, a.code, &a.message).cmp(&(b.line, b.column, b.code, &b.message))
        });
        self.0.dedup();
        self
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl Coded for Diagnostics {
    /// The code of the first finding.
    fn code(&self) -> ErrorCode {
        self.0
            .first()
            .map_or(Code::Empty, |first| first.code)
            .code()
    }
}

//! Loads the text of a runbook into a pinned plan, and reports everything that is wrong with it.

use std::collections::BTreeMap;

use super::diagnostic::{Code, Diagnostics, Path};
use super::document::{self, MAX_FILE_BYTES, Node, Position};
use super::files::{FileError, Files, MAX_INLINED_BYTES, is_relative};
use super::findings::Findings;
use super::kind::{Action, StepKind};
use super::model::Runbook;
use super::plan::Plan;
use super::script::Script;
use super::sql_text::without_mark;
use super::{lint, schema, shape, substitute};

/// The required `apiVersion`.
pub const API_VERSION: &str = "rollbook/v1";

/// The required `kind`.
pub const KIND: &str = "Runbook";

/// The origin of a runbook's text.
pub struct Origin<'a> {
    /// The file's name in diagnostics.
    pub file_name: &'a str,
    /// Reads the files that the runbook refers to; for a runbook on disk use
    /// [`Directory::around`](super::files::Directory::around).
    pub files: &'a dyn Files,
}

impl<'a> Origin<'a> {
    /// Creates an origin.
    pub fn new(file_name: &'a str, files: &'a dyn Files) -> Self {
        Self { file_name, files }
    }
}

impl std::fmt::Debug for Origin<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin")
            .field("file_name", &self.file_name)
            .finish_non_exhaustive()
    }
}

/// The result of reading a runbook.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The plan; `None` if there is an error.
    pub plan: Option<Plan>,
    /// Errors and warnings, by position.
    pub diagnostics: Diagnostics,
}

/// Reads, substitutes, inlines, checks and pins a runbook. Reports all errors that are not hidden
/// by an earlier stage: syntax, then shape and parameters, then meaning. If `environment` is given,
/// sources must be usable in it.
pub fn load(
    text: &str,
    origin: &Origin<'_>,
    params: &BTreeMap<String, String>,
    environment: Option<&str>,
) -> Result<Plan, Diagnostics> {
    let loaded = inspect(text, origin, params, environment);
    loaded.plan.ok_or(loaded.diagnostics)
}

/// Returns the parameters that a runbook declares, as far as it can be read.
pub fn declared_params(text: &str) -> Vec<String> {
    document::parse(text).map_or_else(
        |_| Vec::new(),
        |document| {
            let declared = document.get("params").map_or(&[][..], Node::entries);
            declared.iter().map(|entry| entry.key.clone()).collect()
        },
    )
}

/// Loads a runbook as [`load`] does, but also returns the warnings of a valid one.
pub fn inspect(
    text: &str,
    origin: &Origin<'_>,
    params: &BTreeMap<String, String>,
    environment: Option<&str>,
) -> Loaded {
    let mut findings = Findings::new(origin.file_name);
    let plan = read(text, origin, params, environment, &mut findings);
    let plan = if findings.has_errors() { None } else { plan };
    Loaded {
        plan,
        diagnostics: findings.finish(),
    }
}

fn read(
    text: &str,
    origin: &Origin<'_>,
    params: &BTreeMap<String, String>,
    environment: Option<&str>,
    findings: &mut Findings,
) -> Option<Plan> {
    if text.len() > MAX_FILE_BYTES {
        findings.error(
            Code::TooLarge,
            Position::START,
            &Path::root(),
            format!(
                "the runbook has {} bytes, more than {MAX_FILE_BYTES}",
                text.len()
            ),
            None,
        );
        return None;
    }
    let text = without_mark(text);
    let mut document = match document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            findings.error(Code::Yaml, error.at, &Path::root(), error.message, None);
            return None;
        }
    };
    version(&document, findings)?;
    let values = substitute::effective(&document, params, findings);
    substitute::substitute(&mut document, &values, findings);
    shape::check(&mut document, text, &schema::substituted(), findings);
    one_action_each(&document, findings);
    if findings.has_errors() {
        return None;
    }
    let mut runbook = typed(&document, findings)?;
    inline(&mut runbook, &document, origin, findings);
    lint::lint(&runbook, &document, &values, environment, findings);
    if findings.has_errors() {
        return None;
    }
    match Plan::from_runbook(runbook, values) {
        Ok(plan) => Some(plan),
        Err(error) => {
            findings.error(
                Code::TooLarge,
                Position::START,
                &Path::root(),
                error.to_string(),
                None,
            );
            None
        }
    }
}

/// Stops at a wrong version, because another version's keys would only produce noise.
fn version(document: &Node, findings: &mut Findings) -> Option<()> {
    let mut right = Some(());
    for (key, wanted) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        if document.get(key).and_then(Node::text) != Some(wanted) {
            let path = Path::root().key(key);
            findings.at(
                document,
                Code::Version,
                &path,
                match document.get(key) {
                    Some(_) => format!("`{key}` is not `{wanted}`"),
                    None => format!("`{key}` is missing"),
                },
                Some(format!("write `{key}: {wanted}`")),
            );
            right = None;
        }
    }
    right
}

fn one_action_each(document: &Node, findings: &mut Findings) {
    let phases = document.get("phases").map_or(&[][..], Node::items);
    for (p, phase) in phases.iter().enumerate() {
        let steps = phase.get("steps").map_or(&[][..], Node::items);
        for (s, step) in steps.iter().enumerate() {
            let found: Vec<&str> = step
                .entries()
                .iter()
                .map(|e| e.key.as_str())
                .filter(|key| Action::KEYS.contains(key))
                .collect();
            if found.len() == 1 || step.entries().is_empty() {
                continue;
            }
            let path = Path::root().key("phases").index(p).key("steps").index(s);
            findings.at(
                document,
                Code::StepAction,
                &path,
                if found.is_empty() {
                    "the step says nothing to do".to_owned()
                } else {
                    format!("the step has {} actions: {}", found.len(), found.join(", "))
                },
                Some(format!(
                    "give it exactly one of {}",
                    Action::KEYS.join(", ")
                )),
            );
        }
    }
}

fn typed(document: &Node, findings: &mut Findings) -> Option<Runbook> {
    match serde_path_to_error::deserialize::<_, Runbook>(document.to_json()) {
        Ok(runbook) => Some(runbook),
        Err(error) => {
            let path = super::positioned::path_of(error.path());
            let message = error.inner().to_string();
            findings.at(document, Code::Type, &path, message, None);
            None
        }
    }
}

/// Inlines every file that a script or model refers to.
fn inline(runbook: &mut Runbook, document: &Node, origin: &Origin<'_>, findings: &mut Findings) {
    let mut read = |script: &mut Script, path: Path| {
        let Script::File { file, text } = script else {
            return;
        };
        let content = if is_relative(file) {
            origin.files.read(file)
        } else {
            Err(FileError::Outside(file.clone()))
        };
        match content {
            Ok(content) if content.len() <= MAX_INLINED_BYTES => *text = Some(content),
            Ok(content) => findings.at(
                document,
                Code::TooLarge,
                &path.key("file"),
                format!(
                    "`{file}` has {} bytes, more than {MAX_INLINED_BYTES}",
                    content.len()
                ),
                None,
            ),
            Err(error) => findings.at(
                document,
                Code::File,
                &path.key("file"),
                error.to_string(),
                Some("paths are relative to the runbook's directory".to_owned()),
            ),
        }
    };
    for (name, snapshot) in &mut runbook.snapshots {
        // A parameter may leave the choice open: an empty file name means the built-in model.
        if matches!(&snapshot.model, Some(Script::File { file, .. }) if file.is_empty()) {
            snapshot.model = None;
        }
        if let Some(model) = &mut snapshot.model {
            read(model, Path::root().key("snapshots").key(name).key("model"));
        }
    }
    for (p, phase) in runbook.phases.iter_mut().enumerate() {
        for (s, step) in phase.steps.iter_mut().enumerate() {
            let path = Path::root().key("phases").index(p).key("steps").index(s);
            scripts(step.action.kind_mut(), &path, &mut read);
            if let Some(check) = &mut step.verify {
                scripts(check.kind_mut(), &path.key("verify"), &mut read);
            }
            if let Some(undo) = step.undo.kind_mut() {
                scripts(undo, &path.key("undo"), &mut read);
            }
            if let Some(check) = &mut step.undo_verify {
                let path = path.key("undo").key("verify");
                scripts(check.kind_mut(), &path, &mut read);
            }
        }
    }
}

fn scripts(kind: &mut dyn StepKind, path: &Path, read: &mut impl FnMut(&mut Script, Path)) {
    let path = path.key(kind.name());
    for (key, script) in kind.scripts_mut() {
        read(script, path.key(key));
    }
}

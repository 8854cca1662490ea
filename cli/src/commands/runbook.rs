//! Runbook files: loading, `lint`, `schema`.

use std::collections::BTreeMap;
use std::path::Path;

use rollbook_ledger::runbook::load::declared_params;
use rollbook_ledger::runbook::{Directory, Origin, Plan, inspect, schema};

use crate::args::{LintArgs, ParamArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, GREEN, RED, YELLOW, line, paint};

/// The largest runbook or script read, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads and checks a runbook. The failure's message lists every problem, one per line; warnings
/// about a usable runbook go to standard error.
pub(crate) fn read(
    file: &Path,
    params: &ParamArgs,
    environment: Option<&str>,
) -> Result<Plan, Failure> {
    read_with(file, &params_of(params)?, environment)
}

/// Reads a changed runbook for a running rollout: parameters that are not named keep the values of
/// the plan in force.
pub(crate) fn read_revision(
    file: &Path,
    before: &Plan,
    named: &BTreeMap<String, String>,
    environment: Option<&str>,
) -> Result<Plan, Failure> {
    // The real read below reports why it cannot be read.
    let declared = read_text(file).map_or_else(|_| Vec::new(), |text| declared_params(&text));
    let mut params: BTreeMap<String, String> = before
        .params()
        .iter()
        .filter(|(name, _)| declared.contains(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    params.extend(named.clone());
    let plan = read_with(file, &params, environment)?;
    for (name, param) in &plan.runbook().params {
        let (kept, default) = (plan.params().get(name), param.default.as_ref());
        let was = before.runbook().params.get(name);
        let is_new_default = was.is_some_and(|was| was.default.as_ref() != default);
        if is_new_default && !named.contains_key(name) && kept != default {
            print::note(paint(
                YELLOW,
                format!(
                    "parameter {name} keeps its value `{}`; the runbook's default is another now: give it with --param to change it",
                    kept.map(String::as_str).unwrap_or_default()
                ),
            ));
        }
    }
    Ok(plan)
}

fn read_with(
    file: &Path,
    params: &BTreeMap<String, String>,
    environment: Option<&str>,
) -> Result<Plan, Failure> {
    let text = read_text(file).map_err(|error| {
        Failure::own(
            Exit::Usage,
            "RB-CLI-30",
            format!("{}: cannot be read: {error}", file.display()),
        )
    })?;
    let files = Directory::around(file).map_err(|error| {
        Failure::own(
            Exit::Usage,
            "RB-CLI-30",
            format!("{}: cannot be read: {error}", file.display()),
        )
    })?;
    let name = file.display().to_string();
    let loaded = inspect(&text, &Origin::new(&name, &files), params, environment);
    match loaded.plan {
        Some(plan) => {
            for warning in loaded.diagnostics.iter() {
                print::note(paint(YELLOW, warning));
            }
            Ok(plan)
        }
        None => Err(Failure::usage(loaded.diagnostics)),
    }
}

/// `--params-file`, then `--param`.
pub(crate) fn params_of(args: &ParamArgs) -> Result<BTreeMap<String, String>, Failure> {
    let mut params = BTreeMap::new();
    if let Some(file) = &args.params_file {
        let text = read_text(file).map_err(|error| {
            Failure::own(
                Exit::Usage,
                "RB-CLI-31",
                format!("{}: cannot be read: {error}", file.display()),
            )
        })?;
        for (index, row) in text.lines().enumerate() {
            let row = row.trim();
            if row.is_empty() || row.starts_with('#') {
                continue;
            }
            let Some((name, value)) = row.split_once('=') else {
                return Err(Failure::own(
                    Exit::Usage,
                    "RB-CLI-32",
                    format!(
                        "{}:{}: `{row}` is not NAME=VALUE",
                        file.display(),
                        index + 1
                    ),
                ));
            };
            params.insert(name.trim().to_owned(), value.trim().to_owned());
        }
    }
    params.extend(args.params.iter().cloned());
    Ok(params)
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let size = std::fs::metadata(path)?.len();
    if size > MAX_FILE_BYTES {
        return Err(std::io::Error::other(format!(
            "{size} bytes, at most {MAX_FILE_BYTES} are allowed"
        )));
    }
    std::fs::read_to_string(path)
}

/// `lint`.
pub(crate) fn lint(args: &LintArgs, json: bool) -> Outcome {
    let mut bad = 0;
    let mut results = Vec::new();
    for file in &args.runbooks {
        match read(file, &args.params, None) {
            Ok(plan) => {
                let steps = plan.steps().count();
                if !json {
                    line(format!(
                        "{}: {} {} phases, {steps} steps, digest {}",
                        file.display(),
                        paint(GREEN, "ok"),
                        plan.runbook().phases.len(),
                        plan.digest()
                    ));
                }
                results.push(serde_json::json!({ "file": file, "ok": true, "digest": plan.digest(), "steps": steps }));
            }
            Err(failure) => {
                bad += 1;
                if !json {
                    line(paint(RED, &failure.message));
                }
                let problems: Vec<&str> = failure.message.lines().collect();
                results
                    .push(serde_json::json!({ "file": file, "ok": false, "problems": problems }));
            }
        }
    }
    if json {
        print::json(&results)?;
    }
    Ok(if bad == 0 { Exit::Success } else { Exit::Usage })
}

/// `schema`.
pub(crate) fn print_schema() -> Outcome {
    print::json(&schema::schema())?;
    Ok(Exit::Success)
}

//! Runbook files: loading, `lint`, `plan`, `schema`.

use std::collections::BTreeMap;
use std::path::Path;

use rollbook_ledger::runbook::{Directory, Origin, Plan, describe, inspect, schema};

use crate::args::{LintArgs, ParamArgs, PlanArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, BOLD, DIM, GREEN, RED, YELLOW, line, paint};

/// The largest runbook or script read, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads and checks a runbook. Every problem is in the failure's message, one a line; warnings
/// of a runbook that may be used go to standard error.
pub(crate) fn read(
    file: &Path,
    params: &ParamArgs,
    environment: Option<&str>,
) -> Result<Plan, Failure> {
    let params = params_of(params)?;
    let text = read_text(file).map_err(|error| {
        Failure::usage(format!(
            "RB-CLI-30: {}: cannot be read: {error}",
            file.display()
        ))
    })?;
    let files = Directory::around(file).map_err(|error| {
        Failure::usage(format!(
            "RB-CLI-30: {}: cannot be read: {error}",
            file.display()
        ))
    })?;
    let name = file.display().to_string();
    let loaded = inspect(&text, &Origin::new(&name, &files), &params, environment);
    match loaded.plan {
        Some(plan) => {
            for warning in loaded.diagnostics.iter() {
                print::aside(paint(YELLOW, warning));
            }
            Ok(plan)
        }
        None => Err(Failure::usage(loaded.diagnostics.to_string())),
    }
}

/// `--params-file`, then `--param`.
fn params_of(args: &ParamArgs) -> Result<BTreeMap<String, String>, Failure> {
    let mut params = BTreeMap::new();
    if let Some(file) = &args.params_file {
        let text = read_text(file).map_err(|error| {
            Failure::usage(format!(
                "RB-CLI-31: {}: cannot be read: {error}",
                file.display()
            ))
        })?;
        for (index, row) in text.lines().enumerate() {
            let row = row.trim();
            if row.is_empty() || row.starts_with('#') {
                continue;
            }
            let Some((name, value)) = row.split_once('=') else {
                return Err(Failure::usage(format!(
                    "RB-CLI-32: {}:{}: `{row}` is not NAME=VALUE",
                    file.display(),
                    index + 1
                )));
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
    Ok(if bad == 0 { Exit::Done } else { Exit::Usage })
}

/// `plan`: nothing is opened, nothing is run.
pub(crate) fn plan(args: &PlanArgs, json: bool) -> Outcome {
    let plan = read(
        &args.runbook.runbook,
        &args.runbook.params,
        args.environment.as_deref(),
    )?;
    let items = describe::describe(&plan);
    if json {
        print::json(&items)?;
        return Ok(Exit::Done);
    }
    let metadata = &plan.runbook().metadata;
    line(format!(
        "{} {} · digest {}",
        paint(BOLD, &metadata.name),
        metadata.version,
        plan.digest()
    ));
    for item in &items {
        line(item);
    }
    line(paint(DIM, "nothing has been opened or run"));
    Ok(Exit::Done)
}

/// `schema`.
pub(crate) fn print_schema() -> Outcome {
    print::json(&schema::schema())?;
    Ok(Exit::Done)
}

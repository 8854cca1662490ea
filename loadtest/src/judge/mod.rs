//! `rollbook-loadtest judge DIR`: judges whether what a storm left behind is as it must be.
//!
//! It shares nothing with the storm but the record in the directory: it reads the process table,
//! starts its own servers on the ledger and the views that were left, queries them as any client
//! could, and judges by rules that do no I/O.

mod case;
mod collect;
mod database;
mod effects;
mod history;
pub(crate) mod report;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod views;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use rollbook_ledger::error_code::Coded;

use crate::process::StartError;
use crate::record::{self, RecordError};
use case::Case;
use report::{REPORT, Report};

/// Why nothing could be judged.
#[derive(Debug, thiserror::Error, Coded)]
pub(crate) enum JudgeError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("RB-JUDGE-1: {what}: {reason}; it is needed to judge")]
    Missing { what: String, reason: String },
}

/// The arguments of `judge`.
#[derive(Debug, Args)]
pub(crate) struct JudgeArgs {
    /// The directory of a slice
    directory: PathBuf,
    /// Judge what an earlier judge collected there; nothing is started
    #[arg(long)]
    collected: bool,
}

/// Judges. Exit code 0: no findings; 1: findings; 7: judging was not possible.
pub(crate) async fn run(args: &JudgeArgs) -> ExitCode {
    match judged(&args.directory, args.collected).await {
        Ok(report) => {
            for line in report.lines() {
                println!("{line}");
            }
            if report.is_clean() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(7)
        }
    }
}

async fn judged(directory: &Path, collected: bool) -> Result<Report, JudgeError> {
    let directory = directory
        .canonicalize()
        .map_err(|error| RecordError::new(directory, error))?;
    if !collected {
        collect::collect(&directory).await?;
    }
    let case = Case::read(&directory)?;
    let report = judge(&case);
    record::write(&directory.join(REPORT), &report)?;
    Ok(report)
}

/// Applies all rules.
fn judge(case: &Case) -> Report {
    let mut findings = Vec::new();
    history::judge(case, &mut findings);
    effects::judge(case, &mut findings);
    views::judge(case, &mut findings);
    Report {
        rollouts: case.opened().count(),
        acknowledged: case.acknowledged.len(),
        commits: case.commits.len(),
        effects: case.marks.iter().filter(|mark| mark.is_begin).count() + case.rows.len(),
        notices: case.notices.len(),
        unfinished: views::unfinished(case),
        findings,
    }
}

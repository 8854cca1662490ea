//! `rollbook-loadtest storm`: runs rollouts with simulated persons and seeded faults against the
//! built program, in slices. Each slice has its own layout and directory, and is judged by
//! `rollbook-loadtest judge`, a process that knows only what the directory contains.

mod disk;
mod inject;
mod interrupt;
mod person;
mod plans;
mod proxy;
mod random;
mod schedule;
mod slice;
mod system;
pub(crate) mod torn;
mod webhook_receiver;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use rollbook_ledger::error_code::Coded;
use serde::{Deserialize, Serialize};

use crate::judge::report::Report;
use crate::process::StartError;
use crate::record::{self, RecordError, Recorder};
use schedule::{Layout, Views};

/// The file with one line per judged slice.
const RESULTS: &str = "results.jsonl";

/// Why a storm could not continue.
#[derive(Debug, thiserror::Error, Coded)]
pub(crate) enum StormError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("RB-STORM-3: {what} does not answer; look at the logs in the slice's directory")]
    Silent { what: String },
    #[error(
        "RB-STORM-4: `rollbook open` of {id} ended with {code:?}: {said}; the storm's own runbooks must open"
    )]
    Refused {
        id: String,
        code: Option<i32>,
        said: String,
    },
    #[error("RB-STORM-5: {what} is not tested: {why}")]
    Untested { what: String, why: String },
}

impl StormError {
    /// Adds the file or directory that could not be used.
    fn files<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> Self {
        move |error| Self::Record(RecordError::new(path, error))
    }
}

/// The arguments of `storm`.
#[derive(Debug, Args)]
pub(crate) struct StormArgs {
    /// Total number of faults
    #[arg(long, default_value_t = 8)]
    faults: usize,
    /// Faults per slice
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=200))]
    per_slice: u16,
    /// The seed that determines rollouts, faults, targets and times
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The longest pause of a process, in seconds
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=40))]
    longest_pause: u16,
    /// Use only this layout; otherwise they alternate
    #[arg(long)]
    layout: Option<Layout>,
    /// Continue after the last judged slice of this seed
    #[arg(long, conflicts_with = "from")]
    resume: bool,
    /// Start with this slice
    #[arg(long)]
    from: Option<usize>,
    /// Print the faults without injecting any
    #[arg(long)]
    plan: bool,
    /// Directory for slices and results
    #[arg(long, default_value = "target/storm")]
    dir: PathBuf,
    /// The program [default: `rollbook` beside this one]
    #[arg(long)]
    rollbook: Option<PathBuf>,
    /// Keep the directories of slices without findings
    #[arg(long)]
    keep: bool,
}

/// What a slice did, and what its judge found.
#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    slice: usize,
    seed: u64,
    layout: Layout,
    faults: usize,
    /// The number of faults of each kind.
    kinds: std::collections::BTreeMap<String, usize>,
    seconds: u64,
    report: Report,
}

impl Outcome {
    fn is_of(&self, slice: usize, seed: u64) -> bool {
        self.slice == slice && self.seed == slice_seed(seed, slice)
    }
}

/// Runs slices until all faults have been injected.
pub(crate) async fn run(args: &StormArgs) -> ExitCode {
    interrupt::unless_interrupted(&args.dir, async {
        match slices(args).await {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(7)
            }
        }
    })
    .await
}

async fn slices(args: &StormArgs) -> Result<bool, StormError> {
    let sizes = sizes(
        args.faults,
        usize::from(args.per_slice),
        args.layout.is_none(),
    );
    let faketime = std::env::var_os("ROLLBOOK_FAKETIME")
        .filter(|library| !library.is_empty())
        .map(PathBuf::from);
    let wanted = |slice: usize, faults| slice::Wanted {
        layout: args
            .layout
            .unwrap_or(Layout::ALL[slice % Layout::ALL.len()]),
        seed: slice_seed(args.seed, slice),
        faults,
        longest_pause: Duration::from_secs(u64::from(args.longest_pause)),
        faketime: faketime.clone(),
    };
    if args.plan {
        for (slice, faults) in sizes.iter().copied().enumerate() {
            let wanted = wanted(slice, faults);
            print_slice(slice, &wanted);
            wanted.planned().iter().for_each(slice::print_fault);
        }
        return Ok(true);
    }
    std::fs::create_dir_all(&args.dir).map_err(StormError::files(&args.dir))?;
    let dir = args
        .dir
        .canonicalize()
        .map_err(StormError::files(&args.dir))?;
    let rollbook = program(args.rollbook.as_deref())?;
    let results = dir.join(RESULTS);
    if !args.resume && args.from.is_none() && results.exists() {
        std::fs::remove_file(&results).map_err(StormError::files(&results))?;
    }
    let before: Vec<Outcome> = record::lines(&results)?;
    let done = |slice: usize| before.iter().any(|outcome| outcome.is_of(slice, args.seed));
    let judged = (0..sizes.len()).take_while(|slice| done(*slice)).count();
    let first = args.from.unwrap_or(judged);
    let recorder = Recorder::new(&dir);
    for (slice, faults) in sizes.iter().copied().enumerate().skip(first) {
        let wanted = wanted(slice, faults);
        let directory = dir.join(format!("slice-{slice}"));
        let started = Instant::now();
        print_slice(slice, &wanted);
        let ran = slice::run(&directory, &rollbook, &wanted).await?;
        let report = slice::judge(&directory).await?;
        for line in report.lines() {
            println!("  {line}");
        }
        let is_clean = report.is_clean();
        recorder.append(
            RESULTS,
            &Outcome {
                slice,
                seed: wanted.seed,
                layout: wanted.layout,
                faults,
                kinds: ran.kinds,
                seconds: started.elapsed().as_secs(),
                report,
            },
        )?;
        if is_clean && !args.keep {
            std::fs::remove_dir_all(&directory).map_err(StormError::files(&directory))?;
        } else {
            println!("  kept in {}", directory.display());
        }
    }
    let outcomes: Vec<Outcome> = record::lines(&results)?;
    // If a slice was run again, its last result counts.
    let last = (0..sizes.len()).filter_map(|slice| {
        let mut newest_first = outcomes.iter().rev();
        newest_first.find(|outcome| outcome.is_of(slice, args.seed))
    });
    Ok(summary(last))
}

fn print_slice(slice: usize, wanted: &slice::Wanted) {
    println!(
        "slice {slice}: seed {}, layout {}, {} faults{}",
        wanted.seed,
        wanted.layout.name(),
        wanted.faults,
        match Views::of(wanted.seed, wanted.layout) {
            Views::Sqlite => "",
            Views::Postgres => ", views in PostgreSQL",
        }
    );
}

/// The number of faults of each slice. Even a few faults reach every layout.
fn sizes(faults: usize, per_slice: usize, every_layout: bool) -> Vec<usize> {
    let fewest = if every_layout { Layout::ALL.len() } else { 1 };
    let slices = faults
        .div_ceil(per_slice.max(1))
        .max(fewest)
        .min(faults.max(1));
    (0..slices)
        .map(|slice| faults / slices + usize::from(slice < faults % slices))
        .collect()
}

/// Spreads the seeds of slices, so that slices of neighbouring seeds differ.
fn slice_seed(seed: u64, slice: usize) -> u64 {
    let slice = u64::try_from(slice).unwrap_or(u64::MAX);
    seed.wrapping_mul(1_000_000).wrapping_add(slice)
}

fn program(named: Option<&Path>) -> Result<PathBuf, StormError> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join("rollbook")));
    let program = named.map(Path::to_path_buf).or(beside).unwrap_or_default();
    let found = program.canonicalize();
    found.map_err(|error| StartError::new(program.display(), error).into())
}

/// Reports what a storm cannot test on this machine. In CI, where nobody reads the report, this is
/// a failure.
fn untested(what: &str, why: &str) -> Result<(), StormError> {
    let on_ci = std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false");
    if on_ci {
        return Err(StormError::Untested {
            what: what.to_owned(),
            why: why.to_owned(),
        });
    }
    println!("  NOT TESTED: {what}: {why}");
    Ok(())
}

/// Prints a summary of all slices as rows for `docs/performance.md`; returns whether there were no
/// findings.
fn summary<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> bool {
    let outcomes: Vec<&Outcome> = outcomes.collect();
    println!(
        "\n| Layout | Slices | Faults | Rollouts | Commands acknowledged | Commits | Effects | Findings |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    for layout in Layout::ALL {
        let of: Vec<_> = outcomes
            .iter()
            .filter(|outcome| outcome.layout == layout)
            .collect();
        let sum = |count: fn(&Report) -> usize| -> usize {
            of.iter().map(|outcome| count(&outcome.report)).sum()
        };
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            layout.name(),
            of.len(),
            of.iter().map(|outcome| outcome.faults).sum::<usize>(),
            sum(|report| report.rollouts),
            sum(|report| report.acknowledged),
            sum(|report| report.commits),
            sum(|report| report.effects),
            sum(|report| report.findings.len()),
        );
    }
    let mut kinds = std::collections::BTreeMap::new();
    for (kind, count) in outcomes.iter().flat_map(|outcome| &outcome.kinds) {
        *kinds.entry(kind.as_str()).or_insert(0) += count;
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    println!("\nFaults by kind: {}", kinds.join(", "));
    outcomes.iter().all(|outcome| outcome.report.is_clean())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_divided_into_slices() {
        assert_eq!(sizes(8, 20, true), [3, 3, 2]);
        assert_eq!(sizes(8, 20, false), [8]);
        assert_eq!(sizes(1000, 20, true).len(), 50);
        assert_eq!(sizes(1000, 20, true).iter().sum::<usize>(), 1000);
        assert_eq!(sizes(1, 20, true), [1]);
    }
}

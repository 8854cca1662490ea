//! Compares two stored snapshots, against DuckDB joining the very same Parquet files.
//!
//! Both run in their own warm process, so neither time includes start-up. Within its time Rollbook
//! verifies the checksum of every part, judges by rules and stores every difference; DuckDB joins,
//! tests the tolerance and counts. Their counts must agree, or the bar fails.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use rollbook_deals::Deals;
use rollbook_ledger::evidence::EvidenceStore;
use rollbook_workers::calculators::Calculators;
use rollbook_workers::compare::rules::{Rule, RuleSeverity, Scope, Test};
use rollbook_workers::compare::{Millionths, Rules, compare};
use rollbook_workers::snapshot::Snapshot;
use serde::{Deserialize, Serialize};

use crate::bar::{Bar, BenchError, Limit, failed, median};
use crate::peer::python_peer;
use crate::snapshots::{METRICS, Pair};

const MILLION: u64 = 1_000_000;
/// Number of runs; the median is judged.
const RUNS: usize = 5;
const TOLERANCE_PERCENT: i32 = 5;
/// Maximum memory of a comparison, in MB.
const PEAK_MB: f64 = 128.0;
const PEER: &str = "DuckDB, join and tolerance test over the same files";

/// The counts that both sides report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    compared: u64,
    equal: u64,
    within: u64,
    beyond: u64,
    missing: u64,
    added: u64,
    before_cents: i64,
    after_cents: i64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Answer {
    seconds: f64,
    #[serde(default)]
    peak_kb: u64,
    #[serde(flatten)]
    counts: Counts,
}

/// Rollbook's seconds ÷ DuckDB's.
pub(crate) async fn versus_duckdb() -> Result<Bar, BenchError> {
    let pair = Pair::make(MILLION).await?;
    let mut ours = Process::rollbook(&pair)?;
    let mut duckdb = Process::duckdb()?;
    let command = pair.duckdb_command(TOLERANCE_PERCENT, threads())?;
    // The first run of each side fills the caches and is not counted.
    check_agreement(&ours.ask("{}")?, &duckdb.ask(&command)?)?;
    let mut runs = Vec::new();
    for run in 0..RUNS {
        let (mine, peer) = if run % 2 == 0 {
            let mine = ours.ask("{}")?;
            (mine, duckdb.ask(&command)?)
        } else {
            let peer = duckdb.ask(&command)?;
            (ours.ask("{}")?, peer)
        };
        check_agreement(&mine, &peer)?;
        eprintln!(
            "compare: rollbook {:.3} s, DuckDB {:.3} s",
            mine.seconds, peer.seconds
        );
        runs.push(mine.seconds / peer.seconds);
    }
    let limit = Limit::AtMost(0.6);
    Ok(Bar::judge("compare_vs_duckdb", limit, "ratio", PEER, runs))
}

/// The peak memory of a fresh process that compares a million deals once.
pub(crate) async fn peak_mb() -> Result<Bar, BenchError> {
    let pair = Pair::make(MILLION).await?;
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(Process::rollbook(&pair)?.ask("{}")?.peak_mb());
    }
    Ok(Bar::judge(
        "compare_peak_mb",
        Limit::AtMost(PEAK_MB),
        "MB",
        "own process, resident set at its highest",
        runs,
    ))
}

/// Seconds for ten million deals ÷ ten times the seconds for one million; the memory limit also
/// applies.
pub(crate) async fn growth_10m() -> Result<Bar, BenchError> {
    let mut seconds = Vec::new();
    for deals in [MILLION, 10 * MILLION] {
        let pair = Pair::make(deals).await?;
        let mut process = Process::rollbook(&pair)?;
        let first = process.ask("{}")?;
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            runs.push(process.ask("{}")?.seconds);
        }
        let (middle, peak) = (median(&runs), first.peak_mb());
        eprintln!("compare: {deals} deals in {middle:.3} s, {peak:.0} MB after the first");
        if peak > PEAK_MB {
            let reason = format!("{deals} deals took {peak:.0} MB");
            return Err(failed("hold the memory")(reason));
        }
        seconds.push(middle);
    }
    let ratio = match seconds.as_slice() {
        [one, ten] => ten / (10.0 * one),
        _ => f64::NAN,
    };
    Ok(Bar::judge(
        "compare_growth_10m",
        Limit::AtMost(1.1),
        "ratio",
        "ten times one million deals",
        vec![ratio],
    ))
}

impl Answer {
    #[allow(clippy::cast_precision_loss)]
    fn peak_mb(&self) -> f64 {
        self.peak_kb as f64 / 1024.0
    }
}

fn check_agreement(ours: &Answer, peer: &Answer) -> Result<(), BenchError> {
    if ours.counts == peer.counts {
        return Ok(());
    }
    let reason = format!("Rollbook {:?}, DuckDB {:?}", ours.counts, peer.counts);
    Err(failed("find the same differences")(reason))
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A process that answers each line with a line. Killed on drop.
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn rollbook(pair: &Pair) -> Result<Self, BenchError> {
        let program = std::env::current_exe().map_err(failed("find this program"))?;
        let mut command = Command::new(program);
        command.arg("compare-child").args(pair.arguments());
        Self::start(command)
    }

    fn duckdb() -> Result<Self, BenchError> {
        Self::start(python_peer("compare_duckdb.py")?)
    }

    fn start(mut command: Command) -> Result<Self, BenchError> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed("start a process"))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or_else(|| failed("start a process")("no pipes"))?;
        Ok(Self {
            child,
            input,
            output: BufReader::new(output),
        })
    }

    fn ask(&mut self, line: &str) -> Result<Answer, BenchError> {
        writeln!(self.input, "{line}").map_err(failed("ask a process"))?;
        let mut answer = String::new();
        let read = self.output.read_line(&mut answer);
        read.map_err(failed("hear a process"))?;
        serde_json::from_str(&answer).map_err(failed("understand a process"))
    }
}

/// One tolerance for every figure of every deal.
fn rules() -> Rules {
    Rules {
        guard: vec!["acquisition".to_owned()],
        allow_model_change: false,
        rules: vec![Rule {
            id: "tolerance".to_owned(),
            metric: "*".to_owned(),
            scope: Scope::Any,
            deal_types: Vec::new(),
            test: Test::Relative {
                tolerance_percent: Millionths::whole(TOLERANCE_PERCENT),
            },
            severity: RuleSeverity::Regression,
        }],
    }
}

/// The measured process: runs one comparison for each line of standard input.
pub(crate) async fn child(objects: &str, before: &str, after: &str) -> Result<(), BenchError> {
    let store = EvidenceStore::open(objects).map_err(failed("open the store"))?;
    let declared = Deals.declaration();
    for line in std::io::stdin().lines() {
        line.map_err(failed("hear the bench"))?;
        let start = Instant::now();
        let open = failed("open a snapshot");
        let before = Snapshot::open(&store, before).await.map_err(&open)?;
        let after = Snapshot::open(&store, after).await.map_err(&open)?;
        let made = compare(&before, &after, &rules(), &declared, &store).await;
        let result = made.map_err(failed("compare"))?.result;
        let seconds = start.elapsed().as_secs_f64();
        let cents = |side: fn(&rollbook_workers::compare::tally::TypeTotals) -> i128| {
            let sum: i128 = result.totals.values().map(side).sum();
            i64::try_from(sum).unwrap_or(i64::MAX)
        };
        let answer = Answer {
            seconds,
            peak_kb: peak_kb()?,
            counts: Counts {
                compared: result.compared,
                equal: result.equal,
                within: result.within_tolerance,
                beyond: result.regressions - result.missing,
                missing: result.missing,
                added: result.added,
                before_cents: cents(|totals| totals.before_cents.0),
                after_cents: cents(|totals| totals.after_cents.0),
            },
        };
        let text = serde_json::to_string(&answer).map_err(failed("answer"))?;
        println!("{text}");
    }
    Ok(())
}

/// The peak resident set of this process, in KB.
fn peak_kb() -> Result<u64, BenchError> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(failed("read the memory"))?;
    status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .ok_or_else(|| failed("read the memory")("/proc/self/status has no VmHWM"))
}

/// The compared metrics are those in the files.
const _: () = assert!(METRICS.len() == 12);

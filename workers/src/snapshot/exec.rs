//! The `exec` calculator: figures from a program that speaks JSON lines.
//!
//! ```text
//!  {"deal_id":"7","deal_type":"square","inventory":[…]}    ──▶ program
//!  {"deal_id":"7","metrics":{"price":"12.50","items":3}}    ◀── or {"error":"…"}
//! ```
//!
//! One program runs per compute thread, for as long as it answers correctly. Anything that depends
//! on time or on a process (standard error, how often it was started) goes to the log or into the
//! error of the whole snapshot, never into a row: the same deals must give the same bytes.

mod child;
mod line;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rollbook_ledger::runbook::calculator::{MAX_DEAL_TIMEOUT, MetricDeclaration, check_metrics};
use sha2::{Digest, Sha256};

pub use child::Program;
use child::{Asked, Child, MAX_LINE_BYTES};
use line::{Reply, reply, request};

use super::SnapshotError;
use super::calculator::{Calculator, CalculatorDescription, MetricInfo, RawDeal};
use super::values::Values;

/// This many consecutive failures, with no answer in between, fail the snapshot.
const MAX_FAILURES: u32 = 32;

/// The limit while the program has never answered: then the deals are not the cause.
const MAX_FAILURES_BEFORE_ANSWER: u32 = 8;

/// At most this many failures of a snapshot are logged; every one is in the row of its deal.
const MAX_LOGGED: u64 = 100;

/// The wait before a program is restarted after a failure, doubled for every further failure.
const FIRST_BACK_OFF: Duration = Duration::from_millis(10);

/// The longest wait before a restart.
const LAST_BACK_OFF: Duration = Duration::from_secs(1);

/// The largest model file that is accepted, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Redacts secrets in what a program says.
pub type Redact = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// What an [`ExecCalculator`] is made from.
pub struct ExecRequest {
    /// The program to start.
    pub program: Program,
    /// The variables of [`Program::env`] that are part of the model, with their values.
    pub model_env: BTreeMap<String, String>,
    /// A file whose content is part of the model, relative to the working directory.
    pub file: Option<String>,
    /// The figures of every deal.
    pub metrics: Vec<MetricDeclaration>,
    /// How long one deal may take.
    pub timeout: Duration,
    /// Whether the program is sent deal types.
    pub deal_types: bool,
    /// Applied to everything the program says before it is stored, logged or returned.
    pub redact: Redact,
}

/// A calculator that gets its figures from the user's program.
pub struct ExecCalculator {
    program: Program,
    declared: Vec<MetricDeclaration>,
    description: CalculatorDescription,
    timeout: Duration,
    redact: Redact,
    idle: Mutex<Vec<Child>>,
    failures: AtomicU32,
    logged: AtomicU64,
    answered: AtomicBool,
    fault: OnceLock<String>,
    stopped: AtomicBool,
}

impl std::fmt::Debug for ExecCalculator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecCalculator")
            .field("program", &self.program)
            .field("digest", &self.description.digest)
            .finish_non_exhaustive()
    }
}

impl ExecCalculator {
    /// Checks the declaration and reads the model's file. No program is started before the first
    /// deal.
    pub fn new(wanted: ExecRequest) -> Result<Self, SnapshotError> {
        let refuse = |reason: String| SnapshotError::Request {
            field: "calculator",
            reason,
        };
        check_metrics(&wanted.metrics).map_err(|fault| refuse(fault.describe(&wanted.metrics)))?;
        let program = &wanted.program;
        if program.command.first().is_none_or(String::is_empty) {
            return Err(refuse("no program is named".to_owned()));
        }
        if program.command.iter().any(|part| part.contains('\0')) {
            return Err(refuse("the command contains a NUL character".to_owned()));
        }
        if wanted.timeout.is_zero() || wanted.timeout > MAX_DEAL_TIMEOUT.to_std() {
            return Err(refuse(format!(
                "the timeout per deal is not above 0 and at most {MAX_DEAL_TIMEOUT}"
            )));
        }
        let file = match &wanted.file {
            Some(file) => Some(file_digest(program, file)?),
            None => None,
        };
        let model = serde_json::json!({
            "calculator": "exec",
            "protocol": 1,
            "command": program.command,
            "env": wanted.model_env,
            "file": file,
            "metrics": wanted.metrics,
        });
        let model = serde_json_canonicalizer::to_vec(&model)
            .map_err(|error| refuse(format!("it has no canonical form: {error}")))?;
        Ok(Self {
            description: CalculatorDescription {
                name: "exec".to_owned(),
                digest: hex::encode(Sha256::digest(model)),
                deal_type_awareness: wanted.deal_types,
                metrics: wanted.metrics.iter().map(MetricInfo::of).collect(),
            },
            declared: wanted.metrics,
            program: wanted.program,
            timeout: wanted.timeout,
            redact: wanted.redact,
            idle: Mutex::default(),
            failures: AtomicU32::new(0),
            logged: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            fault: OnceLock::new(),
            stopped: AtomicBool::new(false),
        })
    }

    /// An idle program that has answered before.
    fn waiting(&self) -> Option<Child> {
        loop {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let mut child = idle.pop()?;
            drop(idle);
            if child.is_in_step() {
                return Some(child);
            }
        }
    }

    /// A program to send the deal to: an idle one, or a newly started one.
    fn child(&self, fresh: bool) -> Result<Child, String> {
        if !fresh && let Some(child) = self.waiting() {
            return Ok(child);
        }
        self.back_off();
        Child::start(&self.program).map_err(|error| {
            let reason = format!(
                "`{}` cannot be started: {error}",
                self.program.command.first().map_or("", String::as_str)
            );
            self.give_up(reason)
        })
    }

    /// Waits before the next start if programs have failed; a stop ends the wait.
    fn back_off(&self) {
        let failures = self.failures.load(Ordering::Relaxed);
        if failures == 0 {
            return;
        }
        let doubled = FIRST_BACK_OFF.saturating_mul(1 << (failures - 1).min(16));
        let until = Instant::now() + doubled.min(LAST_BACK_OFF);
        while Instant::now() < until && !self.stopped.load(Ordering::Relaxed) {
            std::thread::sleep(FIRST_BACK_OFF);
        }
    }

    /// Counts and logs a failure; too many in a row fail the snapshot.
    fn failed(&self, mut child: Child, deal: &RawDeal, how: &str) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        let words = (self.redact)(&child.last_words());
        if self.logged.fetch_add(1, Ordering::Relaxed) < MAX_LOGGED {
            tracing::warn!(
                deal_id = %deal.id,
                failures,
                stderr = %words,
                "the calculator's program failed and is replaced: {}",
                (self.redact)(how)
            );
        }
        let limit = if self.answered.load(Ordering::Relaxed) {
            MAX_FAILURES
        } else {
            MAX_FAILURES_BEFORE_ANSWER
        };
        if failures >= limit {
            let words = if words.is_empty() {
                "nothing".to_owned()
            } else {
                format!("{words:?}")
            };
            self.give_up(format!(
                "its program failed {failures} times in a row, the last time at deal {:?}: {how}; it wrote to standard error: {words}",
                deal.id
            ));
        }
    }

    /// Fails the calculator for good and returns the reason; the first reason is kept.
    fn give_up(&self, reason: String) -> String {
        self.fault.get_or_init(|| (self.redact)(&reason)).to_owned()
    }

    /// Sends a deal to a program and reads its reply; `Err` means that the program died.
    fn ask(
        &self,
        mut child: Child,
        deal: &RawDeal,
        request: &[u8],
    ) -> Result<Result<Values, String>, String> {
        let asked = child.ask(request, Instant::now() + self.timeout, &self.stopped);
        let how = match asked {
            Asked::Line(line) => match reply(&line, deal, &self.declared, self.redact.as_ref()) {
                Reply::Said(said) => {
                    self.failures.store(0, Ordering::Relaxed);
                    self.answered.store(true, Ordering::Relaxed);
                    self.idle
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(child);
                    return Ok(said);
                }
                Reply::Garbage(what) => format!("the program's answer is invalid: {what}"),
            },
            Asked::TimedOut => format!(
                "the program gave no result within {} ms",
                self.timeout.as_millis()
            ),
            Asked::TooLong => {
                format!("the program's answer has more than {MAX_LINE_BYTES} bytes")
            }
            Asked::Stopped => return Ok(Err("the snapshot was stopped".to_owned())),
            Asked::Died(how) => {
                let how = format!("the program ended at this deal: {how}");
                self.failed(child, deal, &how);
                return Err(how);
            }
        };
        self.failed(child, deal, &how);
        Ok(Err(how))
    }
}

impl Calculator for ExecCalculator {
    fn description(&self) -> &CalculatorDescription {
        &self.description
    }

    fn compute(&self, deal: &RawDeal) -> Result<Values, String> {
        let request = request(deal, self.description.deal_type_awareness)?;
        let mut outcome = Err(String::new());
        // The program may have died because of an earlier deal: retry once with a new one.
        for fresh in [false, true] {
            if let Some(fault) = self.fault.get() {
                return Err(fault.clone());
            }
            if self.stopped.load(Ordering::Relaxed) {
                return Err("the snapshot was stopped".to_owned());
            }
            outcome = self.ask(self.child(fresh)?, deal, &request);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
            .unwrap_or_else(Err)
            .map_err(|error| (self.redact)(&error))
    }

    fn fault(&self) -> Option<String> {
        self.fault.get().cloned()
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

/// The SHA-256 of the model's file.
fn file_digest(program: &Program, file: &str) -> Result<String, SnapshotError> {
    let path = match &program.directory {
        Some(directory) => directory.join(file),
        None => file.into(),
    };
    let failed = |reason: String| SnapshotError::File {
        path: path.display().to_string(),
        reason,
    };
    let mut file = std::fs::File::open(&path).map_err(|error| failed(error.to_string()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut size_bytes = 0;
    loop {
        let count = file
            .read(&mut buffer)
            .map_err(|error| failed(error.to_string()))?;
        if count == 0 {
            return Ok(hex::encode(hasher.finalize()));
        }
        size_bytes += count as u64;
        if size_bytes > MAX_FILE_BYTES {
            return Err(failed(format!("it has more than {MAX_FILE_BYTES} bytes")));
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
}

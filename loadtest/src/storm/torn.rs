//! `rollbook-loadtest torn`: tears off the end of a ledger's last block, as a disk would that
//! confirmed a write without doing it.
//!
//! What was acknowledged is then lost, and no program can bring it back: `rollbook up` and
//! `rollbook serve` must refuse to start, name the missing sequence, and append nothing in its
//! place.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use clap::Args;
use nix::sys::signal::Signal;

use super::StormError;
use super::interrupt::unless_interrupted;
use super::person::ApiClient;
use super::plans::{self, StormEnvironment};
use super::random::Random;
use super::schedule::Layout;
use super::slice::create_effects;
use super::system::{System, stores};
use crate::natsd;
use crate::process::Process;
use crate::record::Recorder;

/// How long it may take until the last acknowledged position is written beside the ledger.
const NOTED_AFTER: Duration = Duration::from_secs(2);
/// How long a server may take to refuse.
const REFUSAL_LIMIT: Duration = Duration::from_secs(120);
/// The exit code for damaged history.
const INTEGRITY: i32 = 6;
/// The stream of the ledger.
const STREAM: &str = "ROLLBOOK";

/// The arguments of `torn`.
#[derive(Debug, Args)]
pub(crate) struct TornArgs {
    /// The seed that determines how much is torn off
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Working directory; its content is removed
    #[arg(long, default_value = "target/storm/torn")]
    dir: PathBuf,
    /// The program [default: `rollbook` beside this one]
    #[arg(long)]
    rollbook: Option<PathBuf>,
}

/// Exit code 0: refused as required; 1: not refused; 7: the test could not be run.
pub(crate) async fn run(args: &TornArgs) -> ExitCode {
    unless_interrupted(&args.dir, async {
        let mut exit = ExitCode::SUCCESS;
        for layout in [Layout::Up, Layout::One] {
            let program = match layout {
                Layout::Up => "`up`",
                _ => "`serve`",
            };
            match tried(args, layout).await {
                Ok(problems) if problems.is_empty() => {
                    println!("torn last block: refused by {program}, named, nothing appended");
                }
                Ok(problems) => {
                    for problem in problems {
                        println!("torn last block: {problem}");
                    }
                    exit = ExitCode::FAILURE;
                }
                Err(error) => {
                    eprintln!("{error}");
                    return ExitCode::from(7);
                }
            }
        }
        exit
    })
    .await
}

async fn tried(args: &TornArgs, layout: Layout) -> Result<Vec<String>, StormError> {
    let dir = args.dir.join(layout.name());
    if dir.exists() {
        std::fs::remove_dir_all(&dir).map_err(StormError::files(&dir))?;
    }
    std::fs::create_dir_all(&dir).map_err(StormError::files(&dir))?;
    let dir = dir.canonicalize().map_err(StormError::files(&dir))?;
    let rollbook = super::program(args.rollbook.as_deref())?;
    create_effects(&dir).await?;
    let recorder = Arc::new(Recorder::new(&dir));
    let mut system = System::prepare(&dir, layout, &rollbook, None, recorder.clone(), None).await?;
    system.start_all(false).await?;
    let desk = ApiClient::new(system.addresses(), rollbook, dir.clone(), recorder)?;
    let mut random = Random::new(args.seed, 3);
    let around = StormEnvironment {
        directory: dir.clone(),
        shared: false,
        hook: None,
    };
    let made = plans::small(&around, "torn", &mut random);
    desk.clone()
        .roll_out(made, Random::new(args.seed, 4))
        .await?;
    system.rest(NOTED_AFTER).await?;
    let health = desk.get("/health").await.unwrap_or_default();
    let last = health["last_sequence"]
        .as_u64()
        .ok_or_else(|| StormError::Silent {
            what: "the health of a server".to_owned(),
        })?;
    // Workers first: nothing that they record may follow the sequence read above.
    let nats = system.pid("nats");
    for name in system.names().into_iter().rev() {
        system.kill(&name).await;
    }
    if let Some(pid) = nats {
        let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
    }
    let stores = stores(&dir, layout);
    let store = stores.first().ok_or_else(|| StormError::Silent {
        what: "the store".to_owned(),
    })?;
    tear(store, random.between(1, 30))?;

    system.start_nats().await?;
    let mut problems = Vec::new();
    for name in system.names() {
        if name == "up" || name.starts_with("serve-") {
            problems.extend(refuses(&system, &dir, &name, last).await?);
        }
    }
    for name in system.nats_names() {
        system.kill(&name).await;
    }
    let after = last_sequence(&dir, store).await?;
    if after >= last {
        problems.push(format!(
            "sequence {last} is used again; the last one is {after}"
        ));
    }
    Ok(problems)
}

/// Starts a server on the torn ledger; returns what is wrong with its refusal.
async fn refuses(
    system: &System,
    dir: &Path,
    name: &str,
    last: u64,
) -> Result<Vec<String>, StormError> {
    let mut command = system.own_command(name)?;
    let log = dir.join(format!("refusal-{name}.log"));
    let mut server = Process::start(&mut command, &log)?;
    let code = server.wait(REFUSAL_LIMIT).await;
    let said = server.last_words();
    server.signal(Signal::SIGTERM);
    server.wait(REFUSAL_LIMIT).await;
    let mut problems = Vec::new();
    match code {
        Some(Some(INTEGRITY)) => {}
        Some(code) => problems.push(format!(
            "{name} ended with {code:?}, not {INTEGRITY}: {said}"
        )),
        None => problems.push(format!("{name} runs on a ledger that lost sequence {last}")),
    }
    if !said
        .split(|c: char| !c.is_ascii_digit())
        .any(|number| number == last.to_string())
    {
        problems.push(format!("{name} does not name sequence {last}: {said}"));
    }
    Ok(problems)
}

/// The last sequence of a ledger whose server is stopped.
async fn last_sequence(dir: &Path, store: &Path) -> Result<u64, StormError> {
    let silent = |error: &dyn std::fmt::Display| StormError::Silent {
        what: format!("the ledger's stream ({error})"),
    };
    let configured =
        natsd::configure(dir, &[store.to_path_buf()]).map_err(StormError::files(dir))?;
    let server = configured.first().ok_or_else(|| silent(&"no server"))?;
    let log = dir.join("nats.log");
    let mut process = Process::start(&mut server.command()?, &log)?;
    if !server.answers().await {
        return Err(silent(&"no connection"));
    }
    let client = async_nats::connect(format!("nats://127.0.0.1:{}", server.port))
        .await
        .map_err(|error| silent(&error))?;
    let stream = jetstream::new(client).get_stream(STREAM).await;
    let last = stream
        .map_err(|error| silent(&error))?
        .cached_info()
        .state
        .last_sequence;
    process.signal(Signal::SIGTERM);
    process.wait(REFUSAL_LIMIT).await;
    Ok(last)
}

/// Cuts bytes off the end of the stream's last block.
fn tear(store: &Path, bytes: u64) -> Result<(), StormError> {
    let blocks = store.join("jetstream/$G/streams").join(STREAM).join("msgs");
    let failed = StormError::files::<std::io::Error>(&blocks);
    let mut numbered: Vec<(u64, PathBuf)> = std::fs::read_dir(&blocks)
        .map_err(&failed)?
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let number = name.strip_suffix(".blk")?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    numbered.sort();
    let Some((_, block)) = numbered.last() else {
        return Err(StormError::Silent {
            what: "the ledger's last block".to_owned(),
        });
    };
    let file = std::fs::File::options()
        .write(true)
        .open(block)
        .map_err(&failed)?;
    let length = file.metadata().map_err(&failed)?.len();
    file.set_len(length.saturating_sub(bytes))
        .map_err(&failed)?;
    Ok(())
}

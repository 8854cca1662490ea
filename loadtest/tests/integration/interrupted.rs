//! An interrupted check ends everything that it started.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long starting may take on a busy machine.
const AT_MOST: Duration = Duration::from_secs(120);

/// The command lines that name a directory, except that of one process.
fn naming(directory: &Path, but: u32) -> Vec<String> {
    let here = directory.display().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != but)
        .filter_map(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).ok())
        .map(|words| String::from_utf8_lossy(&words).replace('\0', " "))
        .filter(|line| line.contains(&here))
        .collect()
}

#[track_caller]
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + AT_MOST;
    while !holds() {
        assert!(Instant::now() < deadline, "waited {AT_MOST:?} for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn torn_ends_its_processes_when_interrupted() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().canonicalize().unwrap();
        let mut torn = Command::new(env!("CARGO_BIN_EXE_rollbook-loadtest"))
            .arg("torn")
            .arg("--dir")
            .arg(&place)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let others = || naming(&place, torn.id());
        wait_for("`up` and its nats-server", || others().len() >= 2);
        kill(Pid::from_raw(i32::try_from(torn.id()).unwrap()), signal).unwrap();
        assert_eq!(torn.wait().unwrap().code(), Some(code));
        wait_for("the end of what it started", || {
            naming(&place, torn.id()).is_empty()
        });
    }
}

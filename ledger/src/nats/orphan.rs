//! Stops nats-server processes left behind by an earlier run.
//!
//! Where `setpriv` exists the kernel ties the child to its parent, so normally there are none. An
//! orphan is recognised by its command line, which names the configuration file in our data
//! directory; because we hold that directory's lock, its parent must be gone.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::ServerError;

/// How long an orphan may take to stop before it is killed.
const STOPS_WITHIN: Duration = Duration::from_secs(10);
/// How long a killed process may take to disappear.
const DIES_WITHIN: Duration = Duration::from_secs(10);

/// Stops every nats-server that runs with `config`, and returns their process ids. Blocking.
pub(super) fn end_orphans(config: &Path) -> Result<Vec<i32>, ServerError> {
    let orphans = running_with(config);
    for pid in &orphans {
        end(*pid, config)?;
    }
    Ok(orphans)
}

/// Finds the nats-server processes that run with `config`; empty if there is no `/proc`.
fn running_with(config: &Path) -> Vec<i32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| runs_with(*pid, config))
        .collect()
}

fn runs_with(pid: i32, config: &Path) -> bool {
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|command| is_server_with(&command, config.as_os_str().as_encoded_bytes()))
}

/// True if a NUL-separated command line is `…nats-server… --config <config>`.
fn is_server_with(command: &[u8], config: &[u8]) -> bool {
    let mut arguments = command.split(|byte| *byte == 0);
    let program = arguments.next().unwrap_or_default();
    let name = program
        .rsplit(|byte| *byte == b'/')
        .next()
        .unwrap_or_default();
    if !String::from_utf8_lossy(name).contains("nats-server") {
        return false;
    }
    let rest: Vec<&[u8]> = arguments.collect();
    rest.windows(2).any(|pair| pair == [b"--config", config])
}

fn end(pid: i32, config: &Path) -> Result<(), ServerError> {
    for (signal, patience) in [
        (Signal::SIGTERM, STOPS_WITHIN),
        (Signal::SIGKILL, DIES_WITHIN),
    ] {
        match kill(Pid::from_raw(pid), signal) {
            Ok(()) => {}
            Err(Errno::ESRCH) => return Ok(()),
            Err(error) => {
                return Err(ServerError::Orphan {
                    pid,
                    reason: error.to_string(),
                });
            }
        }
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if !runs_with(pid, config) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Err(ServerError::Orphan {
        pid,
        reason: "it does not exit".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_nats_server_with_exactly_our_configuration_is_ours() {
        let ours = |command: &[u8]| is_server_with(command, b"/d/nats-server.conf");
        assert!(ours(b"/x/nats-server\0--config\0/d/nats-server.conf\0"));
        assert!(!ours(b"/x/nats-server\0--config\0/e/nats-server.conf\0"));
        assert!(!ours(
            b"/x/nats-server\0--config\0/d/nats-server.conf.old\0"
        ));
        assert!(!ours(b"vim\0--config\0/d/nats-server.conf\0"));
        assert!(!ours(b"/x/nats-server\0/d/nats-server.conf\0"));
        assert!(!ours(b""));
    }
}

//! The private nats-server of `rollbook up`: its lifecycle, and every way it or its parent can die.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rollbook_ledger::journal::{JetStreamJournal, JetStreamOptions, Journal, SyncKnown};
use rollbook_ledger::nats::{
    ChildStatus, ConnectError, Credentials, EmbeddedServer, NatsOptions, ServerError,
    ServerOptions, connect,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::journal_contract::{append, ledger, note, rollout};
use crate::nats::binary;

/// Variable of the helper process: its data directory.
const HELPER_DIR: &str = "ROLLBOOK_TEST_HELPER_DIR";
/// Variable of the helper process: "yes" ties the server to it.
const HELPER_TIED: &str = "ROLLBOOK_TEST_HELPER_TIED";

fn options(dir: &Path) -> ServerOptions {
    ServerOptions {
        binary: Some(binary()),
        ..ServerOptions::new(dir)
    }
}

async fn journal(server: &EmbeddedServer) -> JetStreamJournal {
    let client = connect(&server.nats_options("test")).await.unwrap();
    let options = JetStreamOptions {
        sync: SyncKnown::Always,
        ..JetStreamOptions::default()
    };
    JetStreamJournal::open(client, ledger(), options)
        .await
        .unwrap()
}

/// Waits until the child is running after `restarts` restarts.
async fn running(server: &EmbeddedServer, restarts: u32) -> i32 {
    let mut status = server.status();
    let wanted =
        |s: &ChildStatus| matches!(s, ChildStatus::Running { restarts: r, .. } if *r >= restarts);
    let reached = tokio::time::timeout(Duration::from_secs(60), status.wait_for(wanted));
    match *reached.await.unwrap().unwrap() {
        ChildStatus::Running { pid, .. } => i32::try_from(pid).unwrap(),
        ref other => panic!("{other:?}"),
    }
}

fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        // The state follows the name in parentheses; Z means exited but not yet waited for.
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or("Z").starts_with('Z'))
}

async fn gone(pid: i32) {
    for _ in 0..1500 {
        if !is_alive(pid) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("process {pid} stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_starts_serves_stops_and_keeps_its_data() {
    let dir = tempfile::tempdir().unwrap();
    let server = EmbeddedServer::start(options(dir.path())).await.unwrap();
    let pid = running(&server, 0).await;
    let first = append(&journal(&server).await, &rollout("r"), 0, "1").await;
    assert_eq!(first, 1);

    // It syncs every write, and reports so.
    let varz = http_get(&server.monitoring_url(), "/varz").await;
    assert_eq!(SyncKnown::from_varz(&varz), SyncKnown::Always);

    // Only clients with the token may connect, and only the owner can read the token.
    let config = dir.path().join("nats/nats-server.conf");
    let mode = std::fs::metadata(&config).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let stranger = NatsOptions {
        credentials: Credentials::None,
        ..server.nats_options("stranger")
    };
    let refused = connect(&stranger).await.unwrap_err();
    assert!(
        matches!(refused, ConnectError::Unauthorized { .. }),
        "{refused}"
    );
    let Credentials::Token(token) = server.nats_options("x").credentials else {
        panic!("no token");
    };
    assert!(!format!("{server:?} {:?} {refused}", server.nats_options("x")).contains(&token));

    server.stop().await;
    assert!(!is_alive(pid));
    let server = EmbeddedServer::start(options(dir.path())).await.unwrap();
    let read = journal(&server).await.read(&rollout("r"), 0).await.unwrap();
    assert_eq!(read.iter().map(note).collect::<Vec<_>>(), ["1"]);
    // Dropping the server stops it as well.
    let pid = running(&server, 0).await;
    drop(server);
    assert!(!is_alive(pid));
}

async fn http_get(base: &str, path: &str) -> Vec<u8> {
    let address = base.strip_prefix("http://").unwrap();
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    answer.split_off(end + 4)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_child_is_started_again_on_the_same_port() {
    let dir = tempfile::tempdir().unwrap();
    let server = EmbeddedServer::start(options(dir.path())).await.unwrap();
    let journal = journal(&server).await;
    let r = rollout("r");
    let mut last = 0;
    for round in 0..3 {
        last = append(&journal, &r, last, "before").await;
        let pid = running(&server, round).await;
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        // The same connection finds the new process; the append waits for it.
        last = append(&journal, &r, last, "after").await;
        assert_ne!(running(&server, round + 1).await, pid);
    }
    assert_eq!(last, 6);
    assert_eq!(journal.read(&r, 0).await.unwrap().len(), 6);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = EmbeddedServer::start(options(dir.path())).await.unwrap();
    let pid = running(&server, 0).await;
    match EmbeddedServer::start(options(dir.path())).await {
        Err(error @ ServerError::Locked { .. }) => {
            let text = error.to_string();
            assert!(
                text.contains(&format!("process {}", std::process::id())),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
    // The first server is not disturbed; another directory can be used.
    assert_eq!(running(&server, 0).await, pid);
    let elsewhere = tempfile::tempdir().unwrap();
    let other = EmbeddedServer::start(options(elsewhere.path()))
        .await
        .unwrap();
    other.stop().await;
    assert!(is_alive(pid));
    append(&journal(&server).await, &rollout("r"), 0, "1").await;
    server.stop().await;
}

/// Not a test itself: the process that the tests below kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run as a child process by other tests"]
async fn helper_parent() {
    let Some(dir) = std::env::var_os(HELPER_DIR).map(PathBuf::from) else {
        return;
    };
    let tied = std::env::var(HELPER_TIED).unwrap() == "yes";
    let server = EmbeddedServer::start(ServerOptions {
        tie_to_parent: tied,
        ..options(&dir)
    })
    .await
    .unwrap();
    let journal = journal(&server).await;
    let r = rollout("r");
    let mut last = 0;
    println!("server {}", running(&server, 0).await);
    loop {
        last = append(&journal, &r, last, "x").await;
        println!("acknowledged {last}");
    }
}

/// Starts the helper, lets it append, and kills it. Returns the server's pid and the last sequence
/// that the helper printed as acknowledged.
fn killed_parent(dir: &Path, tied: &str) -> (i32, u64) {
    let mut helper: Child = Command::new(std::env::current_exe().unwrap())
        .args([
            "nats_child::helper_parent",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env(HELPER_DIR, dir)
        .env(HELPER_TIED, tied)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(helper.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let number = |line: String| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    // The test harness may print on the same line before the first message.
    let server = number(lines.find(|line| line.contains("server ")).unwrap());
    let mut acknowledged = 0;
    while acknowledged < 50 {
        acknowledged = number(lines.next().unwrap());
    }
    helper.kill().unwrap();
    helper.wait().unwrap();
    for line in lines.filter(|line| line.starts_with("acknowledged ")) {
        acknowledged = acknowledged.max(line.rsplit(' ').next().unwrap().parse().unwrap_or(0));
    }
    (i32::try_from(server).unwrap(), acknowledged)
}

async fn assert_nothing_acknowledged_is_missing(dir: &Path, acknowledged: u64) {
    let server = EmbeddedServer::start(options(dir)).await.unwrap();
    let read = journal(&server).await.read(&rollout("r"), 0).await.unwrap();
    let sequences: Vec<u64> = read.iter().map(|c| c.sequence).collect();
    let last = *sequences.last().unwrap();
    assert!(last >= acknowledged, "{last} of {acknowledged}");
    assert_eq!(sequences, (1..=last).collect::<Vec<_>>());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_parent_ends_the_child() {
    assert!(
        Path::new("/usr/bin/setpriv").is_file() || Path::new("/bin/setpriv").is_file(),
        "this test needs setpriv (Debian package util-linux)"
    );
    let dir = tempfile::tempdir().unwrap();
    let (pid, acknowledged) = killed_parent(dir.path(), "yes");
    gone(pid).await;
    assert_nothing_acknowledged_is_missing(dir.path(), acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_start_ends_an_orphan() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let bystander = EmbeddedServer::start(options(elsewhere.path()))
        .await
        .unwrap();
    let (pid, acknowledged) = killed_parent(dir.path(), "no");
    assert!(
        is_alive(pid),
        "without the tie the server outlives its parent"
    );
    assert_nothing_acknowledged_is_missing(dir.path(), acknowledged).await;
    assert!(!is_alive(pid));
    assert!(is_alive(running(&bystander, 0).await));
    bystander.stop().await;
}

/// Writes an executable shell script.
fn script(dir: &Path, body: &str) -> PathBuf {
    let path = dir.join("nats-server");
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_binary_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let start = async |binary: PathBuf| {
        EmbeddedServer::start(ServerOptions {
            binary: Some(binary),
            ..ServerOptions::new(dir.path().join("data"))
        })
        .await
        .unwrap_err()
    };
    let missing = start(dir.path().join("none")).await;
    assert!(
        matches!(missing, ServerError::BinaryMissing { .. }),
        "{missing}"
    );
    let old = start(script(dir.path(), "echo 'nats-server: v2.11.9'")).await;
    assert!(old.to_string().contains("2.12 or newer"), "{old}");
    let alien = start(script(dir.path(), "echo hello")).await;
    assert!(
        matches!(alien, ServerError::BinaryUnusable { .. }),
        "{alien}"
    );
    let broken =
        "[ \"$1\" = --version ] && echo 'nats-server: v2.15.1' && exit; echo kaputt >&2; exit 3";
    let broken = start(script(dir.path(), broken)).await;
    assert!(
        matches!(&broken, ServerError::NotReady { log, .. } if log.contains("kaputt")),
        "{broken}"
    );
}

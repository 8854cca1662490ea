//! Damage in the ledger, the evidence store or the views is found wherever it is read, is never
//! signed, and is never handed over as intact.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::harness::{Place, Process, runbook, wait_for};
use crate::integrity::{blocks, history};

/// Where the records of a block start, and the end of the last one. Each starts with its length.
fn records(block: &[u8]) -> Vec<usize> {
    let mut at = 0;
    let mut begins = vec![0];
    while at + 4 <= block.len() {
        let length = u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
        at += usize::try_from(length & 0x7fff_ffff).unwrap();
        begins.push(at);
    }
    begins
}

fn stop(up: Process) {
    up.signal(Signal::SIGTERM);
    up.finish().exits(0);
}

#[test]
fn a_torn_end_is_accepted_with_the_named_sequence() {
    let place = Place::new();
    let last = history(&place, 2);
    let block = blocks(&place).pop().unwrap();
    let bytes = fs::read(&block).unwrap();
    let begins = records(&bytes);
    // Tears the last commit but one. By its index, nats-server remembers that there were two more.
    let torn = begins[begins.len() - 3] + 37;
    fs::write(&block, &bytes[..torn]).unwrap();
    let named = format!("missing: {} to {last};", last - 1);
    for _ in 0..2 {
        place
            .run("up --listen 127.0.0.1:0")
            .exits(6)
            .complains("RB-INTEGRITY-7")
            .complains(&named)
            .complains(&format!("--accept-loss {last}`"));
    }
    place
        .run(&format!(
            "up --listen 127.0.0.1:0 --accept-loss {}",
            last - 1
        ))
        .exits(6)
        .complains(&named);
    let up = place.up_with(&format!("--accept-loss {last}"));
    // The worker's joining has the first of the lost sequences.
    let log = place.run("log --json").exits(0).json_lines();
    let sequences: Vec<u64> = log
        .iter()
        .map(|line| line["sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(sequences, (1..=last - 1).collect::<Vec<_>>());
    place.run("doctor").exits(0);
    // The resumption is lost, and can be repeated.
    place.run("resume h --as alice").exits(0);
    stop(up);
    let up = place.up();
    let log = place.run("log h --json").exits(0).json_lines();
    let resumed = &log.last().unwrap()["commit"]["events"][0]["rolloutResumed"];
    assert!(resumed.is_object(), "{log:?}");
    stop(up);
}

/// Damages the stored block at the commit with this sequence. nats-server checks only the end of a
/// block when it starts, so it discovers the damage when it reads the commit.
fn flip_in_the_middle(place: &Place, sequence: u64) {
    let block = blocks(place).remove(0);
    let mut bytes = fs::read(&block).unwrap();
    let begins = records(&bytes);
    let begin = begins[usize::try_from(sequence).unwrap() - 1];
    bytes[begin + 60] ^= 0x10;
    fs::write(&block, bytes).unwrap();
}

#[test]
fn a_hole_in_the_middle_cannot_be_accepted() {
    let place = Place::new();
    let last = history(&place, 3);
    flip_in_the_middle(&place, last / 2);
    place
        .run(&format!("up --listen 127.0.0.1:0 --accept-loss {last}"))
        .exits(6)
        .complains(&format!("sequence {} ", last / 2));
}

#[test]
fn a_damaged_middle_ends_every_reader_with_6() {
    let place = Place::new();
    let last = history(&place, 4);
    let up = place.up();
    let log = place.run("log --json").exits(0).json_lines();
    let end = format!("replay --at {}", log.last().unwrap()["sequence"]);
    let end = end.as_str();
    place.run(end).exits(0).says("h ");
    place.run("doctor").exits(0).says("all of them read");
    // nats-server records where its blocks end during an orderly stop. `up` restarts it, and must
    // not notice anything meanwhile.
    up.signal(Signal::SIGSTOP);
    let [server] = place.nats_servers()[..] else {
        panic!("{:?}", place.nats_servers())
    };
    kill(Pid::from_raw(server), Signal::SIGTERM).unwrap();
    wait_for("nats-server to end", || place.nats_servers().is_empty());
    let damaged = last / 2;
    flip_in_the_middle(&place, damaged);
    up.signal(Signal::SIGCONT);
    wait_for("another nats-server to answer", || {
        place.run("log").code != Some(7)
    });
    let named = format!("sequence {damaged} ");
    for line in [
        "log",
        "log --json",
        "log --after 1",
        end,
        &format!("replay h --at {last}"),
    ] {
        place.run(line).exits(6).complains(&named);
    }
    place.run("doctor").exits(6).says(&named);
    // What was read before the damage is shown.
    let shown = place.run("log --json").exits(6).json_lines();
    assert_eq!(shown.len() as u64, damaged - 1);
}

const SIGNED: &str = r#"
  - id: "1"
    title: Measure
    steps:
      - {id: "1.1", title: Count, run: {command: "echo 3 counted"}, changes: nothing}
    gate:
      statement: Seen.
      sign_offs: [{role: crew}]
"#;

/// The file with the step's output.
fn evidence_file(place: &Place) -> PathBuf {
    let step = place.step("g", "1.1");
    let sha256 = step["evidence"][0]["sha256"].as_str().unwrap();
    place
        .data_dir()
        .join("objects")
        .join(&sha256[..2])
        .join(sha256)
}

fn flip(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    bytes[0] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn damaged_evidence_is_not_shown_signed_or_reported_as_sound() {
    let place = Place::new();
    let file = place.write("gate.yaml", &runbook(SIGNED)).to_owned();
    let _up = place.up();
    place.waiting(&file, "g");
    place.run("doctor").exits(0).says("are what they were");
    place.run("report g").exits(0);
    let seen = place.run("gate 1 g --digest").exits(0).out;
    let seen = seen.trim();
    let stored = evidence_file(&place);
    let before = fs::read(&stored).unwrap();
    let sound = |code: &str| {
        place.run("doctor").exits(6).says(code);
        place.run("gate 1 g").exits(6).complains(code);
        place
            .run(&format!("approve 1 g --seen {seen} --as bob"))
            .exits(6)
            .complains(code);
        place
            .run("report g")
            .exits(6)
            .complains(code)
            .says("**Damaged:**");
        let status = place.run("status g --json").exits(0).json();
        assert_eq!(status["data"]["status"], "running", "{status}");
    };
    flip(&stored);
    sound("RB-EVIDENCE-3");
    fs::remove_file(&stored).unwrap();
    sound("RB-HANDLER-20");
    fs::write(&stored, before).unwrap();
    place
        .run(&format!("approve 1 g --seen {seen} --as bob"))
        .exits(0);
    place.run("status g --wait 60").exits(0);
    place.run("report g").exits(0).says("every row is what");
    // Only the report of a closed rollout depends on it.
    flip(&stored);
    place.run("report g --json").exits(6);
}

/// Changes the views as anybody with the file could, while nobody has it open.
async fn edit(place: &Place, sql: &str) {
    let url = format!("sqlite:{}", place.data_dir().join("views.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn edited_views_are_not_reported() {
    let place = Place::new();
    let file = place.write("gate.yaml", &runbook(SIGNED)).to_owned();
    let mut up = place.up();
    for id in ["g", "open"] {
        place
            .run(&format!(
                "open {file} --env local --id {id} --as alice --start"
            ))
            .exits(0);
        place.run(&format!("status {id} --wait 60")).exits(4);
    }
    place.approve("1 g --as bob").exits(0);
    place.run("status g --wait 60").exits(0);
    for (sql, table, back) in [
        (
            "UPDATE sign_offs SET person = 'eve' WHERE person = 'bob'",
            "sign_offs",
            "UPDATE sign_offs SET person = 'bob' WHERE person = 'eve'",
        ),
        (
            "UPDATE timeline SET sentence = sentence || '!' WHERE event = 'gate_passed'",
            "timeline",
            "UPDATE timeline SET sentence = rtrim(sentence, '!') WHERE event = 'gate_passed'",
        ),
        (
            "INSERT INTO timeline SELECT 1000, 0, recorded_at, actor, event, rollout, aggregate, subject, sentence FROM timeline WHERE event = 'gate_passed'",
            "timeline",
            "DELETE FROM timeline WHERE sequence = 1000",
        ),
    ] {
        stop(up);
        edit(&place, sql).await;
        up = place.up();
        place
            .run("report g")
            .exits(6)
            .complains("RB-VIEW-9")
            .complains(&format!("of {table} "))
            .complains("delete views.db");
        place.run("report open").exits(0);
        place.run("doctor").exits(6).says("RB-VIEW-9");
        stop(up);
        edit(&place, back).await;
        up = place.up();
        place.run("report g").exits(0).says("bob");
        place.run("doctor").exits(0);
    }
    // What every rollout depends on.
    for line in [
        "flag define F --env local --owner me --description x --as alice",
        "environment set local --role crew=alice,bob --reason 'set up' --as alice",
    ] {
        place.run(line).exits(0);
    }
    place
        .run("doctor")
        .exits(0)
        .says("flags, environments and workers");
    for (sql, table, back) in [
        (
            "UPDATE flags SET owner = 'eve'",
            "flags says owner `eve`",
            "UPDATE flags SET owner = 'me'",
        ),
        (
            "UPDATE flag_history SET changed_by = 'eve'",
            "flag_history says changed_by",
            "UPDATE flag_history SET changed_by = 'alice'",
        ),
        (
            "UPDATE environments SET terms = replace(terms, 'bob', 'eve')",
            "environments says terms",
            "UPDATE environments SET terms = replace(terms, 'eve', 'bob')",
        ),
        (
            "INSERT INTO flags SELECT environment, 'GHOST', description, owner, mode, setting, safe, retire_by, bucketing, salt, archived, changed_by, reason, rollout, defined_at, changed_at, updated_sequence FROM flags",
            "flags is not on the ledger",
            "DELETE FROM flags WHERE \"key\" = 'GHOST'",
        ),
        (
            "UPDATE environments SET environment = 'hidden'",
            "environments is",
            "UPDATE environments SET environment = 'local'",
        ),
    ] {
        stop(up);
        edit(&place, sql).await;
        up = place.up();
        place
            .run("doctor")
            .exits(6)
            .says("RB-VIEW-9")
            .says(&format!("of {table}"));
        if table.starts_with("environments") {
            place.run("report g").exits(6).complains("of environments ");
        }
        stop(up);
        edit(&place, back).await;
        up = place.up();
        place.run("report g").exits(0);
        place.run("doctor").exits(0);
    }
    stop(up);
    edit(&place, "DELETE FROM rollouts WHERE rollout = 'open'").await;
    up = place.up();
    place
        .run("doctor")
        .exits(6)
        .says("row open of rollouts is missing");
    stop(up);
    fs::remove_file(place.data_dir().join("views.db")).unwrap();
    let _up = place.up();
    wait_for("the views to be rebuilt", || {
        place.run("list --json").out.contains("\"open\"")
    });
    place.run("doctor").exits(0).says("2 rollouts, as many");
}

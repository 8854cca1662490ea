//! Commands: verdicts, output, measurements, secrets, time limits and the processes they leave
//! running.

use std::time::Duration;

use rollbook_proto::v1::Verdict;
use rollbook_workers::child::Lease;
use rollbook_workers::child::environment::is_inherited;
use rollbook_workers::executor;
use serde_json::json;

use crate::executor_fixture::{Fixture, number};

fn process_is_alive(pid: &str) -> bool {
    // A zombie is not alive: its parent has just not reaped it yet.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .trim()
            .starts_with('Z')
    })
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never happened: {what}");
}

#[tokio::test]
async fn a_command_passes_on_exit_code_0_and_is_measured() {
    let fixture = Fixture::new(json!({
        "run": {
            "command": "echo rows=3; echo rows=$ROLLBOOK_PARAM_DEAL_COUNT; echo $GREETING $ROLLBOOK_STEP >&2; cat",
            "env": {"GREETING": "hello"},
            "measure": {"rows": "rows=([0-9]+)", "none": "nothing=(.)"},
        },
        "expect": ["rows == 7"],
    }));
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:?}");
    assert_eq!(outcome.rule, "exit code 0 and rows == 7");
    assert_eq!(number(&outcome, "rows"), Some(7.0));
    assert_eq!(number(&outcome, "none"), None);
    assert_eq!(number(&outcome, "exit_code"), Some(0.0));
    assert!(outcome.effect, "a command may have changed something");
    assert_eq!(
        fixture.evidence(&outcome, "stdout").await,
        "rows=3\nrows=7\n"
    );
    assert_eq!(fixture.evidence(&outcome, "stderr").await, "hello 1.1\n");
    let lines = fixture.lines.0.lock().unwrap();
    assert!(
        lines
            .iter()
            .any(|l| l.stream == "stdout" && l.text == "rows=7")
    );
    assert!(
        lines
            .iter()
            .any(|l| l.stream == "stderr" && l.text == "hello 1.1")
    );
}

#[tokio::test]
async fn another_exit_code_fails_with_the_last_line_of_output() {
    let fixture = Fixture::new(json!({
        "run": {"command": "echo fine; echo 'disk is full' >&2; exit 3"},
        "changes": "nothing",
    }));
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert_eq!(outcome.message, "exit code 3: disk is full");
    assert!(!outcome.effect, "the plan says that it changes nothing");
}

#[tokio::test]
async fn signals_missing_directories_and_invalid_utf8_are_reported() {
    let outcome = Fixture::new(json!({"run": {"command": "kill -9 $$"}}))
        .execute()
        .await;
    assert_eq!(outcome.verdict, Verdict::Error);
    assert!(outcome.message.contains("signal 9"), "{}", outcome.message);

    let step = json!({"run": {"command": "true", "directory": "/no/such/directory"}});
    let outcome = Fixture::new(step).execute().await;
    assert_eq!(outcome.verdict, Verdict::Error);
    assert!(
        outcome.message.contains("/no/such/directory"),
        "{}",
        outcome.message
    );

    let fixture = Fixture::new(json!({
        "run": {"command": "printf '\\377\\376 n=5\\n'", "measure": {"n": "n=(.)"}},
    }));
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Pass);
    assert_eq!(number(&outcome, "n"), Some(5.0));
}

#[tokio::test]
async fn a_timeout_ends_the_whole_process_group() {
    let fixture = Fixture::new(json!({
        "run": {"command": "trap '' TERM; (trap '' TERM; sleep 1000) & echo child=$!; echo leader=$$; wait; wait"},
        "timeout": "300ms",
    }));
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Error, "{outcome:?}");
    assert!(
        outcome.message.contains("timed out after 0.3 s"),
        "{}",
        outcome.message
    );
    assert!(outcome.effect);
    let output = fixture.evidence(&outcome, "stdout").await;
    for line in output.lines() {
        let pid = line.split_once('=').unwrap().1.to_owned();
        eventually("the process ends", || !process_is_alive(&pid)).await;
    }
}

#[tokio::test]
async fn a_cancelled_and_a_dropped_command_leave_nothing_running() {
    let fixture = Fixture::new(json!({"run": {"command": "sleep 1000 & echo $!; wait"}}));
    let first_line = || {
        fixture
            .lines
            .0
            .lock()
            .unwrap()
            .first()
            .map(|l| l.text.clone())
    };
    let work = fixture.execute();
    let cancel = async {
        eventually("the command speaks", || first_line().is_some()).await;
        fixture.context.cancel.cancel("aborted: too slow");
    };
    let (outcome, ()) = tokio::join!(work, cancel);
    assert_eq!(outcome.verdict, Verdict::Error);
    assert!(
        outcome.message.contains("cancelled: aborted: too slow"),
        "{}",
        outcome.message
    );
    let pid = first_line().unwrap();
    eventually("the process ends", || !process_is_alive(&pid)).await;

    let fixture = Fixture::new(json!({"run": {"command": "sleep 1000 & echo $!; wait"}}));
    let first_line = || {
        fixture
            .lines
            .0
            .lock()
            .unwrap()
            .first()
            .map(|l| l.text.clone())
    };
    tokio::select! {
        _ = fixture.execute() => panic!("it sleeps"),
        () = eventually("the command speaks", || first_line().is_some()) => {}
    }
    let pid = first_line().unwrap();
    eventually("the process ends", || !process_is_alive(&pid)).await;
}

#[tokio::test]
async fn the_guard_ends_a_command_whose_lease_is_not_renewed() {
    let mut fixture = Fixture::new(json!({"run": {"command": "sleep 1000 & echo $!; wait"}}));
    let (renewal, lease) = Lease::new(Duration::from_secs(2));
    fixture.context.lease = Some(lease);
    let first_line = || {
        let lines = fixture.lines.0.lock().unwrap();
        lines.first().map(|l| l.text.clone())
    };
    let renewed = async {
        // Longer than one lease.
        for _ in 0..25 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            renewal.confirmed(tokio::time::Instant::now());
        }
        assert!(process_is_alive(&first_line().unwrap()));
    };
    let (outcome, ()) = tokio::join!(fixture.execute(), renewed);
    assert_eq!(outcome.verdict, Verdict::Error, "{outcome:?}");
    assert!(outcome.message.contains("signal 9"), "{outcome:?}");
    let pid = first_line().unwrap();
    eventually("the process ends", || !process_is_alive(&pid)).await;
}

#[tokio::test]
async fn a_deliberate_background_process_stays_and_delays_nothing() {
    let fixture = Fixture::new(json!({
        "run": {"command": "sleep 1000 >/dev/null 2>&1 & echo $!"},
    }));
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Pass);
    let pid = fixture.evidence(&outcome, "stdout").await.trim().to_owned();
    assert!(process_is_alive(&pid));
    let killed = std::process::Command::new("kill")
        .arg(&pid)
        .status()
        .unwrap();
    assert!(killed.success());
}

#[tokio::test]
async fn long_output_is_cut_in_the_middle() {
    let fixture = Fixture::new(json!({
        "run": {"command": "echo begin; head -c 9000000 /dev/zero | tr '\\0' 'x'; echo; echo n=42", "measure": {"n": "n=([0-9]+)"}},
    }));
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Pass);
    assert_eq!(number(&outcome, "n"), Some(42.0), "the end is kept");
    let stdout = outcome
        .evidence
        .iter()
        .find(|e| e.name == "stdout")
        .unwrap();
    assert!(stdout.truncated);
    assert!(
        stdout.size_bytes <= 8 * 1024 * 1024 + 100,
        "{}",
        stdout.size_bytes
    );
    assert!(
        fixture
            .evidence(&outcome, "stdout")
            .await
            .starts_with("begin\n")
    );
}

#[tokio::test]
async fn no_secret_of_the_plan_is_revealed() {
    let sections = json!({
        "sources": {
            "db": {"kind": "postgres", "url": {"staging": {"env": "DB_URL"}, "production": {"env": "PROD_URL"}}},
        },
    });
    let secrets = [
        ("DB_URL", "postgres://app:s3cr%40t-pass@db.internal/deals"),
        (
            "PROD_URL",
            "postgres://app:production-pass@db.internal/deals",
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    let step = json!({
        "run": {
            "command": "echo \"url=$DB\"; echo 'password s3cr@t-pass'; echo production-pass >&2; echo s3cr@t-pass > report.txt; exit 1",
            "env_sources": {"DB": "db"},
            "directory": dir.path(),
            "measure": {"url": "url=(.*)"},
        },
        "evidence": ["report.*"],
    });
    let fixture = Fixture::with(step, sections, &secrets);
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Fail);
    let mut all = format!("{outcome:?} {:?}", fixture.lines.0.lock().unwrap());
    for name in ["stdout", "stderr", "report.txt"] {
        all.push_str(&fixture.evidence(&outcome, name).await);
    }
    for secret in ["s3cr%40t-pass", "s3cr@t-pass", "production-pass"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    assert!(all.contains("[redacted]"));
}

/// The names of the variables that a command sees.
async fn variables(step: serde_json::Value, secrets: &[(&str, &str)]) -> Vec<String> {
    let fixture = Fixture::with(step, json!({}), secrets);
    let outcome = fixture.execute().await;
    let mut names: Vec<String> = fixture
        .evidence(&outcome, "stdout")
        .await
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.to_owned())
        // Set by the shell itself.
        .filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(&name.as_str()))
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_command_gets_what_the_plan_names_and_a_few_variables_of_the_worker() {
    let step = json!({"run": {
        "command": "env",
        "env": {"PLAIN": "a", "TAKEN": {"env": "WORKER_TOKEN"}, "VALUE": {"value": "b"}},
    }});
    let names = variables(step, &[("WORKER_TOKEN", "t0ken-of-the-worker")]).await;
    let (inherited, own): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| is_inherited(name));
    assert_eq!(
        own,
        [
            "PLAIN",
            "ROLLBOOK_ATTEMPT",
            "ROLLBOOK_ENVIRONMENT",
            "ROLLBOOK_PARAM_DEAL_COUNT",
            "ROLLBOOK_ROLLOUT",
            "ROLLBOOK_STEP",
            "TAKEN",
            "VALUE",
        ],
    );
    // This process has other variables, none of which the command sees.
    assert!(std::env::vars().any(|(name, _)| !is_inherited(&name)));
    assert!(inherited.contains(&"PATH".to_owned()));
}

#[tokio::test]
async fn an_inherited_variable_is_a_secret_and_a_missing_one_an_error() {
    let step = json!({"run": {
        "command": "echo \"$TAKEN\"; printf %s \"user:$TAKEN\" | base64; printf %s \"$TAKEN\" | od -An -tx1",
        "env": {"TAKEN": {"env": "WORKER_TOKEN"}},
    }});
    let fixture = Fixture::with(step, json!({}), &[("WORKER_TOKEN", "t0ken-of-the-worker")]);
    let outcome = fixture.execute().await;
    let stdout = fixture.evidence(&outcome, "stdout").await;
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:?}");
    assert!(stdout.starts_with("[redacted]\n"), "{stdout}");
    assert_eq!(stdout.matches("[redacted]").count(), 3, "{stdout}");

    let step = json!({"run": {"command": "true", "env": {"T": {"env": "SURELY_NOT_SET"}}}});
    let outcome = Fixture::new(step).execute().await;
    assert_eq!(outcome.verdict, Verdict::Error);
    assert!(outcome.message.contains("SURELY_NOT_SET"), "{outcome:?}");
}

#[tokio::test]
async fn evidence_stays_in_the_directory_of_the_step() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "of others").unwrap();
    let inside = tempfile::tempdir().unwrap();
    std::fs::write(inside.path().join("report"), "ours").unwrap();
    std::os::unix::fs::symlink("report", inside.path().join("again")).unwrap();
    std::os::unix::fs::symlink(outside.path(), inside.path().join("out")).unwrap();
    let secret = outside.path().join("secret");
    std::os::unix::fs::symlink(&secret, inside.path().join("link")).unwrap();
    let attach = async |pattern: &str| {
        let step = json!({
            "run": {"command": "true", "directory": inside.path()},
            "evidence": [pattern],
        });
        Fixture::new(step).execute().await
    };
    for pattern in ["report", "./again", "rep*"] {
        assert_eq!(attach(pattern).await.verdict, Verdict::Pass, "{pattern}");
    }
    let up = format!(
        "../{}/secret",
        outside.path().file_name().unwrap().display()
    );
    for pattern in [
        secret.to_str().unwrap(),
        &up,
        "[.][.]/*/secret",
        "link",
        "out/secret",
        "*",
    ] {
        let outcome = attach(pattern).await;
        assert_eq!(outcome.verdict, Verdict::Error, "{pattern}: {outcome:?}");
        assert!(outcome.evidence.is_empty(), "{pattern}: {outcome:?}");
    }
}

#[tokio::test]
async fn missing_evidence_is_an_error_and_verify_must_hold() {
    let step = json!({"run": {"command": "true"}, "evidence": ["no-such-file-*"]});
    let outcome = Fixture::new(step).execute().await;
    assert_eq!(outcome.verdict, Verdict::Error);
    assert!(
        outcome.message.contains("no file matches"),
        "{}",
        outcome.message
    );

    let step = json!({"run": {"command": "true"}, "verify": {"run": {"command": "exit 4"}}});
    let outcome = Fixture::new(step).execute().await;
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert!(
        outcome.message.contains("verify: exit code 4"),
        "{}",
        outcome.message
    );
}

#[tokio::test]
async fn an_undo_waits_a_bounded_time_for_the_effect_to_go() {
    // The effect is gone at the third check.
    let step = |within: &str| {
        json!({
            "run": {"command": "true"},
            "undo": {
                "run": {"command": "true"},
                "verify": {"run": {"command": "echo >> DIR/asked; test $(wc -l < DIR/asked) -ge 3"}},
                "verify_within": within,
            },
        })
    };
    for (within, verdict) in [("60s", Verdict::Pass), ("1ms", Verdict::Fail)] {
        let directory = tempfile::tempdir().unwrap();
        let text = step(within).to_string();
        let text = text.replace("DIR", directory.path().to_str().unwrap());
        let fixture = Fixture::new(serde_json::from_str(&text).unwrap());
        let undone = executor::undo(&fixture.step, &fixture.context).await;
        assert_eq!(undone.verdict, verdict, "{within}: {}", undone.message);
    }
}

#[tokio::test]
async fn files_under_proc_are_no_evidence() {
    let fixture = Fixture::new(json!({
        "run": {"command": "true", "directory": "/proc/self"},
        "evidence": ["environ"],
    }));
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Error, "{outcome:?}");
    assert!(
        outcome.message.contains("no files of a step"),
        "{}",
        outcome.message
    );
    let kept = outcome.evidence.iter();
    assert!(kept.clone().all(|piece| piece.name != "environ"));
}

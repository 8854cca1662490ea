//! Snapshots whose figures come from a program.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rollbook_ledger::evidence::EvidenceStore;
use rollbook_ledger::runbook::calculator::{MetricDeclaration, MetricUnit};
use rollbook_workers::snapshot::calculator::StopOnDrop;
use rollbook_workers::snapshot::exec::{ExecCalculator, ExecRequest, Program};
use rollbook_workers::snapshot::{
    Calculator, RawDeal, Row, RowOutcome, Snapshot, SnapshotError, SnapshotSource, Values, take,
};

use crate::snapshot_deals::{request, store};

/// Sums the costs of a deal; some deals are treated specially, by their id.
const PROGRAM: &str = r#"
import json, sys, time, os
print("started", file=sys.stderr, flush=True)
for line in sys.stdin:
    deal = json.loads(line)
    what = deal["deal_id"].split("-")[-1]
    if what == "die":
        print("this one is too much for me", file=sys.stderr, flush=True)
        os._exit(3)
    if what == "hang":
        time.sleep(600)
    if what == "garbage":
        print("{what?", flush=True)
        continue
    if what == "long":
        sys.stdout.write("x" * (2 * 1024 * 1024) + "\n")
        sys.stdout.flush()
        continue
    if what == "refuse":
        print(json.dumps({"error": "no such deal: hunter2"}), flush=True)
        continue
    if what == "twice":
        answer = {"deal_id": deal["deal_id"], "metrics": {"cost": 1, "items": 1, "typed": 0}}
        sys.stdout.write((json.dumps(answer) + "\n") * 2)
        sys.stdout.flush()
        continue
    if what == "words":
        answer = {"cost": 1, "items": 1, "state": deal["inventory"][0]["word"], "typed": 1}
        print(json.dumps({"metrics": answer}), flush=True)
        continue
    cents = sum(int(item["cost"]) for item in deal["inventory"])
    metrics = {
        "cost": f"{cents // 100}.{cents % 100:02}",
        "items": len(deal["inventory"]),
        "typed": 0 if deal["deal_type"] is None else 1,
    }
    print(json.dumps({"deal_id": deal["deal_id"], "metrics": metrics}), flush=True)
"#;

fn wanted(directory: &Path, command: &[&str]) -> ExecRequest {
    let metric = |name: &str, unit| MetricDeclaration {
        name: name.to_owned(),
        unit,
    };
    ExecRequest {
        program: Program {
            command: command.iter().map(|part| (*part).to_owned()).collect(),
            directory: Some(directory.to_owned()),
            env: Vec::new(),
        },
        model_env: BTreeMap::new(),
        file: None,
        metrics: vec![
            metric("cost", MetricUnit::Cents),
            metric("items", MetricUnit::Count),
            metric("typed", MetricUnit::Count),
        ],
        timeout: Duration::from_secs(30),
        deal_types: true,
        redact: Arc::new(|text| text.replace("hunter2", "[redacted]")),
    }
}

/// A directory with the program and with deals `00000` …, some of which end differently.
fn place(count: usize, endings: &[(usize, &str)]) -> (tempfile::TempDir, SnapshotSource) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("model.py"), PROGRAM).unwrap();
    let mut lines = String::new();
    for index in 0..count {
        let ending = endings
            .iter()
            .find(|(at, _)| *at == index)
            .map_or("fine", |(_, ending)| ending);
        let cost = index * 7;
        writeln!(
            lines,
            r#"{{"id":"{index:05}-{ending}","deal_type":"acquisition","inventory":[{{"cost":{cost}}},{{"cost":5}}]}}"#
        )
        .unwrap();
    }
    let file = directory.path().join("deals.jsonl");
    std::fs::write(&file, lines).unwrap();
    let source = SnapshotSource::new(format!("jsonl:{}", file.display()));
    (directory, source)
}

async fn taken(
    source: &SnapshotSource,
    calculator: ExecCalculator,
    threads: usize,
    store: &EvidenceStore,
) -> Result<Snapshot, SnapshotError> {
    let mut request = request(source.clone(), Arc::new(calculator));
    request.threads = Some(threads);
    request.rows_per_part = 100;
    take(&request, store, &|_| {}).await
}

async fn rows(snapshot: &Snapshot, store: &EvidenceStore) -> Vec<Row> {
    let mut rows = Vec::new();
    for part in 0..snapshot.manifest.parts.len() {
        rows.extend(snapshot.read_rows(store, part).await.unwrap());
    }
    rows
}

fn error_of(row: &Row) -> &str {
    match &row.outcome {
        RowOutcome::Error(text) => text,
        RowOutcome::Success(values) => panic!("{}: {values:?}", row.deal_id),
    }
}

fn deal(id: &str) -> RawDeal {
    RawDeal {
        id: id.to_owned(),
        deal_type: Some("carveout".to_owned()),
        inventory: r#"[{"cost": 1234}]"#.into(),
    }
}

#[tokio::test]
async fn figures_come_from_the_program_and_bad_deals_fail_alone() {
    let endings = [
        (0, "die"),
        (13, "garbage"),
        (14, "long"),
        (101, "die"),
        (150, "refuse"),
        (299, "die"),
    ];
    let (directory, source) = place(300, &endings);
    let (_objects, store) = store();
    let command = ["python3", "model.py"];
    let make = || ExecCalculator::new(wanted(directory.path(), &command)).unwrap();
    let one = taken(&source, make(), 1, &store).await.unwrap();
    assert_eq!(one.manifest.model, "exec");
    assert_eq!((one.manifest.total, one.manifest.errors), (300, 6));
    let rows = rows(&one, &store).await;
    for (index, row) in rows.iter().enumerate() {
        match endings.iter().find(|(at, _)| *at == index) {
            None => {
                let cents = i64::try_from(index * 7 + 5).unwrap();
                assert_eq!(row.outcome, RowOutcome::Success(vec![cents, 2, 1].into()));
            }
            Some((_, "die")) => {
                assert_eq!(error_of(row), "the program ended at this deal: exit code 3")
            }
            Some((_, "garbage")) => assert!(error_of(row).contains("{what?"), "{row:?}"),
            Some((_, "long")) => assert!(error_of(row).contains("1048576 bytes"), "{row:?}"),
            Some(_) => assert_eq!(error_of(row), "no such deal: [redacted]"),
        }
    }
    let four = taken(&source, make(), 4, &store).await.unwrap();
    assert_eq!(one.manifest.parts, four.manifest.parts);
    assert_eq!(one.evidence.sha256, four.evidence.sha256);
}

/// One deal per line, whose answer contains the given JSON as its text.
fn words(words: &[&str]) -> (tempfile::TempDir, SnapshotSource) {
    let (directory, source) = place(0, &[]);
    let lines = words.iter().enumerate().map(|(index, word)| {
        format!(
            "{{\"id\":\"{index:05}-words\",\"deal_type\":null,\"inventory\":[{{\"word\":{word}}}]}}\n"
        )
    });
    let file = directory.path().join("deals.jsonl");
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    (directory, source)
}

#[tokio::test]
async fn texts_come_from_the_program_as_they_are_and_without_secrets() {
    let long = format!("\"{}\"", "é".repeat(513));
    let given = [
        r#""open""#,
        "null",
        "\"\"",
        r#""say \"hunter2\"\nand \u00e9\ud83d\ude00\u0000""#,
        "7",
        &long,
    ];
    let (directory, source) = words(&given);
    let (_objects, store) = store();
    let make = || {
        let mut wanted = wanted(directory.path(), &["python3", "model.py"]);
        let state = MetricDeclaration {
            name: "state".to_owned(),
            unit: MetricUnit::Text,
        };
        wanted.metrics.insert(1, state);
        ExecCalculator::new(wanted).unwrap()
    };
    let one = taken(&source, make(), 1, &store).await.unwrap();
    let values = |text: Option<&str>| {
        RowOutcome::Success(Values {
            numbers: vec![1, 1, 1],
            texts: vec![text.map(str::to_owned)],
        })
    };
    let expected = [
        values(Some("open")),
        values(None),
        values(Some("")),
        values(Some("say \"[redacted]\"\nand é😀\0")),
        RowOutcome::Error("state: it is neither a text nor null".to_owned()),
        RowOutcome::Error(
            "state: the text has 1026 bytes, over the limit of 1024; shorten or hash it".to_owned(),
        ),
    ];
    let found = rows(&one, &store).await;
    let found: Vec<_> = found.into_iter().map(|row| row.outcome).collect();
    assert_eq!(found, expected);
    let eight = taken(&source, make(), 8, &store).await.unwrap();
    assert_eq!(one.evidence.sha256, eight.evidence.sha256);
}

#[test]
fn a_deal_that_hangs_is_given_up_and_the_next_one_is_answered() {
    let (directory, _) = place(0, &[]);
    let mut wanted = wanted(directory.path(), &["python3", "model.py"]);
    wanted.timeout = Duration::from_millis(1_500);
    let calculator = ExecCalculator::new(wanted).unwrap();
    assert_eq!(
        calculator.compute(&deal("1-fine")),
        Ok(vec![1234, 1, 1].into())
    );
    assert_eq!(
        calculator.compute(&deal("2-hang")),
        Err("the program gave no result within 1500 ms".to_owned())
    );
    assert_eq!(
        calculator.compute(&deal("3-fine")),
        Ok(vec![1234, 1, 1].into())
    );
    assert_eq!(calculator.fault(), None);
}

#[test]
fn a_second_answer_never_becomes_that_of_the_next_deal() {
    let (directory, _) = place(0, &[]);
    let calculator =
        ExecCalculator::new(wanted(directory.path(), &["python3", "model.py"])).unwrap();
    for _ in 0..5 {
        assert_eq!(
            calculator.compute(&deal("1-twice")),
            Ok(vec![1, 1, 0].into())
        );
        // Late enough to be read as an answer to this request, but it names another deal.
        match calculator.compute(&deal("2-fine")) {
            Ok(values) => assert_eq!(values, vec![1234, 1, 1].into()),
            Err(error) => assert!(error.contains("it speaks of deal"), "{error}"),
        }
    }
}

#[test]
fn deal_types_are_sent_only_when_they_are_in_force() {
    let (directory, _) = place(0, &[]);
    let mut wanted = wanted(directory.path(), &["python3", "model.py"]);
    wanted.deal_types = false;
    let calculator = ExecCalculator::new(wanted).unwrap();
    assert!(!calculator.description().deal_type_awareness);
    assert_eq!(
        calculator.compute(&deal("1-fine")),
        Ok(vec![1234, 1, 0].into())
    );
}

#[tokio::test]
async fn a_program_that_never_answers_fails_the_snapshot_with_its_output() {
    let (directory, source) = place(50, &[]);
    let (_objects, store) = store();
    let dying = ["sh", "-c", "echo no licence for hunter2 >&2; exit 4"];
    for (command, said) in [
        (&dying[..], "no licence for [redacted]"),
        (&["cat"][..], "failed 8 times in a row"),
        (&["./no-such-program"][..], "cannot be started"),
    ] {
        let calculator = ExecCalculator::new(wanted(directory.path(), command)).unwrap();
        let error = taken(&source, calculator, 2, &store).await.unwrap_err();
        assert!(matches!(error, SnapshotError::Calculator { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(said) && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_program_does_not_see_the_configuration_of_the_worker() {
    let (directory, _) = place(0, &[]);
    let script = r#"read line; printf '{"error":"%s"}\n' "$SEEN$(env | grep -c ^ROLLBOOK_)""#;
    let mut wanted = wanted(directory.path(), &["sh", "-c", script]);
    wanted.program.env = vec![
        ("SEEN".to_owned(), "yes".to_owned()),
        ("ROLLBOOK_STEP".to_owned(), "1.1".to_owned()),
    ];
    let calculator = ExecCalculator::new(wanted).unwrap();
    assert_eq!(calculator.compute(&deal("1")), Err("yes1".to_owned()));
}

#[test]
fn a_stop_ends_the_wait_for_an_answer() {
    let (directory, _) = place(0, &[]);
    let mut wanted = wanted(directory.path(), &["python3", "model.py"]);
    wanted.timeout = Duration::from_secs(600);
    let calculator: Arc<dyn Calculator> = Arc::new(ExecCalculator::new(wanted).unwrap());
    let guard = StopOnDrop(Arc::clone(&calculator));
    let waiting = std::thread::spawn(move || calculator.compute(&deal("1-hang")));
    drop(guard);
    assert_eq!(
        waiting.join().unwrap(),
        Err("the snapshot was stopped".to_owned())
    );
}

#[test]
fn the_digest_is_that_of_command_metrics_and_file() {
    let (directory, _) = place(0, &[]);
    let of = |change: &dyn Fn(&mut ExecRequest)| {
        let mut wanted = wanted(directory.path(), &["python3", "model.py"]);
        wanted.file = Some("model.py".to_owned());
        change(&mut wanted);
        ExecCalculator::new(wanted)
            .unwrap()
            .description()
            .digest
            .clone()
    };
    let base = of(&|_| {});
    // Deal-type awareness is what a rollout compares, and it has its own field in the manifest.
    assert_eq!(base, of(&|wanted| wanted.deal_types = false));
    assert_eq!(base, of(&|wanted| wanted.timeout = Duration::from_secs(1)));
    assert_ne!(
        base,
        of(&|wanted| wanted.program.command.push("-v".to_owned()))
    );
    assert_ne!(base, of(&|wanted| wanted.file = None));
    assert_ne!(base, of(&|wanted| wanted.metrics.truncate(1)));
    assert_ne!(
        base,
        of(&|wanted| drop(wanted.model_env.insert("RATE".to_owned(), "2".to_owned())))
    );
    std::fs::write(directory.path().join("model.py"), "other").unwrap();
    assert_ne!(base, of(&|_| {}));

    let mut wanted = wanted(directory.path(), &["python3", "model.py"]);
    wanted.file = Some("gone.py".to_owned());
    let error = ExecCalculator::new(wanted).unwrap_err();
    assert!(matches!(error, SnapshotError::File { .. }), "{error}");
}

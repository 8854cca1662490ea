//! The rows of a snapshot: those in error, and all of them exported.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::data::object;
use crate::harness::Place;

const DEALS: &str = "--database sqlite:deals.db";

/// A place with 300 deals, three of them broken, and their snapshot.
fn taken() -> (Place, String, Value) {
    let place = Place::new();
    place
        .run(&format!(
            "deals generate --count 300 --seed 7 --broken 3 --no-invalid-types {DEALS}"
        ))
        .exits(0);
    let ran = place.run(&format!("snapshot take {DEALS} --json")).exits(1);
    let shown = ran.json();
    let id = shown["snapshot"].as_str().unwrap().to_owned();
    (place, id, shown["manifest"].clone())
}

#[test]
fn the_deals_in_error_are_listed_with_code_and_message() {
    let (place, id, manifest) = taken();
    let ran = place.run(&format!("snapshot errors {id}")).exits(0);
    let total = &manifest["total"];
    assert!(
        ran.out
            .starts_with(&format!("3 of {total} deals have no figures\n")),
        "{ran:?}"
    );
    assert!(
        ran.out
            .contains(" RB-DEAL-4\n      item \"I-APP-broken\" has "),
        "{ran:?}"
    );
    let some = place
        .run(&format!("snapshot errors {id} --limit 2"))
        .exits(0);
    assert!(
        some.out.contains("and 1 more: --limit 3 lists all"),
        "{some:?}"
    );
    let told = place
        .run(&format!("snapshot errors {id} --limit 2 --json"))
        .exits(0)
        .json();
    assert_eq!((&told["errors"], &told["more"]), (&3.into(), &1.into()));
    assert_eq!(told["rows"].as_array().unwrap().len(), 2);
    assert_eq!(told["rows"][0]["code"], "RB-DEAL-4");
    let message = told["rows"][0]["message"].as_str().unwrap();
    assert!(
        message.starts_with("item \"I-APP-broken\" has "),
        "{message}"
    );
    place
        .run(&format!("snapshot errors {}", "0".repeat(64)))
        .exits(2)
        .complains("RB-EVIDENCE-2");
}

#[test]
fn foreign_text_cannot_move_the_cursor() {
    let place = Place::new();
    place.write(
        "deals.jsonl",
        "{\"id\":\"a\\u001b[2J\",\"inventory\":\"[\\u001b]\"}\n",
    );
    let ran = place
        .run("snapshot take --database jsonl:deals.jsonl --json")
        .exits(1);
    let id = ran.json()["snapshot"].as_str().unwrap().to_owned();
    let listed = place.run(&format!("snapshot errors {id}")).exits(0);
    assert!(!listed.out.contains('\u{1b}'), "{listed:?}");
    assert!(listed.out.contains("a\\u{1b}[2J"), "{listed:?}");
}

/// The sum of the cents in a decimal text.
fn cents(text: &str) -> i128 {
    let (whole, rest) = text.split_once('.').unwrap();
    assert_eq!(rest.len(), 2, "{text}");
    format!("{whole}{rest}").parse().unwrap()
}

#[test]
fn all_rows_are_exported_exactly_and_in_order() {
    let (place, id, manifest) = taken();
    let total = manifest["total"].as_u64().unwrap();
    let sum: i128 = manifest["totals"]["cost_total"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();

    let lines = place
        .run(&format!("snapshot export {id} --format jsonl"))
        .exits(0);
    let rows: Vec<Value> = lines
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len() as u64, total);
    let ids: Vec<&str> = rows
        .iter()
        .map(|row| row["deal_id"].as_str().unwrap())
        .collect();
    assert!(ids.is_sorted(), "{ids:?}");
    let figures = rows
        .iter()
        .filter_map(|row| row["metrics"]["cost_total"].as_str());
    assert_eq!(figures.map(cents).sum::<i128>(), sum);
    assert_eq!(
        rows.iter().filter(|row| row.get("error").is_some()).count(),
        3
    );

    place
        .run(&format!(
            "snapshot export {id} --format csv --output deals.csv"
        ))
        .exits(0)
        .says(&format!("{total} rows written to deals.csv"));
    let csv = fs::read_to_string(place.path().join("deals.csv")).unwrap();
    let header: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    assert_eq!(
        header[..5],
        [
            "deal_id",
            "deal_type",
            "status",
            "error",
            "cost_one_time_upside"
        ]
    );
    assert_eq!(header.last(), Some(&"digest"));
    // The errors of broken inventories have no line breaks.
    assert_eq!(csv.lines().count() as u64, total + 1);

    let told = place
        .run(&format!(
            "snapshot export {id} --format parquet --output deals.parquet --json"
        ))
        .exits(0)
        .json();
    assert_eq!(
        (&told["rows"], &told["output"]),
        (&total.into(), &"deals.parquet".into())
    );
    let bytes = fs::read(place.path().join("deals.parquet")).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    let piped = Command::new(env!("CARGO_BIN_EXE_rollbook"))
        .args([
            "snapshot",
            "export",
            &id,
            "--format",
            "parquet",
            "--objects",
        ])
        .arg(place.data_dir().join("objects"))
        .current_dir(place.path())
        .output()
        .unwrap();
    assert_eq!(
        piped.stdout,
        bytes,
        "{}",
        String::from_utf8_lossy(&piped.stderr)
    );
}

#[test]
fn a_file_is_replaced_only_on_request_and_only_when_whole() {
    let (place, id, manifest) = taken();
    let export = format!("snapshot export {id} --format csv --output");
    place.write("deals.csv", "mine");
    let file = place.path().join("deals.csv");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    place
        .run(&format!("{export} deals.csv"))
        .exits(2)
        .complains("RB-CLI-68");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    place.run(&format!("{export} deals.csv --force")).exits(0);
    assert!(fs::read_to_string(&file).unwrap().starts_with("deal_id,"));
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "others may not read more than before");
    place
        .run(&format!("{export} no/where.csv"))
        .exits(2)
        .complains("RB-CLI-50");
    place
        .run(&format!("{export} ."))
        .exits(2)
        .complains("RB-CLI-77");

    let part = manifest["parts"][0]["sha256"].as_str().unwrap();
    fs::remove_file(object(&place, part)).unwrap();
    place.run(&format!("{export} new.csv")).exits(6);
    let left: Vec<_> = fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".part") || name == "new.csv")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (place, id, _) = taken();
    for format in ["csv", "jsonl", "parquet"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rollbook"))
            .args(["snapshot", "export", &id, "--format", format, "--objects"])
            .arg(place.data_dir().join("objects"))
            .current_dir(place.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(
            (ended.status.code(), said.as_ref()),
            (Some(0), ""),
            "{format}"
        );
    }
}

//! Deals, snapshots and comparisons on the command line, without a server.

use std::fs;
use std::path::PathBuf;

use crate::harness::{Place, Ran};

const DEALS: &str = "--database sqlite:deals.db";

fn generate(place: &Place, options: &str) {
    place
        .run(&format!(
            "deals generate --count 300 --seed 7 {options} {DEALS}"
        ))
        .exits(0)
        .says("300 deals");
}

fn snapshot_address(ran: Ran) -> String {
    ran.json()["snapshot"].as_str().unwrap().to_owned()
}

#[test]
fn generate_audit_snapshot_compare() {
    let place = Place::new();
    generate(&place, "--no-invalid-types");
    // Generated legacy deals lack types, which the audit must report.
    let audit = place.run(&format!("audit {DEALS} --json"));
    let report = audit.json();
    let wanted = match report["health_score"]["status"].as_str().unwrap() {
        "CRITICAL" => 1,
        _ => 0,
    };
    audit.exits(wanted);

    let off = snapshot_address(
        place
            .run(&format!(
                "snapshot take {DEALS} --label before --flag-off --json"
            ))
            .exits(0),
    );
    let same = snapshot_address(
        place
            .run(&format!(
                "snapshot take {DEALS} --label again --flag-off --json"
            ))
            .exits(0),
    );
    let on = snapshot_address(
        place
            .run(&format!("snapshot take {DEALS} --label after --json"))
            .exits(0),
    );
    place
        .run(&format!("snapshot show {off}"))
        .exits(0)
        .says("do not count");
    place
        .run(&format!("compare {off} {same}"))
        .exits(0)
        .says("0 regressions");
    let compared = place.run(&format!("compare {off} {on} --json"));
    let verdict = compared.json()["verdict"].as_str().unwrap().to_owned();
    assert_eq!(
        compared.code,
        Some(i32::from(verdict != "pass")),
        "{compared:?}"
    );

    place
        .run(&format!("compare {off} {on} --tolerance -1"))
        .exits(2)
        .complains("RB-");
    place
        .run(&format!("compare {off} {on} --tolerance lots"))
        .exits(2)
        .complains("RB-");
    place
        .run(&format!("compare {off} {on} --explain nobody"))
        .exits(2)
        .complains("RB-");
    place
        .run(&format!(
            "snapshot take {DEALS} --where 'no_such_column = 1'"
        ))
        .exits(2)
        .complains("RB-");
}

#[test]
fn a_deal_that_does_not_parse_is_an_error_row() {
    let place = Place::new();
    generate(&place, "--broken 2 --no-invalid-types");
    let taken = place.run(&format!("snapshot take {DEALS} --json")).exits(1);
    assert_eq!(taken.json()["manifest"]["errors"], 2);
}

#[test]
fn unknown_and_damaged_snapshots_are_refused() {
    let place = Place::new();
    generate(&place, "--no-invalid-types");
    let snapshot = snapshot_address(place.run(&format!("snapshot take {DEALS} --json")).exits(0));
    let unknown = "0".repeat(64);
    place
        .run(&format!("compare {snapshot} {unknown}"))
        .exits(2)
        .complains(&unknown);
    place
        .run(&format!("snapshot show {unknown}"))
        .exits(2)
        .complains("RB-EVIDENCE-2");
    place.run("snapshot show not-a-digest").exits(2);

    let shown = place
        .run(&format!("snapshot show {snapshot} --json"))
        .exits(0)
        .json();
    let part = find_sha256(&shown["manifest"]["parts"][0]).expect("a part names its content");
    let part = object(&place, &part);
    let aside = place.path().join("aside");
    fs::rename(&part, &aside).unwrap();
    // An address named by a stored snapshot is not a name that somebody typed.
    place
        .run(&format!("compare {snapshot} {snapshot}"))
        .exits(6)
        .complains("RB-EVIDENCE-2");
    fs::rename(&aside, &part).unwrap();
    flip(&part);
    place
        .run(&format!("compare {snapshot} {snapshot}"))
        .exits(6)
        .complains("RB-EVIDENCE-3");
    flip(&object(&place, &snapshot));
    place
        .run(&format!("snapshot show {snapshot}"))
        .exits(6)
        .complains("RB-EVIDENCE-3");
}

fn find_sha256(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) if text.len() == 64 => Some(text.clone()),
        serde_json::Value::Object(fields) => fields
            .get("sha256")
            .and_then(find_sha256)
            .or_else(|| fields.values().find_map(find_sha256)),
        _ => None,
    }
}

/// The file that holds an object of the evidence store.
pub(crate) fn object(place: &Place, sha256: &str) -> PathBuf {
    fn search(directory: &std::path::Path, sha256: &str) -> Option<PathBuf> {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                if let Some(found) = search(&path, sha256) {
                    return Some(found);
                }
            } else if entry.file_name().to_string_lossy().ends_with(&sha256[4..]) {
                return Some(path);
            }
        }
        None
    }
    search(&place.data_dir().join("objects"), sha256).expect("the object's file")
}

fn flip(file: &std::path::Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let mut rights = fs::metadata(file).unwrap().permissions();
    #[allow(clippy::permissions_set_readonly_false)]
    rights.set_readonly(false);
    fs::set_permissions(file, rights).unwrap();
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_missing_database_is_reported_without_the_password() {
    let place = Place::new();
    place
        .run("snapshot take --database sqlite:missing.db")
        .exits(2)
        .complains("missing.db");
    place.run("audit --database sqlite:missing.db").exits(2);
    assert!(!place.has("missing.db"), "looking made a database");
    place
        .run("audit --database mysql://h/d")
        .exits(2)
        .complains("RB-");
    place.write("file", "");
    for line in [
        "deals generate --count 1 --database mysql://h/d",
        "deals generate --count 1 --database sqlite:no/such/directory/deals.db",
        "snapshot take --database sqlite:no/such/directory/deals.db",
        "audit --database sqlite:file",
    ] {
        place.run(line).exits(2).complains("RB-");
    }
    generate(&place, "");
    place
        .run(&format!("deals generate --count 300 --seed 7 {DEALS}"))
        .exits(1)
        .complains("RB-TARGET-5");
    let secret = "s3cr3t";
    let url = format!("postgres://u:{secret}@127.0.0.1:1/deals");
    for line in [
        format!("audit --database {url}"),
        format!("snapshot take --database {url}"),
        format!("deals generate --count 1 --database {url}"),
        format!("list --server http://u:{secret}@127.0.0.1:1"),
        format!("serve --nats nats://u:{secret}@127.0.0.1:1 --objects o --database {url}"),
        format!("config --server http://u:{secret}@127.0.0.1:1"),
    ] {
        for line in [line.clone(), format!("{line} --json")] {
            let ran = place.run(&line);
            assert!(
                !ran.out.contains(secret) && !ran.err.contains(secret),
                "{line}: {ran:?}"
            );
            let wanted = if line.starts_with("config") { 0 } else { 7 };
            ran.exits(wanted);
        }
    }
}

#[test]
fn a_snapshot_of_one_tenant_and_of_a_file() {
    let place = Place::new();
    generate(&place, "--no-invalid-types");
    let of = |options: &str| {
        let ran = place.run(&format!("snapshot take {options} --json"));
        let manifest = ran.json()["manifest"].clone();
        (ran, manifest)
    };
    let (_, all) = of(DEALS);
    let tenant = "00000000-0000-4000-8000-000000000001";
    let (ran, one) = of(&format!(
        "{DEALS} --tenant {tenant} --threads 1 --connections 3"
    ));
    ran.exits(0);
    let total = |manifest: &serde_json::Value| manifest["total"].as_u64().unwrap();
    assert!(total(&one) > 0 && total(&one) < total(&all), "{one}");
    assert_eq!(one["source"]["tenant"], tenant);

    place.write(
        "deals.jsonl",
        "{\"id\":9,\"inventory\":[]}\n{\"id\":10,\"inventory\":{}}\n",
    );
    let (ran, file) = of("--database jsonl:deals.jsonl");
    ran.exits(1);
    assert_eq!((total(&file), &file["key_order"]), (2, &"integer".into()));
    place.write("deals.jsonl", "{\"id\":10}\n{\"id\":9}\n");
    place
        .run("snapshot take --database jsonl:deals.jsonl")
        .exits(2)
        .complains("RB-SNAPSHOT-12: deals.jsonl, line 2: ");
    place.write("deals.jsonl", "{\"id\":9}\n{\"id\":10,\"id\":10}\n");
    place
        .run("snapshot take --database jsonl:deals.jsonl")
        .exits(2)
        .complains("RB-SNAPSHOT-18: deals.jsonl, line 2: ");
    place
        .run(&format!("snapshot take {DEALS} --threads 0"))
        .exits(2)
        .complains("RB-SNAPSHOT-9");
    place
        .run(&format!("snapshot take {DEALS} --connections 0"))
        .exits(2)
        .complains("RB-SNAPSHOT-9");
}

#[test]
fn an_unwritable_evidence_store_ends_a_snapshot_with_7() {
    let place = Place::new();
    generate(&place, "--no-invalid-types");
    // Files are where the store's directories should be: even root cannot write below them.
    fs::create_dir(place.path().join("full")).unwrap();
    for prefix in 0..=255u8 {
        fs::write(place.path().join(format!("full/{prefix:02x}")), "").unwrap();
    }
    let ran = place.run(&format!("snapshot take {DEALS} --objects full"));
    ran.exits(7).complains("RB-EVIDENCE-5");
}

//! Texts as metrics: read by a query, compared by rules, shown everywhere.

use std::fs;

use rollbook_workers::compare::differences::{DifferencePage, read_page};
use serde_json::Value;

use crate::harness::Place;

const METRICS: &str = "--metrics cost:cents,state:text,owner:text";

/// Deals whose inventory contains their figures, so that a program can return them.
fn deals(rows: &[(&str, &str, &str, &str)]) -> String {
    let line = |(id, cost, state, owner): &(&str, &str, &str, &str)| {
        format!(
            "{{\"id\":\"{id}\",\"deal_type\":\"acquisition\",\"inventory\":[{{\"cost\":{cost},\"state\":{state},\"owner\":{owner}}}]}}\n"
        )
    };
    rows.iter().map(line).collect()
}

/// Answers with the content of the inventory's first item.
const PROGRAM: &str = "import json, sys
for line in sys.stdin:
    item = json.loads(line)['inventory'][0]
    print(json.dumps({'metrics': item}), flush=True)
";

/// A directory with two snapshots of the same five deals.
fn place() -> (Place, String, String) {
    let place = Place::new();
    place.write("model.py", PROGRAM);
    let before = [
        ("a", "100", r#""open""#, r#""ann""#),
        ("b", "100", r#""open""#, r#""ann""#),
        ("c", "100", "null", r#""ann""#),
        ("d", "100", r#""he said \"no\"\nÅ <b>""#, "null"),
        ("e", "100", r#""open""#, "7"),
    ];
    let after = [
        ("a", "100", r#""open""#, r#""ann""#),
        ("b", "100", r#""shut""#, r#""bob""#),
        ("c", "100", r#""""#, r#""ann""#),
        ("d", "105", "null", r#""bob""#),
        ("e", "100", r#""open""#, r#""ann""#),
    ];
    place.write("before.jsonl", &deals(&before));
    place.write("after.jsonl", &deals(&after));
    let taken = |file: &str, code: i32| {
        let take = format!("snapshot take --database jsonl:{file} --exec 'python3 model.py'");
        let ran = place.run(&format!("{take} {METRICS} --json")).exits(code);
        ran.json()["snapshot"].as_str().unwrap().to_owned()
    };
    // One deal has a number where a text is declared: an error row.
    let snapshots = (taken("before.jsonl", 1), taken("after.jsonl", 0));
    (place, snapshots.0, snapshots.1)
}

const RULES: &str = "rules:
  - {id: state, metric: state, test: {kind: exact}}
  - {id: owner, metric: owner, test: {kind: ignore, reason: people move}}
  - {id: cost, metric: cost, test: {kind: relative, tolerance_percent: 10}}
";

#[test]
fn texts_are_compared_by_rules_and_shown_everywhere() {
    let (place, before, after) = place();
    place.write("rules.yaml", RULES);
    let compare = format!("compare {before} {after} --rules rules.yaml");
    let table = place
        .run(&format!("{compare} --html page.html"))
        .exits(1)
        .says("4 regressions")
        .says(r#"state: "open" → "shut""#)
        .says(r#"state: NULL → """#)
        .says(r#"state: "he said \"no\"\nÅ <b>" → NULL"#);
    assert!(!table.out.contains("people move"), "{}", table.out);
    let page = fs::read_to_string(place.path().join("page.html")).unwrap();
    assert!(page.contains("&quot;he said \\&quot;no\\&quot;\\nÅ &lt;b&gt;&quot;"));
    assert!(
        page.contains("people move") && page.contains("2 ignored"),
        "{page}"
    );

    let whole = place.run(&format!("{compare} --json")).exits(1).json();
    let result = &whole["result"];
    assert_eq!(result["by_rule"]["owner"]["ignored"], 2, "{result:#}");
    assert_eq!(result["by_rule"]["state"]["regression"], 3);
    assert_eq!(result["by_rule"]["cost"]["within_tolerance"], 1);
    assert_eq!(result["metrics"].as_array().unwrap().len(), 1);
    let worst = &result["worst"][0];
    assert_eq!(
        (
            &worst["before_text"],
            &worst["after_text"],
            &worst["before"]
        ),
        (&"open".into(), &"shut".into(), &Value::Null)
    );

    let listed = place
        .run(&format!("{compare} --regressions --json"))
        .exits(1)
        .json();
    let rows = listed["regressions"].as_array().unwrap();
    let texts: Vec<_> = rows
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str();
            (
                text("deal_id"),
                text("metric"),
                text("before_text"),
                text("after_text"),
            )
        })
        .collect();
    let said = "he said \"no\"\nÅ <b>";
    let expected = [
        ("b", "state", Some("open"), Some("shut")),
        ("c", "state", None, Some("")),
        ("d", "state", Some(said), None),
        ("e", "status", None, None),
    ]
    .map(|(deal, metric, before, after)| (Some(deal), Some(metric), before, after));
    assert_eq!(texts, expected);
    assert_eq!(
        rows[3]["error_before"],
        "owner: it is neither a text nor null"
    );
    place
        .run(&format!("{compare} --regressions"))
        .exits(1)
        .says(r#"c (acquisition) state: NULL → """#);

    // Ignored differences are listed too, in the stored page.
    let entry: DifferencePage = serde_json::from_value(result["differences"][0].clone()).unwrap();
    let store = place.path().join(".rollbook/objects");
    let store = rollbook_ledger::evidence::EvidenceStore::open(store.to_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stored = runtime.block_on(read_page(&store, &entry)).unwrap();
    let owners: Vec<_> = stored
        .iter()
        .filter(|row| row.metric == "owner")
        .map(|row| {
            (
                row.deal_id.as_str(),
                row.before_text.as_deref(),
                row.after_text.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        owners,
        [("b", Some("ann"), Some("bob")), ("d", None, Some("bob"))]
    );

    place
        .run(&format!("{compare} --explain d"))
        .exits(0)
        .says(r#""he said \"no\"\nÅ <b>" →"#)
        .says("NULL")
        .says("people move")
        .says("the calculator `exec`")
        .says("inventory lines exist for the built-in model only");
    let told = place
        .run(&format!("{compare} --explain d --json"))
        .exits(0)
        .json();
    assert!(
        told["behind"].is_null() && told["without_lines"].is_string(),
        "{told}"
    );
    let owner = &told["metrics"][2];
    assert_eq!(
        (
            &owner["unit"],
            &owner["after_text"],
            &owner["class"],
            &owner["rule"]
        ),
        (
            &"text".into(),
            &"bob".into(),
            &"ignored".into(),
            &"owner".into()
        )
    );
    assert!(owner.get("before_text").is_none(), "{owner}");
}

#[test]
fn a_text_is_not_measured_and_not_compared_with_a_number() {
    let (place, before, after) = place();
    place.write(
        "tolerant.yaml",
        &RULES.replace("kind: exact", "kind: absolute, limit: 1"),
    );
    for what in ["", "--explain a"] {
        place
            .run(&format!(
                "compare {before} {after} --rules tolerant.yaml {what}"
            ))
            .exits(2)
            .complains("tolerant.yaml:2:5: RB-COMPARE-9");
    }
    let numbers = deals(&[("a", "100", "7", "\"ann\"")]);
    place.write("numbers.jsonl", &numbers);
    let flipped = "--metrics cost:cents,state:count,owner:text --exec 'python3 model.py'";
    let taken = place
        .run(&format!(
            "snapshot take --database jsonl:numbers.jsonl {flipped} --json"
        ))
        .exits(0)
        .json();
    let flipped = taken["snapshot"].as_str().unwrap();
    place
        .run(&format!("compare {before} {flipped} --allow-model-change"))
        .exits(2)
        .complains("RB-COMPARE-3")
        .complains("state is text before and count after");
}

//! `snapshot take` with figures from a program or a query.

use crate::harness::Place;

/// Deals in a file, and a program that gives all but one the figure 12.50.
fn place() -> Place {
    let place = Place::new();
    place.write(
        "deals.jsonl",
        "{\"id\":\"a\",\"deal_type\":\"merger\",\"inventory\":[]}\n\
         {\"id\":\"b\",\"deal_type\":null,\"inventory\":[1]}\n",
    );
    place.write(
        "model.sh",
        "while read -r line; do\n  case $line in\n  *'\"b\"'*) echo '{\"error\":\"not b\"}' ;;\n  \
         *) echo '{\"metrics\":{\"cost\":\"12.50\"}}' ;;\n  esac\ndone\n",
    );
    place
}

#[test]
fn a_program_computes_the_figures() {
    let place = place();
    let take = "snapshot take --database jsonl:deals.jsonl --exec 'sh model.sh' --json";
    let ran = place
        .run(&format!("{take} --metrics cost:cents --exec-file model.sh"))
        .exits(1);
    let first = ran.json();
    let manifest = &first["manifest"];
    assert_eq!(manifest["model"], "exec");
    assert_eq!(
        (&manifest["total"], &manifest["errors"]),
        (&2.into(), &1.into())
    );
    assert_eq!(manifest["metrics"][0]["name"], "cost");
    assert_eq!(manifest["metrics"][0]["unit"], "cents");
    // Again: another manifest, the same part, nothing to report.
    let again = place
        .run(&format!("{take} --metrics cost:cents --exec-file model.sh"))
        .exits(1)
        .json();
    assert_eq!(manifest["parts"], again["manifest"]["parts"]);
    let [one, two] = [&first, &again].map(|taken| taken["snapshot"].as_str().unwrap().to_owned());
    // A deal without figures on either side is not a success.
    place
        .run(&format!("compare {one} {two}"))
        .exits(1)
        .says("1 equal")
        .says("0 regressions");

    place.write("other.sh", "exit 5\n");
    let deals: String = (0..8)
        .map(|n| format!("{{\"id\":\"{n}\",\"deal_type\":null,\"inventory\":[]}}\n"))
        .collect();
    place.write("eight.jsonl", &deals);
    let broken = "snapshot take --database jsonl:eight.jsonl --exec 'sh other.sh'";
    let ran = place
        .run(&format!("{broken} --metrics cost:cents"))
        .exits(2);
    assert!(ran.err.contains("RB-SNAPSHOT-16"), "{}", ran.err);
    assert!(ran.err.contains("exit code 5"), "{}", ran.err);
}

#[test]
fn a_query_computes_the_figures() {
    let place = Place::new();
    let deals = "--database sqlite:deals.db";
    place
        .run(&format!("deals generate --count 50 --seed 3 {deals}"))
        .exits(0);
    let query = "--sql 'SELECT id, 7.25 AS cost, 2 AS n FROM deals' --metrics cost:cents,n:count";
    let taken = place
        .run(&format!("snapshot take {deals} {query} --json"))
        .exits(0)
        .json();
    assert_eq!(taken["manifest"]["model"], "sql");
    assert_eq!(taken["manifest"]["errors"], 0);
    place
        .run(&format!("snapshot take --database jsonl:x.jsonl {query}"))
        .exits(2);
}

#[test]
fn unknown_types_are_guarded_where_deal_types_were_not_in_force() {
    let place = Place::new();
    let deals = "--database sqlite:deals.db";
    place
        .run(&format!("deals generate --count 400 --seed 3 {deals}"))
        .exits(0);
    let take = |figure: &str, options: &str| {
        let query = format!("SELECT id, {figure} AS cost_total FROM deals");
        let taken = place
            .run(&format!(
                "snapshot take {deals} --sql '{query}' --metrics cost_total:cents {options} --json"
            ))
            .exits(0)
            .json();
        taken["snapshot"].as_str().unwrap().to_owned()
    };
    // Only deals of unknown types become dearer: `lbo`, `tbd` and `joint_venture`.
    let dearer = "CASE length(deal_type) WHEN 3 THEN 150 WHEN 13 THEN 150 ELSE 100 END";
    let compare = |options: &str| {
        let (before, after) = (take("100", options), take(dearer, options));
        place.run(&format!(
            "compare {before} {after} --allow-model-change --json"
        ))
    };
    // If types are not in force, they are judged like acquisitions.
    let found = compare("--flag-off").exits(1).json();
    let result = &found["result"];
    let regressions = result["regressions"].as_u64().unwrap();
    assert!(regressions > 0, "the data has no unknown type");
    let worst = &result["worst"][0];
    assert_eq!(
        (&worst["rule"], &worst["judged_as"]),
        (&"cost".into(), &"acquisition".into())
    );
    // If types are in force, it is unknown what such a deal was computed as.
    let found = compare("").exits(0).json();
    let result = &found["result"];
    assert_eq!(
        (&result["regressions"], &result["unexpected"]),
        (&0.into(), &regressions.into())
    );
}

#[test]
fn wrong_declarations_are_refused() {
    let place = place();
    let take = "snapshot take --database jsonl:deals.jsonl";
    for (options, said) in [
        ("--exec true", "--metrics"),
        ("--metrics cost:cents", "--exec"),
        ("--exec true --metrics cost", "RB-CLI-66"),
        ("--exec true --metrics cost:euro", "RB-CLI-66"),
        ("--exec true --metrics digest:count", "`digest`"),
        ("--exec true --metrics a:count,a:cents", "twice"),
        ("--exec true --metrics a:count --exec-timeout 0s", "timeout"),
        ("--exec true --metrics a:count --exec-file no.sh", "no.sh"),
        ("--exec true --metrics a:count --model m.json", "--model"),
        ("--exec true --sql x --metrics a:count", "--sql"),
    ] {
        let ran = place.run(&format!("{take} {options}")).exits(2);
        assert!(ran.err.contains(said), "{options}: {}", ran.err);
    }
}

//! `cli → server → workers → ledger → proto`, with `deals` next to `server` and `codes` below, and
//! which files may do I/O.

use std::collections::BTreeSet;

use crate::tree::{root, rust};

/// Directory and package; each may depend only on those before it.
const LAYERS: &[(&str, &str)] = &[
    ("codes", "rollbook-codes"),
    ("proto", "rollbook-proto"),
    ("ledger", "rollbook-ledger"),
    ("workers", "rollbook-workers"),
    ("server", "rollbook-server"),
    ("cli", "rollbook"),
];

/// The package that implements ports of the workers, and the only layer that may depend on it. No
/// other layer knows what a deal is.
const ADAPTER: (&str, &str) = ("deals", "rollbook-deals");
const ADAPTER_BUILDS_ON: &[&str] = &["rollbook-proto", "rollbook-ledger", "rollbook-workers"];
const PUTS_TOGETHER: &str = "cli";

/// The top layer: nothing depends on it.
const ON_TOP: &[&str] = &["loadtest", "examples/cost-service"];

/// The packages named in the dependency tables of a manifest.
fn dependencies(directory: &str) -> BTreeSet<String> {
    let manifest = std::fs::read_to_string(root().join(directory).join("Cargo.toml")).unwrap();
    let mut found = BTreeSet::new();
    let mut in_table = false;
    for line in manifest.lines() {
        if let Some(table) = line.strip_prefix('[') {
            in_table = table.contains("dependencies");
            if let Some((_, name)) = table.split_once("dependencies.") {
                found.insert(name.trim_end_matches(']').to_owned());
            }
        } else if in_table && !line.starts_with(['#', ' ']) {
            let name: String = line
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '-' || *c == '_')
                .collect();
            found.insert(name);
        }
    }
    found.remove("");
    assert!(found.len() > 2, "{directory}: no dependencies found");
    found
}

#[test]
fn each_layer_depends_only_on_those_below() {
    for (position, (directory, _)) in LAYERS.iter().enumerate() {
        let below: Vec<_> = LAYERS[..position]
            .iter()
            .map(|(_, package)| *package)
            .collect();
        for name in dependencies(directory)
            .iter()
            .filter(|name| name.starts_with("rollbook"))
        {
            assert!(
                below.contains(&name.as_str()) || *directory == PUTS_TOGETHER && name == ADAPTER.1,
                "{directory} depends on {name}; it may depend on {below:?}"
            );
        }
    }
}

#[test]
fn the_deals_implement_ports_of_the_workers_and_only_the_cli_supplies_them() {
    let (directory, package) = ADAPTER;
    let on: Vec<_> = dependencies(directory)
        .into_iter()
        .filter(|name| name.starts_with("rollbook"))
        .collect();
    assert!(
        on.iter()
            .all(|name| ADAPTER_BUILDS_ON.contains(&name.as_str())),
        "{directory} depends on {on:?}; it may depend on {ADAPTER_BUILDS_ON:?}"
    );
    for (layer, _) in LAYERS {
        let builds_on_it = dependencies(layer).contains(package);
        assert_eq!(
            builds_on_it,
            *layer == PUTS_TOGETHER,
            "{layer}: only {PUTS_TOGETHER} hands the deals to the workers"
        );
    }
}

#[test]
fn load_test_and_examples_depend_only_on_layers() {
    let layers: Vec<_> = LAYERS
        .iter()
        .chain([&ADAPTER])
        .map(|(_, package)| *package)
        .collect();
    for directory in ON_TOP {
        for name in dependencies(directory)
            .iter()
            .filter(|name| name.starts_with("rollbook"))
        {
            assert!(
                layers.contains(&name.as_str()),
                "{directory} depends on {name}"
            );
        }
    }
}

#[test]
fn every_member_of_the_workspace_is_listed() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest
        .lines()
        .find_map(|line| line.strip_prefix("members = "))
        .unwrap();
    let members: BTreeSet<_> = members.split('"').skip(1).step_by(2).collect();
    let known: BTreeSet<_> = LAYERS
        .iter()
        .chain([&ADAPTER])
        .map(|(directory, _)| directory)
        .chain(ON_TOP)
        .copied()
        .collect();
    assert_eq!(members, known);
}

/// [`ADAPTERS`] ensures that nothing in the ledger makes HTTP requests itself. Its manifest must
/// name reqwest, because `object_store` uses it for S3 and leaves the choice of TLS to the final
/// build.
#[test]
fn the_ledger_serves_no_http_and_has_no_thread_pool() {
    for name in ["axum", "hyper", "tower-http", "rayon"] {
        assert!(
            !dependencies("ledger").contains(name),
            "ledger depends on {name}"
        );
    }
}

/// The crates that do I/O, and the files or directories that may name them.
const ADAPTERS: &[(&str, &[&str])] = &[
    (
        "async_nats",
        &[
            "ledger/src/journal/jetstream/",
            "ledger/src/nats/",
            "workers/src/fleet/dead_letter.rs",
            "workers/src/fleet/jetstream.rs",
            "workers/src/fleet/output.rs",
            "workers/src/fleet/presence.rs",
            "workers/src/fleet/progress.rs",
            "workers/src/fleet/pull.rs",
            "workers/src/fleet/shards/queue.rs",
            "workers/src/fleet/signals.rs",
            // Assembles the program.
            "cli/src/commands/components.rs",
            "loadtest/src/",
            // Examples for integrators.
            "examples/live-feed/",
        ],
    ),
    ("rusqlite", &["workers/src/executor/database"]),
    (
        "sqlx",
        &[
            "ledger/src/database.rs",
            "ledger/src/projection/postgres.rs",
            "ledger/src/projection/sqlite.rs",
            "ledger/src/projection/sql/decode.rs",
            "deals/src/audit/query.rs",
            "deals/src/load.rs",
            "deals/src/migrate.rs",
            "workers/src/executor/database",
            "workers/src/snapshot/database.rs",
            "workers/src/snapshot/current_deal.rs",
            "workers/src/snapshot/read/postgres",
            "workers/src/snapshot/read/sqlite.rs",
            "loadtest/src/",
            "examples/cost-service/src/",
        ],
    ),
    ("object_store", &["ledger/src/evidence/"]),
    (
        "reqwest",
        &[
            "workers/src/executor/context.rs",
            "workers/src/executor/http.rs",
            "workers/src/executor/notify.rs",
            // Pass the client on to the executors of steps.
            "server/src/notices.rs",
            "server/src/serve.rs",
            "cli/src/client.rs",
            "cli/src/commands/log.rs",
            // Commands and events over HTTP.
            "loadtest/src/events.rs",
            "loadtest/src/steps.rs",
            "loadtest/src/traced.rs",
            "loadtest/src/storm/",
            "examples/cost-service/src/",
            "examples/live-feed/",
        ],
    ),
];

#[test]
fn only_adapters_use_external_systems() {
    let sources = rust();
    for (outside, places) in ADAPTERS {
        let users: Vec<_> = sources
            .iter()
            .filter(|source| source.names(outside))
            .collect();
        for source in &users {
            assert!(
                places.iter().any(|place| source.path.starts_with(place)),
                "{} names {outside}; only {places:?} may",
                source.path
            );
        }
        for place in *places {
            assert!(
                users.iter().any(|source| source.path.starts_with(place)),
                "{place} does not name {outside} any more; take it from the list"
            );
        }
    }
}

#[test]
fn one_file_bridges_tokio_and_rayon() {
    let both: Vec<_> = rust()
        .into_iter()
        .filter(|source| source.names("tokio") && source.names("rayon"))
        .map(|source| source.path.as_str())
        .collect();
    assert_eq!(both, ["workers/src/snapshot/compute_pool.rs"]);
}

//! The rules of the domain do no I/O, read no clock, use no random numbers and log nothing.

use crate::tree::rust;

/// Directories, and the files in them that do I/O for the others.
const PURE: &[(&str, &[&str])] = &[
    ("ledger/src/rollout/", &[]),
    ("ledger/src/counter.rs", &[]),
    ("ledger/src/decimal.rs", &[]),
    ("ledger/src/measurement.rs", &[]),
    ("ledger/src/flag/", &[]),
    ("ledger/src/authority/", &[]),
    ("ledger/src/environment/", &[]),
    ("ledger/src/fleet/", &[]),
    // Reads the files next to a runbook, behind the `Files` port.
    ("ledger/src/runbook/", &["ledger/src/runbook/files.rs"]),
    // What a status looks like.
    ("cli/src/status/", &[]),
    (
        "deals/src/",
        &[
            "deals/src/audit/query.rs",
            "deals/src/breakdown.rs",
            "deals/src/load.rs",
            "deals/src/migrate.rs",
            "deals/src/ports.rs",
        ],
    ),
    // Open two snapshots, pass them to the rules, store the result.
    (
        "workers/src/compare/",
        &[
            "workers/src/compare/differences/read.rs",
            "workers/src/compare/explain.rs",
            "workers/src/compare/mod.rs",
            "workers/src/compare/task.rs",
        ],
    ),
];

const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "tokio",
    "sqlx",
    "async_nats",
    "object_store",
    "reqwest",
    "tracing",
    "EvidenceStore",
    "Timestamp::now",
    "Zoned::now",
    "SystemTime",
    "Instant::now",
    "rand",
    "now_v7",
    "new_v4",
    "println",
    "eprintln",
    "await",
];

#[test]
fn the_domain_is_pure() {
    let sources = rust();
    for (directory, readers) in PURE {
        let mut seen = 0;
        for source in sources
            .iter()
            .filter(|source| source.path.starts_with(directory))
        {
            seen += 1;
            if readers.contains(&source.path.as_str()) {
                continue;
            }
            for word in IMPURE {
                assert!(
                    !source.names(word),
                    "{} names {word}; {directory} is pure",
                    source.path
                );
            }
        }
        assert!(seen > 0, "{directory} has no files");
        for reader in *readers {
            let source = sources.iter().find(|source| source.path == *reader);
            assert!(
                source.is_some_and(|source| IMPURE.iter().any(|word| source.names(word))),
                "{reader} is gone or pure; take it from the list"
            );
        }
    }
}

//! What leads out of the process or must not get out of it has one place each: options of database
//! connections, the environment of child processes, the masking of passwords.

use crate::tree::rust;

/// Texts of the code, and the files that may contain them.
const PLACES: &[(&str, &[&str])] = &[
    (
        "PgConnectOptions::",
        &[
            "ledger/src/database.rs",
            // An example, which knows nothing of Rollbook but its deal model.
            "examples/cost-service/src/store.rs",
        ],
    ),
    // A load test fills a database of its own.
    ("PgConnection::connect(", &["loadtest/src/deals/data.rs"]),
    (
        "SqliteConnectOptions::",
        &[
            // The views: written by one connection, with a write-ahead log.
            "ledger/src/projection/sqlite.rs",
            // A source of deals: only read.
            "workers/src/snapshot/database.rs",
            // Databases of load tests, and views that a judge reads or a fault damages.
            "loadtest/src/judge/collect.rs",
            "loadtest/src/judge/database.rs",
            "loadtest/src/rebuild.rs",
            "loadtest/src/storm/slice.rs",
            "examples/cost-service/src/store.rs",
        ],
    ),
    // A step's script, under SQLite's authorizer.
    (
        "Connection::open_with_flags(",
        &["workers/src/executor/database/sqlite.rs"],
    ),
    (
        ".env_clear()",
        &[
            // The private nats-server.
            "ledger/src/nats/binary.rs",
            // Programs of plans.
            "workers/src/child/environment.rs",
        ],
    ),
    ("set_password(", &["workers/src/executor/secret.rs"]),
    ("://***@", &["ledger/src/redacted.rs"]),
    ("enum Dialect", &["ledger/src/database.rs"]),
    ("starts_with(\"postgres://", &["ledger/src/database.rs"]),
];

#[test]
fn each_is_in_its_place() {
    let sources = rust();
    for (text, places) in PLACES {
        let users: Vec<_> = sources
            .iter()
            .filter(|source| source.code.contains(text))
            .map(|source| source.path.as_str())
            .collect();
        for user in &users {
            assert!(
                places.contains(user),
                "{user} contains `{text}`; only {places:?} may"
            );
        }
        for place in *places {
            assert!(
                users.contains(place),
                "{place} does not contain `{text}` any more; take it from the list"
            );
        }
    }
}

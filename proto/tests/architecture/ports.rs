//! The server stands on ports: what adapters it runs on is decided where the program is assembled.

use crate::tree::{contains_word, rust};

/// The directories that name ports only.
const ON_PORTS: &[&str] = &["server/src/api/", "server/src/auth/", "server/src/live/"];

/// The modules and crates of adapters.
const ADAPTERS: &[&str] = &[
    "async_nats",
    "jetstream",
    "object_store",
    "postgres",
    "reqwest",
    "rusqlite",
    "sqlite",
    "sqlx",
    "MemoryJournal",
    "MemoryQueue",
];

/// How the names of types begin that are adapters on NATS.
const ADAPTER_TYPES: &[&str] = &["JetStream", "Nats"];

/// The names in a text, in order.
fn names(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|name| !name.is_empty())
}

/// The first adapter that a text names.
fn adapter_in(code: &str) -> Option<&str> {
    let is_type = |name: &&str| {
        ADAPTER_TYPES.iter().any(|start| {
            let rest = name.strip_prefix(start);
            rest.is_some_and(|rest| rest.starts_with(char::is_uppercase))
        })
    };
    let module = || {
        let mut adapters = ADAPTERS.iter().copied();
        adapters.find(|name| contains_word(code, name))
    };
    names(code).find(is_type).or_else(module)
}

#[test]
fn the_api_names_no_adapter() {
    for place in ON_PORTS {
        let mut seen = 0;
        for source in rust() {
            if !source.path.starts_with(place) {
                continue;
            }
            seen += 1;
            let named = adapter_in(&source.code);
            assert_eq!(named, None, "{}: name the port instead", source.path);
        }
        assert!(seen > 0, "{place} has no files");
    }
}

#[test]
fn adapters_are_told_from_messages() {
    assert_eq!(adapter_in("use fleet::NatsSignals;"), Some("NatsSignals"));
    assert_eq!(adapter_in("a::jetstream::Report"), Some("jetstream"));
    assert_eq!(adapter_in("\"the NATS server, --nats-system\""), None);
}

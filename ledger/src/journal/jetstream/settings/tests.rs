#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;

fn wanted() -> Config {
    desired(
        &LedgerId::new("main").unwrap(),
        &JetStreamOptions::default(),
    )
}

/// A setting's name, and a function that breaks it.
type Spoiled = (&'static str, fn(&mut Config));

#[test]
fn every_setting_that_could_lose_history_is_refused_by_name() {
    let cases: [Spoiled; 22] = [
        ("storage", |c| c.storage = StorageType::Memory),
        ("retention", |c| c.retention = RetentionPolicy::Interest),
        ("max_age", |c| c.max_age = Duration::from_secs(1)),
        ("max_msgs", |c| c.max_messages = 10),
        ("max_bytes", |c| c.max_bytes = 10),
        ("discard", |c| c.discard = DiscardPolicy::Old),
        ("discard_new_per_subject", |c| {
            c.discard_new_per_subject = false
        }),
        ("deny_delete", |c| c.deny_delete = false),
        ("deny_purge", |c| c.deny_purge = false),
        ("allow_rollup_hdrs", |c| c.allow_rollup = true),
        ("allow_msg_ttl", |c| c.allow_message_ttl = true),
        ("subject_delete_marker_ttl", |c| {
            c.subject_delete_marker_ttl = Some(Duration::from_secs(1));
        }),
        ("persist_mode", |c| {
            c.persist_mode = Some(PersistenceMode::Async)
        }),
        ("no_ack", |c| c.no_ack = true),
        ("num_replicas", |c| c.num_replicas = 0),
        ("subjects", |c| c.subjects = vec!["other.>".to_owned()]),
        ("max_msgs_per_subject", |c| c.max_messages_per_subject = -1),
        ("max_msg_size", |c| c.max_message_size = 1000),
        ("allow_direct", |c| c.allow_direct = false),
        ("allow_atomic", |c| c.allow_atomic_publish = false),
        ("republish", |c| c.republish = None),
        ("sealed", |c| c.sealed = true),
    ];
    assert!(check(&wanted(), &wanted()).is_ok());
    for (name, spoil) in cases {
        let mut effective = wanted();
        spoil(&mut effective);
        match check(&effective, &wanted()) {
            Err(JournalError::UnsafeSetting { setting, .. }) => {
                assert_eq!(setting, format!("stream ROLLBOOK: {name}"));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn old_and_unreadable_versions_are_refused() {
    for fine in ["2.12.0", "2.15.1", "v3.0.0", "2.12.0-RC.1"] {
        assert!(check_version(fine).is_ok(), "{fine}");
    }
    for old in ["2.11.9", "2.2.12", "1.12.0", "", "2.12", "x.y.z"] {
        assert!(check_version(old).is_err(), "{old}");
    }
}

#[test]
fn each_ledger_has_its_own_stream() {
    assert_eq!(stream_name(&LedgerId::new("main").unwrap()), "ROLLBOOK");
    assert_eq!(
        stream_name(&LedgerId::new("team-a").unwrap()),
        "ROLLBOOK_TEAM-A"
    );
}

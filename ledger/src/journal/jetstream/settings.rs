//! A ledger's stream: its name, its required settings, and the check of the settings that the
//! server applies.

use std::time::Duration;

use async_nats::jetstream::stream::{
    Config, DiscardPolicy, PersistenceMode, Republish, RetentionPolicy, StorageType,
};

use super::JetStreamOptions;
use crate::ids::LedgerId;
use crate::journal::JournalError;

/// Minimum server version: atomic batches and `allow_atomic` came with 2.12.
pub const MIN_SERVER_VERSION: (i64, i64, i64) = (2, 12, 0);

/// Maximum number of commits of one aggregate. Beyond it the server refuses further ones; nothing
/// is deleted. Any limit makes loading one aggregate from a large stream 15 to 25 times faster,
/// because nats-server 2.15 then uses smaller blocks.
const MAX_COMMITS_PER_AGGREGATE: i64 = 10_000_000;

/// How long the server remembers message ids. Only a convenience: idempotency rests on the log.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// Returns the name of a ledger's stream: `ROLLBOOK` for `main`, else `ROLLBOOK_<LEDGER>`.
pub fn stream_name(ledger: &LedgerId) -> String {
    if ledger.as_str() == "main" {
        "ROLLBOOK".to_owned()
    } else {
        format!("ROLLBOOK_{}", ledger.as_str().to_ascii_uppercase())
    }
}

/// Ledger names whose streams Rollbook uses itself: tasks, answers of shards, dead outgoing_commits.
const RESERVED: [&str; 3] = ["work", "shards", "dlq"];

/// True if the ledger's stream would be one that Rollbook uses itself.
pub(super) fn is_reserved(ledger: &LedgerId) -> bool {
    RESERVED.contains(&ledger.as_str())
}

/// Returns the subject filter of all commits of a ledger.
pub fn ledger_subjects(ledger: &LedgerId) -> String {
    format!("rollbook.{ledger}.>")
}

/// Returns the subjects on which stored commits are republished for live subscribers.
pub fn live_subjects(ledger: &LedgerId) -> String {
    format!("live.rollbook.{ledger}.>")
}

/// Returns the configuration with which the stream is created.
pub(super) fn desired(ledger: &LedgerId, options: &JetStreamOptions) -> Config {
    Config {
        name: stream_name(ledger),
        description: Some(format!("Rollbook ledger {ledger}")),
        subjects: vec![ledger_subjects(ledger)],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: options.replicas,
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: MAX_COMMITS_PER_AGGREGATE,
        max_consumers: -1,
        max_message_size: -1,
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        duplicate_window: DUPLICATE_WINDOW,
        deny_delete: true,
        deny_purge: true,
        allow_direct: true,
        allow_atomic_publish: true,
        republish: Some(Republish {
            source: ledger_subjects(ledger),
            destination: live_subjects(ledger),
            headers_only: false,
        }),
        ..Config::default()
    }
}

/// Checks the effective settings against a ledger's needs and reports the first wrong one; those
/// that could lose history come before those that only make the ledger unusable.
pub(super) fn check(effective: &Config, desired: &Config) -> Result<(), JournalError> {
    let stream = &effective.name;
    let unlimited = |value: i64| value <= 0;
    let findings: [(&str, bool, String, String); 25] = [
        rule(
            "storage",
            effective.storage == StorageType::File,
            effective.storage,
            "File",
        ),
        rule(
            "retention",
            effective.retention == RetentionPolicy::Limits,
            effective.retention,
            "Limits",
        ),
        rule(
            "max_age",
            effective.max_age.is_zero(),
            effective.max_age,
            "0 (unlimited)",
        ),
        rule(
            "max_msgs",
            unlimited(effective.max_messages),
            effective.max_messages,
            "-1 (unlimited)",
        ),
        rule(
            "max_bytes",
            unlimited(effective.max_bytes),
            effective.max_bytes,
            "-1 (unlimited)",
        ),
        rule(
            "discard",
            effective.discard == DiscardPolicy::New,
            effective.discard,
            "New",
        ),
        rule(
            "discard_new_per_subject",
            effective.discard_new_per_subject,
            effective.discard_new_per_subject,
            "true",
        ),
        rule(
            "deny_delete",
            effective.deny_delete,
            effective.deny_delete,
            "true",
        ),
        rule(
            "deny_purge",
            effective.deny_purge,
            effective.deny_purge,
            "true",
        ),
        rule(
            "allow_rollup_hdrs",
            !effective.allow_rollup,
            effective.allow_rollup,
            "false",
        ),
        rule(
            "allow_msg_ttl",
            !effective.allow_message_ttl,
            effective.allow_message_ttl,
            "false",
        ),
        rule(
            "subject_delete_marker_ttl",
            effective
                .subject_delete_marker_ttl
                .is_none_or(|ttl| ttl.is_zero()),
            effective.subject_delete_marker_ttl,
            "unset",
        ),
        rule(
            "persist_mode",
            effective.persist_mode != Some(PersistenceMode::Async),
            effective.persist_mode,
            "default",
        ),
        rule("no_ack", !effective.no_ack, effective.no_ack, "false"),
        rule(
            "num_replicas",
            effective.num_replicas >= desired.num_replicas,
            effective.num_replicas,
            format!("at least {}", desired.num_replicas),
        ),
        rule(
            "mirror",
            effective.mirror.is_none(),
            effective.mirror.is_some(),
            "unset",
        ),
        rule(
            "sources",
            effective.sources.as_ref().is_none_or(Vec::is_empty),
            effective.sources.is_some(),
            "unset",
        ),
        rule(
            "subject_transform",
            effective.subject_transform.is_none(),
            &effective.subject_transform,
            "unset",
        ),
        rule(
            "subjects",
            effective.subjects == desired.subjects,
            &effective.subjects,
            format!("{:?}", desired.subjects),
        ),
        rule("sealed", !effective.sealed, effective.sealed, "false"),
        rule(
            "max_msgs_per_subject",
            effective.max_messages_per_subject > 0,
            effective.max_messages_per_subject,
            MAX_COMMITS_PER_AGGREGATE.to_string(),
        ),
        // Room for a commit and its headers.
        rule(
            "max_msg_size",
            effective.max_message_size <= 0 || effective.max_message_size >= 70_000,
            effective.max_message_size,
            "-1 (unlimited)",
        ),
        rule(
            "allow_direct",
            effective.allow_direct,
            effective.allow_direct,
            "true",
        ),
        rule(
            "allow_atomic",
            effective.allow_atomic_publish,
            effective.allow_atomic_publish,
            "true",
        ),
        rule(
            "republish",
            effective.republish == desired.republish,
            &effective.republish,
            format!("{:?}", desired.republish),
        ),
    ];
    match findings.into_iter().find(|(_, fine, _, _)| !fine) {
        None => Ok(()),
        Some((setting, _, found, required)) => Err(JournalError::UnsafeSetting {
            setting: format!("stream {stream}: {setting}"),
            found,
            required,
            remedy: format!(
                "change it (`nats stream edit {stream}`), or give the ledger a stream of its own and let Rollbook create it"
            ),
        }),
    }
}

fn rule(
    setting: &str,
    fine: bool,
    found: impl std::fmt::Debug,
    required: impl Into<String>,
) -> (&str, bool, String, String) {
    (setting, fine, format!("{found:?}"), required.into())
}

/// Refuses a server older than [`MIN_SERVER_VERSION`].
pub(super) fn check_version(version: &str) -> Result<(), JournalError> {
    if parse_version(version).is_some_and(|found| found >= MIN_SERVER_VERSION) {
        return Ok(());
    }
    let (major, minor, _) = MIN_SERVER_VERSION;
    Err(JournalError::UnsafeSetting {
        setting: "nats-server version".to_owned(),
        found: version.to_owned(),
        required: format!("{major}.{minor} or newer"),
        remedy: "upgrade nats-server".to_owned(),
    })
}

/// Parses `major.minor.patch` of a server version, ignoring any suffix (`-RC.1`, `-beta`).
pub(crate) fn parse_version(version: &str) -> Option<(i64, i64, i64)> {
    let mut numbers = version.trim_start_matches('v').splitn(3, '.').map(|part| {
        let digits = part
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(part.len());
        part.split_at(digits).0.parse::<i64>().ok()
    });
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests;

//! Derives the faults to inject from a seed. Pure.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::random::Random;

/// The set of processes that a slice runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Layout {
    /// `rollbook up`.
    Up,
    /// Two servers and three workers on one nats-server.
    One,
    /// The same on a cluster of three nats-servers.
    Three,
}

impl Layout {
    /// All layouts, in the order in which slices use them.
    pub(crate) const ALL: [Self; 3] = [Self::Up, Self::One, Self::Three];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::One => "one",
            Self::Three => "three",
        }
    }

    /// The number of nats-servers that are separate processes.
    pub(crate) fn nats_servers(self) -> usize {
        match self {
            Self::Up => 0,
            Self::One => 1,
            Self::Three => 3,
        }
    }

    /// What a fault can hit.
    fn targets(self, views: Views) -> Vec<&'static str> {
        let processes: &[&str] = match self {
            // Its nats-server is a child of its own.
            Self::Up => &["up", "up", "up", "nats", "nats"],
            Self::One => &[
                "nats-1", "serve-1", "serve-2", "worker-1", "worker-2", "worker-3",
            ],
            Self::Three => &[
                "nats-1", "nats-2", "nats-3", "serve-1", "serve-2", "worker-1", "worker-2",
                "worker-3",
            ],
        };
        let mut targets = processes.to_vec();
        targets.push("hook");
        if views == Views::Postgres {
            targets.push("postgres");
        }
        targets
    }
}

/// Where the servers of a layout keep their views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Views {
    /// Each in its own file.
    Sqlite,
    /// All in one database.
    Postgres,
}

impl Views {
    /// As the seed determines: PostgreSQL for every other slice with servers.
    pub(crate) fn of(seed: u64, layout: Layout) -> Self {
        if layout != Layout::Up && seed.is_multiple_of(2) {
            Self::Postgres
        } else {
            Self::Sqlite
        }
    }
}

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// SIGKILL; restarted after the pause.
    Kill,
    /// SIGSTOP, and SIGCONT after the pause.
    Freeze,
    /// SIGTERM; restarted after the pause.
    Restart,
    /// SIGSTOP, SIGKILL after the pause, restarted at once: its connections hang, then break.
    FreezeThenKill,
    /// All connections to NATS are closed at once.
    Cut,
    /// Connections to NATS stay open and carry nothing for the pause.
    Silence,
    /// The connection is closed between a publish and its acknowledgement.
    CutBeforeAck,
    /// The connection is closed before a publish reaches the server.
    CutBeforePublish,
    /// SIGTERM to a worker while NATS is down.
    StopWithoutNats,
    /// Hundreds of connections to the API that send nothing.
    IdleConnections,
    /// Restarted with a clock that is 30 seconds off.
    Skew,
    /// The file system of the store is full for the pause.
    FullDisk,
    /// SIGINT, and again immediately.
    InterruptTwice,
    /// A worker is started while no server runs; servers follow after the pause.
    WorkerFirst,
    /// The receiver of webhooks refuses, stalls or fails for the pause.
    DeadWebhook,
    /// Views in SQLite are overwritten in part while their server is down.
    DamagedViews,
    /// Hundreds of connections to the API that follow the log and never read.
    DeafFollowers,
    /// The nats-server of `up` is killed whenever it is started, until `up` gives up.
    NatsGone,
}

/// A fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    /// The undisturbed time since the previous fault.
    pub(crate) after: Duration,
    pub(crate) kind: Kind,
    pub(crate) target: String,
    pub(crate) pause: Duration,
}

fn kinds(target: &str, views: Views) -> Vec<Kind> {
    match target {
        "hook" => return vec![Kind::DeadWebhook],
        // Killing any client backend ends all of them; freezing stops all processes.
        "postgres" => return vec![Kind::Kill, Kind::Freeze],
        _ => {}
    }
    let mut kinds = vec![Kind::Kill, Kind::Kill, Kind::Freeze, Kind::Freeze];
    let is_nats = target.starts_with("nats");
    match target {
        // `up` restarts its child itself; the child is never told to stop.
        "nats" => kinds.extend([Kind::FreezeThenKill, Kind::NatsGone]),
        _ => kinds.push(Kind::Restart),
    }
    if is_nats && target != "nats" {
        kinds.extend([Kind::Restart, Kind::FreezeThenKill]);
    }
    let has_link = target.starts_with("serve") || target.starts_with("worker");
    if has_link {
        kinds.extend([
            Kind::Cut,
            Kind::Silence,
            Kind::CutBeforeAck,
            Kind::CutBeforePublish,
        ]);
    }
    if target == "up" || target.starts_with("serve") {
        kinds.extend([Kind::IdleConnections, Kind::DeafFollowers]);
        if views == Views::Sqlite {
            kinds.push(Kind::DamagedViews);
        }
    }
    if target.starts_with("worker") {
        kinds.extend([Kind::StopWithoutNats, Kind::WorkerFirst]);
    }
    if !is_nats {
        kinds.extend([Kind::Skew, Kind::InterruptTwice]);
    }
    if matches!(target, "up" | "nats-1") {
        kinds.push(Kind::FullDisk);
    }
    kinds
}

/// The faults of a seed, in order. They do not depend on what the machine supports.
pub(crate) fn faults(
    seed: u64,
    layout: Layout,
    count: usize,
    longest_pause: Duration,
) -> Vec<Fault> {
    let mut random = Random::new(seed, 1);
    let views = Views::of(seed, layout);
    let targets = layout.targets(views);
    let longest_ms = u64::try_from(longest_pause.as_millis()).unwrap_or(u64::MAX);
    (0..count)
        .map(|_| {
            let target = random.pick(&targets).copied().unwrap_or("up");
            let kinds = kinds(target, views);
            let kind = random.pick(&kinds).copied().unwrap_or(Kind::Kill);
            let shortest = match kind {
                // A shorter pause is no different from a busy machine.
                Kind::Freeze | Kind::FreezeThenKill | Kind::Silence | Kind::DeadWebhook => {
                    5_000.min(longest_ms)
                }
                _ => 200.min(longest_ms),
            };
            let longest = match kind {
                // What is down comes back soon: the relevant part has happened.
                Kind::Kill
                | Kind::Restart
                | Kind::Skew
                | Kind::InterruptTwice
                | Kind::WorkerFirst
                | Kind::DamagedViews => longest_ms.min(3_000),
                _ => longest_ms,
            };
            Fault {
                after: Duration::from_millis(random.between(300, 2_500)),
                kind,
                target: target.to_owned(),
                pause: Duration::from_millis(random.between(shortest, longest.max(shortest))),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything() {
        let pause = Duration::from_secs(40);
        for layout in Layout::ALL {
            let first = faults(3, layout, 50, pause);
            assert_eq!(first, faults(3, layout, 50, pause));
            assert_ne!(first, faults(4, layout, 50, pause));
            // A longer storm begins with the faults of a shorter one.
            assert_eq!(first[..10], faults(3, layout, 10, pause));
        }
    }

    #[test]
    fn every_process_and_every_kind_has_its_turn() {
        let pause = Duration::from_secs(40);
        let mut kinds = std::collections::BTreeSet::new();
        for layout in Layout::ALL {
            for seed in [1, 2] {
                let faults = faults(seed, layout, 500, pause);
                for target in layout.targets(Views::of(seed, layout)) {
                    assert!(
                        faults.iter().any(|fault| fault.target == target),
                        "{target}"
                    );
                }
                kinds.extend(faults.iter().map(|fault| fault.kind));
            }
        }
        assert_eq!(kinds.len(), 18, "{kinds:?}");
    }

    #[test]
    fn no_pause_is_longer_than_allowed() {
        let pause = Duration::from_secs(8);
        for fault in faults(9, Layout::Three, 300, pause) {
            assert!(fault.pause <= pause, "{fault:?}");
            let is_frozen = matches!(fault.kind, Kind::Freeze | Kind::Silence);
            assert!(
                !is_frozen || fault.pause >= Duration::from_secs(5),
                "{fault:?}"
            );
        }
    }
}

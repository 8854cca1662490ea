//! Injects faults into the running layout.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::StormError;
use super::proxy::Moment;
use super::random::Random;
use super::schedule::{Fault, Kind};
use super::system::System;
use super::webhook_receiver::ReceiverMode;

/// Number of idle connections.
const IDLE_CONNECTIONS: usize = 300;
/// The request of a follower.
const FOLLOW: &[u8] = b"GET /v1/log?follow=true HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
/// The highest page of the views' database that is overwritten.
const LAST_PAGE: u64 = 20;
/// How far a clock is set off, in seconds.
const SKEW_SECONDS: i64 = 30;

/// Injects a fault and removes its cause; its consequences are left to the system.
pub(crate) async fn inject(
    system: &mut System,
    fault: &Fault,
    random: &mut Random,
) -> Result<(), StormError> {
    let target = fault.target.as_str();
    if target == "postgres" {
        return postgres(system, fault).await;
    }
    match fault.kind {
        Kind::Kill => {
            system.kill(target).await;
            system.rest(fault.pause).await?;
            start_again(system, target)?;
        }
        Kind::Freeze => {
            system.signal(target, Signal::SIGSTOP);
            system.rest(fault.pause).await?;
            system.signal(target, Signal::SIGCONT);
        }
        Kind::Restart => {
            system.stop(target).await?;
            system.rest(fault.pause).await?;
            start_again(system, target)?;
        }
        Kind::FreezeThenKill => {
            system.signal(target, Signal::SIGSTOP);
            system.rest(fault.pause).await?;
            system.kill(target).await;
            start_again(system, target)?;
        }
        Kind::Cut => cut(system, target),
        Kind::Silence => {
            for link in system.links(target) {
                link.silence(true);
            }
            system.rest(fault.pause).await?;
            for link in system.links(target) {
                link.silence(false);
            }
        }
        Kind::CutBeforeAck => at(system, fault, Moment::BeforeAck).await?,
        Kind::CutBeforePublish => at(system, fault, Moment::BeforePublish).await?,
        Kind::StopWithoutNats => {
            for name in system.nats_names() {
                system.kill(&name).await;
            }
            system.rest(fault.pause.min(Duration::from_secs(2))).await?;
            system.stop(target).await?;
            for name in system.nats_names() {
                system.start(&name)?;
            }
            start_again(system, target)?;
        }
        Kind::IdleConnections => connections(system, fault, &[]).await?,
        Kind::DeafFollowers => connections(system, fault, FOLLOW).await?,
        Kind::Skew => {
            let skew = if random.percent(50) {
                SKEW_SECONDS
            } else {
                -SKEW_SECONDS
            };
            system.stop(target).await?;
            system.set_clock(target, skew);
            start_again(system, target)?;
            system.rest(fault.pause).await?;
        }
        Kind::FullDisk => {
            if let Some(disk) = system.disk() {
                disk.fill();
            }
            system.rest(fault.pause).await?;
            if let Some(disk) = system.disk() {
                disk.empty().map_err(|reason| StormError::Silent {
                    what: format!("the small disk: {reason}"),
                })?;
            }
            // As in the operator guide: free space, then restart.
            system.stop(target).await?;
            start_again(system, target)?;
        }
        Kind::InterruptTwice => {
            system.interrupt_twice(target).await?;
            system.rest(fault.pause).await?;
            start_again(system, target)?;
        }
        Kind::WorkerFirst => {
            let servers = system.names_of("serve-");
            for name in servers.iter().map(String::as_str).chain([target]) {
                system.kill(name).await;
            }
            start_again(system, target)?;
            system.rest(fault.pause).await?;
            for name in &servers {
                start_again(system, name)?;
            }
        }
        Kind::DeadWebhook => {
            let manners = [
                ReceiverMode::Refuses,
                ReceiverMode::Stalls,
                ReceiverMode::Fails,
            ];
            let manner = random
                .pick(&manners)
                .copied()
                .unwrap_or(ReceiverMode::Stalls);
            if let Some(hook) = system.hook() {
                hook.behave(manner);
            }
            system.rest(fault.pause).await?;
            if let Some(hook) = system.hook() {
                hook.behave(ReceiverMode::Takes);
            }
        }
        Kind::DamagedViews => {
            system.kill(target).await;
            // The first page identifies the file; the others hold rows and indexes.
            let page = match random.percent(50) {
                true => 0,
                false => random.between(1, LAST_PAGE),
            };
            system.damage_views(target, page)?;
            system.rest(fault.pause).await?;
            start_again(system, target)?;
        }
        Kind::NatsGone => system.starve().await?,
    }
    Ok(())
}

/// Opens connections to the API of a server that send `what` and read nothing.
async fn connections(system: &mut System, fault: &Fault, what: &[u8]) -> Result<(), StormError> {
    let addresses = system.addresses();
    let number = usize::from(fault.target == "serve-2");
    let address = addresses.get(number).or_else(|| addresses.first());
    let address = address.and_then(|address| address.strip_prefix("http://"));
    let mut held = Vec::new();
    for _ in 0..IDLE_CONNECTIONS {
        // A server that is down has no address.
        if let Some(address) = address
            && let Ok(mut connection) = TcpStream::connect(address).await
            && connection.write_all(what).await.is_ok()
        {
            held.push(connection);
        }
    }
    system.rest(fault.pause).await
}

/// Faults of PostgreSQL, which recovers by itself.
async fn postgres(system: &mut System, fault: &Fault) -> Result<(), StormError> {
    let processes = system.postgres_processes();
    let signal = |found: &crate::process::Found, signal| {
        // It may have ended meanwhile.
        let _ = kill(Pid::from_raw(found.pid), signal);
    };
    if fault.kind == Kind::Kill {
        let serves = |line: &str| line.starts_with("postgres: rollbook ");
        if let Some(found) = processes.iter().find(|found| serves(&found.line)) {
            signal(found, Signal::SIGKILL);
        }
        return system.rest(fault.pause).await;
    }
    for found in &processes {
        signal(found, Signal::SIGSTOP);
    }
    system.rest(fault.pause).await?;
    for found in &processes {
        signal(found, Signal::SIGCONT);
    }
    Ok(())
}

/// Starts a process that was held down; the child of `up` is started by its parent.
fn start_again(system: &mut System, target: &str) -> Result<(), StormError> {
    if target == "nats" {
        return Ok(());
    }
    system.start(target)
}

fn cut(system: &System, target: &str) {
    for link in system.links(target) {
        link.cut();
    }
}

async fn at(system: &mut System, fault: &Fault, moment: Moment) -> Result<(), StormError> {
    for link in system.links(&fault.target) {
        link.arm(moment, true);
    }
    system.rest(fault.pause).await?;
    for link in system.links(&fault.target) {
        link.arm(moment, false);
    }
    Ok(())
}

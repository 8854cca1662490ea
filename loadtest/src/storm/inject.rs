//! Faults done to the running layout.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use super::StormError;
use super::proxy::Moment;
use super::random::Random;
use super::schedule::{Fault, Kind};
use super::system::System;

/// How many connections say nothing.
const IDLE_CONNECTIONS: usize = 300;
/// How far a clock is off.
const SKEW_SECONDS: i64 = 30;

/// Injects a fault and takes its cause away. What it led to goes on.
pub(crate) async fn inject(
    system: &mut System,
    fault: &Fault,
    random: &mut Random,
) -> Result<(), StormError> {
    let target = fault.target.as_str();
    match fault.kind {
        Kind::Kill => {
            system.kill(target).await;
            system.rest(fault.pause).await?;
            again(system, target)?;
        }
        Kind::Freeze => {
            system.signal(target, Signal::SIGSTOP);
            system.rest(fault.pause).await?;
            system.signal(target, Signal::SIGCONT);
        }
        Kind::Restart => {
            system.stop(target).await?;
            system.rest(fault.pause).await?;
            again(system, target)?;
        }
        Kind::FreezeThenKill => {
            system.signal(target, Signal::SIGSTOP);
            system.rest(fault.pause).await?;
            system.kill(target).await;
            again(system, target)?;
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
            again(system, target)?;
        }
        Kind::IdleConnections => {
            let addresses = system.addresses();
            let number = usize::from(target == "serve-2");
            let address = addresses.get(number).or_else(|| addresses.first());
            let address = address.and_then(|address| address.strip_prefix("http://"));
            let mut held = Vec::new();
            for _ in 0..IDLE_CONNECTIONS {
                // A server that is down has none.
                if let Some(address) = address
                    && let Ok(connection) = TcpStream::connect(address).await
                {
                    held.push(connection);
                }
            }
            system.rest(fault.pause).await?;
        }
        Kind::Skew => {
            let skew = if random.percent(50) {
                SKEW_SECONDS
            } else {
                -SKEW_SECONDS
            };
            system.stop(target).await?;
            system.set_clock(target, skew);
            again(system, target)?;
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
            // As the operator guide says: make room, then start it again.
            system.stop(target).await?;
            again(system, target)?;
        }
    }
    Ok(())
}

/// Starts what was held down; the child of `up` is started by its parent.
fn again(system: &mut System, target: &str) -> Result<(), StormError> {
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

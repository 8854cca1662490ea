//! The progress of a step as a dashboard sees it, on a real queue with real shards.

use std::sync::Arc;

use futures::StreamExt;
use rollbook_ledger::ids::{LedgerId, RolloutId};
use rollbook_workers::executor::StepProgress;
use rollbook_workers::executor::progress::REPORT_INTERVAL;
use rollbook_workers::executor::shards::take as take_with_fleet;
use rollbook_workers::fleet::NatsProgress;
use rollbook_workers::fleet::progress::{follow, latest};

use crate::fleet_fixture::{FleetFixture, PATIENCE, shard_queue};

fn ids() -> (LedgerId, RolloutId) {
    ("main".parse().unwrap(), "test-1".parse().unwrap())
}

/// Asserts that reports only grow, come at most once a second, and end complete.
fn check(reports: &[StepProgress], total: u64) {
    let (last, before) = reports.split_last().unwrap();
    assert!(last.ended, "{last:?}");
    assert_eq!(
        (last.done, last.total, last.errors),
        (total, total, last.errors)
    );
    for pair in reports.windows(2) {
        assert!(pair[0].done <= pair[1].done, "{pair:?}");
        if !pair[1].ended {
            assert!(
                pair[1].at.duration_since(pair[0].at) >= REPORT_INTERVAL,
                "{pair:?}"
            );
        }
    }
    for report in before {
        assert!(!report.ended && report.done <= total, "{report:?}");
        let by_workers: u64 = report.workers.iter().map(|worker| worker.deals).sum();
        assert_eq!(by_workers, report.done, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_progress_of_two_workers_adds_up_to_the_total() {
    let fleet_fixture = FleetFixture::start().await;
    let (ledger, rollout) = ids();
    let client = fleet_fixture.server.client().await;
    let workers = [
        fleet_fixture.worker("a").await,
        fleet_fixture.worker("b").await,
    ];
    let mut fixture = fleet_fixture
        .setup
        .fixture(&fleet_fixture.cluster.source().database);
    fixture.context.tools.evidence = fleet_fixture.fixture.context.tools.evidence.clone();
    let sink = NatsProgress::start(client.clone(), ledger.clone());
    fixture.context.tools.progress = Arc::new(sink);
    let shard_queue = shard_queue(fleet_fixture.server.port).await;
    let slow = fleet_fixture.slow();
    let early = follow(&client, &ledger, &rollout).await.unwrap();
    let running = async {
        take_with_fleet(&fixture.context, &shard_queue, &slow)
            .await
            .unwrap()
    };
    let watching = async {
        let mut early = Box::pin(early);
        let mut reports = Vec::new();
        let mut joined = None;
        while let Some(report) = early.next().await {
            let ended = report.ended;
            if joined.is_none() && report.done > 0 {
                // A reader that joins midway sees the state at once.
                let mut late = Box::pin(follow(&client, &ledger, &rollout).await.unwrap());
                joined = Some((report.done, late.next().await.unwrap().done));
            }
            reports.push(report);
            if ended {
                break;
            }
        }
        let (known, told) = joined.unwrap();
        assert!(told >= known, "{told} after {known}");
        reports
    };
    let both = async { tokio::join!(running, watching) };
    let (taken, reports) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    check(&reports, taken.manifest.total);
    let last = reports.last().unwrap();
    let shards = last.shards.unwrap();
    assert_eq!((shards.done, shards.total), (10, 10));
    assert_eq!(last.errors, taken.manifest.errors);
    let by_workers: u64 = last.workers.iter().map(|worker| worker.shards).sum();
    assert_eq!(by_workers, 10);
    assert!(
        last.workers
            .iter()
            .all(|worker| ["a", "b"].contains(&&*worker.name))
    );
    // The last state remains for readers that join after the end.
    let steps = ["1.1".parse().unwrap(), "9.9".parse().unwrap()];
    let kept = latest(&client, &ledger, &rollout, &steps).await.unwrap();
    assert_eq!(kept, std::slice::from_ref(last));
    let other = "other".parse().unwrap();
    assert_eq!(latest(&client, &other, &rollout, &steps).await.unwrap(), []);
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_one_worker_reports_the_same_way() {
    let fleet_fixture = FleetFixture::start().await;
    let (ledger, rollout) = ids();
    let client = fleet_fixture.server.client().await;
    let mut fixture = fleet_fixture
        .setup
        .fixture(&fleet_fixture.cluster.source().database);
    let sink = NatsProgress::start(client.clone(), ledger.clone());
    fixture.context.tools.progress = Arc::new(sink);
    let mut states = Box::pin(follow(&client, &ledger, &rollout).await.unwrap());
    let outcome = fixture.execute().await;
    assert!(
        outcome.message.starts_with("2499 deals"),
        "{}",
        outcome.message
    );
    let last = loop {
        let state = tokio::time::timeout(PATIENCE, states.next())
            .await
            .unwrap()
            .unwrap();
        if state.ended {
            break state;
        }
    };
    assert_eq!((last.done, last.total, last.shards), (2_499, 2_499, None));
    assert_eq!(last.workers[0].name, "host/1");
    assert_eq!(last.workers[0].deals, 2_499);
}

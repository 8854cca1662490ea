//! Figures of a comparison that gates and the decision tree ask for and that no rule counts.
//! One pass over both snapshots in key order; memory does not grow with the number of deals.

use std::cmp::Ordering;

use rollbook_ledger::evidence::EvidenceStore;

use crate::compare::{CompareError, Rules};
use crate::deal::DealType;
use crate::snapshot::reader::{BlockingStore, Cursor};
use crate::snapshot::{Manifest, Snapshot, SnapshotError};

/// What the pass finds. `None`: there was no deal to measure it on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figures {
    /// The largest change of a guarded deal's `cost_total`, in percent, without sign. A cost that
    /// was zero has no change in percent.
    pub worst_change_percent: Option<f64>,
    /// Smallest after / before of a carve-out's one-time cost.
    pub carveout_ratio_min: Option<f64>,
    /// Largest after / before of a carve-out's one-time cost.
    pub carveout_ratio_max: Option<f64>,
    /// Deals with a TSA cost in the later capture. `None`: that capture has no such metric.
    pub tsa_deals: Option<u64>,
    /// Those of them whose type is not carve-out: the rule that only carve-outs pay for transition
    /// services is broken unless this is 0.
    pub tsa_elsewhere: Option<u64>,
}

const TOTAL: &str = "cost_total";
const ONE_TIME: &str = "cost_one_time_base";
const TSA: &str = "cost_tsa";

/// Measures two snapshots, off the async threads.
pub async fn of(
    before: &Snapshot,
    after: &Snapshot,
    rules: &Rules,
    store: &EvidenceStore,
) -> Result<Figures, CompareError> {
    let store = BlockingStore::new(store);
    let (before, after, rules) = (before.clone(), after.clone(), rules.clone());
    let measured = tokio::task::spawn_blocking(move || pass(&before, &after, &rules, &store));
    let figures = measured.await.map_err(|stopped| CompareError::Stopped {
        reason: stopped.to_string(),
    })??;
    Ok(figures)
}

fn place(manifest: &Manifest, metric: &str) -> Option<usize> {
    manifest
        .metrics
        .iter()
        .position(|known| known.name == metric)
}

fn pass(
    before: &Snapshot,
    after: &Snapshot,
    rules: &Rules,
    store: &BlockingStore,
) -> Result<Figures, SnapshotError> {
    let mut figures = Figures::default();
    let places = |snapshot: &Snapshot| [TOTAL, ONE_TIME].map(|m| place(&snapshot.manifest, m));
    let (old_places, new_places) = (places(before), places(after));
    let tsa = place(&after.manifest, TSA);
    if tsa.is_some() {
        (figures.tsa_deals, figures.tsa_elsewhere) = (Some(0), Some(0));
    }
    let mut old = Cursor::new(store.clone(), before);
    let mut new = Cursor::new(store.clone(), after);
    let (mut has_old, mut has_new) = (old.advance()?, new.advance()?);
    loop {
        let order = match (
            old.current().filter(|_| has_old),
            new.current().filter(|_| has_new),
        ) {
            (None, None) => return Ok(figures),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, i)), Some((b, j))) => a.deal_id(i).cmp(b.deal_id(j)),
        };
        if order == Ordering::Equal
            && let (Some((a, i)), Some((b, j))) = (old.current(), new.current())
        {
            let kind = a.deal_type(i);
            for (which, (from, to)) in old_places.iter().zip(new_places).enumerate() {
                let (Some(from), Some(to)) = (*from, to) else {
                    continue;
                };
                let (Some(was), Some(is)) = (a.metric(i, from)?, b.metric(j, to)?) else {
                    continue;
                };
                if was == 0 {
                    continue;
                }
                #[allow(clippy::cast_precision_loss)]
                let ratio = is as f64 / was as f64;
                if which == 0 && rules.guards(kind) {
                    let change = (ratio - 1.0).abs() * 100.0;
                    let worst = figures.worst_change_percent;
                    figures.worst_change_percent = Some(worst.map_or(change, |w| w.max(change)));
                }
                if which == 1 && is_carveout(kind) {
                    let (least, most) = (figures.carveout_ratio_min, figures.carveout_ratio_max);
                    figures.carveout_ratio_min = Some(least.map_or(ratio, |l| l.min(ratio)));
                    figures.carveout_ratio_max = Some(most.map_or(ratio, |m| m.max(ratio)));
                }
            }
        }
        if order != Ordering::Less
            && let (Some(tsa), Some((row, j))) = (tsa, new.current())
            && row.metric(j, tsa)?.is_some_and(|cents| cents != 0)
        {
            figures.tsa_deals = figures.tsa_deals.map(|deals| deals + 1);
            if !is_carveout(row.deal_type(j)) {
                figures.tsa_elsewhere = figures.tsa_elsewhere.map(|deals| deals + 1);
            }
        }
        if order != Ordering::Greater {
            has_old = old.advance()?;
        }
        if order != Ordering::Less {
            has_new = new.advance()?;
        }
    }
}

fn is_carveout(stored: &str) -> bool {
    DealType::resolve(Some(stored)) == Ok(DealType::Carveout)
}

//! Proves a rollout: compares its views and evidence with the ledger and the evidence store.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use rollbook_ledger::error_code::{Coded, ErrorCode};
use rollbook_ledger::evidence::{EvidenceError, Verification};
use rollbook_ledger::handler::LoadedRollout;
use rollbook_ledger::ids::{Aggregate, EnvironmentId, FlagKey, LedgerId, RolloutId};
use rollbook_ledger::journal::Journal;
use rollbook_ledger::projection::projector::ProjectorError;
use rollbook_ledger::projection::proof::{Differs, ViewDifference, is_shown, prove, prove_alone};
use rollbook_ledger::projection::row::{TableSpec, ViewRow};
use rollbook_ledger::projection::rows::{EnvironmentRow, FlagRow, RolloutRow, WorkerRow};
use rollbook_ledger::projection::store::{ViewError, ViewStore};
use rollbook_ledger::projection::views::RolloutFilter;
use rollbook_ledger::projection::words::RolloutStatus;
use rollbook_ledger::rollout;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Api, ApiError, gates};

/// Evidence read for one rollout, in bytes.
const MAX_READ_BYTES: u64 = 256 * 1024 * 1024;
/// The aggregate kind of rollouts.
const ROLLOUT: &str = "rollout";
/// The most aggregates of a kind that are counted on the ledger and in the views.
const MAX_COUNTED: usize = 10_000;
/// The most aggregates checked because only the ledger or only the views have them.
const MAX_LACKING: usize = 20;

/// A comparison of several rollouts starts no further one after this time.
const COMPARED_WITHIN: Duration = Duration::from_secs(4);

/// The result of proving a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofAnswer {
    /// If rows of the views differ from the ledger: the first of them, and what to do. Absent: all
    /// rows match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub views: Option<String>,
    /// Evidence that is missing or altered.
    pub damaged: Vec<String>,
    /// The code of what was found first: differing rows, or else the first damaged evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// Pieces of evidence that were read and are undamaged.
    pub sound: usize,
    /// Pieces that exist but were too large to read.
    pub unread: usize,
    /// Texts of people that are no longer stored, only their beginnings: they were erased.
    #[serde(default)]
    pub erased: usize,
}

pub(super) async fn proof(
    State(api): State<Api>,
    Path(id): Path<RolloutId>,
) -> Result<Json<ProofAnswer>, ApiError> {
    let loaded = api.handler.rollout(&id).await?;
    api.await_views(loaded.sequence).await;
    let differences = rows(&api, &id, &loaded).await.map_err(failed)?;
    let (looked, erased) = evidence(&api, &loaded).await?;
    let differs = Differs::of(differences);
    let damaged: Vec<_> = looked.damaged.into_iter().map(gates::lost).collect();
    Ok(Json(ProofAnswer {
        code: differs
            .as_ref()
            .map(Coded::code)
            .or_else(|| damaged.first().map(Coded::code)),
        views: differs.map(|differs| differs.to_string()),
        damaged: damaged.iter().map(ToString::to_string).collect(),
        sound: looked.sound,
        unread: looked.unread,
        erased,
    }))
}

/// Damage of the ledger is reported as damage.
fn failed(error: ProjectorError) -> ApiError {
    match error {
        ProjectorError::Journal(error) => error.into(),
        ProjectorError::View(error) => error.into(),
        error => ApiError::unavailable_as(error),
    }
}

/// Verifies the evidence and the long texts of a rollout; also returns how many texts are gone.
async fn evidence(
    api: &Api,
    loaded: &LoadedRollout,
) -> Result<(Verification, usize), EvidenceError> {
    let (store, state) = (api.handler.evidence(), &loaded.state);
    let mut found = store
        .verify_all(rollout::all_evidence(state), MAX_READ_BYTES)
        .await?;
    let left = MAX_READ_BYTES.saturating_sub(found.bytes);
    let texts = store.verify_all(rollout::long_texts(state), left).await?;
    let is_gone = |error: &EvidenceError| matches!(error, EvidenceError::NotFound { .. });
    let (gone, damaged): (Vec<_>, Vec<_>) = texts.damaged.into_iter().partition(is_gone);
    found.damaged.extend(damaged);
    found.sound += texts.sound;
    found.unread += texts.unread;
    found.bytes += texts.bytes;
    Ok((found, gone.len()))
}

async fn rows(
    api: &Api,
    id: &RolloutId,
    loaded: &LoadedRollout,
) -> Result<Vec<ViewDifference>, ProjectorError> {
    let environment = &loaded.state.environment;
    let keys = loaded.plan.runbook().flags.keys();
    let flags: Vec<Aggregate> = keys
        .filter_map(|key| {
            let key = FlagKey::new(key.as_str()).ok()?;
            Some(Aggregate::Flag(environment.clone(), key))
        })
        .collect();
    let (journal, views) = (&**api.handler.journal(), &*api.views);
    let touched = loaded.plan.environments_of(environment);
    let touched = touched
        .into_iter()
        .filter_map(|name| Some(Aggregate::Environment(EnvironmentId::new(name).ok()?)));
    // What the rollout depends on: the flags that its plan names, and the environments it acts in.
    let beside: Vec<Aggregate> = flags.iter().cloned().chain(touched).collect();
    let mut found = prove(journal, views, id, flags).await?;
    for aggregate in &beside {
        found.extend(prove_alone(journal, views, aggregate).await?);
    }
    Ok(found)
}

/// The result of comparing the rows of several aggregates.
pub(super) struct Rows {
    /// Rollouts in the views.
    known: usize,
    /// Whether they were compared with those on the ledger, which is skipped if there are too many.
    counted: bool,
    /// Rollouts whose rows were compared.
    compared: usize,
    /// Flags, environments and workers whose rows were compared.
    others: usize,
}

impl std::fmt::Display for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            known,
            compared,
            others,
            ..
        } = self;
        if self.counted {
            write!(f, "{known} rollouts, as many as on the ledger; ")?;
        } else {
            write!(f, "too many rollouts to count them at each look; ")?;
        }
        write!(
            f,
            "all rows of {compared} of them, and of {others} flags, environments and workers, are what the ledger says"
        )
    }
}

/// A rollout in the views.
struct Shown {
    id: String,
    open: bool,
}

/// Compares the rollouts in the views with those on the ledger, and all rows of at most `at_most`
/// of them: open ones first, others from `turn` on. Also compares flags, environments and workers.
///
/// # Errors
/// Why the comparison was impossible; the inner result says what differs.
pub(super) async fn compare_rows(
    journal: &dyn Journal,
    views: &dyn ViewStore,
    ledger: &LedgerId,
    at_most: usize,
    turn: usize,
) -> Result<Result<Rows, Differs>, ProjectorError> {
    let until = Instant::now() + COMPARED_WITHIN;
    let (shown, as_of, is_all) = shown(views).await?;
    let subjects = if is_all {
        journal.subjects(ROLLOUT, MAX_COUNTED).await?
    } else {
        None
    };
    let counted = subjects.is_some();
    let mut found = match subjects {
        Some(subjects) => miscounted(journal, ledger, &shown, subjects, as_of).await?,
        None => Vec::new(),
    };
    let (open, over): (Vec<&Shown>, Vec<&Shown>) = shown.iter().partition(|one| one.open);
    let looked_at = turned(open, turn.wrapping_mul(at_most))
        .into_iter()
        .chain(turned(over, turn))
        .take(at_most);
    let mut compared = 0;
    for one in looked_at {
        if !found.is_empty() {
            break;
        }
        let Ok(id) = RolloutId::new(one.id.as_str()) else {
            found.push(of_list(&one.id, "is not on the ledger"));
            break;
        };
        let proven = tokio::time::timeout_at(until, prove(journal, views, &id, None));
        // The next check starts with others.
        let Ok(differences) = proven.await else {
            break;
        };
        found.extend(differences?);
        compared += 1;
    }
    let mut others = 0;
    if found.is_empty() {
        (others, found) = compare_others(journal, views, ledger, at_most, turn, until).await?;
    }
    Ok(match Differs::of(found) {
        Some(differs) => Err(differs),
        None => Ok(Rows {
            known: shown.len(),
            counted,
            compared,
            others,
        }),
    })
}

/// Flags, environments and workers: how many had their rows compared, and what differs. First those
/// that are only on the ledger or only in the views, then `at_most` of each kind.
async fn compare_others(
    journal: &dyn Journal,
    views: &dyn ViewStore,
    ledger: &LedgerId,
    at_most: usize,
    turn: usize,
    until: Instant,
) -> Result<(usize, Vec<ViewDifference>), ProjectorError> {
    let flags = views.flags(None).await?.data.into_iter();
    let environments = views.environments().await?.data.into_iter();
    let workers = views.workers().await?.data.into_iter();
    let kinds: [(&TableSpec, &str, Vec<String>); 3] = [
        (
            FlagRow::TABLE,
            "flag",
            flags
                .map(|row| format!("{}/{}", row.environment, row.key))
                .collect(),
        ),
        (
            EnvironmentRow::TABLE,
            "environment",
            environments.map(|row| row.environment).collect(),
        ),
        (
            WorkerRow::TABLE,
            "worker",
            workers.map(|row| row.worker).collect(),
        ),
    ];
    let mut compared = 0;
    for (table, kind, ids) in kinds {
        let mut shown = Vec::new();
        for id in ids {
            match Aggregate::of(kind, &id) {
                Some(aggregate) => shown.push(aggregate),
                None => return Ok((compared, vec![stray(table, &id)])),
            }
        }
        // Read after the views: everything they show is on the ledger by then.
        let subjects = journal.subjects(kind, MAX_COUNTED).await?;
        let odd = subjects.map_or_else(Vec::new, |subjects| {
            let subjects = subjects.iter();
            let on_ledger = subjects.filter_map(|one| Aggregate::of_subject(ledger, one));
            only_in_one(&shown, on_ledger.collect())
        });
        let others = turned(shown, turn.wrapping_mul(at_most));
        for aggregate in odd.into_iter().chain(others.into_iter().take(at_most)) {
            let proven = tokio::time::timeout_at(until, prove_alone(journal, views, &aggregate));
            // The next check starts with others.
            let Ok(differences) = proven.await else {
                return Ok((compared, Vec::new()));
            };
            let differences = differences?;
            if !differences.is_empty() {
                return Ok((compared, differences));
            }
            compared += 1;
        }
    }
    Ok((compared, Vec::new()))
}

/// Some aggregates that only one of the two has.
fn only_in_one(shown: &[Aggregate], on_ledger: BTreeSet<Aggregate>) -> Vec<Aggregate> {
    let shown: BTreeSet<Aggregate> = shown.iter().cloned().collect();
    shown
        .symmetric_difference(&on_ledger)
        .take(MAX_LACKING)
        .cloned()
        .collect()
}

/// The list rotated to start at a position.
fn turned<T>(mut list: Vec<T>, from: usize) -> Vec<T> {
    let from = from.checked_rem(list.len()).unwrap_or(0);
    list.rotate_left(from);
    list
}

/// The rollouts in the views, the position of the views, and whether that is all of them.
async fn shown(views: &dyn ViewStore) -> Result<(Vec<Shown>, u64, bool), ViewError> {
    let mut filter = RolloutFilter::default();
    let mut all = Vec::new();
    let mut as_of = None;
    loop {
        let page = views.rollouts(&filter).await?;
        as_of.get_or_insert(page.as_of.sequence);
        let Some(last) = page.data.last() else {
            return Ok((all, as_of.unwrap_or(0), true));
        };
        filter.before_sequence = Some(last.opened_sequence);
        all.extend(page.data.into_iter().map(|row| Shown {
            open: row.status != RolloutStatus::Closed,
            id: row.rollout,
        }));
        if all.len() > MAX_COUNTED {
            return Ok((all, as_of.unwrap_or(0), false));
        }
    }
}

/// Rollouts that are only on the ledger or only in the views.
async fn miscounted(
    journal: &dyn Journal,
    ledger: &LedgerId,
    shown: &[Shown],
    subjects: Vec<String>,
    as_of: u64,
) -> Result<Vec<ViewDifference>, ProjectorError> {
    let on_ledger: HashSet<String> = subjects
        .iter()
        .filter_map(|subject| Aggregate::of_subject(ledger, subject))
        .map(|aggregate| aggregate.id())
        .collect();
    let in_views: HashSet<&str> = shown.iter().map(|one| one.id.as_str()).collect();
    let strays = in_views.iter().filter(|id| !on_ledger.contains(**id));
    let mut found: Vec<ViewDifference> = strays
        .map(|id| of_list(id, "is not on the ledger"))
        .collect();
    let lacking: Vec<RolloutId> = on_ledger
        .iter()
        .filter(|id| !in_views.contains(id.as_str()))
        .filter_map(|id| RolloutId::new(id.as_str()).ok())
        .take(MAX_LACKING)
        .collect();
    for id in lacking {
        let mut commits = journal.read(&Aggregate::Rollout(id.clone()), 0).await?;
        commits.retain(|commit| commit.sequence <= as_of);
        if is_shown(&commits, &id) {
            found.push(of_list(id.as_str(), "is missing"));
        }
    }
    Ok(found)
}

fn stray(table: &TableSpec, id: &str) -> ViewDifference {
    ViewDifference {
        table: table.name,
        row: id.to_owned(),
        what: "is not on the ledger".to_owned(),
    }
}

fn of_list(id: &str, what: &str) -> ViewDifference {
    ViewDifference {
        table: RolloutRow::TABLE.name,
        row: id.to_owned(),
        what: what.to_owned(),
    }
}

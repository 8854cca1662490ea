//! Compares stored rows with those rebuilt from the ledger: every history is proven, and every
//! edited row is found.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use proptest::prelude::*;
use rollbook_ledger::ids::{Aggregate, LedgerId, RolloutId};
use rollbook_ledger::journal::integrity::spot_check;
use rollbook_ledger::journal::{
    Appended, Journal, JournalError, MemoryJournal, ReadFrom, StoredCommit,
};
use rollbook_ledger::projection::proof::{Differs, is_shown, prove, prove_alone};
use rollbook_ledger::projection::replay::{Until, replay_at};
use rollbook_ledger::projection::sqlite;
use rollbook_ledger::projection::store::ViewStore;
use rollbook_ledger::projection::views::RolloutFilter;
use rollbook_proto::v1::{self, Commit, event::Kind};
use sqlx::{Connection, SqliteConnection};

use crate::projection_history::{
    History, choices, defined, environment_of, flag, mixed, random, worker, worker_joined,
};
use crate::projection_story::{ending, story};

async fn journal_of(history: &History) -> MemoryJournal {
    let journal = MemoryJournal::new(LedgerId::new("main").unwrap());
    for stored in &history.commits {
        let commit = stored.commit.clone();
        let aggregate = Aggregate::of(&commit.aggregate, &commit.aggregate_id).unwrap();
        journal.append(&aggregate, commit).await.unwrap();
    }
    journal
}

async fn rollouts(views: &Arc<dyn ViewStore>) -> Vec<RolloutId> {
    let all = views.rollouts(&RolloutFilter::default()).await.unwrap();
    all.data
        .iter()
        .map(|row| RolloutId::new(row.rollout.as_str()).unwrap())
        .collect()
}

#[tokio::test]
async fn projected_rows_are_proven_at_every_prefix() {
    let mut told = story();
    ending(&mut told);
    for history in [told, mixed(300)] {
        let journal = journal_of(&history).await;
        let views = sqlite::in_memory().await.unwrap();
        let mut compared = 0;
        for batch in history.commits.chunks(7) {
            views.apply(batch).await.unwrap();
            for id in rollouts(&views).await {
                let found = prove(&journal, &*views, &id, None).await.unwrap();
                assert_eq!(found, [], "{id}");
                let own = journal.read(&Aggregate::Rollout(id.clone()), 0).await;
                assert!(is_shown(&own.unwrap(), &id));
                compared += 1;
            }
        }
        assert!(compared > 3, "{compared}");
    }
}

#[tokio::test]
async fn an_edited_row_is_named() {
    let mut history = story();
    ending(&mut history);
    let journal = journal_of(&history).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("views.db");
    let views = sqlite::open(&file).await.unwrap();
    views.apply(&history.commits).await.unwrap();
    let id = RolloutId::new("r1").unwrap();
    let mut by_hand = SqliteConnection::connect(&format!("sqlite:{}", file.display()))
        .await
        .unwrap();
    for (sql, says) in [
        (
            "UPDATE rollouts SET opened_by = 'eve'",
            "row r1 of rollouts says opened_by `eve`",
        ),
        ("DELETE FROM health", "row r1 of health is missing"),
        (
            "DELETE FROM timeline WHERE aggregate LIKE 'flag %'",
            "of timeline is missing",
        ),
    ] {
        sqlx::query(sql).execute(&mut by_hand).await.unwrap();
        let flag = Aggregate::of("flag", "production/DEAL_TYPE");
        let found = prove(&journal, &*views, &id, flag).await.unwrap();
        let told = Differs::of(found.clone()).unwrap().to_string();
        assert!(told.starts_with("RB-VIEW-9: "), "{told}");
        assert!(
            found.iter().any(|one| one.to_string().contains(says)),
            "{says}: {found:?}"
        );
    }
}

/// Returns every flag, environment and worker of a history.
fn others(history: &History) -> BTreeSet<Aggregate> {
    let all = history.commits.iter().map(|stored| {
        let commit = &stored.commit;
        Aggregate::of(&commit.aggregate, &commit.aggregate_id).unwrap()
    });
    all.filter(|aggregate| !matches!(aggregate, Aggregate::Rollout(_)))
        .collect()
}

/// A history of a flag, an environment with pending terms, and a worker.
fn beside() -> History {
    let terms = |persons: &[&str]| {
        let persons = persons.iter().map(|person| (*person).to_owned()).collect();
        Some(v1::EnvironmentTerms {
            protected: true,
            roles: [("ops".to_owned(), v1::Persons { persons })].into(),
            break_glass: None,
        })
    };
    let recorded = Kind::EnvironmentRecorded(v1::EnvironmentRecorded {
        name: "production".to_owned(),
        terms: terms(&["ada", "bob"]),
        reason: "set up".to_owned(),
        ..v1::EnvironmentRecorded::default()
    });
    let revised = Kind::EnvironmentRevised(v1::EnvironmentRevised {
        revision: 2,
        terms: terms(&["ada", "bob", "cyd"]),
        reason: "cyd joined".to_owned(),
    });
    let mut history = History::default();
    let (production, one) = (environment_of("production"), worker("one"));
    history.push(&production, "ada", vec![recorded]);
    history.push(&one, "one", vec![worker_joined("one", "a")]);
    let key = flag("production", "DEAL_TYPE");
    history.push(&key, "ada", vec![defined("production", "DEAL_TYPE")]);
    history.push(&production, "bob", vec![revised]);
    history
}

/// Checks that every flag, environment and worker is proven at every prefix of a history.
async fn proven_at_every_prefix(history: &History) {
    let journal = journal_of(history).await;
    let views = sqlite::in_memory().await.unwrap();
    for batch in history.commits.chunks(7) {
        views.apply(batch).await.unwrap();
        for aggregate in others(history) {
            let found = prove_alone(&journal, &*views, &aggregate).await.unwrap();
            assert_eq!(found, [], "{aggregate}");
        }
    }
}

#[tokio::test]
async fn flags_environments_and_workers_are_proven() {
    let mut told = story();
    ending(&mut told);
    let kinds: BTreeSet<_> = others(&beside()).iter().map(Aggregate::kind).collect();
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    for history in [told, mixed(300), beside()] {
        proven_at_every_prefix(&history).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn flags_environments_and_workers_of_any_history_are_proven(choices in choices(80)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(proven_at_every_prefix(&random(&choices)));
    }
}

#[tokio::test]
async fn an_edited_row_of_a_flag_an_environment_or_a_worker_is_named() {
    let mut history = story();
    ending(&mut history);
    let more = beside();
    let dir = tempfile::tempdir().unwrap();
    for (number, (history, sql, says)) in [
        (
            &history,
            "UPDATE flags SET owner = 'eve'",
            "of flags says owner `eve`",
        ),
        (&history, "DELETE FROM flags", "of flags is missing"),
        (
            &history,
            "UPDATE flag_history SET changed_by = 'eve'",
            "of flag_history says changed_by `eve`",
        ),
        (
            &more,
            "UPDATE environments SET protected = NOT protected",
            "of environments says protected `",
        ),
        (
            &more,
            "UPDATE environments SET terms = replace(terms, 'ada', 'eve')",
            "of environments says terms `",
        ),
        (
            &more,
            "DELETE FROM environments",
            "of environments is missing",
        ),
        (
            &more,
            "UPDATE environments SET pending = replace(pending, 'cyd', 'eve')",
            "of environments says pending `",
        ),
        (&more, "DELETE FROM workers", "of workers is missing"),
    ]
    .into_iter()
    .enumerate()
    {
        let journal = journal_of(history).await;
        let file = dir.path().join(format!("{number}.db"));
        let views = sqlite::open(&file).await.unwrap();
        views.apply(&history.commits).await.unwrap();
        let mut by_hand = SqliteConnection::connect(&format!("sqlite:{}", file.display()))
            .await
            .unwrap();
        sqlx::query(sql).execute(&mut by_hand).await.unwrap();
        let mut found = Vec::new();
        for aggregate in others(history) {
            found.extend(prove_alone(&journal, &*views, &aggregate).await.unwrap());
        }
        assert!(
            found.iter().any(|one| one.to_string().contains(says)),
            "{says}: {found:?}"
        );
    }
}

#[tokio::test]
async fn aggregates_are_listed_by_their_kind() {
    let history = beside();
    let journal = journal_of(&history).await;
    let ledger = LedgerId::new("main").unwrap();
    for kind in ["flag", "environment", "worker"] {
        let expected: BTreeSet<Aggregate> = others(&history)
            .into_iter()
            .filter(|aggregate| aggregate.kind() == kind)
            .collect();
        let subjects = journal.subjects(kind, 10_000).await.unwrap().unwrap();
        let listed = subjects
            .iter()
            .map(|subject| Aggregate::of_subject(&ledger, subject).unwrap());
        assert_eq!(listed.collect::<BTreeSet<_>>(), expected);
        assert_eq!(journal.subjects(kind, 0).await.unwrap(), None);
    }
}

/// A journal with one unreadable commit that it still counts.
#[derive(Debug)]
struct Unreadable(MemoryJournal, u64);

#[async_trait]
impl Journal for Unreadable {
    async fn append(&self, a: &Aggregate, commit: Commit) -> Result<Appended, JournalError> {
        self.0.append(a, commit).await
    }

    async fn read(&self, a: &Aggregate, after: u64) -> Result<Vec<StoredCommit>, JournalError> {
        self.0.read(a, after).await
    }

    async fn follow(
        &self,
        from: ReadFrom,
    ) -> Result<BoxStream<'static, Result<StoredCommit, JournalError>>, JournalError> {
        let lost = self.1;
        let commits = self.0.follow(from).await?;
        let commits = commits.map(move |stored| match stored {
            Ok(stored) if stored.sequence == lost => Err(JournalError::Corrupt {
                sequence: lost,
                reason: "it is missing".to_owned(),
            }),
            other => other,
        });
        Ok(commits.boxed())
    }

    async fn last_sequence(&self) -> Result<u64, JournalError> {
        self.0.last_sequence().await
    }
}

#[tokio::test]
async fn an_unreadable_commit_is_found_at_every_position() {
    let history = mixed(300);
    let journal = journal_of(&history).await;
    let last = journal.last_sequence().await.unwrap();
    spot_check(&journal, 16).await.unwrap();
    for lost in (1..=last).step_by(13) {
        let journal = Unreadable(journal.clone(), lost);
        let found = spot_check(&journal, 16).await.unwrap_err();
        assert!(
            found.to_string().contains(&format!("sequence {lost} ")),
            "{found}"
        );
        let journal: Arc<dyn Journal> = Arc::new(journal);
        let found = replay_at(&journal, Until::Sequence(last))
            .await
            .unwrap_err();
        assert!(found.is_damage(), "{found}");
    }
}

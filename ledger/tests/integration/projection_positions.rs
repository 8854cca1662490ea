//! The part of the view store's contract that covers positions and notes.

use rollbook_ledger::journal::Position;
use rollbook_ledger::projection::store::ViewStore;

use crate::projection_story::story;

/// Positions name their commit; the acknowledged position survives a reset of the views.
pub async fn positions_name_their_commit(store: &dyn ViewStore) {
    assert_eq!(store.standing().await.unwrap(), Position::default());
    let history = story();
    store.apply(&history.commits).await.unwrap();
    let last = Position::of(history.commits.last().unwrap());
    assert_eq!(store.standing().await.unwrap(), last);

    assert_eq!(store.acknowledged(&last.ledger).await.unwrap(), None);
    let earlier = Position::of(&history.commits[2]);
    for position in [&last, &earlier] {
        store.acknowledge(position).await.unwrap();
        let kept = store.acknowledged(&last.ledger).await.unwrap();
        assert_eq!(kept.as_ref(), Some(&last));
    }
    assert_eq!(store.acknowledged("another").await.unwrap(), None);

    store.note_rollout_over("r1", 7).await.unwrap();
    store.note_rollout_over("r1", 5).await.unwrap();
    let over = store.rollouts_over().await.unwrap();
    assert_eq!(over, [("r1".to_owned(), 7)]);
    let opened = store.rollout("r1").await.unwrap().data.unwrap().rollout;
    assert!(store.names_evidence(&opened.plan_digest).await.unwrap());
    assert!(!store.names_evidence("none").await.unwrap());
    store.evidence_of_open(50).await.unwrap();

    store.reset().await.unwrap();
    assert_eq!(store.standing().await.unwrap(), Position::default());
    assert!(store.rollouts_over().await.unwrap().is_empty());
    let kept = store.acknowledged(&last.ledger).await.unwrap();
    assert_eq!(kept, Some(last.clone()));
    store.forget_acknowledged(&last.ledger).await.unwrap();
    assert_eq!(store.acknowledged(&last.ledger).await.unwrap(), None);
}

//! What the handler guarantees on top of the journal: a command id counts once, a lost race is
//! decided again, and a command can be repeated after a lost acknowledgement.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use futures::future::join_all;
use futures::stream::BoxStream;
use rollbook_ledger::clock::SystemClock;
use rollbook_ledger::evidence::EvidenceStore;
use rollbook_ledger::flag::FlagCommand;
use rollbook_ledger::handler::{Caller, Done, Handler, HandlerError};
use rollbook_ledger::ids::{Aggregate, EnvironmentId, FlagKey, RolloutId, StepId};
use rollbook_ledger::journal::execute::MAX_ATTEMPTS;
use rollbook_ledger::journal::{
    Appended, Journal, JournalError, MemoryJournal, ReadFrom, StoredCommit, SyncKnown,
};
use rollbook_ledger::proto::v1::event::Kind;
use rollbook_ledger::proto::v1::{Actor, ActorKind, Commit, Event, RolloutStarted};
use rollbook_ledger::rollout::{Command, Open, Request, Status, WorkerCommand};
use rollbook_ledger::runbook::Plan;
use serde_json::json;
use tempfile::TempDir;

use crate::journal_contract::ledger;

/// How the next appends fail.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// The commit is stored but the acknowledgement is lost.
    AckLost,
    /// The commit is lost before it reaches the server.
    NotStored,
    /// Another writer appends first.
    Raced,
}

/// An in-memory journal that fails as configured.
#[derive(Debug)]
struct Faulty {
    journal: MemoryJournal,
    fault: Fault,
    /// How many more appends fail.
    left: AtomicU32,
    appends: AtomicU32,
    sync: SyncKnown,
}

#[async_trait]
impl Journal for Faulty {
    async fn append(&self, a: &Aggregate, commit: Commit) -> Result<Appended, JournalError> {
        self.appends.fetch_add(1, Ordering::SeqCst);
        let less = |left: u32| left.checked_sub(1);
        if self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .is_err()
        {
            return self.journal.append(a, commit).await;
        }
        let expected = commit.previous_sequence;
        if self.fault == Fault::Raced {
            return Err(JournalError::Conflict {
                aggregate: a.to_string(),
                expected,
                actual: expected + 1,
            });
        }
        if self.fault == Fault::AckLost {
            self.journal.append(a, commit).await?;
        }
        Err(JournalError::Unavailable {
            reason: "as told".to_owned(),
        })
    }

    async fn read(&self, a: &Aggregate, after: u64) -> Result<Vec<StoredCommit>, JournalError> {
        self.journal.read(a, after).await
    }

    async fn follow(
        &self,
        from: ReadFrom,
    ) -> Result<BoxStream<'static, Result<StoredCommit, JournalError>>, JournalError> {
        self.journal.follow(from).await
    }

    async fn last_sequence(&self) -> Result<u64, JournalError> {
        self.journal.last_sequence().await
    }

    fn sync(&self) -> SyncKnown {
        self.sync
    }
}

/// One ledger, and any number of handlers on it, each with its own caches.
pub(crate) struct Ledger {
    pub(crate) journal: MemoryJournal,
    pub(crate) evidence: EvidenceStore,
    _objects: TempDir,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let objects = tempfile::tempdir().unwrap();
        Self {
            journal: MemoryJournal::new(ledger()),
            evidence: EvidenceStore::open(objects.path().to_str().unwrap()).unwrap(),
            _objects: objects,
        }
    }

    fn on(&self, journal: Arc<dyn Journal>) -> Handler {
        Handler::new(
            journal,
            self.evidence.clone(),
            Arc::new(SystemClock),
            ledger(),
        )
    }

    pub(crate) fn handler(&self) -> Handler {
        self.on(Arc::new(self.journal.clone()))
    }

    /// Returns a handler whose next appends fail.
    fn faulty(&self, fault: Fault, times: u32) -> (Handler, Arc<Faulty>) {
        let journal = Arc::new(Faulty {
            journal: self.journal.clone(),
            fault,
            left: AtomicU32::new(times),
            appends: AtomicU32::new(0),
            sync: SyncKnown::Unknown,
        });
        (self.on(journal.clone()), journal)
    }

    async fn commits(&self) -> u64 {
        self.journal.last_sequence().await.unwrap()
    }
}

pub(crate) fn id() -> RolloutId {
    RolloutId::new("r").unwrap()
}

/// Returns `alice` with this command id.
fn alice(command_id: &str) -> Caller {
    Caller {
        command_id: command_id.to_owned(),
        ..Caller::new(Actor {
            name: "alice".to_owned(),
            kind: ActorKind::Person.into(),
            authentication: "asserted".to_owned(),
        })
    }
}

pub(crate) async fn open(handler: &Handler, command_id: &str) -> Result<Done, HandlerError> {
    open_in("local", handler, command_id).await
}

async fn open_in(
    environment: &str,
    handler: &Handler,
    command_id: &str,
) -> Result<Done, HandlerError> {
    let run =
        json!({"id": "1.1", "title": "wait", "run": {"command": "true"}, "changes": "nothing"});
    open_with(run, environment, handler, command_id).await
}

/// Opens a rollout of one step of a person, with this checklist.
pub(crate) async fn open_manual(handler: &Handler, checklist: &[String]) {
    let manual = json!({"instructions": "look", "checklist": checklist});
    let step = json!({"id": "1.1", "title": "look", "manual": manual});
    open_with(step, "local", handler, "open").await.unwrap();
}

async fn open_with(
    step: serde_json::Value,
    environment: &str,
    handler: &Handler,
    command_id: &str,
) -> Result<Done, HandlerError> {
    let runbook = json!({
        "apiVersion": "rollbook/v1",
        "kind": "Runbook",
        "metadata": {"name": "test", "version": "1", "owner": "tests"},
        "environments": {"local": {}, "production": {"protected": true}},
        "roles": {"operators": ["alice", "bob"]},
        "phases": [{"id": "1", "title": "one", "steps": [step]}],
    });
    let plan =
        Plan::from_runbook(serde_json::from_value(runbook).unwrap(), BTreeMap::new()).unwrap();
    let open = Open {
        name: String::new(),
        plan: handler.store_plan(&plan).await.unwrap(),
        environment: EnvironmentId::new(environment).unwrap(),
        params: BTreeMap::new(),
    };
    let opened = handler.open(&id(), &open, &alice(command_id)).await?;
    Ok(opened.done)
}

pub(crate) async fn ask(
    handler: &Handler,
    command: &Command,
    command_id: &str,
) -> Result<Done, HandlerError> {
    let request = Request::Person(command.clone());
    handler.request(&id(), &request, &alice(command_id)).await
}

fn pause() -> Command {
    Command::Pause {
        reason: "lunch".to_owned(),
    }
}

fn resume() -> Command {
    Command::Resume {
        reason: String::new(),
    }
}

pub(crate) async fn flag(
    handler: &Handler,
    command: serde_json::Value,
    command_id: &str,
) -> Result<Done, HandlerError> {
    let command: FlagCommand = serde_json::from_value(command).unwrap();
    let local = EnvironmentId::new("local").unwrap();
    let key = FlagKey::new("f").unwrap();
    handler
        .flag_request(&local, &key, &command, &alice(command_id))
        .await
}

async fn define(handler: &Handler, command_id: &str) -> Result<Done, HandlerError> {
    let define = json!({
        "command": "define", "description": "a flag", "owner": "tests",
        "safe": {"mode": "OFF"}, "initial": {"mode": "OFF"},
    });
    flag(handler, define, command_id).await
}

#[tokio::test]
async fn a_command_id_counts_once_whichever_handler_is_asked() {
    let ledger = Ledger::new();
    let (first, second) = (ledger.handler(), ledger.handler());
    let opened = open(&first, "open").await.unwrap();
    assert_eq!((opened.sequence, opened.events.len()), (1, 1));
    let started = ask(&first, &Command::Start {}, "start").await.unwrap();
    let paused = ask(&second, &pause(), "pause").await.unwrap();
    // The first handler's cache does not contain the pause; its own command counts only once
    // anyway.
    for handler in [&first, &second, &ledger.handler()] {
        // Each repetition gets the first result, whatever has happened since.
        for (first_time, command, command_id) in [
            (&started, Command::Start {}, "start"),
            (&paused, pause(), "pause"),
        ] {
            let again = ask(handler, &command, command_id).await.unwrap();
            assert_eq!(
                (again.sequence, &again.events),
                (first_time.sequence, &first_time.events)
            );
            assert!(again.repeated && !first_time.repeated);
        }
        let again = open(handler, "open").await.unwrap();
        assert_eq!((again.sequence, &again.events), (1, &opened.events));
    }
    assert_eq!((started.sequence, ledger.commits().await), (2, 3));
    // Another person's open is not a repetition.
    match open(&first, "another").await {
        Err(error @ HandlerError::Exists { .. }) => {
            assert!(error.to_string().starts_with("RB-HANDLER-2"))
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_id_is_one_command_of_one_person() {
    let ledger = Ledger::new();
    let handler = ledger.handler();
    open(&handler, "open").await.unwrap();
    ask(&handler, &Command::Start {}, "key").await.unwrap();
    define(&handler, "define").await.unwrap();
    let on = json!({"command": "set", "to": {"mode": "ON"}, "reason": "go"});
    let off = json!({"command": "set", "to": {"mode": "OFF"}, "reason": "go"});
    flag(&handler, on, "key").await.unwrap();
    let commits = ledger.commits().await;
    let bob = |command_id| Caller {
        actor: Actor {
            name: "bob".to_owned(),
            ..alice("").actor
        },
        ..alice(command_id)
    };
    let start = Request::Person(Command::Start {});
    for handler in [&handler, &ledger.handler()] {
        for (refused, sequence) in [
            // Under the same id: another command, another person, another value, another plan.
            (ask(handler, &pause(), "key").await, 2),
            (handler.request(&id(), &start, &bob("key")).await, 2),
            (flag(handler, off.clone(), "key").await, 4),
            (open_in("production", handler, "open").await, 1),
        ] {
            match refused {
                Err(error @ HandlerError::OtherCommand { .. }) => {
                    let words = error.to_string();
                    let place = format!("at sequence {sequence};");
                    assert!(
                        words.starts_with("RB-HANDLER-15") && words.contains(&place),
                        "{words}"
                    );
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(ledger.commits().await, commits);
}

#[tokio::test]
async fn nobody_takes_the_id_of_a_worker() {
    let ledger = Ledger::new();
    let handler = ledger.handler();
    open(&handler, "open").await.unwrap();
    let intent = "r/1.1/execute/1/intent/w";
    ask(&handler, &Command::Start {}, intent).await.unwrap();
    let start = Request::Worker(WorkerCommand::StartStep {
        step: StepId::new("1.1").unwrap(),
        attempt: 1,
        worker: "w".to_owned(),
        intent: "true".to_owned(),
    });
    let worker = Caller {
        command_id: intent.to_owned(),
        ..Caller::process("w", ActorKind::Worker)
    };
    let started = handler.request(&id(), &start, &worker).await.unwrap();
    assert_eq!((started.events.len(), started.repeated), (1, false));
    let again = handler.request(&id(), &start, &worker).await.unwrap();
    assert_eq!((again.sequence, again.repeated), (started.sequence, true));
}

#[tokio::test]
async fn a_command_recorded_by_an_earlier_version_is_repeated_by_its_id() {
    let ledger = Ledger::new();
    open(&ledger.handler(), "open").await.unwrap();
    let started = Commit {
        id: uuid::Uuid::now_v7().to_string(),
        command_id: "start".to_owned(),
        command_digest: Vec::new(),
        previous_sequence: 1,
        events: vec![Event {
            kind: Some(Kind::RolloutStarted(RolloutStarted {})),
        }],
        ..ledger
            .journal
            .read(&Aggregate::Rollout(id()), 0)
            .await
            .unwrap()[0]
            .commit
            .clone()
    };
    ledger
        .journal
        .append(&Aggregate::Rollout(id()), started)
        .await
        .unwrap();
    let again = ask(&ledger.handler(), &Command::Start {}, "start").await;
    let again = again.unwrap();
    assert_eq!(
        (again.sequence, again.events.len(), again.repeated),
        (2, 1, true)
    );
}

#[tokio::test]
async fn a_stale_cache_decides_nothing() {
    let ledger = Ledger::new();
    let (stale, other) = (ledger.handler(), ledger.handler());
    open(&stale, "open").await.unwrap();
    ask(&stale, &Command::Start {}, "start").await.unwrap();
    ask(&other, &pause(), "pause").await.unwrap();
    // Running in the cache, paused in the ledger: only by the cache is there nothing to resume.
    let resumed = ask(&stale, &resume(), "resume").await.unwrap();
    assert_eq!((resumed.sequence, resumed.events.len()), (4, 1));
    // Running in the cache, aborted in the ledger: only by the cache may it be paused.
    let reason = "over".to_owned();
    ask(&other, &Command::Abort { reason }, "abort")
        .await
        .unwrap();
    let refused = ask(&stale, &pause(), "pause again").await;
    assert!(
        matches!(refused, Err(HandlerError::Refused(_))),
        "{refused:?}"
    );
    assert_eq!(
        stale.rollout(&id()).await.unwrap().state.status,
        other.rollout(&id()).await.unwrap().state.status
    );
}

#[tokio::test]
async fn after_a_lost_acknowledgement_the_same_command_may_be_repeated() {
    for fault in [Fault::AckLost, Fault::NotStored] {
        let ledger = Ledger::new();
        let once = || ledger.faulty(fault, 1).0;
        let found = fault == Fault::AckLost;

        let handler = once();
        let lost = open(&handler, "open").await.unwrap_err();
        assert!(
            matches!(&lost, HandlerError::Journal(error) if error.is_retryable()),
            "{lost:?}"
        );
        let again = open(&handler, "open").await.unwrap();
        assert_eq!(
            (again.sequence, again.events.len(), again.repeated),
            (1, 1, found)
        );

        let handler = once();
        assert!(ask(&handler, &Command::Start {}, "start").await.is_err());
        let again = ask(&handler, &Command::Start {}, "start").await.unwrap();
        assert_eq!(
            (again.sequence, again.events.len(), again.repeated),
            (2, 1, found)
        );

        // Now from a cache that does not know the outcome.
        let (handler, faulty) = ledger.faulty(fault, 0);
        assert_eq!(
            handler.rollout(&id()).await.unwrap().state.status,
            Status::Running
        );
        faulty.left.store(1, Ordering::SeqCst);
        assert!(ask(&handler, &pause(), "pause").await.is_err());
        let again = ask(&handler, &pause(), "pause").await.unwrap();
        assert_eq!(
            (again.sequence, again.events.len(), again.repeated),
            (3, 1, found)
        );

        let handler = once();
        assert!(define(&handler, "define").await.is_err());
        let again = define(&handler, "define").await.unwrap();
        assert_eq!(
            (again.sequence, again.events.len(), again.repeated),
            (4, 1, found)
        );
        assert_eq!(ledger.commits().await, 4);
    }
}

#[tokio::test]
async fn a_lost_race_is_decided_again_a_bounded_number_of_times() {
    let ledger = Ledger::new();
    let (handler, faulty) = ledger.faulty(Fault::Raced, 3);
    open(&handler, "open").await.unwrap();
    assert_eq!(faulty.appends.load(Ordering::SeqCst), 4);

    let (handler, faulty) = ledger.faulty(Fault::Raced, u32::MAX);
    match ask(&handler, &Command::Start {}, "start").await {
        Err(HandlerError::Contended(contended)) => {
            assert_eq!(contended.attempts, MAX_ATTEMPTS);
            assert!(contended.to_string().starts_with("RB-JOURNAL-8: rollout"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(faulty.appends.load(Ordering::SeqCst), MAX_ATTEMPTS);
    assert_eq!(ledger.commits().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_commands_are_each_recorded_once() {
    let ledger = Arc::new(Ledger::new());
    let opened = join_all((0..8).map(|n| {
        let ledger = ledger.clone();
        tokio::spawn(async move { open(&ledger.handler(), &format!("open-{n}")).await })
    }));
    let opened: Vec<_> = opened.await.into_iter().map(Result::unwrap).collect();
    assert_eq!(opened.iter().filter(|one| one.is_ok()).count(), 1);

    define(&ledger.handler(), "define").await.unwrap();
    // Sixteen values, each set twice under one command id, by independent handlers.
    let set = join_all((0..32_u32).map(|n| {
        let ledger = ledger.clone();
        let to = json!({"mode": "PERCENTAGE", "percentageMillis": 1 + n % 16});
        let set = json!({"command": "set", "to": to, "reason": "race"});
        tokio::spawn(async move { flag(&ledger.handler(), set, &format!("set-{}", n % 16)).await })
    }));
    let recorded = set
        .await
        .into_iter()
        .filter(|done| !done.as_ref().unwrap().as_ref().unwrap().repeated);
    assert_eq!(recorded.count(), 16);
    assert_eq!(ledger.commits().await, 2 + 16);
}

#[tokio::test]
async fn environments_that_an_older_ledger_did_not_record_are_named() {
    let ledger = Ledger::new();
    let handler = ledger.handler();
    open_in("production", &handler, "open").await.unwrap();
    assert_eq!(handler.unrecorded(&[id()]).await.unwrap(), []);
    // The same rollout on an older ledger, which did not record its environment.
    let aggregate = Aggregate::Rollout(id());
    let before = MemoryJournal::new(crate::journal_contract::ledger());
    for stored in ledger.journal.read(&aggregate, 0).await.unwrap() {
        before.append(&aggregate, stored.commit).await.unwrap();
    }
    let handler = ledger.on(Arc::new(before));
    let found = handler.unrecorded(&[id()]).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    let text = found[0].text();
    assert!(
        text.contains("the plan of r ")
            && text.contains(
                "rollbook environment set production --protected --role 'operators=alice,bob'"
            ),
        "{text}"
    );
}

#[tokio::test]
async fn no_protected_rollout_opens_where_commits_could_be_lost() {
    for (sync, protected) in [
        (SyncKnown::Always, true),
        (SyncKnown::Unknown, true),
        (SyncKnown::NotAlways, false),
    ] {
        for (environment, is_opened) in [("production", protected), ("local", true)] {
            let ledger = Ledger::new();
            let handler = ledger.on(Arc::new(Faulty {
                journal: ledger.journal.clone(),
                fault: Fault::NotStored,
                left: AtomicU32::new(0),
                appends: AtomicU32::new(0),
                sync,
            }));
            match open_in(environment, &handler, "open").await {
                Ok(_) => assert!(is_opened, "{sync:?} {environment}"),
                Err(error @ HandlerError::NotSynced { .. }) => {
                    let words = error.to_string();
                    assert!(!is_opened, "{sync:?} {environment}");
                    assert!(
                        words.starts_with("RB-HANDLER-4") && words.contains("production"),
                        "{words}"
                    );
                }
                other => panic!("{other:?}"),
            }
            // The first rollout in a protected environment also records the environment.
            let commits = match (is_opened, environment) {
                (false, _) => 0,
                (true, "production") => 2,
                (true, _) => 1,
            };
            assert_eq!(ledger.commits().await, commits);
        }
    }
}

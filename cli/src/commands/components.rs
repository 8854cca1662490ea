//! The parts of a ledger process, and how it waits for a NATS server that has just started: streams
//! of three copies elect their leaders, a busy cluster answers late.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use rollbook_deals::Deals;
use rollbook_ledger::clock::SystemClock;
use rollbook_ledger::evidence::{EvidenceError, EvidenceStore};
use rollbook_ledger::handler::Handler;
use rollbook_ledger::ids::LedgerId;
use rollbook_ledger::journal::integrity::inspect;
use rollbook_ledger::journal::{
    JetStreamJournal, JetStreamOptions, Journal, JournalError, SyncKnown, TrackedJournal,
};
use rollbook_ledger::nats::{self, Credentials, NatsOptions, ServerClock};
use rollbook_ledger::projection::store::ViewStore;
use rollbook_server::Limits;
use rollbook_server::auth::AssertedName;
use rollbook_server::serve::{Dependencies, GUARD_EVERY};
use rollbook_workers::executor::context::SAMPLES;
use rollbook_workers::executor::{ProcessSecrets, Tools, http_client};
use rollbook_workers::fleet::presence::{self, NatsPresence};
use rollbook_workers::fleet::shards::{self, ShardQueue};
use rollbook_workers::fleet::{
    self, DeadLetters, JetStreamQueue, LedgerPort, NatsOutput, NatsProgress, NatsSignals,
    NoticeQueue, QueueError, QueueOptions, TaskQueue, WorkerConfig, membership,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::integrity_check::{Known, damage};
use super::open_files;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::print;

/// Interval between tries to open what is not available yet.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How long a server tries to open its streams on a NATS server that it has reached.
const SERVER_TRIES: Duration = Duration::from_secs(60);

/// Connections and evidence store: what a process has before it looks at the ledger. If these fail,
/// the address or the credentials are wrong, and waiting does not help.
pub(super) struct Connections {
    ledger: LedgerId,
    nats: Client,
    /// A connection of its own for bulk replay.
    follow: Client,
    /// A user of the system account.
    system: Option<Client>,
    evidence: EvidenceStore,
    secrets: Arc<ProcessSecrets>,
    sync: SyncKnown,
}

/// The configured ledger.
pub(super) fn ledger_id(config: &Config) -> Result<LedgerId, Failure> {
    LedgerId::new(config.get("ledger").unwrap_or("main")).map_err(Failure::usage)
}

impl Connections {
    /// Connects with these options and opens the evidence store at `objects`. The configured
    /// credentials are redacted from everything that steps output.
    pub(super) async fn by(
        options: impl Fn(&str) -> NatsOptions,
        config: &Config,
        objects: &str,
        sync: SyncKnown,
        system: Option<Client>,
    ) -> Result<Self, Failure> {
        let ledger = ledger_id(config)?;
        let own = options("rollbook");
        let mut secrets = ProcessSecrets::new(config.texts());
        if let Credentials::Token(token) = &own.credentials {
            secrets = secrets.and(token.clone());
        }
        Ok(Self {
            ledger,
            nats: connect(&own).await?,
            follow: connect(&options("rollbook follower")).await?,
            system,
            evidence: open_evidence(objects).await?,
            secrets: Arc::new(secrets),
            sync,
        })
    }

    /// The same for a NATS server that somebody else runs.
    pub(super) async fn remote(config: &Config) -> Result<Self, Failure> {
        let url = required(config, "nats")?;
        let objects = required(config, "objects")?;
        let options = |name: &str| NatsOptions {
            url: url.clone(),
            name: name.to_owned(),
            ..NatsOptions::default()
        };
        let system = match config.get("nats_system") {
            None => None,
            Some(url) => Some(
                connect(&NatsOptions {
                    url: url.to_owned(),
                    ..options("rollbook system")
                })
                .await?,
            ),
        };
        Self::by(options, config, &objects, SyncKnown::Unknown, system).await
    }

    /// Opens everything and creates missing streams with this many copies. Retries what is
    /// unavailable for a minute.
    pub(super) async fn serving(&self, replicas: usize) -> Result<Components, Failure> {
        let parts = retry_opening(Some(SERVER_TRIES), || self.parts(replicas)).await?;
        if self.system.is_some() && parts.journal.sync() == SyncKnown::Unknown {
            print::note(
                "whether the NATS server syncs is still not known: --nats-system must name a user of its system account",
            );
        }
        Ok(parts)
    }

    /// Waits, however long, until a server has created the streams and all of it answers: only the
    /// server decides how many copies they have.
    pub(super) async fn working(&self) -> Result<Components, Failure> {
        retry_opening(None, || async {
            self.check_streams_exist().await?;
            let parts = self.parts(1).await?;
            // A worker keeps no position of its own; it detects what the stream itself shows as
            // missing.
            inspect(&parts.kept).await.map_err(damage)?;
            Ok(parts)
        })
        .await
    }

    /// Fails until a server has created the streams.
    async fn check_streams_exist(&self) -> Result<(), OpenFailure> {
        let has_ledger = JetStreamJournal::exists(&self.nats, &self.ledger).await;
        if has_ledger.map_err(journal_failure)? {
            // Waiting does not help if settings are refused.
            self.journal(1).await?;
            if JetStreamQueue::exists(&self.nats)
                .await
                .map_err(queue_failure)?
            {
                return Ok(());
            }
        }
        Err(OpenFailure::from(Failure::own(
            Exit::Unavailable,
            "RB-CLI-76",
            format!(
                "ledger {} is not there yet; start `rollbook serve`, which makes it",
                self.ledger
            ),
        )))
    }

    async fn journal(&self, replicas: usize) -> Result<JetStreamJournal, OpenFailure> {
        let options = JetStreamOptions {
            replicas,
            sync: self.sync,
            system: self.system.clone(),
            follow_client: Some(self.follow.clone()),
            ..JetStreamOptions::default()
        };
        JetStreamJournal::open(self.nats.clone(), self.ledger.clone(), options)
            .await
            .map_err(journal_failure)
    }

    async fn parts(&self, replicas: usize) -> Result<Components, OpenFailure> {
        let (nats, ledger) = (&self.nats, &self.ledger);
        let journal = self.journal(replicas).await?;
        let system = Arc::new(SystemClock);
        let clock = ServerClock::follow(nats.clone(), journal.stream(), system).await;
        let clock = Arc::new(clock);
        let kept = TrackedJournal::new(Arc::new(journal.clone()));
        let handler = Handler::new(
            Arc::new(kept.clone()),
            self.evidence.clone(),
            clock.clone(),
            ledger.clone(),
        );
        let options = QueueOptions {
            replicas,
            ..QueueOptions::default()
        };
        let queue = JetStreamQueue::open(nats.clone(), ledger.clone(), options)
            .await
            .map_err(queue_failure)?;
        let queue = Arc::new(queue);
        let notices = NoticeQueue::new(queue.clone());
        let shards = ShardQueue::open(queue.clone())
            .await
            .map_err(queue_failure)?;
        let tools = Tools {
            sampling: Arc::new(Semaphore::new(SAMPLES)),
            evidence: self.evidence.clone(),
            clock,
            secrets: self.secrets.clone(),
            output: Arc::new(NatsOutput::start(nats.clone(), ledger.clone())),
            progress: Arc::new(NatsProgress::start(nats.clone(), ledger.clone())),
            flags: Arc::new(LedgerPort::new(handler.clone())),
            http: http_client().map_err(Failure::unavailable)?,
            calculators: Arc::new(Deals),
            auditor: Arc::new(Deals),
            shards: Some(Arc::new(shards.clone())),
        };
        Ok(Components {
            ledger: ledger.clone(),
            nats: nats.clone(),
            journal,
            kept,
            handler,
            queue,
            shards,
            notices,
            tools,
        })
    }
}

/// The parts that every ledger process needs.
pub(super) struct Components {
    pub(super) ledger: LedgerId,
    nats: Client,
    journal: JetStreamJournal,
    /// The same journal, noting what it acknowledges; used by the handler.
    pub(super) kept: TrackedJournal,
    pub(super) handler: Handler,
    queue: Arc<dyn TaskQueue>,
    shards: ShardQueue,
    notices: NoticeQueue,
    tools: Tools,
}

impl Components {
    /// Compares the ledger with what is known of it, before anything is appended. Retries a stream
    /// that has no leader yet for a minute.
    pub(super) async fn checked(
        &self,
        known: &Known,
        accepted: Option<u64>,
    ) -> Result<(), Failure> {
        retry_opening(Some(SERVER_TRIES), || async {
            let checked = known.check(&self.kept, &self.ledger, accepted).await;
            checked.map_err(OpenFailure::from)
        })
        .await
    }

    pub(super) fn dependencies(&self, views: Arc<dyn ViewStore>) -> Dependencies {
        Dependencies {
            authenticator: Arc::new(AssertedName),
            handler: self.handler.clone(),
            views,
            queue: self.queue.clone(),
            notices: self.notices.clone(),
            secrets: self.tools.secrets.clone(),
            http: self.tools.http.clone(),
            dead_letters: DeadLetters::new(
                self.nats.clone(),
                self.ledger.clone(),
                self.handler.clone(),
                self.shards.clone(),
            ),
            signals: Arc::new(NatsSignals::new(self.nats.clone(), self.ledger.clone())),
            fleet: Arc::new(NatsPresence::new(self.nats.clone(), self.ledger.clone())),
            ledger: self.ledger.clone(),
            reports: Arc::new(self.journal.clone()),
            limits: Limits::new(open_files::raise()),
            guard_every: GUARD_EVERY,
            rebuilt: None,
        }
    }

    /// Takes tasks until told to stop. The worker has already joined.
    pub(super) async fn work(self, config: WorkerConfig, shutdown: CancellationToken) {
        let handler = self.handler.clone();
        let (worker, config) = (config.clone(), config);
        let port = Arc::new(LedgerPort::new(self.handler));
        let gone = CancellationToken::new();
        let announced = tokio::spawn(presence::announce(
            self.nats.clone(),
            self.ledger.clone(),
            config.clone(),
            self.tools.clock.clone(),
            gone.clone(),
        ));
        let shards = shards::work(
            config.clone(),
            self.shards,
            port.clone(),
            self.tools.clone(),
            shutdown.clone(),
        );
        let steps = fleet::run(config, self.queue, port, self.tools, shutdown);
        tokio::join!(steps, shards);
        gone.cancel();
        // Errors matter only for display.
        let _ = tokio::join!(announced, membership::drained(&handler, &worker));
    }
}

/// Why something could not be opened.
enum OpenFailure {
    /// A later try may succeed.
    Retryable(Failure),
    /// Retrying is useless.
    Final(Failure),
}

impl From<Failure> for OpenFailure {
    fn from(failure: Failure) -> Self {
        if failure.exit == Exit::Unavailable {
            Self::Retryable(failure)
        } else {
            Self::Final(failure)
        }
    }
}

/// Retries until it succeeds or is refused, for at most this long. Prints each reason to wait once.
async fn retry_opening<T, F>(
    at_most: Option<Duration>,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, OpenFailure>>,
{
    let begun = Instant::now();
    let mut reported = HashSet::new();
    loop {
        let failure = match attempt().await {
            Ok(done) => return Ok(done),
            Err(OpenFailure::Final(failure)) => return Err(failure),
            Err(OpenFailure::Retryable(failure)) => failure,
        };
        if at_most.is_some_and(|at_most| begun.elapsed() >= at_most) {
            return Err(failure);
        }
        if reported.insert(failure.code.clone()) {
            let until = at_most.map_or_else(
                || "until it is ready".to_owned(),
                |at_most| format!("for {} s", at_most.as_secs()),
            );
            print::note(format!(
                "not ready to start: {}; trying again {until}",
                failure.message
            ));
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// Opens the evidence store and checks that it answers: a worker without one would take tasks that
/// it cannot do.
async fn open_evidence(objects: &str) -> Result<EvidenceStore, Failure> {
    let opened = async {
        let store = EvidenceStore::open(objects)?;
        store.check().await?;
        Ok(store)
    };
    opened
        .await
        .map_err(|error: EvidenceError| super::evidence_store::snapshot_failure(error.into()))
}

async fn connect(options: &NatsOptions) -> Result<Client, Failure> {
    nats::connect(options).await.map_err(Failure::unavailable)
}

fn journal_failure(error: JournalError) -> OpenFailure {
    let exit = match &error {
        JournalError::UnsafeSetting { .. } => Exit::Blocked,
        JournalError::Reserved { .. } => Exit::Usage,
        JournalError::Corrupt { .. } => Exit::Integrity,
        JournalError::Unavailable { .. } => {
            return OpenFailure::Retryable(Failure::unavailable(error));
        }
        _ => Exit::Unavailable,
    };
    OpenFailure::Final(Failure::new(exit, error))
}

fn queue_failure(error: QueueError) -> OpenFailure {
    let exit = match &error {
        QueueError::Setting { .. } => Exit::Blocked,
        QueueError::Unavailable { .. } | QueueError::Full { .. } => Exit::Unavailable,
    };
    OpenFailure::from(Failure::new(exit, error))
}

pub(super) fn required(config: &Config, key: &str) -> Result<String, Failure> {
    config.get(key).map(str::to_owned).ok_or_else(|| {
        Failure::own(
            Exit::Usage,
            "RB-CLI-75",
            format!(
                "{key} is not set; give --{key}, ROLLBOOK_{} or `{key}` in rollbook.toml",
                key.to_uppercase()
            ),
        )
    })
}

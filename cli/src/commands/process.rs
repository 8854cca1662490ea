//! The commands that start processes: `up`, `serve`, `worker`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use rollbook_ledger::clock::SystemClock;
use rollbook_ledger::evidence::{EvidenceError, EvidenceStore};
use rollbook_ledger::handler::Handler;
use rollbook_ledger::ids::{LedgerId, WorkerName};
use rollbook_ledger::journal::integrity::inspect;
use rollbook_ledger::journal::jetstream::SyncKnown;
use rollbook_ledger::journal::{
    JetStreamJournal, JetStreamOptions, Journal, JournalError, KeptJournal, PositionFile,
};
use rollbook_ledger::nats::{
    self, Credentials, EmbeddedServer, NatsOptions, ServerClock, ServerError, ServerOptions,
};
use rollbook_ledger::projection::acknowledged::AcknowledgedInViews;
use rollbook_ledger::projection::store::ViewStore;
use rollbook_ledger::projection::{postgres, sqlite};
use rollbook_server::serve::{self, Dependencies, ServeError};
use rollbook_workers::executor::{ProcessSecrets, Tools, http_client};
use rollbook_workers::fleet::membership;
use rollbook_workers::fleet::presence;
use rollbook_workers::fleet::shards::{self, ShardLane};
use rollbook_workers::fleet::{
    self, DeadLetters, JetStreamQueue, LedgerPort, NatsOutput, NatsProgress, NoticeLane,
    QueueOptions, TaskQueue, WorkerConfig,
};
use tokio_util::sync::CancellationToken;

use super::open_files;
use super::standing::{Known, damage, without_lost_end};
use super::stop::{on_signal, unless_stopped};
use crate::args::{ServeArgs, UpArgs, WorkerArgs};
use crate::config::{Config, DEFAULT_LISTEN, ENDPOINT_FILE};
use crate::exit::{Exit, Failure, Outcome};
use crate::print;

/// Between two looks whether a server has made the ledger.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Everything a process of the ledger works with.
struct Parts {
    ledger: LedgerId,
    nats: Client,
    journal: JetStreamJournal,
    /// The same, noting what it acknowledges; the handler's.
    kept: KeptJournal,
    handler: Handler,
    queue: Arc<dyn TaskQueue>,
    lane: ShardLane,
    notices: NoticeLane,
    tools: Tools,
}

impl Parts {
    /// Connects: control and bulk replay on separate connections. The credentials in `settings` are
    /// taken out of everything that steps give.
    async fn open(
        options: impl Fn(&str) -> NatsOptions,
        ledger: LedgerId,
        objects: &str,
        replicas: usize,
        sync: SyncKnown,
        system: Option<Client>,
        settings: impl IntoIterator<Item = &str>,
    ) -> Result<Self, Failure> {
        let own = options("rollbook");
        let mut secrets = ProcessSecrets::new(settings);
        if let Credentials::Token(token) = &own.credentials {
            secrets = secrets.and(token.clone());
        }
        let nats = connect(&own).await?;
        let follow = connect(&options("rollbook follower")).await?;
        let settings = JetStreamOptions {
            replicas,
            sync,
            system,
            follow_client: Some(follow),
            ..JetStreamOptions::default()
        };
        let journal = JetStreamJournal::open(nats.clone(), ledger.clone(), settings)
            .await
            .map_err(journal_failure)?;
        let evidence = open_evidence(objects)
            .await
            .map_err(|error| super::data::snapshot_failure(error.into()))?;
        let system = Arc::new(SystemClock);
        let clock = ServerClock::follow(nats.clone(), journal.stream(), system).await;
        let clock = Arc::new(clock);
        let kept = KeptJournal::new(Arc::new(journal.clone()));
        let handler = Handler::new(
            Arc::new(kept.clone()),
            evidence.clone(),
            clock.clone(),
            ledger.clone(),
        );
        let queue_options = QueueOptions {
            replicas,
            ..QueueOptions::default()
        };
        let queue = JetStreamQueue::open(nats.clone(), ledger.clone(), queue_options)
            .await
            .map_err(Failure::unavailable)?;
        let queue = Arc::new(queue);
        let notices = NoticeLane::new(queue.clone());
        let lane = ShardLane::open(queue.clone())
            .await
            .map_err(Failure::unavailable)?;
        let tools = Tools {
            evidence,
            clock,
            secrets: Arc::new(secrets),
            output: Arc::new(NatsOutput::start(nats.clone(), ledger.clone())),
            progress: Arc::new(NatsProgress::start(nats.clone(), ledger.clone())),
            flags: Arc::new(LedgerPort::new(handler.clone())),
            http: http_client().map_err(Failure::unavailable)?,
            shards: Some(Arc::new(lane.clone())),
        };
        Ok(Self {
            ledger,
            nats,
            journal,
            kept,
            handler,
            queue,
            lane,
            notices,
            tools,
        })
    }

    fn dependencies(&self, views: Arc<dyn ViewStore>) -> Dependencies {
        Dependencies {
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
                self.lane.clone(),
            ),
            nats: self.nats.clone(),
            ledger: self.ledger.clone(),
            stream: self.journal.clone(),
            open_files: open_files::raise(),
        }
    }

    /// Takes tasks until told to stop. The worker has joined already.
    async fn work(self, config: WorkerConfig, shutdown: CancellationToken) {
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
            self.lane,
            port.clone(),
            self.tools.clone(),
            shutdown.clone(),
        );
        let steps = fleet::run(config, self.queue, port, self.tools, shutdown);
        tokio::join!(steps, shards);
        gone.cancel();
        // Nobody misses it but the eye.
        let _ = tokio::join!(announced, membership::drained(&handler, &worker));
    }
}

/// Opens the evidence store, and finds out now whether it answers: a worker without one would
/// take tasks that it cannot do.
async fn open_evidence(objects: &str) -> Result<EvidenceStore, EvidenceError> {
    let store = EvidenceStore::open(objects)?;
    store.check().await?;
    Ok(store)
}

async fn connect(options: &NatsOptions) -> Result<Client, Failure> {
    nats::connect(options).await.map_err(Failure::unavailable)
}

fn journal_failure(error: JournalError) -> Failure {
    let exit = match &error {
        JournalError::UnsafeSetting { .. } => Exit::Blocked,
        JournalError::Reserved { .. } => Exit::Usage,
        JournalError::Corrupt { .. } => Exit::Integrity,
        _ => Exit::Unavailable,
    };
    Failure::new(exit, error)
}

fn serve_failure(error: ServeError) -> Failure {
    let exit = if error.is_damage() {
        Exit::Integrity
    } else {
        Exit::Unavailable
    };
    Failure::new(exit, error)
}

fn ledger_id(config: &Config) -> Result<LedgerId, Failure> {
    LedgerId::new(config.get("ledger").unwrap_or("main")).map_err(Failure::usage)
}

/// The file of views in SQLite.
fn sqlite_file(url: &str) -> Option<&Path> {
    let path = url
        .strip_prefix("sqlite://")
        .or_else(|| url.strip_prefix("sqlite:"));
    path.map(Path::new)
}

/// Opens the views at `sqlite:PATH` or a PostgreSQL URL.
async fn open_views(url: &str) -> Result<Arc<dyn ViewStore>, Failure> {
    let opened = if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        postgres::open(url, postgres::DEFAULT_SCHEMA).await
    } else if let Some(path) = sqlite_file(url) {
        sqlite::open_or_replace(path).await
    } else {
        return Err(Failure::usage(format!(
            "RB-CLI-70: `{}` is no database for views; write sqlite:PATH or postgres://…",
            crate::config::redact_url(url)
        )));
    };
    opened.map_err(Failure::unavailable)
}

/// Serves until `shutdown`. Views in SQLite that turn out to be damaged are set aside, and the server
/// goes on with others, which are rebuilt.
async fn serve_on(
    mut listener: tokio::net::TcpListener,
    parts: Dependencies,
    views_url: &str,
    shutdown: &CancellationToken,
) -> Outcome {
    let mut parts = parts;
    loop {
        let address = listener
            .local_addr()
            .map_err(|error| Failure::unavailable(format!("RB-CLI-72: no address: {error}")))?;
        let served = serve::run(listener, parts.clone(), shutdown.child_token()).await;
        match (served, sqlite_file(views_url)) {
            (Err(error), Some(file)) if error.is_damaged_views() => {
                print::aside(format!("{error}; going on with new ones"));
                sqlite::set_aside(file).map_err(Failure::unavailable)?;
                parts.views = open_views(views_url).await?;
                listener = serve::listen(&address.to_string())
                    .await
                    .map_err(listen_failure)?;
            }
            (served, _) => return served.map(|()| Exit::Done).map_err(serve_failure),
        }
    }
}

/// An address that cannot be meant is wrong usage; one that is taken is not available.
fn listen_failure(error: ServeError) -> Failure {
    let exit = match &error {
        ServeError::NotLoopback { .. } => Exit::Usage,
        ServeError::Listen { source, .. } if source.kind() == ErrorKind::InvalidInput => {
            Exit::Usage
        }
        _ => Exit::Unavailable,
    };
    Failure::new(exit, error)
}

/// `up`: everything in one process.
pub(crate) async fn up(config: Config, args: &UpArgs) -> Outcome {
    let config = config
        .with_flag("listen", args.listen.as_ref())
        .with_flag("nats_server", args.nats_server.as_ref())
        .with_flag("database", args.database.as_ref());
    let shutdown = on_signal()?;
    let data_dir = config.data_dir();
    let mut server_options = ServerOptions::new(&data_dir);
    server_options.binary = config.get("nats_server").map(PathBuf::from);
    let is_named = server_options.binary.is_some();
    let ledger = ledger_id(&config)?;
    let starting = async {
        let started = match (EmbeddedServer::start(server_options.clone()).await, args.accept_loss) {
            (Ok(server), Some(accepted)) => {
                without_lost_end(server, server_options, &ledger, accepted).await
            }
            (started, _) => started,
        };
        started.map_err(|error| match error {
            // The program that was named; one that is not found by itself is not installed.
            ServerError::BinaryMissing { .. } if is_named => Failure::usage(error),
            error => Failure::unavailable(error),
        })
    };
    let Some(server) = unless_stopped(&shutdown, starting).await? else {
        return Ok(Exit::Done);
    };
    let (gave_up, stop) = (server.gave_up(), shutdown.clone());
    let gave_up = tokio::spawn(async move {
        let error = gave_up.await;
        stop.cancel();
        error
    });
    // Only now: that another `up` holds the directory says more than that the address is taken.
    let outcome = match serve::listen(config.get("listen").unwrap_or(DEFAULT_LISTEN)).await {
        Ok(listener) => up_parts(&config, args, &data_dir, &server, listener, shutdown).await,
        Err(error) => Err(listen_failure(error)),
    };
    // It may be gone already; a stale file would only make the CLI ask a port nobody listens on.
    let _ = std::fs::remove_file(data_dir.join(ENDPOINT_FILE));
    server.stop().await;
    if gave_up.is_finished()
        && let Ok(error) = gave_up.await
    {
        return Err(Failure::unavailable(error));
    }
    outcome
}

async fn up_parts(
    config: &Config,
    args: &UpArgs,
    data_dir: &Path,
    server: &EmbeddedServer,
    listener: tokio::net::TcpListener,
    shutdown: CancellationToken,
) -> Outcome {
    let objects = config.get("objects").map_or_else(
        || data_dir.join("objects").display().to_string(),
        str::to_owned,
    );
    let views_url = config.get("database").map_or_else(
        || format!("sqlite:{}", data_dir.join("views.db").display()),
        str::to_owned,
    );
    let opening = async {
        let options = |name: &str| server.nats_options(name);
        let ledger = ledger_id(config)?;
        let parts = Parts::open(
            options,
            ledger,
            &objects,
            1,
            SyncKnown::Always,
            None,
            config.texts(),
        )
        .await?;
        let views = open_views(&views_url).await?;
        let known = Known {
            views,
            acknowledged: Arc::new(PositionFile::in_dir(data_dir)),
        };
        known
            .check(&parts.kept, &parts.ledger, args.accept_loss)
            .await?;
        Ok((parts, known))
    };
    let Some((parts, known)) = unless_stopped(&shutdown, opening).await? else {
        return Ok(Exit::Done);
    };
    let mut worker = WorkerConfig::new(worker_name());
    worker.labels.clone_from(&args.labels);
    worker.concurrency = usize::from(args.concurrency);
    worker.threads = args.threads.map(usize::from);
    let keeping = known.keep(&parts.kept);
    // Before anybody can ask: what is on the ledger does not depend on who is quicker.
    let joining = async {
        membership::joined(&parts.handler, &worker).await;
        Ok(())
    };
    if unless_stopped(&shutdown, joining).await?.is_none() {
        return Ok(Exit::Done);
    }
    let address = listener
        .local_addr()
        .map_err(|error| Failure::unavailable(format!("RB-CLI-72: no address: {error}")))?;
    let endpoint = format!("http://{address}");
    write_endpoint(data_dir, &endpoint)?;
    print::line(format!(
        "rollbook {} is up: {endpoint} · ledger {} in {} · nats-server {} (sync_interval always)",
        env!("CARGO_PKG_VERSION"),
        parts.ledger,
        data_dir.display(),
        server.version(),
    ));
    let dependencies = parts.dependencies(known.views);
    let working = tokio::spawn(parts.work(worker, shutdown.clone()));
    let served = serve_on(listener, dependencies, &views_url, &shutdown).await;
    shutdown.cancel();
    let worked = working.await;
    keeping.end().await;
    if let Err(error) = worked {
        return Err(Failure::unavailable(format!(
            "RB-CLI-73: the worker ended unexpectedly: {error}"
        )));
    }
    served
}

/// Written whole or not at all, so that a reader never sees half a URL.
fn write_endpoint(data_dir: &Path, endpoint: &str) -> Result<(), Failure> {
    let file = data_dir.join(ENDPOINT_FILE);
    let fresh = data_dir.join(format!("{ENDPOINT_FILE}.new"));
    std::fs::write(&fresh, format!("{endpoint}\n"))
        .and_then(|()| std::fs::rename(&fresh, &file))
        .map_err(|error| {
            Failure::unavailable(format!(
                "RB-CLI-74: {}: cannot be written: {error}",
                file.display()
            ))
        })
}

/// `serve`: orchestrator, views and HTTP on an existing NATS.
pub(crate) async fn serve(config: Config, args: &ServeArgs) -> Outcome {
    let config = config
        .with_flag("nats", args.nats.as_ref())
        .with_flag("nats_system", args.nats_system.as_ref())
        .with_flag("database", args.database.as_ref())
        .with_flag("objects", args.objects.as_ref())
        .with_flag("listen", args.listen.as_ref());
    let shutdown = on_signal()?;
    let views_url = required(&config, "database")?;
    let opening = async {
        let parts = remote_parts(&config, usize::from(args.replicas)).await?;
        let listener = serve::listen(config.get("listen").unwrap_or(DEFAULT_LISTEN))
            .await
            .map_err(listen_failure)?;
        let views = open_views(&views_url).await?;
        let kept_in = AcknowledgedInViews::new(Arc::clone(&views), parts.ledger.clone());
        let known = Known {
            views,
            acknowledged: Arc::new(kept_in),
        };
        known
            .check(&parts.kept, &parts.ledger, args.accept_loss)
            .await?;
        Ok((parts, listener, known))
    };
    let Some((parts, listener, known)) = unless_stopped(&shutdown, opening).await? else {
        return Ok(Exit::Done);
    };
    if let Ok(address) = listener.local_addr() {
        print::line(format!(
            "rollbook {} serves ledger {} at http://{address}",
            env!("CARGO_PKG_VERSION"),
            parts.ledger
        ));
    }
    let keeping = known.keep(&parts.kept);
    let dependencies = parts.dependencies(known.views);
    let served = serve_on(listener, dependencies, &views_url, &shutdown).await;
    keeping.end().await;
    served
}

/// `worker`: executes tasks.
pub(crate) async fn worker(config: Config, args: &WorkerArgs) -> Outcome {
    let config = config
        .with_flag("nats", args.nats.as_ref())
        .with_flag("objects", args.objects.as_ref());
    let name = args.name.clone().unwrap_or_else(worker_name);
    let name = WorkerName::new(name).map_err(Failure::usage)?;
    let shutdown = on_signal()?;
    open_files::raise();
    let mut worker = WorkerConfig::new(name);
    worker.labels.clone_from(&args.labels);
    worker.concurrency = usize::from(args.concurrency);
    worker.threads = args.threads.map(usize::from);
    let opening = async {
        until_there(&config).await?;
        let parts = remote_parts(&config, 1).await?;
        // It keeps no position of its own; what the stream itself says is missing it sees.
        inspect(&parts.kept).await.map_err(damage)?;
        membership::joined(&parts.handler, &worker).await;
        Ok(parts)
    };
    let Some(parts) = unless_stopped(&shutdown, opening).await? else {
        return Ok(Exit::Done);
    };
    print::line(format!(
        "worker {} takes tasks of ledger {}",
        worker.name, parts.ledger
    ));
    parts.work(worker, shutdown).await;
    Ok(Exit::Done)
}

/// Waits until a server has made the streams: how many copies they have is the server's to say.
async fn until_there(config: &Config) -> Result<(), Failure> {
    let ledger = ledger_id(config)?;
    let client = connect(&NatsOptions {
        url: required(config, "nats")?,
        name: "rollbook".to_owned(),
        ..NatsOptions::default()
    })
    .await?;
    let mut said = false;
    loop {
        let has_ledger = JetStreamJournal::exists(&client, &ledger).await;
        if has_ledger.map_err(journal_failure)? {
            // Settings that are refused are no reason to wait.
            JetStreamJournal::open(client.clone(), ledger.clone(), JetStreamOptions::default())
                .await
                .map_err(journal_failure)?;
            let has_queue = JetStreamQueue::exists(&client).await;
            if has_queue.map_err(Failure::unavailable)? {
                return Ok(());
            }
        }
        if !said {
            print::aside(format!(
                "ledger {ledger} is not there yet; waiting for `rollbook serve` to make it"
            ));
            said = true;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn remote_parts(config: &Config, replicas: usize) -> Result<Parts, Failure> {
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
    let asked = system.is_some();
    let parts = Parts::open(
        options,
        ledger_id(config)?,
        &objects,
        replicas,
        SyncKnown::Unknown,
        system,
        config.texts(),
    )
    .await?;
    if asked && parts.journal.sync() == SyncKnown::Unknown {
        print::aside(
            "whether the NATS server syncs is still not known: --nats-system must name a user of its system account",
        );
    }
    Ok(parts)
}

fn required(config: &Config, key: &str) -> Result<String, Failure> {
    config.get(key).map(str::to_owned).ok_or_else(|| {
        Failure::usage(format!(
            "RB-CLI-75: {key} is not set; give --{key}, ROLLBOOK_{} or `{key}` in rollbook.toml",
            key.to_uppercase()
        ))
    })
}

/// Host and process: who did it, for the record.
fn worker_name() -> String {
    let host = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok());
    format!(
        "{}/{}",
        host.unwrap_or_else(|| "host".to_owned()),
        std::process::id()
    )
}

//! The commands that start processes: `up`, `serve`, `worker`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rollbook_ledger::database::{self, Dialect};
use rollbook_ledger::ids::WorkerName;
use rollbook_ledger::journal::{PositionFile, SyncKnown};
use rollbook_ledger::nats::{EmbeddedServer, ServerError, ServerOptions};
use rollbook_ledger::projection::acknowledged::AcknowledgedInViews;
use rollbook_ledger::projection::store::ViewStore;
use rollbook_ledger::projection::{postgres, sqlite};
use rollbook_ledger::redacted;
use rollbook_server::serve::{self, Dependencies, ServeError};
use rollbook_workers::fleet::{WorkerConfig, membership};
use tokio_util::sync::CancellationToken;

use super::components::{Connections, ledger_id, required};
use super::integrity_check::{Known, without_lost_end};
use super::open_files;
use super::shutdown::{on_signal, unless_stopped};
use crate::args::{ServeArgs, UpArgs, WorkerArgs};
use crate::config::{Config, DEFAULT_LISTEN, ENDPOINT_FILE};
use crate::exit::{Exit, Failure, Outcome};
use crate::print;

/// How often damaged views are replaced while a process runs; if a disk keeps damaging them, a
/// person must act.
const MAX_REPLACED: u32 = 5;

fn serve_failure(error: ServeError) -> Failure {
    let exit = if error.is_damage() {
        Exit::Integrity
    } else {
        Exit::Unavailable
    };
    Failure::new(exit, error)
}

/// The SQLite file of the views.
fn sqlite_file(url: &str) -> Option<&Path> {
    database::sqlite_path(url).map(Path::new)
}

/// Opens the views at `sqlite:PATH` or a PostgreSQL URL.
async fn open_views(url: &str) -> Result<Arc<dyn ViewStore>, Failure> {
    let opened = if Dialect::of(url) == Some(Dialect::Postgres) {
        postgres::open(url, postgres::DEFAULT_SCHEMA).await
    } else if let Some(path) = sqlite_file(url) {
        sqlite::open_or_replace(path).await
    } else {
        return Err(Failure::own(
            Exit::Usage,
            "RB-CLI-70",
            format!(
                "`{}` is not a database for views; write sqlite:PATH or postgres://…",
                redacted::url(url)
            ),
        ));
    };
    opened.map_err(Failure::unavailable)
}

fn address_of(listener: &tokio::net::TcpListener) -> Result<std::net::SocketAddr, Failure> {
    listener.local_addr().map_err(|error| {
        Failure::own(
            Exit::Unavailable,
            "RB-CLI-72",
            format!("no address: {error}"),
        )
    })
}

/// Serves until `shutdown`. SQLite views that turn out to be damaged are set aside, and the server
/// continues with new ones, which are rebuilt.
async fn serve_on(
    mut listener: tokio::net::TcpListener,
    parts: Dependencies,
    views_url: &str,
    moved: impl Fn(&Arc<dyn ViewStore>),
    shutdown: &CancellationToken,
) -> Outcome {
    let mut parts = parts;
    let mut replaced = 0;
    loop {
        let address = address_of(&listener)?;
        let served = serve::run(listener, parts.clone(), shutdown.child_token()).await;
        match (served, sqlite_file(views_url)) {
            (Err(error), Some(file)) if error.is_damaged_views() && replaced < MAX_REPLACED => {
                replaced += 1;
                print::note(format!("{error}; continuing with new ones"));
                parts.rebuilt = Some(format!(
                    "found damaged at {}, set aside and rebuilt from the ledger",
                    parts.handler.now()
                ));
                // A connection closed later would mistake the new database's log for its own.
                parts.views.close().await;
                sqlite::set_aside(file).map_err(Failure::unavailable)?;
                parts.views = open_views(views_url).await?;
                moved(&parts.views);
                listener = serve::listen(&address.to_string())
                    .await
                    .map_err(listen_failure)?;
            }
            (served, _) => return served.map(|()| Exit::Success).map_err(serve_failure),
        }
    }
}

/// An impossible address is wrong usage; one that is taken is unavailable.
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
        let started = match (
            EmbeddedServer::start(server_options.clone()).await,
            args.accept_loss,
        ) {
            (Ok(server), Some(accepted)) => {
                without_lost_end(server, server_options, &ledger, accepted).await
            }
            (started, _) => started,
        };
        started.map_err(|error| match error {
            // A program named by the user is wrong usage; one that is merely not found is not
            // installed.
            ServerError::BinaryMissing { .. } if is_named => Failure::usage(error),
            error => Failure::unavailable(error),
        })
    };
    let Some(server) = unless_stopped(&shutdown, starting).await? else {
        return Ok(Exit::Success);
    };
    let (gave_up, stop) = (server.gave_up(), shutdown.clone());
    let gave_up = tokio::spawn(async move {
        let error = gave_up.await;
        stop.cancel();
        error
    });
    // Only now, because "another `up` holds the directory" says more than "the address is taken".
    let outcome = match serve::listen(config.get("listen").unwrap_or(DEFAULT_LISTEN)).await {
        Ok(listener) => up_parts(&config, args, &data_dir, &server, listener, shutdown).await,
        Err(error) => Err(listen_failure(error)),
    };
    // It may be gone already; a stale file would only make the CLI contact a port nobody listens
    // on.
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
        let reached = Connections::by(options, config, &objects, SyncKnown::Always, None).await?;
        let parts = reached.serving(1).await?;
        let views = open_views(&views_url).await?;
        let known = Known {
            views,
            acknowledged: Arc::new(PositionFile::in_dir(data_dir)),
        };
        parts.checked(&known, args.accept_loss).await?;
        Ok((parts, known))
    };
    let Some((parts, known)) = unless_stopped(&shutdown, opening).await? else {
        return Ok(Exit::Success);
    };
    let mut worker = WorkerConfig::new(worker_name());
    worker.labels.clone_from(&args.labels);
    worker.concurrency = usize::from(args.concurrency);
    worker.threads = args.threads.map(usize::from);
    let keeping = known.keep(&parts.kept);
    // Before anybody can connect, so that the contents of the ledger do not depend on timing.
    let joining = async {
        membership::joined(&parts.handler, &worker).await;
        Ok(())
    };
    if unless_stopped(&shutdown, joining).await?.is_none() {
        return Ok(Exit::Success);
    }
    let address = address_of(&listener)?;
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
    let served = serve_on(listener, dependencies, &views_url, |_| {}, &shutdown).await;
    shutdown.cancel();
    let worked = working.await;
    keeping.end().await;
    if let Err(error) = worked {
        return Err(Failure::own(
            Exit::Unavailable,
            "RB-CLI-73",
            format!("the worker ended unexpectedly: {error}"),
        ));
    }
    served
}

/// Written atomically, so that a reader never sees half a URL.
fn write_endpoint(data_dir: &Path, endpoint: &str) -> Result<(), Failure> {
    let file = data_dir.join(ENDPOINT_FILE);
    let fresh = data_dir.join(format!("{ENDPOINT_FILE}.new"));
    std::fs::write(&fresh, format!("{endpoint}\n"))
        .and_then(|()| std::fs::rename(&fresh, &file))
        .map_err(|error| {
            Failure::own(
                Exit::Unavailable,
                "RB-CLI-74",
                format!("{}: cannot be written: {error}", file.display()),
            )
        })
}

/// `serve`: orchestrator, views and HTTP on an existing NATS server.
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
        let reached = Connections::remote(&config).await?;
        let parts = reached.serving(usize::from(args.replicas)).await?;
        let listener = serve::listen(config.get("listen").unwrap_or(DEFAULT_LISTEN))
            .await
            .map_err(listen_failure)?;
        let views = open_views(&views_url).await?;
        let kept_in = AcknowledgedInViews::new(Arc::clone(&views), parts.ledger.clone());
        let kept_in = Arc::new(kept_in);
        let known = Known {
            views,
            acknowledged: kept_in.clone(),
        };
        parts.checked(&known, args.accept_loss).await?;
        Ok((parts, listener, known, kept_in))
    };
    let Some((parts, listener, known, kept_in)) = unless_stopped(&shutdown, opening).await? else {
        return Ok(Exit::Success);
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
    let moved = |views: &Arc<dyn ViewStore>| kept_in.move_to(Arc::clone(views));
    let served = serve_on(listener, dependencies, &views_url, moved, &shutdown).await;
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
        let parts = Connections::remote(&config).await?.working().await?;
        membership::joined(&parts.handler, &worker).await;
        Ok(parts)
    };
    let Some(parts) = unless_stopped(&shutdown, opening).await? else {
        return Ok(Exit::Success);
    };
    print::line(format!(
        "worker {} takes tasks of ledger {}",
        worker.name, parts.ledger
    ));
    parts.work(worker, shutdown).await;
    Ok(Exit::Success)
}

/// Host and process id, to identify the worker in the record.
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

//! The journal on NATS JetStream: one stream per ledger, one subject per aggregate, one message per
//! commit.
//!
//! ```text
//!   append ─▶ seal ─▶ alone? ──yes──▶ publish, wait for the acknowledgement
//!                       │ no, and the server syncs every write
//!                       └──▶ queue ─▶ group commit: one atomic batch of all waiting commits
//!   in doubt (conflict, timeout, lost connection): ask the stream's leader for the aggregate
//! ```
//!
//! Protocol facts are those of nats-server 2.15 (ADR-8, ADR-31, ADR-50) and its `errors.json`.

mod append;
mod follow;
mod group;
mod read;
mod report;
mod settings;
mod wire;

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::Info;
use async_nats::{Client, jetstream::Context};
use async_trait::async_trait;
use futures::stream::BoxStream;
use rollbook_proto::v1::Commit;

use self::append::Sender;
use self::group::Group;
use self::wire::{Leader, OutgoingCommit, is_passing, unavailable};
use super::{
    APPEND_TIMEOUT, Appended, Extent, Journal, JournalError, ReadFrom, StoredCommit, SyncKnown,
};
use crate::ids::{Aggregate, LedgerId};

pub use group::GroupCounts;
pub(crate) use settings::parse_version;
pub use settings::{MIN_SERVER_VERSION, ledger_subjects, live_subjects, stream_name};

/// Whether waiting commits are published as one atomic batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupCommit {
    /// Batch if the server is known to sync every write: then a batch of hundreds costs as much as
    /// a few single commits. Otherwise single commits in flight are faster.
    #[default]
    Auto,
    /// Publish every commit singly.
    Off,
}

/// How a journal uses its server.
#[derive(Debug, Clone)]
pub struct JetStreamOptions {
    /// Replicas of the stream: 1 for a single server, 3 in production. An existing stream with
    /// fewer is scaled up.
    pub replicas: usize,
    /// Group commit.
    pub group_commit: GroupCommit,
    /// What the caller knows about the server's `sync_interval`, which an ordinary client cannot
    /// see: `Always` for the embedded server.
    pub sync: SyncKnown,
    /// A connection of the system account; if set, `sync` is read from every server.
    pub system: Option<Client>,
    /// A separate connection for followers, so that a bulk replay cannot delay appends. Default:
    /// the journal's own connection.
    pub follow_client: Option<Client>,
    /// Maximum wait for one acknowledgement before the commit's fate is looked up.
    pub ack_timeout: Duration,
    /// Total time after which an append gives up and returns `Unavailable`.
    pub give_up_after: Duration,
}

impl Default for JetStreamOptions {
    fn default() -> Self {
        Self {
            replicas: 1,
            group_commit: GroupCommit::Auto,
            sync: SyncKnown::Unknown,
            system: None,
            follow_client: None,
            ack_timeout: APPEND_TIMEOUT,
            give_up_after: APPEND_TIMEOUT * 2,
        }
    }
}

/// One ledger's journal on JetStream; clones share the connection and the group commit.
#[derive(Debug, Clone)]
pub struct JetStreamJournal {
    ledger: LedgerId,
    leader: Leader,
    client: Client,
    follow_client: Client,
    group: Group,
    sync: SyncKnown,
}

impl JetStreamJournal {
    /// Opens the ledger's stream, creating it if needed, and checks the settings that the server
    /// actually applies. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `UnsafeSetting` names the first setting that could lose acknowledged history or keep the
    /// journal from working; `Unavailable` if JetStream does not answer.
    pub async fn open(
        client: Client,
        ledger: LedgerId,
        options: JetStreamOptions,
    ) -> Result<Self, JournalError> {
        settings::check_version(&client.server_info().version)?;
        let context = ContextBuilder::new()
            .timeout(options.ack_timeout)
            .build(client.clone());
        let desired = settings::desired(&ledger, &options);
        let mut info = open_stream(&context, &ledger, &desired).await?;
        if info.config.num_replicas < desired.num_replicas {
            info = raise_replicas(&context, info.config, desired.num_replicas).await?;
        }
        settings::check(&info.config, &desired)?;
        let sync = match &options.system {
            Some(system) => report::ask_servers(system).await,
            None => options.sync,
        };
        let leader = Leader {
            context,
            stream: desired.name,
        };
        let sender = Sender {
            client: client.clone(),
            leader: leader.clone(),
            ack_timeout: options.ack_timeout,
            give_up_after: options.give_up_after,
        };
        let batches = options.group_commit == GroupCommit::Auto && sync == SyncKnown::Always;
        Ok(Self {
            ledger,
            leader,
            follow_client: options.follow_client.unwrap_or_else(|| client.clone()),
            client,
            group: Group::start(sender, batches),
            sync,
        })
    }

    /// Returns whether the ledger's stream exists. A process that must not choose its number of
    /// replicas waits for another to create it.
    pub async fn exists(client: &Client, ledger: &LedgerId) -> Result<bool, JournalError> {
        let context = ContextBuilder::new()
            .timeout(APPEND_TIMEOUT)
            .build(client.clone());
        match context.get_stream(stream_name(ledger)).await {
            Ok(_) => Ok(true),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(e)
                    if e.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(false)
                }
                GetStreamErrorKind::JetStream(e) => Err(refused_or_later(&e)),
                _ => Err(unavailable(error)),
            },
        }
    }

    /// Returns the ledger.
    pub fn ledger(&self) -> &LedgerId {
        &self.ledger
    }

    /// Returns the stream's name.
    pub fn stream(&self) -> &str {
        &self.leader.stream
    }

    /// Returns how appends were published since this journal was opened.
    pub fn group_counts(&self) -> GroupCounts {
        self.group.counts()
    }
}

/// Raises a stream's number of replicas.
async fn raise_replicas(
    context: &Context,
    found: async_nats::jetstream::stream::Config,
    replicas: usize,
) -> Result<Info, JournalError> {
    let (stream, before) = (found.name.clone(), found.num_replicas);
    let wanted = async_nats::jetstream::stream::Config {
        num_replicas: replicas,
        ..found
    };
    let raised = context.update_stream(wanted).await;
    raised.map_err(|error| match error.kind() {
        CreateStreamErrorKind::JetStream(e) if !is_passing(e.error_code()) => {
            JournalError::UnsafeSetting {
                setting: format!("stream {stream}: num_replicas"),
                found: before.to_string(),
                required: format!("at least {replicas}"),
                remedy: format!(
                    "raising it failed: {error}; start enough nats-servers, or ask for fewer with --replicas"
                ),
            }
        }
        _ => unavailable(error),
    })
}

/// Returns the stream as the server has it, creating it if needed.
async fn open_stream(
    context: &Context,
    ledger: &LedgerId,
    desired: &async_nats::jetstream::stream::Config,
) -> Result<Info, JournalError> {
    let is_reserved = settings::is_reserved(ledger);
    let reserved = || JournalError::Reserved {
        ledger: ledger.to_string(),
        stream: desired.name.clone(),
    };
    match context.get_stream(&desired.name).await {
        // Allow an existing ledger whose name has since become reserved.
        Ok(stream) if is_reserved && stream.cached_info().config.subjects != desired.subjects => {
            return Err(reserved());
        }
        Ok(stream) => return Ok(stream.cached_info().clone()),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(e) if e.error_code() == ErrorCode::STREAM_NOT_FOUND => {}
            GetStreamErrorKind::JetStream(e) => return Err(refused_or_later(&e)),
            _ => return Err(unavailable(error)),
        },
    }
    if is_reserved {
        return Err(reserved());
    }
    match context.create_stream(desired).await {
        Ok(_) => {}
        Err(error) => match error.kind() {
            // Another process created it concurrently with other settings; the check below reports
            // them.
            CreateStreamErrorKind::JetStream(e)
                if e.error_code() == ErrorCode::STREAM_NAME_EXIST => {}
            CreateStreamErrorKind::JetStream(e) => return Err(refused_or_later(&e)),
            _ => return Err(unavailable(error)),
        },
    }
    // Read the settings back: the server may have changed what was requested.
    let stream = context
        .get_stream(&desired.name)
        .await
        .map_err(unavailable)?;
    Ok(stream.cached_info().clone())
}

fn refused_or_later(error: &async_nats::jetstream::Error) -> JournalError {
    let reason = error.to_string();
    if is_passing(error.error_code()) {
        JournalError::Unavailable { reason }
    } else {
        JournalError::Refused { reason }
    }
}

#[async_trait]
impl Journal for JetStreamJournal {
    async fn append(
        &self,
        aggregate: &Aggregate,
        commit: Commit,
    ) -> Result<Appended, JournalError> {
        let outgoing = OutgoingCommit::seal(&self.ledger, aggregate, &commit)?;
        let sequence = self.group.append(outgoing).await?;
        Ok(Appended { sequence })
    }

    async fn read(
        &self,
        aggregate: &Aggregate,
        after: u64,
    ) -> Result<Vec<StoredCommit>, JournalError> {
        let subject = aggregate.subject(&self.ledger);
        read::read(&self.client, &self.leader, &subject, after).await
    }

    async fn follow(
        &self,
        from: ReadFrom,
    ) -> Result<BoxStream<'static, Result<StoredCommit, JournalError>>, JournalError> {
        let leader = Leader {
            context: ContextBuilder::new().build(self.follow_client.clone()),
            stream: self.leader.stream.clone(),
        };
        follow::follow(leader, from.after).await
    }

    async fn last_sequence(&self) -> Result<u64, JournalError> {
        Ok(self.leader.info().await?.state.last_sequence)
    }

    async fn at(&self, sequence: u64) -> Result<Option<StoredCommit>, JournalError> {
        let found = self.leader.at(sequence).await?;
        found.map(read::stored).transpose()
    }

    async fn extent(&self) -> Result<Extent, JournalError> {
        let state = self.leader.info().await?.state;
        let extent = Extent {
            first: state.first_sequence,
            last: state.last_sequence,
            commits: state.messages,
            missing: Vec::new(),
        };
        if extent.is_complete() {
            return Ok(extent);
        }
        // Listing the missing sequences is expensive, so do it only if there are any.
        let missing = self.leader.deleted().await?;
        Ok(Extent { missing, ..extent })
    }

    async fn subjects(
        &self,
        kind: &str,
        at_most: usize,
    ) -> Result<Option<Vec<String>>, JournalError> {
        let subjects = format!("rollbook.{}.{kind}.>", self.ledger);
        self.leader.subjects(subjects, at_most).await
    }

    fn sync(&self) -> SyncKnown {
        self.sync
    }
}

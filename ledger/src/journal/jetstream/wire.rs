//! Single exchanges with the server: a publish and its answer, reads from the stream's leader.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::stream::{RawMessageError, RawMessageErrorKind};
use async_nats::{Client, HeaderMap, HeaderValue, Message, Request, RequestErrorKind};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use rollbook_proto::v1::Commit;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::clock::from_proto;
use crate::ids::{Aggregate, LedgerId};
use crate::journal::{APPEND_TIMEOUT, JournalError, envelope};
use crate::trace::{TRACEPARENT, is_traceparent};

/// How often a waiting publish checks whether its connection was replaced.
const CONNECTION_CHECK: Duration = Duration::from_millis(100);

/// A sealed commit to be published: subject, payload, headers and expected sequence.
#[derive(Debug)]
pub(super) struct OutgoingCommit {
    pub(super) aggregate: Aggregate,
    pub(super) subject: String,
    /// The commit's id, also used as message id.
    pub(super) id: String,
    /// The aggregate's last sequence that the writer expects.
    pub(super) expected: u64,
    pub(super) payload: Bytes,
    ledger: LedgerId,
    /// Built when the commit is sealed and consumed by its first copy.
    headers: Option<HeaderMap>,
}

impl OutgoingCommit {
    /// Seals a commit; sends nothing.
    pub(super) fn seal(
        ledger: &LedgerId,
        aggregate: &Aggregate,
        commit: &Commit,
    ) -> Result<Self, JournalError> {
        let payload = envelope::seal(ledger, aggregate, commit)?;
        Ok(Self {
            aggregate: aggregate.clone(),
            subject: aggregate.subject(ledger),
            id: commit.id.clone(),
            expected: commit.previous_sequence,
            payload,
            ledger: ledger.clone(),
            headers: Some(headers(ledger, aggregate, commit)),
        })
    }

    /// Returns the headers for one copy; they are rebuilt for copies after the first, which are
    /// rare.
    pub(super) fn headers(&mut self) -> Result<HeaderMap, JournalError> {
        match self.headers.take() {
            Some(headers) => Ok(headers),
            None => {
                let commit = envelope::open(0, &self.payload)?;
                Ok(headers(&self.ledger, &self.aggregate, &commit))
            }
        }
    }

    pub(super) fn conflict(&self, actual: u64) -> JournalError {
        JournalError::Conflict {
            aggregate: self.aggregate.to_string(),
            expected: self.expected,
            actual,
        }
    }
}

/// Builds the headers of a commit: JetStream's, the event types, and the CloudEvents 1.0 attributes
/// as named by its NATS binding.
fn headers(ledger: &LedgerId, aggregate: &Aggregate, commit: &Commit) -> HeaderMap {
    let types: Vec<&str> = commit.events.iter().map(envelope::event_type).collect();
    let first = types.first().copied().unwrap_or("unknown");
    let kind = aggregate.kind();
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, commit.id.as_str());
    headers.insert(
        NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
        HeaderValue::from(commit.previous_sequence),
    );
    headers.insert("Rollbook-Events", types.join(","));
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", commit.id.as_str());
    headers.insert("ce-type", format!("dev.rollbook.{kind}.{first}"));
    headers.insert(
        "ce-source",
        format!("/ledger/{ledger}/{kind}/{}", aggregate.id()),
    );
    if let Some(time) = from_proto(commit.recorded_at.as_ref()) {
        headers.insert("ce-time", time.to_string());
    }
    if is_traceparent(&commit.traceparent) {
        headers.insert(TRACEPARENT, commit.traceparent.as_str());
    }
    headers
}

/// The server's answer to a publish.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// Stored, or found in the duplicate window.
    Ack(PublishAck),
    /// Stored or not: look up the aggregate.
    Doubt(String),
    /// Like `Doubt`, but the connection held and nothing came back.
    Silence(String),
    /// Certainly not stored; the same publish may succeed later.
    Later(String),
    /// Certainly not stored; retrying is useless.
    Refused(String),
}

#[derive(Deserialize)]
struct Failure {
    error: async_nats::jetstream::Error,
}

/// Publishes and waits up to `limit` for the answer. Returns early if the connection was replaced:
/// what was written to the old one may be lost, and its answer certainly is.
pub(super) async fn publish(
    client: &Client,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
    limit: Duration,
) -> Answer {
    let connects = client.statistics().connects.load(Ordering::Relaxed);
    let request = Request::new()
        .headers(headers)
        .payload(payload)
        .timeout(None);
    tokio::select! {
        biased;
        answer = client.send_request(subject, request) => match answer {
            Ok(message) => read_answer(&message),
            Err(error) => match error.kind() {
                RequestErrorKind::NoResponders => {
                    Answer::Later("no stream answers; it has no leader or does not exist".to_owned())
                }
                RequestErrorKind::MaxPayloadExceeded | RequestErrorKind::InvalidSubject => {
                    Answer::Refused(error.to_string())
                }
                _ => Answer::Doubt(error.to_string()),
            },
        },
        answer = doubt(client, connects, limit) => answer,
    }
}

/// Resolves when waiting for an outstanding publish is no longer useful.
pub(super) async fn doubt(client: &Client, connects: u64, limit: Duration) -> Answer {
    let end = Instant::now() + limit;
    loop {
        sleep(CONNECTION_CHECK.min(end.saturating_duration_since(Instant::now()))).await;
        if client.statistics().connects.load(Ordering::Relaxed) != connects {
            let reason = "the connection was lost before the acknowledgement came";
            return Answer::Doubt(reason.to_owned());
        }
        if Instant::now() >= end {
            let reason = format!("no acknowledgement within {} ms", limit.as_millis());
            return Answer::Silence(reason);
        }
    }
}

/// Classifies an answer by its code; codes are from nats-server's `errors.json`.
pub(super) fn read_answer(message: &Message) -> Answer {
    if let Ok(Failure { error }) = serde_json::from_slice(&message.payload) {
        let words = error.to_string();
        return match error.error_code() {
            // The expectation failed (alone, or with another write in flight), or our id is already
            // known (still in flight, or within a batch).
            ErrorCode::STREAM_WRONG_LAST_SEQUENCE
            | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT
            | ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT
            | ErrorCode::ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE => Answer::Doubt(words),
            code if is_passing(code) => Answer::Later(words),
            _ => Answer::Refused(words),
        };
    }
    match serde_json::from_slice::<PublishAck>(&message.payload) {
        Ok(ack) => Answer::Ack(ack),
        Err(error) => Answer::Doubt(format!("unreadable acknowledgement: {error}")),
    }
}

/// True if the server or its cluster is only temporarily unable.
pub(super) fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CLUSTER_NOT_AVAILABLE
            | ErrorCode::CLUSTER_NOT_LEADER
            | ErrorCode::CLUSTER_NOT_ACTIVE
            | ErrorCode::CLUSTER_NO_PEERS
            | ErrorCode::JETSTREAM_NOT_ENABLED
            | ErrorCode::STREAM_TOO_MANY_REQUESTS
            | ErrorCode::STREAM_OFFLINE
    )
}

/// A message on the stream's leader, if there is one.
pub(super) type Found = Result<Option<StreamMessage>, JournalError>;

/// Reads from the stream's leader with `STREAM.MSG.GET`.
#[derive(Debug, Clone)]
pub(super) struct Leader {
    pub(super) context: async_nats::jetstream::Context,
    pub(super) stream: String,
}

impl Leader {
    /// Returns the last message of a subject.
    pub(super) async fn last(&self, subject: &str) -> Found {
        let stream = self.stream().await?;
        Self::found(stream.get_last_raw_message_by_subject(subject)).await
    }

    /// Returns the first message of a subject with a sequence greater than `after`.
    pub(super) async fn next(&self, subject: &str, after: u64) -> Found {
        let stream = self.stream().await?;
        let from = after.saturating_add(1);
        Self::found(stream.get_first_raw_message_by_subject(subject, from)).await
    }

    /// Returns the message at a sequence.
    pub(super) async fn at(&self, sequence: u64) -> Found {
        if sequence == 0 {
            return Ok(None);
        }
        let stream = self.stream().await?;
        Self::found(stream.get_raw_message(sequence)).await
    }

    /// Returns the missing sequences between first and last.
    pub(super) async fn deleted(&self) -> Result<Vec<u64>, JournalError> {
        let stream = self.stream().await?;
        let info = answered(stream.info_builder().with_deleted(true).fetch()).await?;
        Ok(info.info.state.deleted.unwrap_or_default())
    }

    /// Returns the subjects that match the filter; `None` if there are more than `at_most`.
    pub(super) async fn subjects(
        &self,
        filter: String,
        at_most: usize,
    ) -> Result<Option<Vec<String>>, JournalError> {
        let stream = self.stream().await?;
        let listed = answered(stream.info_with_subjects(filter)).await?;
        let wanted = at_most.saturating_add(1);
        let subjects = listed.take(wanted).map_ok(|(subject, _)| subject);
        let subjects: Vec<String> = answered(subjects.try_collect()).await?;
        Ok((subjects.len() <= at_most).then_some(subjects))
    }

    /// Returns the stream's configuration and state.
    pub(super) async fn info(&self) -> Result<async_nats::jetstream::stream::Info, JournalError> {
        let stream = self.stream().await?;
        answered(stream.get_info()).await
    }

    async fn stream(&self) -> Result<async_nats::jetstream::stream::Stream<()>, JournalError> {
        // Sends no request: the handle only holds the name.
        self.context
            .get_stream_no_info(&self.stream)
            .await
            .map_err(unavailable)
    }

    async fn found(asked: impl Future<Output = Result<StreamMessage, RawMessageError>>) -> Found {
        let found = async {
            match asked.await {
                Ok(message) => Ok(Some(message)),
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        answered(found).await
    }
}

/// Waits for an exchange with the server, with a timeout: a request written to a lost connection is
/// never answered, and a closed one accepts no more.
pub(super) async fn answered<T, E: std::error::Error>(
    exchange: impl Future<Output = Result<T, E>>,
) -> Result<T, JournalError> {
    match tokio::time::timeout(APPEND_TIMEOUT, exchange).await {
        Ok(answer) => answer.map_err(unavailable),
        Err(_) => Err(JournalError::Unavailable {
            reason: format!("no answer within {} s", APPEND_TIMEOUT.as_secs()),
        }),
    }
}

pub(super) fn unavailable(error: impl std::error::Error) -> JournalError {
    let mut reason = error.to_string();
    if let Some(source) = error.source() {
        reason = format!("{reason}: {source}");
    }
    JournalError::Unavailable { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(json: &str) -> Answer {
        read_answer(&Message {
            subject: "reply".into(),
            reply: None,
            payload: Bytes::copy_from_slice(json.as_bytes()),
            headers: None,
            status: None,
            description: None,
            length: 0,
        })
    }

    #[test]
    fn answers_are_classified_by_code() {
        let error = |code: u32| {
            answer(&format!(
                r#"{{"error":{{"code":400,"err_code":{code},"description":"d"}},"stream":"S","seq":0}}"#
            ))
        };
        for code in [10071, 10164, 10158, 10201] {
            assert!(matches!(error(code), Answer::Doubt(_)), "{code}");
        }
        for code in [10008, 10009, 10076, 10167] {
            assert!(matches!(error(code), Answer::Later(_)), "{code}");
        }
        for code in [10047, 10077, 10054, 10023] {
            assert!(matches!(error(code), Answer::Refused(_)), "{code}");
        }
        assert!(matches!(answer("no json"), Answer::Doubt(_)));
        assert!(matches!(
            answer(r#"{"stream":"S","seq":7,"duplicate":true}"#),
            Answer::Ack(PublishAck {
                sequence: 7,
                duplicate: true,
                ..
            })
        ));
    }
}

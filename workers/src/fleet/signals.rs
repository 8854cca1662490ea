//! The live signals of running steps, progress and output; for display, not recorded. Nothing of it
//! is on the ledger, and for late readers only the last progress of each step is kept.

use async_nats::Client;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use rollbook_ledger::ids::{LedgerId, RolloutId, StepId};

use super::output::output_subject;
use super::progress;
use super::queue::QueueError;
use crate::executor::progress::StepProgress;

/// The port through which a server reads live signals.
#[async_trait]
pub trait Signals: Send + Sync + std::fmt::Debug {
    /// Streams each new progress of every step. Ends when something may have been missed; call it
    /// again.
    async fn progress(&self) -> Result<BoxStream<'static, StepProgress>, QueueError>;

    /// Streams the latest progress of a rollout's steps, then each new one. Ends with the
    /// connection.
    async fn progress_of(
        &self,
        rollout: &RolloutId,
    ) -> Result<BoxStream<'static, StepProgress>, QueueError>;

    /// The latest progress of these steps, if reported within the last hour.
    async fn latest(
        &self,
        rollout: &RolloutId,
        steps: &[StepId],
    ) -> Result<Vec<StepProgress>, QueueError>;

    /// Checks that a written signal is acknowledged, which it is not without a quorum.
    async fn probe(&self) -> Result<(), QueueError>;

    /// Streams the lines that a step prints from now on, each as a JSON value
    /// ([`OutputLine`](crate::executor::OutputLine)).
    async fn output(
        &self,
        rollout: &RolloutId,
        step: &StepId,
    ) -> Result<BoxStream<'static, Bytes>, QueueError>;
}

/// The port on NATS: progress in a bucket in memory, output on core subjects.
#[derive(Debug, Clone)]
pub struct NatsSignals {
    client: Client,
    ledger: LedgerId,
}

impl NatsSignals {
    /// Makes the signals of one ledger.
    pub fn new(client: Client, ledger: LedgerId) -> Self {
        Self { client, ledger }
    }
}

#[async_trait]
impl Signals for NatsSignals {
    async fn progress(&self) -> Result<BoxStream<'static, StepProgress>, QueueError> {
        let states = progress::follow_all(&self.client, &self.ledger).await?;
        Ok(states.boxed())
    }

    async fn progress_of(
        &self,
        rollout: &RolloutId,
    ) -> Result<BoxStream<'static, StepProgress>, QueueError> {
        let states = progress::follow(&self.client, &self.ledger, rollout).await?;
        Ok(states.boxed())
    }

    async fn latest(
        &self,
        rollout: &RolloutId,
        steps: &[StepId],
    ) -> Result<Vec<StepProgress>, QueueError> {
        progress::latest(&self.client, &self.ledger, rollout, steps).await
    }

    async fn probe(&self) -> Result<(), QueueError> {
        progress::probe(&self.client, &self.ledger).await
    }

    async fn output(
        &self,
        rollout: &RolloutId,
        step: &StepId,
    ) -> Result<BoxStream<'static, Bytes>, QueueError> {
        let subject = output_subject(&self.ledger, rollout, step);
        let subscribed = self.client.subscribe(subject).await;
        let messages = subscribed.map_err(super::jetstream::unavailable)?;
        Ok(messages.map(|message| message.payload).boxed())
    }
}

//! Environments: their records, read for every decision of a person and changed by their own
//! commands.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Caller, Done, Handler, HandlerError, digest, fold_environment, fold_flag, repeated};
use crate::environment::{self, EnvironmentCommand, EnvironmentState, Environments, Terms};
use crate::flag;
use crate::ids::{Aggregate, EnvironmentId, FlagKey, RolloutId};
use crate::journal::execute;
use crate::journal::execute::load;
use crate::runbook::Plan;

impl Handler {
    /// An environment with everything acknowledged before the call; `None` when it is not recorded.
    pub async fn environment(
        &self,
        name: &EnvironmentId,
    ) -> Result<Option<Arc<EnvironmentState>>, HandlerError> {
        let aggregate = Aggregate::Environment(name.clone());
        let journal = &*self.journal;
        let (state, _) = load(journal, &aggregate, &self.environments, fold_environment).await?;
        Ok(state)
    }

    /// The records of all environments in which a rollout of a plan acts.
    pub(super) async fn environments_of(
        &self,
        plan: &Plan,
        rollout: &EnvironmentId,
    ) -> Result<Environments, HandlerError> {
        let mut environments = Environments::default();
        self.add_environments(plan, rollout, &mut environments)
            .await?;
        Ok(environments)
    }

    pub(super) async fn add_environments(
        &self,
        plan: &Plan,
        rollout: &EnvironmentId,
        environments: &mut Environments,
    ) -> Result<(), HandlerError> {
        for name in plan.environments_of(rollout) {
            // What is no name of an environment cannot have been recorded.
            let Ok(name) = EnvironmentId::new(name) else {
                continue;
            };
            if environments.get(name.as_str()).is_none()
                && let Some(state) = self.environment(&name).await?
            {
                environments.insert(state);
            }
        }
        Ok(())
    }

    /// Decides a person's command to an environment and records the result; durable on return.
    pub async fn environment_request(
        &self,
        name: &EnvironmentId,
        command: &EnvironmentCommand,
        caller: &Caller,
    ) -> Result<Done, HandlerError> {
        let aggregate = &Aggregate::Environment(name.clone());
        let digest = &digest(aggregate, command, caller)?;
        let decide = |state: Option<Arc<EnvironmentState>>| async move {
            let applied = state.as_ref().map(|state| &state.command_ids);
            if let Some(repeated) = repeated(applied, caller, digest)? {
                return Ok(repeated);
            }
            let events = environment::decide(
                state.as_deref(),
                name,
                command,
                &caller.actor,
                &caller.command_id,
            )?;
            Ok(self.record(aggregate, events, caller, digest))
        };
        let (journal, cache) = (&*self.journal, &self.environments);
        let executed = execute(journal, aggregate, cache, fold_environment, decide).await?;
        Ok(executed.into())
    }

    /// Records an environment for the rollout that is opened in it first. Returns whether it was
    /// not recorded before.
    pub(super) async fn record_environment(
        &self,
        name: &EnvironmentId,
        terms: &Terms,
        rollout: &RolloutId,
        caller: &Caller,
    ) -> Result<bool, HandlerError> {
        let aggregate = &Aggregate::Environment(name.clone());
        let digest = &digest(aggregate, &(rollout, "record"), caller)?;
        let decide = |state: Option<Arc<EnvironmentState>>| async move {
            let events = environment::record(state.as_deref(), name, terms, rollout)?;
            Ok(self.record(aggregate, events, caller, digest))
        };
        let (journal, cache) = (&*self.journal, &self.environments);
        let executed = execute(journal, aggregate, cache, fold_environment, decide).await?;
        Ok(executed.commit.is_some())
    }

    /// Records what is due by time in a flag: requests that expired, reviews that are late. Returns
    /// when to look again; `None`: not before its next commit.
    pub async fn settle_flag(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
        caller: &Caller,
    ) -> Result<Option<Timestamp>, HandlerError> {
        let aggregate = &Aggregate::Flag(environment.clone(), key.clone());
        let digest = &digest(aggregate, &"settle", caller)?;
        let decide = |state: Option<Arc<flag::FlagState>>| async move {
            let events =
                state.map_or_else(Vec::new, |state| flag::settle(&state, self.clock.now()));
            Ok(self.record(aggregate, events, caller, digest))
        };
        let journal = &*self.journal;
        execute(journal, aggregate, &self.flags, fold_flag, decide).await?;
        let state = self.flag(environment, key).await?;
        Ok(state.and_then(|(state, _)| {
            let requests = state.requests.iter().map(|request| request.expires_at);
            let reviews = state
                .reviews
                .iter()
                .filter(|review| !review.overdue)
                .map(|review| review.review_by);
            requests.chain(reviews).min()
        }))
    }
}

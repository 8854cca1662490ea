//! Environment records: read for every decision of a person, and changed by commands of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Caller, Done, Handler, HandlerError, digest, fold_environment, fold_flag, repeated, texts,
};
use crate::authority::Roles;
use crate::environment::{self, EnvironmentCommand, EnvironmentState, Environments, Terms};
use crate::flag;
use crate::ids::{Aggregate, EnvironmentId, FlagKey, RolloutId};
use crate::journal::execute;
use crate::journal::execute::load;
use crate::runbook::Plan;

/// An environment that plans declare protected but the ledger does not record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnrecordedEnvironment {
    /// Its name.
    pub name: EnvironmentId,
    /// The rollouts whose plans declare it protected.
    pub rollouts: Vec<RolloutId>,
    /// The roles in the first of these plans.
    pub roles: Roles,
}

impl UnrecordedEnvironment {
    /// Describes the problem, with the command that records the environment, ready to type.
    pub fn text(&self) -> String {
        let rollouts: Vec<&str> = self.rollouts.iter().map(RolloutId::as_str).collect();
        let roles: String = self
            .roles
            .iter()
            .map(|(role, persons)| {
                let pair = format!("{role}={}", persons.join(","));
                format!(" --role '{}'", pair.replace('\'', r"'\''"))
            })
            .collect();
        format!(
            "environment {name} is protected by the plan of {} and not recorded, so another runbook may open there unprotected; record it: rollbook environment set {name} --protected{roles} --reason 'recorded after the upgrade' --as <person>",
            rollouts.join(", "),
            name = self.name,
        )
    }
}

impl Handler {
    /// Returns an environment with everything acknowledged before the call; `None` if it is not
    /// recorded.
    pub async fn environment(
        &self,
        name: &EnvironmentId,
    ) -> Result<Option<Arc<EnvironmentState>>, HandlerError> {
        let aggregate = Aggregate::Environment(name.clone());
        let journal = &*self.journal;
        let (state, _) = load(journal, &aggregate, &self.environments, fold_environment).await?;
        Ok(state)
    }

    /// Returns the records of all environments in which a rollout of a plan acts.
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
            // An invalid environment name cannot have been recorded.
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

    /// Returns the environments that the plans of these rollouts declare protected but that are not
    /// recorded, because the ledger is older than environment records. Until they are recorded,
    /// another runbook may open there as if they were unprotected.
    pub async fn unrecorded(
        &self,
        rollouts: &[RolloutId],
    ) -> Result<Vec<UnrecordedEnvironment>, HandlerError> {
        let mut found: BTreeMap<EnvironmentId, UnrecordedEnvironment> = BTreeMap::new();
        for id in rollouts {
            let loaded = self.rollout(id).await?;
            for name in loaded.plan.environments_of(&loaded.state.environment) {
                let protects = loaded.plan.environment(name).is_some_and(|it| it.protected);
                let Ok(name) = EnvironmentId::new(name) else {
                    continue;
                };
                if !protects || self.environment(&name).await?.is_some() {
                    continue;
                }
                let entry = found
                    .entry(name.clone())
                    .or_insert_with(|| UnrecordedEnvironment {
                        name,
                        rollouts: Vec::new(),
                        roles: loaded.plan.runbook().roles.clone(),
                    });
                entry.rollouts.push(id.clone());
            }
        }
        Ok(found.into_values().collect())
    }

    /// Decides a person's command on an environment and records the result; durable on return.
    pub async fn environment_request(
        &self,
        name: &EnvironmentId,
        command: &EnvironmentCommand,
        caller: &Caller,
    ) -> Result<Done, HandlerError> {
        let aggregate = &Aggregate::Environment(name.clone());
        let digest = &digest(aggregate, command, caller)?;
        let (command, texts) = &texts::moved(command, &caller.actor);
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
            let decision = self.record(aggregate, events, caller, digest);
            self.keep(texts, decision).await
        };
        let (journal, cache) = (&*self.journal, &self.environments);
        let executed = execute(journal, aggregate, cache, fold_environment, decide).await?;
        Ok(executed.into())
    }

    /// Records an environment for the first rollout opened in it. Returns whether it was unrecorded
    /// before.
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

    /// Records what time makes due in a flag: expired requests and late reviews. Returns when to
    /// look again; `None` means not before its next commit.
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

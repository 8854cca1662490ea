//! Which rollout or environment a person may have meant by a name that nothing has.

use rollbook_ledger::projection::rows::{EnvironmentRow, FlagRow, RolloutRow};
use rollbook_ledger::projection::views::ViewAnswer;
use rollbook_ledger::suggestion::did_you_mean;
use serde::de::DeserializeOwned;

use super::Session;
use crate::exit::{Exit, Failure};

impl Session {
    /// The id of a rollout that no known one begins with: the ledger may know it before the views
    /// do, otherwise the failure says which ones are close.
    pub(super) async fn unlisted(
        &self,
        given: &str,
        known: &[RolloutRow],
    ) -> Result<String, Failure> {
        let meant = did_you_mean(given, known.iter().map(|row| row.rollout.as_str()));
        if meant.is_some()
            && let Err(failure) = self.status_of(given).await
            && failure.exit == Exit::Usage
        {
            return Err(failure.meaning(meant));
        }
        Ok(given.to_owned())
    }

    /// The rollouts close to an id.
    pub(super) async fn rollout_meant(&self, wrong: &str) -> Option<String> {
        let known: Vec<RolloutRow> = self.rows("/v1/rollouts").await;
        did_you_mean(wrong, known.iter().map(|row| row.rollout.as_str()))
    }

    /// The environments close to one in which there is nothing, as the end of a sentence.
    pub(super) async fn environment_meant(&self, wrong: &str) -> String {
        let recorded: Vec<EnvironmentRow> = self.rows("/v1/environments").await;
        let rollouts: Vec<RolloutRow> = self.rows("/v1/rollouts").await;
        let flags: Vec<FlagRow> = self.rows("/v1/flags").await;
        let mut known: Vec<&str> = recorded
            .iter()
            .map(|row| row.environment.as_str())
            .chain(rollouts.iter().map(|row| row.environment.as_str()))
            .chain(flags.iter().map(|row| row.environment.as_str()))
            .collect();
        known.sort_unstable();
        known.dedup();
        did_you_mean(wrong, known).map_or_else(String::new, |meant| format!("; {meant}"))
    }

    /// A suggestion is not worth a failure.
    async fn rows<T: DeserializeOwned>(&self, path: &str) -> Vec<T> {
        let answer: Result<ViewAnswer<Vec<T>>, Failure> = self.client.get(path, &[]).await;
        answer.map(|answer| answer.data).unwrap_or_default()
    }
}

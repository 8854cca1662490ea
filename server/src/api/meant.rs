//! Which flag or environment may be meant by a name that nothing has. Answers from the views; while
//! they do not answer, nothing is suggested.

use rollbook_ledger::ids::{EnvironmentId, FlagKey};
use rollbook_ledger::suggestion::did_you_mean;

use super::Api;

impl Api {
    /// Another flag of the environment; if it has none, another environment that has flags.
    pub(super) async fn flag_meant(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
    ) -> Option<String> {
        let flags = self.views.flags(None).await.ok()?.data;
        let here: Vec<&str> = flags
            .iter()
            .filter(|flag| flag.environment == environment.as_str())
            .map(|flag| flag.key.as_str())
            .collect();
        if here.is_empty() {
            let others: Vec<&str> = flags.iter().map(|flag| flag.environment.as_str()).collect();
            did_you_mean(environment.as_str(), others)
        } else {
            did_you_mean(key.as_str(), here)
        }
    }

    /// Another environment that the ledger has recorded.
    pub(super) async fn environment_meant(&self, name: &EnvironmentId) -> Option<String> {
        let recorded = self.views.environments().await.ok()?.data;
        let names: Vec<&str> = recorded
            .iter()
            .map(|environment| environment.environment.as_str())
            .collect();
        did_you_mean(name.as_str(), names)
    }
}

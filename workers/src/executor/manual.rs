//! The `manual` step: something that a person does, so no worker executes it.

use std::time::Duration;

use async_trait::async_trait;
use rollbook_ledger::runbook::kind::Manual;

use super::context::StepContext;
use super::error::ExecutorError;
use super::kind::Executor;
use super::outcome::Outcome;

#[async_trait]
impl Executor for Manual {
    fn intent(&self, _: &StepContext) -> String {
        "a person's work".to_owned()
    }

    async fn execute(&self, _: &StepContext, _: Duration) -> Result<Outcome, ExecutorError> {
        Err(ExecutorError::NotForWorkers {
            kind: Self::KEY,
            instead: "a person completes it",
        })
    }
}

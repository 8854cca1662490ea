//! The `wait` step: time passes, so no worker executes it.

use std::time::Duration;

use async_trait::async_trait;
use rollbook_ledger::runbook::kind::Wait;

use super::context::StepContext;
use super::error::ExecutorError;
use super::kind::Executor;
use super::outcome::Outcome;

#[async_trait]
impl Executor for Wait {
    fn intent(&self, _: &StepContext) -> String {
        format!("wait {}", self.r#for)
    }

    async fn execute(&self, _: &StepContext, _: Duration) -> Result<Outcome, ExecutorError> {
        Err(ExecutorError::NotForWorkers {
            kind: Self::KEY,
            instead: "the orchestrator ends it when its time has come",
        })
    }
}

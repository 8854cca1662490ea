//! Reports that the views' database was found damaged, whichever component found it.

use std::sync::Arc;

use tokio::sync::watch;

/// Raised once and stays raised. Clones share it.
#[derive(Debug, Clone)]
pub struct Alarm(Arc<watch::Sender<Option<String>>>);

impl Default for Alarm {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Alarm {
    /// Raises the alarm; the first reason is kept.
    pub(crate) fn raise(&self, reason: &str) {
        self.0.send_if_modified(|raised| {
            let is_first = raised.is_none();
            raised.get_or_insert_with(|| reason.to_owned());
            is_first
        });
    }

    /// Waits until it is raised.
    pub(crate) async fn raised(&self) -> String {
        let mut changes = self.0.subscribe();
        // The sender lives as long as `self`.
        let raised = changes.wait_for(Option::is_some).await;
        let reason = raised.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_default()
    }
}

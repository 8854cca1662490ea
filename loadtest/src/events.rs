//! The event feed of a server, as a client follows it.

use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};

use crate::bar::{BenchError, failed};

/// Events as they arrive.
pub(crate) struct Events {
    bytes: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

impl Events {
    /// Follows new events of one type.
    pub(crate) async fn follow(base: &str, name: &str) -> Result<Self, BenchError> {
        let answer = reqwest::get(format!("{base}/v1/events?type={name}"))
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(failed("follow events"))?;
        Ok(Self {
            bytes: answer.bytes_stream().boxed(),
            text: String::new(),
        })
    }

    /// Waits until `text` has arrived `count` times since the events are followed.
    pub(crate) async fn until(
        &mut self,
        text: &str,
        count: usize,
        at_most: Duration,
    ) -> Result<(), BenchError> {
        let arrived = async {
            while self.text.matches(text).count() < count {
                let Some(bytes) = self.bytes.next().await else {
                    return Err(failed("follow events")("they ended"));
                };
                let bytes = bytes.map_err(failed("follow events"))?;
                self.text.push_str(&String::from_utf8_lossy(&bytes));
            }
            Ok(())
        };
        let within = tokio::time::timeout(at_most, arrived).await;
        within.unwrap_or_else(|_| {
            let waited = format!("`{text}` did not arrive {count} times within {at_most:?}");
            Err(failed("follow events")(waited))
        })
    }
}

//! The NATS server's time is authoritative.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rollbook_ledger::clock::{Clock, SystemClock};
use rollbook_ledger::nats::ServerClock;

use crate::nats::{Server, ServerConfig};

/// A clock that is off by a fixed amount.
#[derive(Debug)]
struct Wrong(SignedDuration);

impl Clock for Wrong {
    fn now(&self) -> Timestamp {
        SystemClock.now() + self.0
    }
}

#[tokio::test]
async fn a_machine_with_a_wrong_clock_uses_the_time_of_the_server() {
    let server = Server::single(ServerConfig::default()).await;
    let client = server.client().await;
    let context = async_nats::jetstream::new(client.clone());
    let config = async_nats::jetstream::stream::Config {
        name: "ANY".to_owned(),
        subjects: vec!["any.>".to_owned()],
        ..Default::default()
    };
    context.create_stream(config).await.unwrap();
    for seconds in [-3_600, -40, 40, 86_400] {
        let wrong = Arc::new(Wrong(SignedDuration::from_secs(seconds)));
        let clock = ServerClock::follow(client.clone(), "ANY", wrong).await;
        let off = clock.now().duration_since(SystemClock.now()).abs();
        assert!(off < SignedDuration::from_secs(5), "{seconds}: {off}");
    }
    // A correct clock is not adjusted, not even by a millisecond.
    let clock = ServerClock::follow(client.clone(), "ANY", Arc::new(SystemClock)).await;
    assert_eq!(clock.ahead(), SignedDuration::ZERO);
    // Without an answer the local clock applies.
    let wrong = Arc::new(Wrong(SignedDuration::from_secs(40)));
    let clock = ServerClock::follow(client, "NONE", wrong).await;
    assert_eq!(clock.ahead(), SignedDuration::ZERO);
}

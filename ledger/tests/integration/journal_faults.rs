//! What the JetStream journal does when the server, the network or the set-up fails.

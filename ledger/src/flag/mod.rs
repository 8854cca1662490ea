//! flag

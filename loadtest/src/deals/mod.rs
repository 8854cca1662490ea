//! The bars of deals: snapshots of PostgreSQL against a bare COPY and against Python, the model
//! alone, and memory.

pub(crate) mod compute;
pub(crate) mod copy;
mod data;
pub(crate) mod growth;
pub(crate) mod postgres;
pub(crate) mod python;
pub(crate) mod snapshot_process;

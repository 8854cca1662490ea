//! Events of workers.

use rollbook_proto::v1::event::Kind;
use rollbook_proto::v1::{WorkerJoined, WorkerLeaveReason, WorkerLeft};

use crate::values::Distinct;

pub(crate) fn worker_joined(d: &mut Distinct) -> Kind {
    Kind::WorkerJoined(WorkerJoined {
        name: d.text("worker"),
        session: d.text("session"),
        labels: d.texts("label"),
        concurrency: d.small(),
        threads: d.small(),
        version: d.text("version"),
        started_at: Some(d.time()),
    })
}

pub(crate) fn worker_left(d: &mut Distinct) -> Kind {
    Kind::WorkerLeft(WorkerLeft {
        session: d.text("session"),
        reason: WorkerLeaveReason::Lost.into(),
    })
}

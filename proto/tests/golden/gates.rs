//! Examples: gates and sign-offs.

use rollbook_proto::v1::event::Kind;
use rollbook_proto::v1::{GateBlocked, GatePassed, SignOffGiven, SignOffRefused, SignOffVoided};

use crate::values::Distinct;

pub(crate) fn sign_off_given(d: &mut Distinct) -> Kind {
    Kind::SignOffGiven(SignOffGiven {
        gate_id: d.text("gate"),
        role: d.text("role"),
        statement: d.text("statement"),
        plan_digest: d.digest(),
        evidence_seen: vec![d.digest(), d.digest()],
        expires_at: Some(d.time()),
        on_behalf_of: d.text("person"),
        seen: String::new(),
    })
}

/// Digest of what was shown when the sign-off was given.
pub(crate) fn sign_off_of_what_was_seen(d: &mut Distinct) -> Kind {
    Kind::SignOffGiven(SignOffGiven {
        gate_id: d.text("gate"),
        role: d.text("role"),
        plan_digest: d.digest(),
        evidence_seen: vec![d.digest()],
        seen: d.digest(),
        ..SignOffGiven::default()
    })
}

pub(crate) fn sign_off_refused(d: &mut Distinct) -> Kind {
    Kind::SignOffRefused(SignOffRefused {
        gate_id: d.text("gate"),
        role: d.text("role"),
        reason: d.text("reason"),
    })
}

pub(crate) fn sign_off_voided(d: &mut Distinct) -> Kind {
    Kind::SignOffVoided(SignOffVoided {
        gate_id: d.text("gate"),
        person: d.text("person"),
        role: d.text("role"),
        cause: d.text("cause"),
    })
}

pub(crate) fn gate_passed(d: &mut Distinct) -> Kind {
    Kind::GatePassed(GatePassed {
        gate_id: d.text("gate"),
        reasons: d.texts("reason"),
    })
}

pub(crate) fn gate_blocked(d: &mut Distinct) -> Kind {
    Kind::GateBlocked(GateBlocked {
        gate_id: d.text("gate"),
        reasons: d.texts("reason"),
        ..GateBlocked::default()
    })
}

pub(crate) fn gate_blocked_by_many(d: &mut Distinct) -> Kind {
    Kind::GateBlocked(GateBlocked {
        gate_id: d.text("gate"),
        reasons: d.texts("reason"),
        reasons_total: d.small(),
        reasons_sha256: d.text("sha256"),
    })
}

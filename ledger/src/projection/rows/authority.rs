//! Rows about authority: environments, plan revisions, requests for two persons, reviews.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rollbook_proto::v1::PlanOutline;

use crate::environment::{PendingTerms, Terms};
use crate::projection::row::{Json, view_row};
use crate::projection::words::{RequestKind, RequestStatus, RevisionStatus};

view_row!(
    /// An environment with the terms in force.
    EnvironmentRow, table "environments", key 1, {
        /// Its name.
        environment: String,
        /// Only people with a role may act in it.
        protected: bool,
        /// The terms in force.
        terms: Json<Terms>,
        /// Their revision, from 1.
        revision: u32,
        /// Proposed terms that wait for acceptance.
        pending: Json<Option<PendingTerms>>,
        /// Who recorded or accepted the terms in force.
        changed_by: String,
        /// When it was changed.
        changed_at: Option<Timestamp>,
        /// The reason.
        reason: String,
        /// Sequence of the commit that last changed this row.
        updated_sequence: u64,
    }
);

view_row!(
    /// A changed plan of a rollout.
    RevisionRow, table "revisions", key 2, {
        /// The rollout.
        rollout: String,
        /// Its number.
        revision: u32,
        /// SHA-256 of the canonical plan.
        plan_digest: String,
        /// Whether it is proposed, accepted or withdrawn.
        status: RevisionStatus,
        /// Why the plan changes.
        reason: String,
        /// Who proposed it.
        proposed_by: String,
        /// When it was proposed.
        proposed_at: Option<Timestamp>,
        /// Who accepted or withdrew it; empty until then.
        decided_by: String,
        /// When it was decided.
        decided_at: Option<Timestamp>,
        /// Its changes, one line each, as far as the event keeps them.
        difference: Json<Vec<String>>,
        /// Total number of changes.
        changes: u32,
        /// SHA-256 of the full difference as text; empty if it was not recorded.
        difference_sha256: String,
        /// Size of the full difference as text, in bytes.
        difference_bytes: u64,
        /// Its parameters; absent if they were not recorded.
        params: Json<Option<BTreeMap<String, String>>>,
        /// Its phases, steps and gates.
        outline: Json<Option<PlanOutline>>,
        /// Sequence of the commit that last changed this row.
        updated_sequence: u64,
    }
);

view_row!(
    /// A request for a second person, or a review of broken glass; open or ended.
    RequestRow, table "requests", key 2, {
        /// The aggregate it concerns: `rollout r1`, `flag production/F`.
        aggregate: String,
        /// Its id.
        request: String,
        /// Whether it asks for a confirmation or a review.
        kind: RequestKind,
        /// The rollout; empty for a flag.
        rollout: String,
        /// The environment of the flag; empty for a rollout.
        environment: String,
        /// The flag; empty for a rollout.
        flag: String,
        /// The verb of the authority table.
        verb: String,
        /// A description of the command.
        what: String,
        /// The reason.
        reason: String,
        /// Source of the rule that allowed breaking glass; empty for a request.
        rule: String,
        /// Who made the request or broke glass.
        made_by: String,
        /// When it was made.
        made_at: Option<Timestamp>,
        /// When a request expires, or a review is due.
        due_at: Option<Timestamp>,
        /// The current status.
        status: RequestStatus,
        /// Who ended it; empty while it is open, and if it expired or was voided.
        ended_by: String,
        /// When it ended.
        ended_at: Option<Timestamp>,
        /// Why it ended, or the reviewer's findings.
        note: String,
        /// Sequence of the commit that made it.
        made_sequence: u64,
        /// Sequence of the commit that last changed this row.
        updated_sequence: u64,
    }
);

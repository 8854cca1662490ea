//! Rows of who may what: environments, changed plans, requests for two persons, reviews.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rollbook_proto::v1::PlanOutline;

use crate::environment::{PendingTerms, Terms};
use crate::projection::row::{Json, view_row};
use crate::projection::words::{RequestKind, RequestStatus, RevisionStatus};

view_row!(
    /// An environment, as of the terms in force.
    EnvironmentRow, table "environments", key 1, {
        /// Its name.
        environment: String,
        /// Only persons of roles act in it.
        protected: bool,
        /// The terms in force.
        terms: Json<Terms>,
        /// Their revision, from 1.
        revision: u32,
        /// Terms that wait to be accepted.
        pending: Json<Option<PendingTerms>>,
        /// Who recorded or accepted the terms in force.
        changed_by: String,
        /// When.
        changed_at: Option<Timestamp>,
        /// Why.
        reason: String,
        /// Sequence of the commit that changed this row last.
        updated_sequence: u64,
    }
);

view_row!(
    /// A changed plan of a rollout.
    RevisionRow, table "revisions", key 2, {
        /// Whose plan.
        rollout: String,
        /// Its number.
        revision: u32,
        /// SHA-256 of the canonical plan.
        plan_digest: String,
        /// Whether it waits, is in force or was withdrawn.
        status: RevisionStatus,
        /// Why the plan changes.
        reason: String,
        /// Who proposed it.
        proposed_by: String,
        /// When.
        proposed_at: Option<Timestamp>,
        /// Who accepted or withdrew it; empty while it waits.
        decided_by: String,
        /// When.
        decided_at: Option<Timestamp>,
        /// What it changes, a line each; cut to what the event keeps.
        difference: Json<Vec<String>>,
        /// How many changes there are in the whole.
        changes: u32,
        /// SHA-256 of the whole difference as text; empty where it was not recorded.
        difference_sha256: String,
        /// Bytes of the whole difference as text.
        difference_bytes: u64,
        /// Its parameters; absent where they were not recorded.
        params: Json<Option<BTreeMap<String, String>>>,
        /// Its phases, steps and gates.
        outline: Json<Option<PlanOutline>>,
        /// Sequence of the commit that changed this row last.
        updated_sequence: u64,
    }
);

view_row!(
    /// What waits or waited for another person: a request to confirm, or a review of broken glass.
    RequestRow, table "requests", key 2, {
        /// Of what: `rollout r1`, `flag production/F`.
        aggregate: String,
        /// Its id.
        request: String,
        /// What the other person is asked for.
        kind: RequestKind,
        /// The rollout; empty for a flag.
        rollout: String,
        /// The environment of the flag; empty for a rollout.
        environment: String,
        /// The flag; empty for a rollout.
        flag: String,
        /// The verb of the authority table.
        verb: String,
        /// What is or was done, for people.
        what: String,
        /// Why.
        reason: String,
        /// Whose rule let glass be broken; empty for a request.
        rule: String,
        /// Who asked, or did it alone.
        made_by: String,
        /// When.
        made_at: Option<Timestamp>,
        /// When a request expires, or a review is due.
        due_at: Option<Timestamp>,
        /// Where it stands.
        status: RequestStatus,
        /// Who ended it; empty while it waits, and where time or the ledger did.
        ended_by: String,
        /// When it ended.
        ended_at: Option<Timestamp>,
        /// Why it ended, or what the reviewer found.
        note: String,
        /// Sequence of the commit that made it.
        made_sequence: u64,
        /// Sequence of the commit that changed this row last.
        updated_sequence: u64,
    }
);

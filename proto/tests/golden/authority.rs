//! Examples: authority, requests for two persons, break-glass, environments.

use rollbook_proto::v1::event::Kind;
use rollbook_proto::v1::{
    BreakGlassRule, ChangeKind, EnvironmentRecorded, EnvironmentRevised,
    EnvironmentRevisionAccepted, EnvironmentRevisionWithdrawn, EnvironmentTerms, GlassBroken,
    GlassReviewed, Persons, PlanChange, PlanDifference, PlanRevised, PlanRevisionWithdrawn,
    RequestConfirmed, RequestEnd, RequestEnded, RequestMade, ReviewOverdue,
};

use crate::values::Distinct;

pub(crate) fn request_made(d: &mut Distinct) -> Kind {
    Kind::RequestMade(RequestMade {
        request_id: d.text("request"),
        verb: d.text("verb"),
        what: d.text("what"),
        command: d.text("command"),
        reason: d.text("reason"),
        expires_at: Some(d.time()),
        rests_on: d.text("state"),
    })
}

pub(crate) fn request_confirmed(d: &mut Distinct) -> Kind {
    Kind::RequestConfirmed(RequestConfirmed {
        request_id: d.text("request"),
    })
}

pub(crate) fn request_ended(d: &mut Distinct) -> Kind {
    Kind::RequestEnded(RequestEnded {
        request_id: d.text("request"),
        end: RequestEnd::Voided.into(),
        reason: d.text("reason"),
    })
}

pub(crate) fn glass_broken(d: &mut Distinct) -> Kind {
    Kind::GlassBroken(GlassBroken {
        review_id: d.text("review"),
        verb: d.text("verb"),
        what: d.text("what"),
        reason: d.text("reason"),
        review_by: Some(d.time()),
        rule: d.text("rule"),
    })
}

pub(crate) fn glass_reviewed(d: &mut Distinct) -> Kind {
    Kind::GlassReviewed(GlassReviewed {
        review_id: d.text("review"),
        agreed: true,
        note: d.text("note"),
    })
}

pub(crate) fn review_overdue(d: &mut Distinct) -> Kind {
    Kind::ReviewOverdue(ReviewOverdue {
        review_id: d.text("review"),
    })
}

pub(crate) fn plan_revision_withdrawn(d: &mut Distinct) -> Kind {
    Kind::PlanRevisionWithdrawn(PlanRevisionWithdrawn {
        revision: d.small(),
        reason: d.text("reason"),
    })
}

pub(crate) fn plan_revised_with_difference(d: &mut Distinct) -> Kind {
    Kind::PlanRevised(PlanRevised {
        revision: d.small(),
        plan: Some(d.evidence()),
        outline: Some(d.outline()),
        reason: d.text("reason"),
        difference: Some(PlanDifference {
            changes: vec![PlanChange {
                change: ChangeKind::Changed.into(),
                what: d.text("what"),
                before: d.text("before"),
                after: d.text("after"),
            }],
            total: d.small(),
            sha256: d.digest(),
            size_bytes: d.large(),
        }),
        params: d.text_map("parameter"),
    })
}

fn terms(d: &mut Distinct) -> EnvironmentTerms {
    EnvironmentTerms {
        protected: true,
        roles: [(
            d.text("role"),
            Persons {
                persons: d.texts("person"),
            },
        )]
        .into(),
        break_glass: Some(BreakGlassRule {
            verbs: d.texts("verb"),
            roles: d.texts("role"),
            review_within: Some(d.duration()),
        }),
    }
}

pub(crate) fn environment_recorded(d: &mut Distinct) -> Kind {
    Kind::EnvironmentRecorded(EnvironmentRecorded {
        name: d.text("environment"),
        terms: Some(terms(d)),
        reason: d.text("reason"),
        rollout_id: d.text("rollout"),
    })
}

pub(crate) fn environment_revised(d: &mut Distinct) -> Kind {
    Kind::EnvironmentRevised(EnvironmentRevised {
        revision: d.small(),
        terms: Some(terms(d)),
        reason: d.text("reason"),
    })
}

pub(crate) fn environment_revision_accepted(d: &mut Distinct) -> Kind {
    Kind::EnvironmentRevisionAccepted(EnvironmentRevisionAccepted {
        revision: d.small(),
    })
}

pub(crate) fn environment_revision_withdrawn(d: &mut Distinct) -> Kind {
    Kind::EnvironmentRevisionWithdrawn(EnvironmentRevisionWithdrawn {
        revision: d.small(),
        reason: d.text("reason"),
    })
}

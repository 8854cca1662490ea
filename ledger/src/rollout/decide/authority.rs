//! Authorization: every command of a person is checked here first. A command that takes two persons
//! becomes a request that another person confirms; glass can be broken where a rule allows it.

use rollbook_proto::v1::{self, event::Kind};

use super::super::command::Command;
use super::super::refusal::Refusal;
use super::super::rules::requests;
use super::{Decided, Decider, optional, required, roles_remedy};
use crate::authority::request::{MAX_REQUESTS, MAX_REVIEWS};
use crate::authority::{Denied, Grant, Permissions, request_id, review_id, roles_text};
use crate::clock::to_proto;
use crate::runbook::{Plan, Verb};

impl<'a> Decider<'a> {
    /// Returns who may do what in this rollout now.
    pub(super) fn permissions(&self) -> Permissions<'a> {
        requests::permissions(self.state, self.plan, self.ctx.environments)
    }

    /// Decides a person's command.
    pub(super) fn person(&self, command: &Command) -> Decided {
        match command {
            Command::Confirm { request } => self.confirm(request),
            Command::Withdraw { request, reason } => self.withdraw(request, reason),
            Command::BreakGlass { of } => self.break_glass(of),
            Command::Review {
                review,
                agreed,
                note,
            } => self.review_glass(review, *agreed, note),
            other => {
                let verb = requests::verb(self.state, other);
                match self.grant(verb, other)? {
                    Grant::Alone => self.act(other),
                    Grant::WithAnother => self.ask(verb, other),
                }
            }
        }
    }

    fn grant(&self, verb: Verb, command: &Command) -> Result<Grant, Refusal> {
        self.permissions()
            .grant(verb, self.actor())
            .map_err(|denied| self.denied(requests::what(command), denied))
    }

    fn denied(&self, what: String, denied: Denied) -> Refusal {
        Refusal::NotInRole {
            person: self.actor().to_owned(),
            what,
            roles: denied.roles,
            remedies: roles_remedy(denied.lacks_roles, self.state.environment.as_str()),
        }
    }

    /// Checks that the command is possible now and records a request for a second person.
    fn ask(&self, verb: Verb, command: &Command) -> Decided {
        if self.act(command)?.is_empty() {
            return Ok(Vec::new());
        }
        let what = requests::what(command);
        if let Some(waits) = self
            .state
            .requests
            .iter()
            .find(|request| request.what == what && request.expires_at > self.ctx.now)
        {
            return Err(Refusal::RequestWaits {
                rollout: self.state.id.clone(),
                what,
                by: waits.by.clone(),
                request: waits.id.clone(),
            });
        }
        if self.state.requests.len() >= MAX_REQUESTS {
            return Err(Refusal::TooMany {
                what: "requests wait",
                limit: MAX_REQUESTS,
            });
        }
        let permissions = self.permissions();
        if permissions.persons(verb, self.actor()).is_empty() {
            return Err(Refusal::NobodyElse {
                what,
                roles: permissions.who_may(verb).join("; "),
            });
        }
        let reason = required("a request", "reason", command.reason())?.to_owned();
        let Ok(text) = serde_json::to_string(command) else {
            return Err(Refusal::RequestOver {
                request: what,
                why: "it cannot be written down".to_owned(),
            });
        };
        Ok(vec![Kind::RequestMade(v1::RequestMade {
            request_id: request_id(&self.state.id.to_string(), self.ctx.command_id),
            verb: verb.to_string(),
            what,
            command: text,
            reason,
            expires_at: Some(to_proto(permissions.request_expires(self.ctx.now))),
            rests_on: requests::rests_on(self.state, command),
        })])
    }

    /// Confirms another person's request by executing exactly the requested command.
    fn confirm(&self, id: &str) -> Decided {
        let Some(request) = self.state.requests.get(id) else {
            return Err(Refusal::NoSuchRequest {
                rollout: self.state.id.clone(),
                request: id.chars().take(100).collect(),
            });
        };
        let over = |why: String| Refusal::RequestOver {
            request: id.to_owned(),
            why,
        };
        if request.expires_at <= self.ctx.now {
            return Err(over(format!("it expired at {}", request.expires_at)));
        }
        let Some(command) = requests::command(request) else {
            return Err(over("this version cannot read what it asks for".to_owned()));
        };
        let now = requests::rests_on(self.state, &command);
        if now != request.rests_on {
            return Err(over(format!(
                "it was asked on: {}; now: {now}",
                request.rests_on
            )));
        }
        // Judge the command by the current state: a step may have become critical since the
        // request.
        self.grant(requests::verb(self.state, &command), &command)?;
        if request.by == self.actor() {
            return Err(Refusal::OwnWork {
                person: request.by.clone(),
                did: format!("made request {id}"),
                what: "confirm it",
            });
        }
        let mut kinds = vec![Kind::RequestConfirmed(v1::RequestConfirmed {
            request_id: id.to_owned(),
        })];
        kinds.extend(self.act(&command)?);
        Ok(kinds)
    }

    fn withdraw(&self, id: &str, reason: &str) -> Decided {
        let Some(request) = self.state.requests.get(id) else {
            return Err(Refusal::NoSuchRequest {
                rollout: self.state.id.clone(),
                request: id.chars().take(100).collect(),
            });
        };
        let reason = required("withdraw", "reason", reason)?.to_owned();
        if request.by != self.actor()
            && let Err(denied) = self.permissions().grant(Verb::Withdraw, self.actor())
        {
            return Err(self.denied(format!("withdraw request {id}"), denied));
        }
        Ok(vec![Kind::RequestEnded(v1::RequestEnded {
            request_id: id.to_owned(),
            end: v1::RequestEnd::Withdrawn.into(),
            reason,
        })])
    }

    /// Executes at once a command that takes two persons, where a rule allows it.
    fn break_glass(&self, command: &Command) -> Decided {
        let verb = match command {
            Command::Confirm { .. }
            | Command::Withdraw { .. }
            | Command::BreakGlass { .. }
            | Command::Review { .. } => {
                return Err(Refusal::NoGlass {
                    what: requests::what(command),
                });
            }
            other => requests::verb(self.state, other),
        };
        let what = requests::what(command);
        let permissions = self.permissions();
        let grant = self.grant(verb, command)?;
        let own = verb == Verb::Accept && permissions.is_protected();
        if grant == Grant::Alone && !own {
            return Err(Refusal::NoGlass { what });
        }
        let Some(rule) = permissions.breakable(verb, self.actor(), self.ctx.now) else {
            return Err(Refusal::GlassHolds {
                person: self.actor().to_owned(),
                what,
            });
        };
        if self.state.reviews.len() >= MAX_REVIEWS {
            return Err(Refusal::TooMany {
                what: "reviews are open",
                limit: MAX_REVIEWS,
            });
        }
        let reason = match command {
            Command::AcceptRevision { reason, .. } => reason,
            other => other.reason(),
        };
        let reason = required("breaking glass", "reason", reason)?.to_owned();
        let alone = Self {
            glass_broken: true,
            ..*self
        };
        let done = alone.act(command)?;
        if done.is_empty() {
            return Ok(done);
        }
        let mut kinds = vec![Kind::GlassBroken(v1::GlassBroken {
            review_id: review_id(&self.state.id.to_string(), self.ctx.command_id),
            verb: verb.to_string(),
            what,
            reason,
            review_by: Some(to_proto(rule.review_by)),
            rule: rule.rule,
        })];
        kinds.extend(done);
        Ok(kinds)
    }

    fn review_glass(&self, id: &str, agreed: bool, note: &str) -> Decided {
        let Some(review) = self.state.reviews.get(id) else {
            return Err(Refusal::NoSuchReview {
                rollout: self.state.id.clone(),
                review: id.chars().take(100).collect(),
            });
        };
        let note = required("a review", "note", note)?.to_owned();
        // The plan in force may itself result from breaking glass, so it must not lock out people
        // whom the environment's record names.
        let environments = self.plan.environments_of(&self.state.environment);
        let is_of_environment = environments
            .into_iter()
            .filter_map(|name| self.ctx.environments.get(name))
            .any(|state| state.terms.protected && state.has_person(self.actor()));
        if !is_of_environment
            && let Err(denied) = self.permissions().grant(Verb::Review, self.actor())
        {
            return Err(self.denied(format!("close review {id}"), denied));
        }
        if review.by == self.actor() {
            return Err(Refusal::OwnWork {
                person: review.by.clone(),
                did: format!("broke the glass ({})", review.what),
                what: "review that",
            });
        }
        Ok(vec![Kind::GlassReviewed(v1::GlassReviewed {
            review_id: id.to_owned(),
            agreed,
            note,
        })])
    }

    /// Checks that a person who proposes or accepts a plan has a role in every further protected
    /// environment in which that plan acts.
    pub(super) fn may_enter(&self, new: &Plan, what: &str) -> Result<(), Refusal> {
        let known = self.plan.environments_of(&self.state.environment);
        for name in new.environments_of(&self.state.environment) {
            let Some(entered) = self.ctx.environments.get(name) else {
                continue;
            };
            if known.contains(name) || !entered.terms.protected || entered.has_person(self.actor())
            {
                continue;
            }
            return Err(Refusal::NotInRole {
                person: self.actor().to_owned(),
                what: format!("{what} a plan that acts in {name}"),
                roles: roles_text(entered.terms.roles.iter()),
                remedies: roles_remedy(entered.terms.roles.is_empty(), name),
            });
        }
        Ok(())
    }

    /// Withdraws or refuses a proposed plan.
    pub(super) fn withdraw_revision(&self, revision: u32, reason: &str) -> Decided {
        let reason = optional("reason", reason.trim())?;
        let reason = required("withdraw", "reason", reason)?.to_owned();
        match &self.state.pending_revision {
            Some(pending) if pending.revision == revision => Ok(vec![Kind::PlanRevisionWithdrawn(
                v1::PlanRevisionWithdrawn { revision, reason },
            )]),
            waits => Err(Refusal::RevisionStale {
                given: revision,
                waits: waits
                    .as_ref()
                    .map_or("no revision is".to_owned(), |pending| {
                        format!("revision {} is", pending.revision)
                    }),
            }),
        }
    }
}

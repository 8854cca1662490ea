//! Authorization: every command of a person on a flag is checked here first. A command that takes
//! two persons becomes a request that another person confirms; glass can be broken where a rule
//! allows it.

use jiff::Timestamp;
use rollbook_proto::v1::{self, event::Kind};

use super::decide::{Asked, FlagCommand, FlagRefusal, act, check_reason, event};
use super::state::FlagState;
use crate::authority::request::{MAX_REQUESTS, MAX_REVIEWS};
use crate::authority::{Denied, Grant, Permissions, request_id, review_id};
use crate::clock::to_proto;
use crate::ids::{EnvironmentId, FlagKey};
use crate::rollout::Remedy;
use crate::runbook::Verb;

type Decided = Result<Vec<v1::Event>, FlagRefusal>;

/// Decides one command on a flag.
pub(super) struct Gatekeeper<'a> {
    pub(super) state: Option<&'a FlagState>,
    pub(super) environment: &'a EnvironmentId,
    pub(super) key: &'a FlagKey,
    pub(super) asked: &'a Asked<'a>,
}

/// Returns the authority-table row of a command. Exhaustive: a new command does not compile without
/// its verb.
fn verb(state: Option<&FlagState>, command: &FlagCommand) -> Verb {
    match command {
        FlagCommand::Define { .. } => Verb::DefineFlag,
        FlagCommand::Set { to, .. } => towards(state, to),
        FlagCommand::Safe { .. } => state.map_or(Verb::FlagSafe, |at| towards(state, &at.safe)),
        FlagCommand::Archive { .. } => Verb::ArchiveFlag,
        FlagCommand::Withdraw { .. } => Verb::Withdraw,
        FlagCommand::Review { .. } => Verb::Review,
        FlagCommand::BreakGlass { of } => verb(state, of),
        FlagCommand::Confirm { .. } => Verb::FlagOn,
    }
}

/// Returns the verb for setting the flag to `to`. Setting it to `off`, or to the safe value, counts
/// as going back, except that switching on a flag that is off never does.
fn towards(state: Option<&FlagState>, to: &v1::FlagSetting) -> Verb {
    let is_back = state.is_some_and(|state| {
        state.safe == *to && (state.setting.mode() != v1::FlagMode::Off || state.setting == *to)
    });
    if is_back || to.mode() == v1::FlagMode::Off {
        Verb::FlagSafe
    } else {
        Verb::FlagOn
    }
}

/// True if the command names a step of a rollout, which only that step may do.
fn names_a_step(command: &FlagCommand) -> bool {
    match command {
        FlagCommand::Set { rollout, step, .. } | FlagCommand::Safe { rollout, step, .. } => {
            rollout.is_some() || step.is_some()
        }
        FlagCommand::BreakGlass { of } => names_a_step(of),
        FlagCommand::Define { .. }
        | FlagCommand::Archive { .. }
        | FlagCommand::Confirm { .. }
        | FlagCommand::Withdraw { .. }
        | FlagCommand::Review { .. } => false,
    }
}

/// Describes a setting.
fn words(setting: &v1::FlagSetting) -> String {
    match setting.mode() {
        v1::FlagMode::Percentage => format!(
            "{}.{:03} %",
            setting.percentage_millis / 1_000,
            setting.percentage_millis % 1_000
        ),
        v1::FlagMode::Beta => format!("beta ({})", setting.beta_labels.join(", ")),
        mode => mode.as_str_name().to_lowercase(),
    }
}

fn what(key: &FlagKey, command: &FlagCommand) -> String {
    match command {
        FlagCommand::Define { .. } => format!("define flag {key}"),
        FlagCommand::Set { to, .. } => format!("set flag {key} to {}", words(to)),
        FlagCommand::Safe { .. } => format!("set flag {key} to its safe value"),
        FlagCommand::Archive { .. } => format!("archive flag {key}"),
        FlagCommand::Confirm { request } => format!("confirm request {request}"),
        FlagCommand::Withdraw { request, .. } => format!("withdraw request {request}"),
        FlagCommand::Review { review, .. } => format!("close review {review}"),
        FlagCommand::BreakGlass { of } => what(key, of),
    }
}

fn reason(command: &FlagCommand) -> &str {
    match command {
        FlagCommand::Set { reason, .. }
        | FlagCommand::Safe { reason, .. }
        | FlagCommand::Archive { reason }
        | FlagCommand::Withdraw { reason, .. } => reason,
        FlagCommand::BreakGlass { of } => self::reason(of),
        FlagCommand::Define { .. } | FlagCommand::Confirm { .. } | FlagCommand::Review { .. } => "",
    }
}

/// Returns events for the requests that have expired at `now`, in an order that replays.
pub(super) fn expired(state: &FlagState, now: Timestamp) -> Vec<v1::Event> {
    let ended = state
        .requests
        .iter()
        .filter(|request| request.expires_at <= now)
        .map(|request| {
            let reason = format!("nobody confirmed it until {}", request.expires_at);
            ended(&request.id, v1::RequestEnd::Expired, reason)
        });
    let late = state
        .reviews
        .iter()
        .filter(|review| !review.overdue && review.review_by <= now)
        .map(|review| {
            event(Kind::ReviewOverdue(v1::ReviewOverdue {
                review_id: review.id.clone(),
            }))
        });
    ended.chain(late).collect()
}

/// Returns events for the requests that a change of the flag voids, except the confirmed one.
pub(super) fn voided(state: &FlagState, confirmed: Option<&str>, now: Timestamp) -> Vec<v1::Event> {
    state
        .requests
        .iter()
        .filter(|request| request.expires_at > now && Some(request.id.as_str()) != confirmed)
        .map(|request| {
            let reason = format!(
                "it was asked on: {}; the flag has changed",
                request.rests_on
            );
            ended(&request.id, v1::RequestEnd::Voided, reason)
        })
        .collect()
}

fn ended(id: &str, end: v1::RequestEnd, reason: String) -> v1::Event {
    event(Kind::RequestEnded(v1::RequestEnded {
        request_id: id.to_owned(),
        end: end.into(),
        reason,
    }))
}

impl<'a> Gatekeeper<'a> {
    fn person(&self) -> &'a str {
        &self.asked.actor.name
    }

    fn permissions(&self) -> Permissions<'a> {
        Permissions::of_environment(self.asked.environment)
    }

    fn denied(&self, what: String, denied: Denied) -> FlagRefusal {
        FlagRefusal::NotInRole {
            person: self.person().to_owned(),
            what,
            environment: self.environment.clone(),
            roles: denied.roles,
            lacks_roles: denied.lacks_roles,
        }
    }

    /// Returns the remedy that shows the flag and its pending requests.
    fn shown(&self) -> Remedy {
        Remedy::ShowFlag {
            environment: self.environment.clone(),
            flag: self.key.clone(),
        }
    }

    fn grant(&self, verb: Verb, command: &FlagCommand) -> Result<Grant, FlagRefusal> {
        self.permissions()
            .grant(verb, self.person())
            .map_err(|denied| self.denied(what(self.key, command), denied))
    }

    fn act(&self, command: &FlagCommand, confirmed: Option<&str>) -> Decided {
        let mut events = act(self.state, self.environment, self.key, command)?;
        if let Some(state) = self.state
            && !events.is_empty()
        {
            events.extend(voided(state, confirmed, self.asked.now));
        }
        Ok(events)
    }

    /// Decides a person's command; also records requests that have expired.
    pub(super) fn decide(&self, command: &FlagCommand) -> Decided {
        if names_a_step(command) {
            return Err(FlagRefusal::NotAStep {
                key: self.key.clone(),
            });
        }
        let decided = match command {
            FlagCommand::Confirm { request } => self.confirm(request),
            FlagCommand::Withdraw { request, reason } => self.withdraw(request, reason),
            FlagCommand::BreakGlass { of } => self.break_glass(of),
            FlagCommand::Review {
                review,
                agreed,
                note,
            } => self.review(review, *agreed, note),
            other => {
                let verb = verb(self.state, other);
                match self.grant(verb, other)? {
                    Grant::Alone => self.define_off(other).and_then(|()| self.act(other, None)),
                    Grant::WithAnother => self.ask(verb, other),
                }
            }
        }?;
        let Some(state) = self.state.filter(|_| !decided.is_empty()) else {
            return Ok(decided);
        };
        let mut events = expired(state, self.asked.now);
        events.extend(decided);
        Ok(events)
    }

    /// In a protected environment, refuses to define a flag that is not off.
    fn define_off(&self, command: &FlagCommand) -> Result<(), FlagRefusal> {
        match command {
            FlagCommand::Define { initial, .. }
                if self.permissions().is_protected() && initial.mode() != v1::FlagMode::Off =>
            {
                Err(FlagRefusal::Setting {
                    key: self.key.clone(),
                    what: "initial",
                    problem: format!(
                        "{} is protected, where a flag is defined as off; define it so, then set it",
                        self.environment
                    ),
                })
            }
            _ => Ok(()),
        }
    }

    fn ask(&self, verb: Verb, command: &FlagCommand) -> Decided {
        let Some(state) = self.state else {
            return self.act(command, None);
        };
        if self.act(command, None)?.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.asked.now;
        let what = what(self.key, command);
        if let Some(waits) = state
            .requests
            .iter()
            .find(|request| request.what == what && request.expires_at > now)
        {
            return Err(FlagRefusal::Request {
                request: waits.id.clone(),
                problem: format!(
                    "{} asks to {what} already; another person confirms it",
                    waits.by
                ),
                remedies: vec![Remedy::ConfirmFlag {
                    environment: self.environment.clone(),
                    flag: self.key.clone(),
                    request: waits.id.clone(),
                }],
            });
        }
        let id = request_id(
            &format!("{}/{}", self.environment, self.key),
            self.asked.command_id,
        );
        let waiting = state.requests.iter().filter(|r| r.expires_at > now).count();
        if waiting >= MAX_REQUESTS {
            return Err(FlagRefusal::Request {
                request: id,
                problem: format!(
                    "{MAX_REQUESTS} requests wait for flag {} already; decide some of them first",
                    self.key
                ),
                remedies: vec![self.shown()],
            });
        }
        let permissions = self.permissions();
        if permissions.persons(verb, self.person()).is_empty() {
            return Err(self.denied(
                format!("{what} alone"),
                Denied {
                    roles: format!(
                        "a second person, and there is none: {}",
                        permissions.who_may(verb).join("; ")
                    ),
                    lacks_roles: false,
                },
            ));
        }
        let Ok(text) = serde_json::to_string(command) else {
            return Err(FlagRefusal::Request {
                request: id,
                problem: "the command cannot be written down".to_owned(),
                remedies: Vec::new(),
            });
        };
        Ok(vec![event(Kind::RequestMade(v1::RequestMade {
            request_id: id,
            verb: verb.to_string(),
            what,
            command: text,
            reason: check_reason(self.key, reason(command))?,
            expires_at: Some(to_proto(permissions.request_expires(now))),
            rests_on: format!("flag {} is {}", self.key, words(&state.setting)),
        }))])
    }

    fn confirm(&self, id: &str) -> Decided {
        let refuse = |problem: String| FlagRefusal::Request {
            request: id.chars().take(100).collect(),
            problem,
            remedies: Vec::new(),
        };
        let Some(request) = self.state.and_then(|state| state.requests.get(id)) else {
            return Err(FlagRefusal::Request {
                request: id.chars().take(100).collect(),
                problem: format!(
                    "it is not waiting for flag {} in {}; look at those that are",
                    self.key, self.environment
                ),
                remedies: vec![self.shown()],
            });
        };
        if request.expires_at <= self.asked.now {
            return Err(refuse(format!(
                "it expired at {}; ask again",
                request.expires_at
            )));
        }
        let Ok(command) = serde_json::from_str::<FlagCommand>(&request.command) else {
            return Err(refuse(
                "this version cannot read what it asks for; ask again".to_owned(),
            ));
        };
        self.grant(verb(self.state, &command), &command)?;
        if request.by == self.person() {
            return Err(FlagRefusal::OwnWork {
                person: request.by.clone(),
                did: format!("made request {id}"),
                what: "confirm it",
            });
        }
        let mut events = vec![event(Kind::RequestConfirmed(v1::RequestConfirmed {
            request_id: id.to_owned(),
        }))];
        events.extend(self.act(&command, Some(id))?);
        Ok(events)
    }

    fn withdraw(&self, id: &str, reason: &str) -> Decided {
        let Some(request) = self.state.and_then(|state| state.requests.get(id)) else {
            return Err(FlagRefusal::Request {
                request: id.chars().take(100).collect(),
                problem: format!("it is not waiting for flag {}", self.key),
                remedies: vec![self.shown()],
            });
        };
        let reason = check_reason(self.key, reason)?;
        if request.by != self.person()
            && let Err(denied) = self.permissions().grant(Verb::Withdraw, self.person())
        {
            return Err(self.denied(format!("withdraw request {id}"), denied));
        }
        if request.expires_at <= self.asked.now {
            // The request is recorded as expired.
            return Ok(vec![]);
        }
        Ok(vec![ended(id, v1::RequestEnd::Withdrawn, reason)])
    }

    fn break_glass(&self, command: &FlagCommand) -> Decided {
        let what = what(self.key, command);
        let verb = verb(self.state, command);
        let nested = matches!(
            command,
            FlagCommand::Confirm { .. }
                | FlagCommand::Withdraw { .. }
                | FlagCommand::BreakGlass { .. }
                | FlagCommand::Review { .. }
        );
        if nested || self.grant(verb, command)? == Grant::Alone {
            return Err(FlagRefusal::Glass {
                what,
                problem: "it takes no second person; do it without breaking glass",
            });
        }
        let permissions = self.permissions();
        let Some(rule) = permissions.breakable(verb, self.person(), self.asked.now) else {
            return Err(self.denied(
                format!("break glass to {what}"),
                Denied {
                    roles: "a rule of the environment that allows it, or a second person"
                        .to_owned(),
                    lacks_roles: false,
                },
            ));
        };
        if self
            .state
            .is_some_and(|state| state.reviews.len() >= MAX_REVIEWS)
        {
            return Err(FlagRefusal::Glass {
                what,
                problem: "too many reviews of this flag are open; close some of them first",
            });
        }
        let reason = check_reason(self.key, reason(command))?;
        let done = self.act(command, None)?;
        if done.is_empty() {
            return Ok(done);
        }
        let mut events = vec![event(Kind::GlassBroken(v1::GlassBroken {
            review_id: review_id(
                &format!("{}/{}", self.environment, self.key),
                self.asked.command_id,
            ),
            verb: verb.to_string(),
            what,
            reason,
            review_by: Some(to_proto(rule.review_by)),
            rule: rule.rule,
        }))];
        events.extend(done);
        Ok(events)
    }

    fn review(&self, id: &str, agreed: bool, note: &str) -> Decided {
        let Some(review) = self.state.and_then(|state| state.reviews.get(id)) else {
            return Err(FlagRefusal::Request {
                request: id.chars().take(100).collect(),
                problem: format!("no such review of flag {} is open", self.key),
                remedies: vec![self.shown()],
            });
        };
        let note = check_reason(self.key, note)?;
        if let Err(denied) = self.permissions().grant(Verb::Review, self.person()) {
            return Err(self.denied(format!("close review {id}"), denied));
        }
        if review.by == self.person() {
            return Err(FlagRefusal::OwnWork {
                person: review.by.clone(),
                did: format!("broke the glass ({})", review.what),
                what: "review that",
            });
        }
        Ok(vec![event(Kind::GlassReviewed(v1::GlassReviewed {
            review_id: id.to_owned(),
            agreed,
            note,
        }))])
    }
}

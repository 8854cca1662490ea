//! Authority as a runbook states it: verbs narrowed to roles, and when glass may be broken.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::span::Span;

macro_rules! verbs {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal,)+) => {
        /// What a person can do; each is a row of the authority table.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        pub enum Verb {
            $($(#[doc = $doc])+ #[serde(rename = $word)] $name,)+
        }

        impl Verb {
            /// All verbs, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The word used in runbooks, events and messages.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }
        }
    };
}

verbs! {
    /// Open a rollout.
    Open = "open",
    /// Start a rollout.
    Start = "start",
    /// Keep new steps from starting.
    Pause = "pause",
    /// Go on after a pause.
    Resume = "resume",
    /// Run a step again.
    Retry = "retry",
    /// Complete a manual step.
    Complete = "complete",
    /// Claim that a step does not apply.
    ProposeNotApplicable = "propose_not_applicable",
    /// Agree or disagree with such a claim.
    ReviewNotApplicable = "review_not_applicable",
    /// Sign a gate.
    Approve = "approve",
    /// Refuse a gate.
    Reject = "reject",
    /// Leave out a step that is not critical.
    Skip = "skip",
    /// Do without a critical step, or leave an effect that could not be undone.
    SkipCritical = "skip_critical",
    /// End a rollout without undoing anything.
    Abort = "abort",
    /// Undo the effect of one step.
    Undo = "undo",
    /// Take effects back, at a level.
    Rollback = "rollback",
    /// Propose a changed plan, or withdraw the proposal.
    Revise = "revise",
    /// Accept a changed plan.
    Accept = "accept",
    /// Withdraw a request that waits for a second person.
    Withdraw = "withdraw",
    /// Review what was done by breaking glass.
    Review = "review",
    /// Define a flag.
    DefineFlag = "define_flag",
    /// Set a flag to anything but `off` or its safe value, outside a rollout.
    FlagOn = "flag_on",
    /// Set a flag to `off` or its safe value.
    FlagSafe = "flag_safe",
    /// Archive a flag.
    ArchiveFlag = "archive_flag",
}

impl Verb {
    /// Parses a verb.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|verb| verb.as_str() == word)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Narrows who may what. Without it the defaults of the environment hold; nothing here allows
/// what they do not, except that glass may be broken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// Verb → the only roles whose persons may. `rollback` and `flag_safe` cannot be narrowed: the
    /// way back is open to every person of any role.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub verbs: BTreeMap<Verb, Vec<String>>,
    /// How long a request waits for its second person; default `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_expires: Option<Span>,
    /// When one person may do at once what takes two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<BreakGlass>,
}

/// One person may do at once what takes two, with a reason, and somebody else must review it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakGlass {
    /// For which verbs: those that take two persons (`skip_critical`, `abort`, `undo`, `accept`,
    /// `flag_on`).
    pub verbs: Vec<Verb>,
    /// Whose persons may; absent: every role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// How long the review may take.
    pub review_within: Span,
}

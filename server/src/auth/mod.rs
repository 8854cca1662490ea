//! Who makes a request: the port through which the API asks, and the adapter in use.

mod asserted;

use async_trait::async_trait;
use axum::http::HeaderMap;
use rollbook_ledger::error_code::Coded;
use rollbook_ledger::person::{self, NameError};

pub use asserted::{ACTOR_HEADER, ASSERTED, AssertedName};

/// A person who was identified, and how. Its name is in the form in which names are recorded and
/// compared, whatever the adapter was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    person: String,
    roles: Vec<String>,
    method: String,
}

impl Principal {
    /// Creates a principal. `roles` are those that the adapter vouches for; `method` is recorded
    /// with each of the person's commands: `asserted`, `token:<id>`.
    ///
    /// # Errors
    /// The text is not a valid name of a person.
    pub fn new(
        person: &str,
        roles: Vec<String>,
        method: impl Into<String>,
    ) -> Result<Self, NameError> {
        Ok(Self {
            person: person::name(person)?,
            roles,
            method: method.into(),
        })
    }

    /// The recorded name.
    pub fn person(&self) -> &str {
        &self.person
    }

    /// The roles that the adapter vouches for. They decide nothing: a command is decided by the
    /// roles of the environment's record and of the plan, which name persons.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// How the person was identified.
    pub fn method(&self) -> &str {
        &self.method
    }
}

/// Why nobody was identified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
pub enum AuthError {
    /// The request does not say who acts.
    #[error("RB-API-1: {problem}")]
    Unnamed {
        /// What is missing or wrong, and how to name who acts.
        problem: String,
    },
    /// The credentials are missing, wrong or expired.
    #[error("RB-AUTH-1: the request is not authenticated: {reason}; send valid credentials")]
    Unauthenticated {
        /// What is wrong, without the credentials.
        reason: String,
        /// The `WWW-Authenticate` challenge: a scheme such as `Bearer`.
        challenge: &'static str,
    },
    /// What knows the credentials does not answer. Retryable.
    #[error("RB-AUTH-2: nobody can be authenticated now: {reason}; ask again")]
    Unavailable {
        /// The cause.
        reason: String,
    },
}

impl AuthError {
    /// The challenge to answer with, if the request lacks valid credentials.
    pub fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::Unauthenticated { challenge, .. } => Some(challenge),
            _ => None,
        }
    }
}

/// The port. The API asks it about every request that acts for a person.
#[async_trait]
pub trait Authenticator: Send + Sync + std::fmt::Debug {
    /// Identifies who makes a request, by its headers.
    ///
    /// A page of another site can make a browser send requests, with the cookies and passwords that
    /// the browser keeps for this server. So an adapter never identifies anybody by those alone: it
    /// requires a header that a page can only set after the server allowed it (a preflight), which
    /// this one never does.
    ///
    /// # Errors
    /// `Unnamed` and `Unauthenticated` refuse the request; `Unavailable` if it may succeed later.
    async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, AuthError>;
}

//! The port of authentication: its contract, and an adapter from outside this crate.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use rollbook_ledger::flag::FlagCommand;
use rollbook_ledger::ids::{Aggregate, EnvironmentId, FlagKey};
use rollbook_ledger::projection::replay::PastBounds;
use rollbook_proto::v1::{FlagMode, FlagSetting};
use rollbook_server::auth::{ACTOR_HEADER, AssertedName, AuthError, Authenticator, Principal};

use crate::harness::{Answer, Server};

/// What a page of another site can make a browser send: its own choice of simple headers, and what
/// the browser keeps for this server.
const OF_A_PAGE: [(&str, &str); 5] = [
    ("cookie", "session=1; rollbook-actor=alice"),
    ("authorization", "Basic YWxpY2U6c2VjcmV0"),
    ("origin", "https://evil.example"),
    ("content-type", "text/plain"),
    ("accept-language", "alice"),
];

/// Tokens, and the person and the roles of each.
#[derive(Debug)]
struct Tokens(HashMap<&'static str, (&'static str, &'static str)>);

impl Tokens {
    fn new() -> Self {
        // The name is not in the form in which names are recorded.
        Self(HashMap::from([(
            "s3cret",
            (" Zoe\u{308} ", "release-manager"),
        )]))
    }
}

#[async_trait]
impl Authenticator for Tokens {
    async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, AuthError> {
        let refused = |reason: &str| AuthError::Unauthenticated {
            reason: reason.to_owned(),
            challenge: "Bearer",
        };
        let header = headers.get("authorization");
        let text = header.and_then(|header| header.to_str().ok());
        let token = text.and_then(|text| text.strip_prefix("Bearer "));
        let token = token.ok_or_else(|| refused("there is no token"))?;
        if token == "down" {
            return Err(AuthError::Unavailable {
                reason: "the directory does not answer".to_owned(),
            });
        }
        let known = self.0.get(token);
        let (person, role) = known.ok_or_else(|| refused("the token is unknown"))?;
        Principal::new(person, vec![(*role).to_owned()], "token").map_err(|error| {
            AuthError::Unnamed {
                problem: error.to_string(),
            }
        })
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
}

async fn identified(
    adapter: &dyn Authenticator,
    pairs: &[(&'static str, &str)],
) -> Result<Principal, AuthError> {
    adapter.authenticate(&headers(pairs)).await
}

/// What every adapter does: `valid` are headers that identify `person`.
async fn contract(adapter: &dyn Authenticator, valid: (&'static str, &str), person: &str) {
    let principal = identified(adapter, &[valid]).await.unwrap();
    assert_eq!(principal.person(), person);
    assert!(!principal.method().is_empty());
    // Other headers change nothing, and nothing is remembered of them.
    let among_others: Vec<_> = OF_A_PAGE
        .into_iter()
        .filter(|(name, _)| *name != valid.0)
        .chain([valid])
        .collect();
    let again = identified(adapter, &among_others).await.unwrap();
    assert_eq!(again, principal);
    for refused in [&[][..], &OF_A_PAGE] {
        let error = identified(adapter, refused).await.unwrap_err();
        assert!(!matches!(error, AuthError::Unavailable { .. }), "{error}");
        assert!(error.to_string().starts_with("RB-"), "{error}");
    }
    for (name, value) in OF_A_PAGE {
        assert!(identified(adapter, &[(name, value)]).await.is_err());
    }
}

#[tokio::test]
async fn both_adapters_keep_the_contract() {
    contract(&AssertedName, (ACTOR_HEADER, "Zoe%CC%88"), "Zo\u{eb}").await;
    let tokens = Tokens::new();
    contract(&tokens, ("authorization", "Bearer s3cret"), "Zo\u{eb}").await;
}

#[tokio::test]
async fn an_asserted_name_is_recorded_as_asserted_and_has_no_roles() {
    let principal = identified(&AssertedName, &[(ACTOR_HEADER, " alice ")])
        .await
        .unwrap();
    assert_eq!(
        (principal.person(), principal.method(), principal.roles()),
        ("alice", "asserted", &[][..])
    );
}

#[tokio::test]
async fn a_header_that_names_nobody_says_why() {
    let told = async |pairs: &[(&'static str, &str)]| {
        let error = identified(&AssertedName, pairs).await.unwrap_err();
        error.to_string()
    };
    let expected = |problem: &str| {
        format!(
            "RB-API-1: the header rollbook-actor must name who acts, in UTF-8, percent-encoded where it is not ASCII: {problem}; with the CLI: --as NAME"
        )
    };
    let nobody = expected("RB-PERSON-1: a person has no name; give one");
    assert_eq!(told(&[]).await, nobody);
    assert_eq!(told(&[(ACTOR_HEADER, "%20")]).await, nobody);
    let not_utf8 = told(&[(ACTOR_HEADER, "%ff")]).await;
    let utf8 = expected("invalid utf-8 sequence of 1 bytes from index 0");
    assert_eq!(not_utf8, utf8);
    let invisible = told(&[(ACTOR_HEADER, "al%E2%80%8Bice")]).await;
    assert!(invisible.contains("RB-PERSON-3"), "{invisible}");
}

/// Defines a flag, with these headers.
async fn define(server: &Server, pairs: &[(&'static str, &str)]) -> Answer {
    let off = FlagSetting {
        mode: FlagMode::Off.into(),
        ..FlagSetting::default()
    };
    let command = FlagCommand::Define {
        description: "the new path".to_owned(),
        owner: "engineering".to_owned(),
        safe: off.clone(),
        initial: off,
        retire_by: String::new(),
        salt: None,
    };
    let mut request = Request::post("/v1/flags/local/NEW/commands")
        .header("content-type", "application/json")
        .body(Body::from(serde_json::to_vec(&command).unwrap()))
        .unwrap();
    request.headers_mut().extend(headers(pairs));
    server.send(request).await
}

#[tokio::test]
async fn another_adapter_decides_what_the_commit_says_of_its_actor() {
    let server = Server::with(Arc::new(Tokens::new()), PastBounds::default()).await;
    // The name that a caller asserts means nothing to this adapter.
    let credentials = [
        ("authorization", "Bearer s3cret"),
        (ACTOR_HEADER, "mallory"),
    ];
    let answer = define(&server, &credentials).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let flag = Aggregate::Flag(
        EnvironmentId::new("local").unwrap(),
        FlagKey::new("NEW").unwrap(),
    );
    let commits = server.journal.read(&flag, 0).await.unwrap();
    let actor = commits[0].commit.actor.as_ref().unwrap();
    assert_eq!(
        (actor.name.as_str(), actor.authentication.as_str()),
        ("Zo\u{eb}", "token")
    );
}

#[tokio::test]
async fn who_is_not_authenticated_gets_the_reason_and_records_nothing() {
    let server = Server::with(Arc::new(Tokens::new()), PastBounds::default()).await;
    let refused = define(&server, &[(ACTOR_HEADER, "alice")]).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{refused:?}");
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    assert_eq!(refused.json["code"], "RB-AUTH-1");
    assert_eq!(refused.json["class"], "policy");
    let later = define(&server, &[("authorization", "Bearer down")]).await;
    assert_eq!(later.status, StatusCode::SERVICE_UNAVAILABLE, "{later:?}");
    assert_eq!(later.json["code"], "RB-AUTH-2");
    assert_eq!(server.journal.last_sequence().await.unwrap(), 0);
}

#[tokio::test]
async fn a_page_of_another_site_acts_for_nobody() {
    let server = Server::with(Arc::new(AssertedName), PastBounds::default()).await;
    let refused = define(&server, &OF_A_PAGE[..3]).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
    assert_eq!(refused.json["code"], "RB-API-1");
    assert_eq!(server.journal.last_sequence().await.unwrap(), 0);
}

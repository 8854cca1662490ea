//! Smoke tests against a running service, the way a person would try it: through its HTTP API.

use std::process::ExitCode;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::error::Error;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The flag value that the tests hold the service to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Expect {
    /// Deal types matter.
    On,
    /// Every deal is an acquisition.
    Off,
}

/// Passed tests, and what each failed one found.
#[derive(Default)]
struct Report {
    passed: u32,
    failed: u32,
}

impl Report {
    fn test(&mut self, name: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("{name} PASSED");
            }
            Err(found) => {
                self.failed += 1;
                println!("{name} FAILED: {found}");
            }
        }
    }
}

struct Service<'a> {
    client: Client,
    base: &'a str,
}

impl Service<'_> {
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value), Error> {
        let url = format!("{}{path}", self.base);
        let failed = |error: reqwest::Error| Error::Unreachable {
            url: url.clone(),
            reason: error.to_string(),
        };
        let mut request = self.client.request(method, &url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(failed)?;
        // 204 has no body; a body that is not JSON fails the test that looks into it.
        Ok((
            status,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        ))
    }

    async fn costs(&self, deal_id: &str) -> Result<Result<Value, String>, Error> {
        let (status, body) = self
            .ask(Method::GET, &format!("/costs/{deal_id}"), None)
            .await?;
        Ok(is(status, StatusCode::OK, &body).map(|()| body))
    }
}

fn is(found: StatusCode, wanted: StatusCode, body: &Value) -> Result<(), String> {
    if found == wanted {
        Ok(())
    } else {
        Err(format!("HTTP {found} instead of {wanted}: {body}"))
    }
}

/// Applications and infrastructure that show the difference between the deal types: both sides run
/// a CRM that costs more than the threshold of a consolidation synergy, and the target's ERP and
/// data centre belong to its parent.
fn inventory() -> Value {
    json!([
        { "item_id": "I-APP-000001", "inventory_type": "application", "entity": "target", "name": "CRM one",
          "status": "active", "data": { "category": "crm", "cost": 800_000, "users": 400 } },
        { "item_id": "I-APP-000002", "inventory_type": "application", "entity": "buyer", "name": "CRM two",
          "status": "active", "data": { "category": "crm", "cost": 300_000, "users": 300 } },
        { "item_id": "I-APP-000003", "inventory_type": "application", "entity": "target", "name": "Group ERP",
          "status": "active", "data": { "category": "erp", "cost": 500_000, "hosted_by_parent": true,
          "hosting": "parent data centre", "notes": "shared with parent" } },
        { "item_id": "I-INF-000001", "inventory_type": "infrastructure", "entity": "target", "name": "Hosts",
          "status": "active", "data": { "type": "server", "count": 12, "location": "Leeds", "ownership": "parent" } },
        { "item_id": "I-ORG-000001", "inventory_type": "organization", "entity": "target", "name": "Sales",
          "status": "active", "data": { "role": "sales", "headcount": 400, "location": "Leeds" } }
    ])
}

/// What the tests of one deal look at.
struct Outputs {
    synergies: i64,
    separations: i64,
    tsa_cents: i64,
}

fn outputs(costs: &Value) -> Result<Outputs, String> {
    let metric = |name: &str| {
        let found = costs
            .get("metrics")
            .and_then(|metrics| metrics.get(name))
            .and_then(Value::as_i64);
        found.ok_or_else(|| format!("the answer has no metric {name}: {costs}"))
    };
    Ok(Outputs {
        synergies: metric("synergy_count")?,
        separations: metric("separation_count")?,
        tsa_cents: metric("cost_tsa")?,
    })
}

fn consolidates(outputs: &Outputs) -> Result<(), String> {
    let Outputs {
        synergies,
        separations,
        tsa_cents,
    } = outputs;
    if *synergies > 0 && *separations == 0 && *tsa_cents == 0 {
        return Ok(());
    }
    Err(format!(
        "{synergies} synergies (more than 0), {separations} separations (0), TSA {tsa_cents} cents (0)"
    ))
}

fn separates(outputs: &Outputs) -> Result<(), String> {
    let Outputs {
        synergies,
        separations,
        tsa_cents,
    } = outputs;
    if *synergies == 0 && *separations > 0 && *tsa_cents > 0 {
        return Ok(());
    }
    Err(format!(
        "{synergies} synergies (0), {separations} separations (more than 0), TSA {tsa_cents} cents (more than 0)"
    ))
}

/// Runs all tests, prints one line each and a summary, and removes the deals that it made.
pub(crate) async fn run(url: &str, expect: Expect) -> Result<ExitCode, Error> {
    let client = Client::builder()
        .timeout(ANSWER_TIMEOUT)
        .build()
        .map_err(|error| Error::Start(format!("HTTP client: {error}")))?;
    let service = Service {
        client,
        base: url.trim_end_matches('/'),
    };
    let mut report = Report::default();
    let mut made = Vec::new();
    let outcome = tests(&service, expect, &mut report, &mut made).await;
    // Also after an error: what was made is removed before the error is told.
    for deal_id in &made {
        let removed = clean(&service, deal_id).await;
        if outcome.is_ok() {
            report.test("a_removed_deal_is_gone", removed);
        } else if let Err(left) = removed {
            eprintln!("cost-service: deal {deal_id} is left behind: {left}");
        }
    }
    outcome?;
    println!(
        "===== {} passed, {} failed =====",
        report.passed, report.failed
    );
    Ok(if report.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

async fn clean(service: &Service<'_>, deal_id: &str) -> Result<(), String> {
    let path = format!("/api/deals/{deal_id}?purge=true");
    let (status, body) = service
        .ask(Method::DELETE, &path, None)
        .await
        .map_err(|error| error.to_string())?;
    is(status, StatusCode::NO_CONTENT, &body)?;
    let (status, body) = service
        .ask(Method::GET, &format!("/costs/{deal_id}"), None)
        .await
        .map_err(|error| error.to_string())?;
    is(status, StatusCode::NOT_FOUND, &body)
}

async fn tests(
    service: &Service<'_>,
    expect: Expect,
    report: &mut Report,
    made: &mut Vec<String>,
) -> Result<(), Error> {
    let (status, health) = service.ask(Method::GET, "/health", None).await?;
    report.test("health_answers", is(status, StatusCode::OK, &health));
    let flag = health
        .get("flag")
        .and_then(|flag| flag.get("value"))
        .and_then(Value::as_bool);
    let as_expected = if flag == Some(expect == Expect::On) {
        Ok(())
    } else {
        Err(format!(
            "the service reports {flag:?}, expected {expect:?}: {health}"
        ))
    };
    report.test("flag_is_as_expected", as_expected);

    let refused = [
        ("without_type", Value::Null),
        ("of_unknown_type", json!("hostile")),
    ];
    for (name, deal_type) in refused {
        let (status, body) = service
            .ask(Method::POST, "/api/deals", Some(new_deal(deal_type)))
            .await?;
        made.extend(created_id(&body));
        report.test(
            &format!("deal_{name}_is_refused"),
            is(status, StatusCode::BAD_REQUEST, &body),
        );
    }

    // With the flag off, every deal is an acquisition.
    type Rule = fn(&Outputs) -> Result<(), String>;
    let carveout: (&str, Rule) = match expect {
        Expect::On => ("carveout_yields_separation_costs_and_tsa", separates),
        Expect::Off => ("carveout_is_computed_as_before", consolidates),
    };
    let behaviours: [(&str, &str, Rule); 2] = [
        (
            "acquisition",
            "acquisition_yields_consolidation_synergies",
            consolidates,
        ),
        ("carveout", carveout.0, carveout.1),
    ];
    for (deal_type, name, rule) in behaviours {
        let (status, body) = service
            .ask(Method::POST, "/api/deals", Some(new_deal(json!(deal_type))))
            .await?;
        report.test(
            &format!("{deal_type}_is_created"),
            is(status, StatusCode::CREATED, &body),
        );
        let outcome = match created_id(&body) {
            None => Err("not run: there is no deal".to_owned()),
            Some(deal_id) => {
                made.push(deal_id.clone());
                service
                    .costs(&deal_id)
                    .await?
                    .and_then(|costs| rule(&outputs(&costs)?))
            }
        };
        report.test(name, outcome);
    }
    Ok(())
}

fn new_deal(deal_type: Value) -> Value {
    json!({ "name": "Smoke test", "target_name": "Smoke test target", "deal_type": deal_type, "inventory": inventory() })
}

fn created_id(body: &Value) -> Option<String> {
    body.get("deal")?.get("id")?.as_str().map(str::to_owned)
}

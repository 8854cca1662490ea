//! What the service does for its users, and with bad input.

use serde_json::{Value, json};

use crate::flag_server::FlagServer;
use crate::process::{Database, Service, program};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn carveout() -> Value {
    json!({
        "name": "Leeds carveout", "target_name": "Leeds", "deal_type": "carveout",
        "inventory": [
            { "item_id": "I-APP-1", "inventory_type": "application", "entity": "target", "name": "Group ERP",
              "status": "active", "data": { "category": "erp", "hosted_by_parent": true } },
            { "item_id": "I-ORG-1", "inventory_type": "organization", "entity": "target", "name": "Sales",
              "status": "active", "data": { "role": "sales", "headcount": 400 } }
        ]
    })
}

#[tokio::test]
async fn smoke_tests_pass_with_the_flag_on_and_off_and_leave_nothing() {
    let database = Database::legacy().await;
    let flags = FlagServer::start(true).await;
    let service = Service::start(&["--database", &database.url(), "--flags", &flags.url()]).await;

    let on = service.check("on").await;
    assert!(
        on.status.success(),
        "{}{}",
        text(&on.stdout),
        text(&on.stderr)
    );
    assert!(text(&on.stdout).contains("carveout_yields_separation_costs_and_tsa PASSED"));
    assert!(text(&on.stdout).ends_with(" 0 failed =====\n"));

    let wrong = service.check("off").await;
    assert_eq!(wrong.status.code(), Some(1), "{}", text(&wrong.stdout));
    assert!(text(&wrong.stdout).contains("flag_is_as_expected FAILED"));

    flags.set(false);
    service
        .health_until(|health| health["flag"]["value"] == false)
        .await;
    let off = service.check("off").await;
    assert!(
        off.status.success(),
        "{}{}",
        text(&off.stdout),
        text(&off.stderr)
    );
    assert_eq!(database.rows().await, 0);
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn the_flag_decides_how_a_deal_is_computed() {
    let database = Database::legacy().await;
    let flags = FlagServer::start(false).await;
    let service = Service::start(&["--database", &database.url(), "--flags", &flags.url()]).await;
    let (status, made) = service.post("/api/deals", &carveout()).await;
    assert_eq!(status, 201, "{made}");
    let path = format!("/costs/{}", made["deal"]["id"].as_str().unwrap());

    let (status, before) = service.get(&path).await;
    assert_eq!(status, 200, "{before}");
    assert_eq!(before["computed_as"], "acquisition");
    assert_eq!(before["metrics"]["cost_tsa"], 0);

    flags.set(true);
    service
        .health_until(|health| {
            health["flag"]["source"] == "server" && health["flag"]["value"] == true
        })
        .await;
    let (_, after) = service.get(&path).await;
    assert_eq!(after["computed_as"], "carveout");
    assert!(
        after["metrics"]["cost_tsa"].as_i64().unwrap() > 0,
        "{after}"
    );
    assert!(
        after["metrics"]["cost_one_time_base"].as_i64()
            > before["metrics"]["cost_one_time_base"].as_i64()
    );

    let (_, list) = service.get("/api/deals?limit=1").await;
    assert_eq!(list["total"], 1);
    assert_eq!(list["deals"][0]["deal_type"], "carveout");
}

#[tokio::test]
async fn without_its_flag_server_the_service_keeps_the_value_for_a_while_then_is_safe() {
    let database = Database::legacy().await;
    let flags = FlagServer::start(true).await;
    let service = Service::start(&[
        "--database",
        &database.url(),
        "--flags",
        &flags.url(),
        "--flag-keep-ms",
        "1500",
    ])
    .await;
    flags.stop().await;
    let kept = service
        .health_until(|health| health["flag"]["source"] == "last_known")
        .await;
    assert_eq!(kept["flag"]["value"], true);
    let safe = service
        .health_until(|health| health["flag"]["source"] == "safe_default")
        .await;
    assert_eq!(safe["flag"]["value"], false);
    assert!(safe["flag"]["error"].is_string(), "{safe}");
    assert_eq!(safe["deal_type_awareness"], 0);
}

#[tokio::test]
async fn bad_requests_are_refused_with_the_field_named() {
    let database = Database::legacy().await;
    let service = Service::start(&["--database", &database.url()]).await;
    let named = |name: &str, target: &str, deal_type: Value| json!({ "name": name, "target_name": target, "deal_type": deal_type });
    let long = "x".repeat(256);
    for (body, field) in [
        (named("a", "b", json!("hostile")), "deal_type"),
        (named("a", "b", Value::Null), "deal_type"),
        (named(" ", "b", json!("carveout")), "name"),
        (named("a", &long, json!("carveout")), "target_name"),
        (named("a\0", "b", json!("carveout")), "name"),
        (
            json!({ "name": "a", "target_name": "b", "deal_type": "carveout", "inventory": ["\0"] }),
            "inventory",
        ),
        (
            json!({ "name": "a", "target_name": "b", "deal_type": "carveout", "price": 1 }),
            "price",
        ),
        (json!([]), ""),
    ] {
        let (status, answer) = service.post("/api/deals", &body).await;
        assert_eq!(status, 400, "{body} gave {answer}");
        assert!(
            answer["error"].as_str().unwrap().contains(field),
            "{body} gave {answer}"
        );
    }
    assert_eq!(service.get("/costs/nobody").await.0, 404);
    assert_eq!(
        service.get(&format!("/costs/{}", "x".repeat(37))).await.0,
        400
    );
    assert_eq!(service.get("/api/deals?limit=0").await.0, 400);
    assert_eq!(database.rows().await, 0);
    // A refusal is the client's fault, not a failure of deal creation.
    let (_, health) = service.get("/health").await;
    assert_eq!(health["deal_creation_failure_percent"], 0.0);
}

#[tokio::test]
async fn a_deal_that_cannot_be_computed_is_counted_and_harms_no_other() {
    let database = Database::legacy().await;
    database
        .execute(
            "INSERT INTO deals (id, tenant_id, owner_id, name, target_name, deal_type, inventory) \
             VALUES ('broken', 't', 'o', 'n', 't', 'acquisition', '[{')",
        )
        .await;
    let service = Service::start(&["--database", &database.url()]).await;
    let (status, answer) = service.get("/costs/broken").await;
    assert_eq!(status, 422, "{answer}");
    assert!(
        answer["error"].as_str().unwrap().starts_with("RB-COST-7: "),
        "{answer}"
    );
    assert!(
        service
            .text("/metrics")
            .await
            .contains("\ncost_calculation_errors_total 1\n")
    );
    let (_, health) = service.get("/health").await;
    assert_eq!(
        (&health["status"], &health["cost_errors"], &health["deals"]),
        (&json!("ok"), &json!(1), &json!(1))
    );
}

#[tokio::test]
async fn health_is_503_while_the_database_does_not_answer() {
    let database = Database::legacy().await;
    let service = Service::start(&["--database", &database.url()]).await;
    assert_eq!(service.get("/health").await.0, 200);
    database
        .execute("ALTER TABLE deals RENAME TO deals_gone")
        .await;
    let (status, health) = service.get("/health").await;
    assert_eq!((status, &health["deals"]), (503, &Value::Null));
    database
        .execute("ALTER TABLE deals_gone RENAME TO deals")
        .await;
    assert_eq!(service.get("/health").await.0, 200);
}

#[tokio::test]
async fn a_start_that_cannot_work_says_why_and_shows_no_password() {
    let database = Database::legacy().await;
    let url = database.url();
    let missing = ["--database", "sqlite:/nonexistent/deals.db"];
    let denied = ["--database", "postgres://ann:hunter2@127.0.0.1:1/deals"];
    let foreign = ["--database", "mysql://ann:hunter2@127.0.0.1/deals"];
    let model = ["--database", &url, "--model", "/nonexistent/model.json"];
    for (arguments, code, message) in [
        (&missing[..], 7, "RB-COST-2"),
        (&denied[..], 7, "RB-COST-2"),
        (&foreign[..], 2, "RB-COST-1"),
        (&model[..], 2, "RB-COST-3"),
    ] {
        let output = program()
            .arg("serve")
            .args(arguments)
            .output()
            .await
            .unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(
            said.contains(message) && !said.contains("hunter2"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_scaled_model_changes_acquisitions_only_while_the_flag_is_on() {
    let database = Database::legacy().await;
    let flags = FlagServer::start(false).await;
    let printed = program()
        .args(["model", "--acquisition-percent", "107"])
        .output()
        .await
        .unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &printed.stdout).unwrap();
    let arguments = ["--database", &database.url(), "--flags", &flags.url()];
    let model = ["--model", file.path().to_str().unwrap()];
    let right = Service::start(&arguments).await;
    let faulty = Service::start(&[&arguments[..], &model[..]].concat()).await;
    let mut deal = carveout();
    deal["deal_type"] = json!("acquisition");
    let (_, made) = right.post("/api/deals", &deal).await;
    let path = format!("/costs/{}", made["deal"]["id"].as_str().unwrap());

    let (_, old) = right.get(&path).await;
    assert_eq!(faulty.get(&path).await.1["metrics"], old["metrics"]);

    flags.set(true);
    for service in [&right, &faulty] {
        service
            .health_until(|health| health["deal_type_awareness"] == 1)
            .await;
    }
    let (_, new) = right.get(&path).await;
    assert_eq!(
        new["metrics"]["cost_one_time_base"],
        old["metrics"]["cost_one_time_base"]
    );
    let (_, wrong) = faulty.get(&path).await;
    let ratio = wrong["metrics"]["cost_one_time_base"].as_f64().unwrap()
        / new["metrics"]["cost_one_time_base"].as_f64().unwrap();
    assert!((1.06..1.08).contains(&ratio), "{ratio}");
}

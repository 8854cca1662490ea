use serde_json::json;

use super::*;

fn message(json: &str) -> String {
    parse(json.as_bytes()).unwrap_err().to_string()
}

fn with_data(data: serde_json::Value) -> String {
    json!([{"item_id": "I-APP-1", "inventory_type": "application", "data": data}]).to_string()
}

#[test]
fn nothing_is_an_empty_inventory() {
    for json in ["", "  \n", "null", "[]"] {
        let inventory = parse(json.as_bytes()).unwrap();
        assert!(inventory.applications.is_empty() && inventory.vendors.is_empty());
    }
}

#[test]
fn items_are_typed_and_kept_in_the_order_of_their_ids() {
    let json = json!([
        {"item_id": "b", "inventory_type": " Application ", "name": "Caf\u{e9} \"x\"", "entity": "BUYER",
         "data": {"category": "CRM", "cost": "1200.50", "users": 7, "unread": {"deep": [1, {}]}}},
        {"item_id": "a", "inventory_type": "application", "entity": null, "status": "active",
         "data": {"cost": 99, "cost_status": "unknown", "notes": "on the PARENT's tenant"}},
        {"item_id": "c", "inventory_type": "vendor", "status": "Removed"},
        {"item_id": "d", "inventory_type": "vendor", "data": null},
    ]);
    let json = json.to_string();
    let inventory = parse(json.as_bytes()).unwrap();
    let [first, second] = &inventory.applications[..] else {
        panic!("two applications expected");
    };
    assert_eq!(
        (first.item_id.as_ref(), first.entity),
        ("a", Entity::Target)
    );
    assert_eq!(first.annual_cost_cents, None);
    assert!(first.notes_name_parent);
    assert_eq!(second.name, "Caf\u{e9} \"x\"");
    assert_eq!(
        (second.entity, second.category),
        (Entity::Buyer, AppCategory::Crm)
    );
    assert_eq!((second.annual_cost_cents, second.users), (Some(120_050), 7));
    assert_eq!(inventory.vendors.len(), 1);
}

#[test]
fn bad_numbers_name_item_and_field() {
    for (value, reason) in [
        (json!(-1), "negative"),
        (json!(-0.5), "negative"),
        (json!("NaN"), "not a number"),
        (json!("lots"), "not a number"),
        (json!(true), "not a number"),
        (json!([1]), "not a number"),
        (json!(1_000_000_000_001_u64), "over 10^12"),
        (json!(u64::MAX), "over 10^12"),
        (json!("1e13"), "over 10^12"),
    ] {
        let message = message(&with_data(json!({"users": value})));
        assert!(message.starts_with("RB-DEAL-5"), "{message}");
        for part in ["I-APP-1", "data.users", reason] {
            assert!(message.contains(part), "{message} lacks {part}");
        }
    }
    // Errors about invalid JSON numbers name the item and field as well, where possible.
    for value in ["1e999", "-1e999", "123456789012345678901234567890"] {
        let json = with_data(json!({"users": 7})).replace("7}", &format!("{value}}}"));
        let message = message(&json);
        assert!(
            message.contains("I-APP-1") && message.contains("data.users"),
            "{message}"
        );
    }
    for value in ["NaN", "Infinity", "-Infinity"] {
        let json = with_data(json!({"users": 7})).replace("7}", &format!("{value}}}"));
        let message = message(&json);
        assert!(
            message.contains("item 0") && message.contains("data.users"),
            "{message}"
        );
    }
    for blank in [json!(null), json!(""), json!("  ")] {
        assert!(parse(with_data(json!({"users": blank})).as_bytes()).is_ok());
    }
}

#[test]
fn six_decimals_of_a_large_number_are_kept() {
    let json = with_data(json!({"cost": 7})).replace("7}", "123456789012.345678}");
    let cost = parse(json.as_bytes()).unwrap().applications[0].annual_cost_cents;
    assert_eq!(cost, Some(12_345_678_901_235));
    let json = with_data(json!({"data_volume_gb": 7})).replace("7}", "123456789012.345678}");
    let volume = parse(json.as_bytes()).unwrap().applications[0].data_volume_micro_gb;
    assert_eq!(volume, 123_456_789_012_345_678);
}

#[test]
fn words_are_the_same_with_hyphen_underscore_or_blank() {
    for word in ["on_premises", "on-premises", "On Premises", "on-prem"] {
        let json = with_data(
            json!({"deployment_type": word, "cost": 5, "cost_status": "internal-no-cost"}),
        );
        let inventory = parse(json.as_bytes()).unwrap();
        let application = &inventory.applications[0];
        assert_eq!(application.deployment, Some(Deployment::OnPrem), "{word}");
        assert_eq!(
            application.annual_cost_cents,
            Some(0),
            "the status overrides the cost"
        );
    }
    let json = with_data(json!({"cost": 5, "cost_status": "Unknown"}));
    assert_eq!(
        parse(json.as_bytes()).unwrap().applications[0].annual_cost_cents,
        None
    );
}

#[test]
fn inactive_items_are_checked_too() {
    let json = json!([{"item_id": "x", "inventory_type": "application", "status": "removed",
        "data": {"users": -1}}]);
    assert!(message(&json.to_string()).contains("data.users"));
}

#[test]
fn flags_read_booleans_and_their_words() {
    for (value, expected) in [
        (json!(true), true),
        (json!("Yes"), true),
        (json!(1), true),
        (json!(null), false),
        (json!(""), false),
        (json!("FALSE"), false),
        (json!(0), false),
    ] {
        let json = with_data(json!({"sso_required": value}));
        assert_eq!(
            parse(json.as_bytes()).unwrap().applications[0].sso_required,
            expected
        );
    }
    let message = message(&with_data(json!({"hosted_by_parent": "perhaps"})));
    assert!(message.contains("data.hosted_by_parent"), "{message}");
}

#[test]
fn items_that_no_rule_can_read_are_named() {
    for (json, parts) in [
        (
            r#"[{"item_id":"a","inventory_type":"server"}]"#,
            &["RB-DEAL-4", "\"a\"", "\"server\""][..],
        ),
        (r#"[{"item_id":"a"}]"#, &["RB-DEAL-4", "\"a\""]),
        (r#"[{"inventory_type":"vendor"}]"#, &["RB-DEAL-2", "item 0"]),
        (
            r#"[{"item_id":7,"inventory_type":"vendor"}]"#,
            &["RB-DEAL-5", "item_id", "#0"],
        ),
        (
            r#"[{"item_id":"a","inventory_type":"vendor"},{"item_id":"a","inventory_type":"vendor"}]"#,
            &["RB-DEAL-3", "\"a\""],
        ),
        (
            r#"[{"item_id":"a","inventory_type":"vendor","entity":"seller"}]"#,
            &["RB-DEAL-5", "\"a\"", "entity"],
        ),
    ] {
        let message = message(json);
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn wrong_shapes_say_where() {
    for (json, part) in [
        ("{}", "an array of inventory items"),
        ("\"text\"", "an array of inventory items"),
        ("[", "line 1 column"),
        (
            r#"[{"item_id":"a","inventory_type":"vendor"}, 5]"#,
            "item 1 (from 0)",
        ),
        (r#"[{"item_id":"a","data":[]}]"#, "item 0 (from 0)"),
        (r#"[{"item_id":"a","item_id":"b"}]"#, "duplicate field"),
        (r#"[["a","vendor"]]"#, "item 0 (from 0)"),
        ("[{}] trailing", "line 1 column"),
        ("[{\"item_id\":\"\u{1}\"}]", "line 1 column"),
        (
            r#"[{"item_id":"a","inventory_type":"vendor","name":"\ud800"}]"#,
            "name: a text has an escape that stands for no character at line 1 column 5",
        ),
    ] {
        let message = message(json);
        assert!(message.starts_with("RB-DEAL-1"), "{message}");
        assert!(message.contains(part), "{message} lacks {part}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    assert!(parse(b"[{\"item_id\":\"\xff\"}]").is_err());
}

#[test]
fn deep_nesting_is_refused_before_it_can_overflow_the_stack() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(message(&deep(200_000)).contains("expected an object"));
    let unread = |levels| {
        let deep = deep(levels);
        format!(r#"[{{"item_id":"a","inventory_type":"vendor","x":{deep},"name":"\\\"[[{{"}}]"#)
    };
    assert!(message(&unread(200_000)).contains("nested over 30 levels"));
    let read = format!(
        r#"[{{"item_id":"a","data":{{"users":{}}}}}]"#,
        deep(200_000)
    );
    assert!(message(&read).contains("nested over 30 levels"));
    let data = format!(r#"[{{"item_id":"a","data":{}}}]"#, deep(200_000));
    assert!(message(&data).contains("expected an object"));
    let object = format!("{}1{}", "{\"a\":".repeat(200_000), "}".repeat(200_000));
    assert!(message(&object).contains("expected an array"));
    assert!(message(&format!("[{object}]")).contains("nested over 30 levels"));
    assert!(parse(unread(30).as_bytes()).is_ok());
    assert!(parse(unread(31).as_bytes()).is_err());
    let wide = (0..300)
        .map(|index| json!({"item_id": format!("\"[{{{index}"), "inventory_type": "vendor"}));
    let wide = serde_json::Value::from_iter(wide).to_string();
    assert_eq!(parse(wide.as_bytes()).unwrap().vendors.len(), 300);
}

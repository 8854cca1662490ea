//! The suite that the migrations of both dialects must pass.

use rollbook_deals::migrate::{alias_script, apply};
use rollbook_deals::{BUILT_IN_ALIASES, DealType};

use crate::target::Database;

/// Each migration is absent, is deployed, is verified, and cannot be deployed twice; then it is
/// reverted.
pub async fn each_deploys_verifies_and_reverts(database: &Database) {
    let mut shapes = Vec::new();
    for migration in database.migrations() {
        let id = migration.id;
        let missing = database.run(migration.verify).await.unwrap_err();
        assert!(missing.contains("RB-MIGRATE-2"), "{id}: {missing}");
        shapes.push(database.shape().await);
        database.run(migration.deploy).await.unwrap();
        database.run(migration.verify).await.unwrap();
        let deployed = database.shape().await;
        let again = database.run(migration.deploy).await.unwrap_err();
        assert!(again.contains("RB-MIGRATE-1"), "{id}: {again}");
        assert_eq!(database.shape().await, deployed, "{id}");
        database.run(migration.verify).await.unwrap();
    }
    for migration in database.migrations().iter().rev() {
        let id = migration.id;
        database.run(migration.revert).await.unwrap();
        assert_eq!(database.shape().await, shapes.pop().unwrap(), "{id}");
        let missing = database.run(migration.verify).await.unwrap_err();
        assert!(missing.contains("RB-MIGRATE-2"), "{id}: {missing}");
        database.run(migration.revert).await.unwrap_err();
    }
}

/// Values that years of forms leave behind, each with the id of its deal.
fn stored_types() -> Vec<(String, Option<String>)> {
    let mut values: Vec<Option<String>> = vec![
        None,
        Some(String::new()),
        Some(" \t ".to_owned()),
        Some("jv".to_owned()),
        Some("lbo".to_owned()),
        Some("v".to_owned()),
    ];
    for (alias, _) in BUILT_IN_ALIASES {
        values.push(Some(alias.to_owned()));
        values.push(Some(format!(" {}\n", alias.to_uppercase())));
    }
    for kind in DealType::ALL {
        values.push(Some(kind.as_str().to_owned()));
        values.push(Some(format!("\t{}", kind.as_str().to_uppercase())));
    }
    let numbered = values.into_iter().enumerate();
    numbered
        .map(|(index, value)| (format!("deal-{index:03}"), value))
        .collect()
}

async fn insert(database: &Database, deals: &[(String, Option<String>)]) {
    for (id, value) in deals {
        let value = value
            .as_ref()
            .map_or("NULL".to_owned(), |value| format!("'{value}'"));
        let sql = format!(
            "INSERT INTO deals (id, target_name, deal_type, inventory)
             VALUES ('{id}', 'Target', {value}, '[{{\"item_id\": \"a\"}}]')"
        );
        database.run(&sql).await.unwrap();
    }
}

async fn type_of(database: &Database, id: &str) -> Option<String> {
    let sql = format!("SELECT deal_type FROM deals WHERE id = '{id}'");
    database.rows(&sql).await.remove(0)
}

/// 004 refuses unknown values with a list of them, applies the alias table, and restores every row.
pub async fn deal_types_are_mapped_and_restored(database: &Database) {
    apply(&database.url, "003").await.unwrap();
    let deals = stored_types();
    insert(database, &deals).await;
    let (before, shape) = (database.contents().await, database.shape().await);
    let constrain = database.migrations()[3];

    // A hundred values are listed, with the number of further ones.
    let listed = |refused: &str| refused.matches("unknown-").count();
    let many: Vec<_> = (0..104)
        .map(|n| (format!("many-{n}"), Some(format!("aa-unknown-{n:03}"))))
        .collect();
    insert(database, &many).await;
    let refused = database.run(constrain.deploy).await.unwrap_err();
    assert_eq!(listed(&refused), 100, "{refused}");
    assert!(
        refused.contains(" and ") && refused.contains(" more"),
        "{refused}"
    );
    let taken = "DELETE FROM deals WHERE id LIKE 'many-%'";
    database.run(taken).await.unwrap();
    assert_eq!(database.contents().await, before);

    let refused = database.run(constrain.deploy).await.unwrap_err();
    assert!(refused.contains("RB-MIGRATE-4"), "{refused}");
    for unknown in ["jv", "lbo", "v"] {
        let [single, double] = [format!("'{unknown}' (1)"), format!("\"{unknown}\" (1)")];
        assert!(
            refused.contains(&single) || refused.contains(&double),
            "{refused}"
        );
    }
    assert!(!refused.contains("merger"), "{refused}");
    assert_eq!(database.contents().await, before);
    assert_eq!(database.shape().await, shape);

    database
        .run(alias_script(database.dialect()))
        .await
        .unwrap();
    database
        .run(alias_script(database.dialect()))
        .await
        .unwrap();
    let seeded = "SELECT value || '=' || deal_type FROM deal_type_alias ORDER BY value";
    let mut expected: Vec<_> = BUILT_IN_ALIASES
        .iter()
        .map(|(alias, kind)| (*alias, *kind))
        .chain(DealType::ALL.map(|kind| (kind.as_str(), kind)))
        .chain([("", DealType::Acquisition)])
        .map(|(alias, kind)| Some(format!("{alias}={kind}")))
        .collect();
    expected.sort();
    let mut found = database.rows(seeded).await;
    found.sort();
    assert_eq!(found, expected);
    let unfolded = "INSERT INTO deal_type_alias (value, deal_type) VALUES (' LBO', 'acquisition')";
    assert!(
        database
            .run(unfolded)
            .await
            .unwrap_err()
            .contains("alias_is_folded")
    );
    let mapping = "INSERT INTO deal_type_alias (value, deal_type)
                   VALUES ('jv', 'divestiture'), ('lbo', 'acquisition'), ('v', 'carveout')";
    database.run(mapping).await.unwrap();

    database.run(constrain.deploy).await.unwrap();
    database.run(constrain.verify).await.unwrap();
    for (id, value) in &deals {
        let expected = match value.as_deref() {
            Some("jv") => DealType::Divestiture,
            Some("lbo") => DealType::Acquisition,
            Some("v") => DealType::Carveout,
            other => DealType::resolve(other).unwrap(),
        };
        assert_eq!(
            type_of(database, id).await.as_deref(),
            Some(expected.as_str()),
            "{value:?}"
        );
    }
    for bad in ["NULL", "'merger'", "''"] {
        let sql =
            format!("INSERT INTO deals (id, target_name, deal_type) VALUES ('x', 'T', {bad})");
        database.run(&sql).await.unwrap_err();
    }
    database
        .run("INSERT INTO deals (id, target_name) VALUES ('x', 'T')")
        .await
        .unwrap();
    assert_eq!(type_of(database, "x").await.as_deref(), Some("acquisition"));
    database
        .run("DELETE FROM deals WHERE id = 'x'")
        .await
        .unwrap();

    database.run(constrain.revert).await.unwrap();
    assert_eq!(database.contents().await, before);
    // A person's decisions about unknown values are kept for the next deployment.
    assert_eq!(
        database
            .count("deal_type_alias WHERE value IN ('jv', 'lbo', 'v')")
            .await,
        3
    );

    database.run(constrain.deploy).await.unwrap();
    // deal-000 was NULL; somebody has decided its type since.
    database
        .run("UPDATE deals SET deal_type = 'carveout' WHERE id = 'deal-000'")
        .await
        .unwrap();
    database.run(constrain.revert).await.unwrap();
    assert_eq!(
        type_of(database, "deal-000").await.as_deref(),
        Some("carveout")
    );
    assert_eq!(type_of(database, "deal-003").await.as_deref(), Some("jv"));
}

/// A revert that would lose data which nobody can restore is refused.
pub async fn reverts_that_lose_data_are_refused(database: &Database) {
    apply(&database.url, "003").await.unwrap();
    let [_, lifecycle, counters, _] = database.migrations() else {
        panic!("four migrations expected");
    };
    let insert = "INSERT INTO deals (id, target_name, settings, deleted_at)
                  VALUES ('a', 'T', '{\"k\": 1}', '2026-01-01T00:00:00Z')";
    database.run(insert).await.unwrap();
    let refused = database.run(counters.revert).await.unwrap_err();
    assert!(refused.contains("RB-MIGRATE-3"), "{refused}");
    database
        .run("UPDATE deals SET settings = '{}'")
        .await
        .unwrap();
    database.run(counters.revert).await.unwrap();
    let refused = database.run(lifecycle.revert).await.unwrap_err();
    assert!(refused.contains("RB-MIGRATE-3"), "{refused}");
    database.run(lifecycle.verify).await.unwrap();
    database
        .run("UPDATE deals SET deleted_at = NULL")
        .await
        .unwrap();
    database.run(lifecycle.revert).await.unwrap();
    assert_eq!(database.count("deals").await, 1);
}

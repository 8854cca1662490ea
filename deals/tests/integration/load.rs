//! The suite for filling a database of either kind.

use rollbook_deals::generate::{GenerateOptions, generate};
use rollbook_deals::load::load;
use rollbook_deals::migrate::{TargetError, apply};

use crate::target::Database;

/// More than one batch, with broken inventories and types that nothing maps.
fn options() -> GenerateOptions {
    GenerateOptions {
        invalid_types: true,
        broken_inventory: 3,
        ..GenerateOptions::new(450, 11)
    }
}

/// The database contains what was generated, in number and content.
pub async fn deals_load_completely(database: &Database) {
    assert_eq!(apply(&database.url, "003").await.unwrap().len(), 3);
    assert!(apply(&database.url, "003").await.unwrap().is_empty());
    let mut seen = Vec::new();
    let report = load(&database.url, &options(), |done| seen.push(done))
        .await
        .unwrap();
    assert_eq!((report.deals, seen.last().copied()), (450, Some(450)));
    assert!(seen.is_sorted());
    assert_eq!(database.count("deals").await, 450);
    let deleted = i64::try_from(report.deleted).unwrap();
    assert_eq!(
        database.count("deals WHERE deleted_at IS NOT NULL").await,
        deleted
    );
    let classes =
        report.valid_types + report.null_types + report.alias_types + report.invalid_types;
    assert_eq!(classes, 450);
    assert!(report.invalid_types > 0 && report.null_types > 0 && report.alias_types > 0);

    let mut expected: Vec<_> = generate(options()).collect();
    expected.sort_by(|left, right| left.id.cmp(&right.id));
    let types = database
        .rows("SELECT deal_type FROM deals ORDER BY id")
        .await;
    let names = database
        .rows("SELECT target_name FROM deals ORDER BY id")
        .await;
    let inventories = database
        .rows("SELECT CAST(inventory AS text) FROM deals ORDER BY id")
        .await;
    for (((deal, kind), name), inventory) in expected.iter().zip(types).zip(names).zip(inventories)
    {
        assert_eq!(
            (&deal.deal_type, Some(&deal.target_name)),
            (&kind, name.as_ref())
        );
        let [stored, made]: [serde_json::Value; 2] = [&inventory.unwrap(), &deal.inventory_json]
            .map(|json| serde_json::from_str(json).unwrap());
        assert_eq!(stored, made);
    }
}

/// A load that fails leaves nothing behind.
pub async fn a_failed_load_leaves_nothing(database: &Database) {
    let missing = load(&database.url, &options(), |_| ()).await.unwrap_err();
    assert!(matches!(missing, TargetError::Load(_)), "{missing}");
    apply(&database.url, "003").await.unwrap();
    // The last deal's id is taken, so the failure comes after hundreds of rows.
    let last = generate(options()).last().unwrap();
    let taken = format!(
        "INSERT INTO deals (id, target_name) VALUES ('{}', 'T')",
        last.id
    );
    database.run(&taken).await.unwrap();
    let twice = load(&database.url, &options(), |_| ()).await.unwrap_err();
    assert!(twice.to_string().starts_with("RB-TARGET-5"), "{twice}");
    assert!(!twice.is_retryable());
    assert_eq!(database.count("deals").await, 1);
}

/// With valid types only, all migrations succeed and can be reverted.
pub async fn generated_deals_survive_the_migration(database: &Database) {
    apply(&database.url, "003_counters").await.unwrap();
    load(&database.url, &GenerateOptions::new(300, 5), |_| ())
        .await
        .unwrap();
    let before = database.contents().await;
    assert_eq!(
        apply(&database.url, "004").await.unwrap(),
        ["004_deal_type"]
    );
    let invalid = "deals WHERE deal_type NOT IN ('acquisition', 'carveout', 'divestiture')";
    assert_eq!(database.count(invalid).await, 0);
    assert!(database.count("deal_type_prior").await > 10);
    database.run(database.migrations()[3].revert).await.unwrap();
    assert_eq!(database.contents().await, before);

    let unmapped = GenerateOptions {
        invalid_types: true,
        ..GenerateOptions::new(300, 6)
    };
    load(&database.url, &unmapped, |_| ()).await.unwrap();
    let refused = apply(&database.url, "004").await.unwrap_err();
    assert!(refused.to_string().contains("RB-MIGRATE-4"), "{refused}");
}

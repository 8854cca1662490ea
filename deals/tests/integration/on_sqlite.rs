//! The deal suites on SQLite, and addresses that name no database.

use rollbook_deals::generate::GenerateOptions;
use rollbook_deals::load::load;
use rollbook_deals::migrate::apply;

use crate::target::Database;
use crate::{load as loading, migrations};

fn database(dir: &tempfile::TempDir) -> Database {
    Database {
        url: format!("sqlite:{}", dir.path().join("deals.db").display()),
    }
}

#[tokio::test]
async fn migrations_deploy_verify_and_revert() {
    let dir = tempfile::tempdir().unwrap();
    migrations::each_deploys_verifies_and_reverts(&database(&dir)).await;
}

#[tokio::test]
async fn deal_types_are_mapped_and_restored() {
    let dir = tempfile::tempdir().unwrap();
    migrations::deal_types_are_mapped_and_restored(&database(&dir)).await;
}

#[tokio::test]
async fn reverts_that_lose_data_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    migrations::reverts_that_lose_data_are_refused(&database(&dir)).await;
}

#[tokio::test]
async fn deals_load_completely() {
    let dir = tempfile::tempdir().unwrap();
    loading::deals_load_completely(&database(&dir)).await;
}

#[tokio::test]
async fn a_failed_load_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    loading::a_failed_load_leaves_nothing(&database(&dir)).await;
}

#[tokio::test]
async fn generated_deals_survive_the_migration() {
    let dir = tempfile::tempdir().unwrap();
    loading::generated_deals_survive_the_migration(&database(&dir)).await;
}

/// 004 keeps an index that it does not know, and refuses one that uses the column it replaces.
#[tokio::test]
async fn unknown_indexes_are_kept_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let database = database(&dir);
    apply(&database.url, "003").await.unwrap();
    for index in [
        "CREATE INDEX by_name ON deals (name)",
        "CREATE INDEX by_both ON deals (deal_type, name)",
    ] {
        database.run(index).await.unwrap();
    }
    let refused = apply(&database.url, "004").await.unwrap_err().to_string();
    assert!(refused.contains("RB-MIGRATE-6"), "{refused}");
    database.run("DROP INDEX by_both").await.unwrap();
    apply(&database.url, "004").await.unwrap();
    assert_eq!(
        database.count("sqlite_schema WHERE name = 'by_name'").await,
        1
    );
}

#[tokio::test]
async fn wrong_addresses_and_names_get_different_errors() {
    let dir = tempfile::tempdir().unwrap();
    let database = database(&dir);
    let unknown = apply(&database.url, "005").await.unwrap_err();
    assert!(unknown.to_string().contains("\"005\""), "{unknown}");
    let scheme = apply("mysql://user:secret@host/db", "003")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        scheme.starts_with("RB-TARGET-1") && !scheme.contains("secret"),
        "{scheme}"
    );
    let nobody = "postgres://user:secret@127.0.0.1:1/db";
    let refused = load(nobody, &GenerateOptions::new(1, 1), |_| ())
        .await
        .unwrap_err();
    assert!(refused.is_retryable(), "{refused}");
    assert!(!refused.to_string().contains("secret"), "{refused}");
}

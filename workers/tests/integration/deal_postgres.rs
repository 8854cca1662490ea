//! The deal suites on PostgreSQL: one cluster, a database for each.

use crate::deal_database::Database;
use crate::postgres::Postgres;
use crate::{deal_load, deal_migrations};

#[tokio::test]
async fn the_deal_suites_pass_on_postgresql() {
    let cluster = Postgres::start();
    let database = async |name: &str| Database {
        url: cluster.database(name).await,
    };
    deal_migrations::each_deploys_verifies_and_reverts(&database("chain").await).await;
    deal_migrations::deal_types_are_mapped_and_restored(&database("types").await).await;
    deal_migrations::reverts_that_lose_data_are_refused(&database("refusals").await).await;
    deal_load::deals_are_loaded_whole(&database("load").await).await;
    deal_load::a_failed_load_leaves_nothing(&database("failed").await).await;
    deal_load::generated_deals_survive_the_migration(&database("survive").await).await;
}

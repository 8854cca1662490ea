//! The deal suites on PostgreSQL: one cluster, with one database per suite.

use crate::postgres::Postgres;
use crate::target::Database;
use crate::{load, migrations};

#[tokio::test]
async fn the_deal_suites_pass_on_postgresql() {
    let cluster = Postgres::start();
    let database = async |name: &str| Database {
        url: cluster.database(name).await,
    };
    migrations::each_deploys_verifies_and_reverts(&database("chain").await).await;
    migrations::deal_types_are_mapped_and_restored(&database("types").await).await;
    migrations::reverts_that_lose_data_are_refused(&database("refusals").await).await;
    load::deals_load_completely(&database("load").await).await;
    load::a_failed_load_leaves_nothing(&database("failed").await).await;
    load::generated_deals_survive_the_migration(&database("survive").await).await;
}

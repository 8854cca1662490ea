//! Generates deals with about 3 KB of inventory each, and the tables they are read from.

use std::sync::Arc;

use bytes::Bytes;
use rollbook_deals::generate::{GenerateOptions, GeneratedDeal, generate};
use rollbook_deals::{DealCalculator, Model};
use rollbook_workers::snapshot::{Calculator, RawDeal};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::postgres::Postgres;
use crate::bar::{BenchError, failed};

/// Deals in a table unless the bar sets another number.
pub(crate) const DEALS: u64 = 1_000_000;
/// Number of distinct inventories; the deals of a table repeat them under different ids.
const DISTINCT: usize = 20_000;
/// Larger inventories are left out, so that the average is about 3 KB.
const MAX_INVENTORY_BYTES: usize = 4_000;
const SEED: u64 = 1;
/// How much COPY text is sent at once, in bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// Generated deals that are not too large.
fn generated() -> impl Iterator<Item = GeneratedDeal> {
    generate(GenerateOptions::new(u64::MAX, SEED))
        .filter(|deal| deal.inventory_json.len() <= MAX_INVENTORY_BYTES)
}

/// Makes this many deals in memory.
pub(crate) fn in_memory(count: usize) -> Vec<RawDeal> {
    generated()
        .take(count)
        .map(|deal| RawDeal {
            id: deal.id,
            deal_type: deal.deal_type,
            inventory: Bytes::from(deal.inventory_json),
        })
        .collect()
}

/// The built-in model.
pub(crate) fn calculator() -> Result<Arc<dyn Calculator>, BenchError> {
    let calculator = DealCalculator::new(Model::built_in(), true);
    Ok(Arc::new(calculator.map_err(failed("make the model"))?))
}

/// Fills table `deals` with `count` deals; `column` is the type of the inventory column.
///
/// Ids are random, like UUIDs, so that their order is not the order on disk. 4 % of the generated
/// deals are deleted.
pub(crate) async fn fill(postgres: &Postgres, column: &str, count: u64) -> Result<(), BenchError> {
    postgres.execute(&format!(
        "SET client_min_messages = warning; DROP TABLE IF EXISTS deals, seeds; \
         CREATE UNLOGGED TABLE seeds (deal_type text, deleted boolean, inventory {column}); \
         CREATE UNLOGGED TABLE deals (id varchar(36) COLLATE \"C\" NOT NULL, \
         tenant_id varchar(36), deal_type varchar(50), inventory {column}, \
         deleted_at timestamptz) WITH (autovacuum_enabled = false)"
    ))?;
    seeds(postgres).await?;
    postgres.execute(&format!(
        "INSERT INTO deals SELECT CAST(CAST(md5(CAST(n AS text) || s.ctid) AS uuid) AS text), \
         'tenant-' || n % 5, s.deal_type, s.inventory, CASE WHEN s.deleted THEN now() END \
         FROM generate_series(1, {}) n CROSS JOIN seeds s LIMIT {count}",
        count.div_ceil(DISTINCT as u64),
    ))?;
    for statement in [
        "ALTER TABLE deals ADD PRIMARY KEY (id)",
        "CREATE INDEX deals_live ON deals (id) WHERE deleted_at IS NULL",
        "VACUUM ANALYZE deals",
        "CHECKPOINT",
    ] {
        postgres.execute(statement)?;
    }
    Ok(())
}

async fn seeds(postgres: &Postgres) -> Result<(), BenchError> {
    let mut connection = PgConnection::connect(postgres.url())
        .await
        .map_err(failed("connect to PostgreSQL"))?;
    let mut copy = connection
        .copy_in_raw("COPY seeds FROM STDIN")
        .await
        .map_err(failed("load deals"))?;
    let (mut chunk, mut bytes) = (String::new(), 0);
    for deal in generated().take(DISTINCT) {
        bytes += deal.inventory_json.len();
        let escaped = deal.inventory_json.replace('\\', "\\\\");
        let deal_type = deal.deal_type.as_deref().unwrap_or("\\N");
        chunk.push_str(&format!("{deal_type}\t{}\t{escaped}\n", deal.deleted));
        if chunk.len() > CHUNK_BYTES {
            copy.send(chunk.as_bytes())
                .await
                .map_err(failed("load deals"))?;
            chunk.clear();
        }
    }
    copy.send(chunk.as_bytes())
        .await
        .map_err(failed("load deals"))?;
    copy.finish().await.map_err(failed("load deals"))?;
    eprintln!(
        "deals: {DISTINCT} distinct inventories of {} bytes on average",
        bytes / DISTINCT
    );
    Ok(())
}

//! Adapter: writes generated deals into a target database.

use serde::Serialize;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, QueryBuilder, Sqlite};

use super::generate::{GenerateOptions, GeneratedDeal, generate};
use super::kind::{TypeClass, classify};
use super::migrate::{Target, TargetError};

/// Deals in memory at once. With 13 values each, a batch stays below SQLite's 32,766 parameters.
const BATCH_DEALS: usize = 200;
/// COPY text is sent whenever it exceeds this size, in bytes.
const COPY_CHUNK_BYTES: usize = 1 << 20;

/// What was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoadReport {
    /// All deals.
    pub deals: u64,
    /// Deals that are soft-deleted.
    pub deleted: u64,
    /// Deals whose type is valid as stored; deleted ones are included here and in the next three.
    pub valid_types: u64,
    /// Deals whose type is NULL or blank.
    pub null_types: u64,
    /// Deals whose type is a built-in alias.
    pub alias_types: u64,
    /// Deals whose type nothing maps.
    pub invalid_types: u64,
    /// Total size of all inventories, in bytes.
    pub inventory_bytes: u64,
}

impl LoadReport {
    fn add(&mut self, deal: &GeneratedDeal) {
        self.deals += 1;
        self.deleted += u64::from(deal.deleted);
        self.inventory_bytes += u64::try_from(deal.inventory_json.len()).unwrap_or(u64::MAX);
        let class = match classify(deal.deal_type.as_deref()) {
            TypeClass::Valid(_) => &mut self.valid_types,
            TypeClass::Null => &mut self.null_types,
            TypeClass::Alias(_) => &mut self.alias_types,
            TypeClass::Invalid => &mut self.invalid_types,
        };
        *class += 1;
    }
}

/// Adds generated deals to a database that has migrations 001 to 003, in one transaction.
///
/// On return all of them are committed; on error none are. Memory does not grow with their number.
/// `progress` is called after each batch with the number of deals written so far.
///
/// # Errors
/// [`TargetError::Connect`], or [`TargetError::Load`] for a missing table, an id that already
/// exists (the same seed loaded twice), or a type that migration 004 no longer allows.
pub async fn load(
    database_url: &str,
    options: &GenerateOptions,
    progress: impl FnMut(u64),
) -> Result<LoadReport, TargetError> {
    let mut target = Target::connect(database_url).await?;
    let outcome = match &mut target {
        Target::Postgres(connection) => into_postgres(connection, options, progress).await,
        Target::Sqlite(connection) => into_sqlite(connection, options, progress).await,
    };
    let closed = target.close().await;
    let report = outcome.map_err(TargetError::Load)?;
    closed.map_err(TargetError::Load)?;
    Ok(report)
}

async fn into_postgres(
    connection: &mut PgConnection,
    options: &GenerateOptions,
    mut progress: impl FnMut(u64),
) -> Result<LoadReport, sqlx::Error> {
    let mut report = LoadReport::default();
    let mut transaction = connection.begin().await?;
    let mut copy = transaction
        .copy_in_raw(
            "COPY deals (id, tenant_id, name, target_name, buyer_name, deal_type, industry, \
             deal_value, status, created_at, updated_at, deleted_at, inventory) FROM STDIN",
        )
        .await?;
    let mut chunk = String::new();
    for deal in generate(options.clone()) {
        report.add(&deal);
        copy_line(&mut chunk, &deal);
        if chunk.len() > COPY_CHUNK_BYTES {
            copy.send(chunk.as_bytes()).await?;
            chunk.clear();
            progress(report.deals);
        }
    }
    copy.send(chunk.as_bytes()).await?;
    copy.finish().await?;
    transaction.commit().await?;
    progress(report.deals);
    Ok(report)
}

/// Appends one line of COPY's text format: tabs between fields, `\N` for NULL, backslash escapes.
fn copy_line(out: &mut String, deal: &GeneratedDeal) {
    let deleted_at = deal.deleted.then_some(deal.created_at.as_str());
    let fields = [
        Some(deal.id.as_str()),
        Some(&deal.tenant_id),
        Some(&deal.name),
        Some(&deal.target_name),
        deal.buyer_name.as_deref(),
        deal.deal_type.as_deref(),
        Some(&deal.industry),
        Some(&deal.deal_value),
        Some(&deal.status),
        Some(&deal.created_at),
        Some(&deal.created_at),
        deleted_at,
        Some(&deal.inventory_json),
    ];
    for (index, field) in fields.into_iter().enumerate() {
        if index > 0 {
            out.push('\t');
        }
        let Some(field) = field else {
            out.push_str("\\N");
            continue;
        };
        for character in field.chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                '\t' => out.push_str("\\t"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                other => out.push(other),
            }
        }
    }
    out.push('\n');
}

async fn into_sqlite(
    connection: &mut SqliteConnection,
    options: &GenerateOptions,
    mut progress: impl FnMut(u64),
) -> Result<LoadReport, sqlx::Error> {
    let mut report = LoadReport::default();
    let mut transaction = connection.begin().await?;
    let mut deals = generate(options.clone());
    loop {
        let batch: Vec<GeneratedDeal> = deals.by_ref().take(BATCH_DEALS).collect();
        if batch.is_empty() {
            break;
        }
        for deal in &batch {
            report.add(deal);
        }
        // Many rows per statement, because executing a statement costs far more than a row.
        let mut insert: QueryBuilder<Sqlite> = QueryBuilder::new(
            "INSERT INTO deals (id, tenant_id, name, target_name, buyer_name, deal_type, industry, \
             deal_value, status, created_at, updated_at, deleted_at, inventory) ",
        );
        insert.push_values(batch, |mut row, deal| {
            let deleted_at = deal.deleted.then(|| deal.created_at.clone());
            row.push_bind(deal.id)
                .push_bind(deal.tenant_id)
                .push_bind(deal.name)
                .push_bind(deal.target_name)
                .push_bind(deal.buyer_name)
                .push_bind(deal.deal_type)
                .push_bind(deal.industry)
                .push_bind(deal.deal_value)
                .push_bind(deal.status)
                .push_bind(deal.created_at.clone())
                .push_bind(deal.created_at)
                .push_bind(deleted_at)
                .push_bind(deal.inventory_json);
        });
        insert.build().execute(&mut *transaction).await?;
        progress(report.deals);
    }
    transaction.commit().await?;
    Ok(report)
}

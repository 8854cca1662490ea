//! The fast ways to read a table of PostgreSQL give what the plain ones give, whatever is in it: pages
//! what keys give, and cuts from an index alone those of numbered keys.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rollbook_workers::snapshot::{
    LocalPlan, Snapshot, SnapshotError, SnapshotRequest, plan, plan_here, take_planned,
};

use crate::snapshot_cluster::Cluster;
use crate::snapshot_deals::{calculator, request, store};

const CASES: u32 = 24;
/// A table is read by pages for eight shards or more.
const SHARDS: usize = 9;

/// A type of id column.
#[derive(Clone, Copy, Debug)]
enum Ids {
    Text,
    Uuid,
    Integer,
}

impl Ids {
    /// What makes an index on the column or its ORDER BY follow the order of keys.
    fn collation(self) -> &'static str {
        match self {
            Self::Text => "COLLATE \"C\"",
            Self::Uuid | Self::Integer => "",
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    /// The first deal is there a second time.
    Twice,
    /// A deal has no id.
    Missing,
}

#[derive(Clone, Debug)]
struct Deal {
    id: u64,
    before_id: &'static str,
    deal_type: Option<&'static str>,
    inventory: Option<&'static str>,
    deleted: bool,
}

#[derive(Clone, Debug)]
struct Table {
    ids: Ids,
    column: &'static str,
    deals: Vec<Deal>,
    fault: Fault,
}

impl Table {
    fn any() -> impl Strategy<Value = Table> {
        let ids = prop::sample::select(vec![Ids::Text, Ids::Uuid, Ids::Integer]);
        let column = prop::sample::select(vec!["json", "jsonb", "text"]);
        let fault = prop_oneof![
            4 => Just(Fault::None),
            1 => Just(Fault::Twice),
            1 => Just(Fault::Missing),
        ];
        let deals = prop::collection::hash_map(any::<u64>(), Deal::parts(), 60..300);
        (ids, column, deals, fault).prop_map(|(ids, column, deals, fault)| Table {
            ids,
            column,
            deals: deals
                .into_iter()
                .map(|(id, (before_id, deal_type, inventory, deleted))| Deal {
                    id,
                    before_id,
                    deal_type,
                    inventory,
                    deleted,
                })
                .collect(),
            fault,
        })
    }

    fn id(&self, deal: &Deal) -> String {
        match self.ids {
            Ids::Text => format!("'{}{:x}'", deal.before_id, deal.id),
            Ids::Uuid => {
                let id = u128::from(deal.id) * u128::from(u64::MAX);
                format!("'{}'", uuid_text(id))
            }
            Ids::Integer => deal.id.cast_signed().to_string(),
        }
    }

    fn row(&self, deal: &Deal, id: &str) -> String {
        let text = |text: Option<&str>| text.map_or("NULL".to_owned(), |text| format!("'{text}'"));
        format!(
            "({id}, {}, {}, {})",
            text(deal.deal_type),
            text(deal.inventory),
            if deal.deleted { "now()" } else { "NULL" }
        )
    }

    async fn fill(&self, cluster: &Cluster) {
        let id = match self.ids {
            Ids::Text => "text",
            Ids::Uuid => "uuid",
            Ids::Integer => "bigint",
        };
        let collation = self.ids.collation();
        let mut rows: Vec<String> = self
            .deals
            .iter()
            .map(|deal| self.row(deal, &self.id(deal)))
            .collect();
        match (self.fault, self.deals.first()) {
            (Fault::Twice, Some(deal)) => rows.push(self.row(deal, &self.id(deal))),
            (Fault::Missing, Some(deal)) => rows.push(self.row(deal, "NULL")),
            _ => {}
        }
        cluster
            .execute(&format!(
                "DROP TABLE IF EXISTS deals;
                 CREATE TABLE deals (id {id}, deal_type text, inventory {}, deleted_at timestamptz)
                     WITH (autovacuum_enabled = false);
                 INSERT INTO deals VALUES {};
                 CREATE INDEX deals_by_id ON deals (id {collation}) WHERE deleted_at IS NULL;
                 ANALYZE deals",
                self.column,
                rows.join(", ")
            ))
            .await;
    }
}

impl Deal {
    #[allow(clippy::type_complexity)]
    fn parts() -> impl Strategy<
        Value = (
            &'static str,
            Option<&'static str>,
            Option<&'static str>,
            bool,
        ),
    > {
        let inventories = vec![
            None,
            Some("[]"),
            Some("null"),
            Some("{}"),
            Some("[1]"),
            Some(r#"[{"item_id":"a","inventory_type":"vendor"}]"#),
            Some(r#"[{"item_id":"a","item_id":"b","inventory_type":"vendor"}]"#),
            Some(r#"[{"item_id":"é \u00e9\n","inventory_type":"vendor","data":{"x":1e99}}]"#),
        ];
        (
            prop::sample::select(vec!["", "O''Brien ", "é", "Z", "z", "\n", "%\\"]),
            prop::sample::select(vec![None, Some(""), Some("acquisition"), Some("odd")]),
            prop::sample::select(inventories),
            prop::bool::weighted(0.1),
        )
    }
}

fn uuid_text(id: u128) -> String {
    let hex = format!("{id:032x}");
    let (a, b, c, d, e) = (
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    );
    format!("{a}-{b}-{c}-{d}-{e}")
}

fn config() -> Config {
    Config {
        cases: CASES,
        max_shrink_iters: 64,
        failure_persistence: None,
        ..Config::default()
    }
}

/// The snapshot, or the code of the error that refuses it.
async fn outcome(
    request: &SnapshotRequest,
    plan: Result<LocalPlan, SnapshotError>,
) -> Result<Snapshot, String> {
    let (_directory, store) = store();
    let taken = match plan {
        Ok(plan) => take_planned(request, plan, &store, &|_| {}).await,
        Err(error) => Err(error),
    };
    taken.map_err(|error| code(&error))
}

/// The cuts of a plan and the deals it counts, or the code of the error that refuses it.
async fn cuts(request: &SnapshotRequest) -> Result<(Vec<String>, u64, u64), String> {
    let plan = plan(request).await.map_err(|error| code(&error))?;
    let cuts = plan
        .shards
        .iter()
        .map(|it| format!("{:?} {}", it.range, it.deals));
    Ok((
        cuts.collect(),
        plan.summary.total,
        plan.summary.deleted_excluded,
    ))
}

fn code(error: &SnapshotError) -> String {
    let text = error.to_string();
    text.split(':').next().unwrap_or_default().to_owned()
}

/// Makes the server use its indexes alone for all later sessions, or never.
async fn index_only(cluster: &Cluster, allowed: bool) {
    let (allowed, others) = if allowed {
        ("on", "off")
    } else {
        ("off", "on")
    };
    cluster
        .execute(&format!(
            "ALTER DATABASE postgres SET enable_indexonlyscan = {allowed};
             ALTER DATABASE postgres SET enable_seqscan = {others};
             ALTER DATABASE postgres SET enable_sort = {others}"
        ))
        .await;
}

/// Counts the lines of a query's plan that scan an index alone.
const EXPLAINED: &str = r#"
CREATE FUNCTION index_only_scans(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE line text; found bigint := 0;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
        found := found + CAST(line LIKE '%Index Only Scan%' AS integer);
    END LOOP;
    RETURN found;
END $$"#;

#[test]
fn any_table_is_cut_by_its_index_as_its_keys_are_numbered() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = runtime.block_on(Cluster::start());
    runtime.block_on(cluster.execute(EXPLAINED));
    let mut runner = TestRunner::new(config());
    runner
        .run(&Table::any(), |table| {
            // Cut deals that occur twice may differ; reading refuses them.
            prop_assume!(!matches!(table.fault, Fault::Twice));
            runtime.block_on(async {
                table.fill(&cluster).await;
                let mut request = request(cluster.source(), calculator(true));
                request.rows_per_part = (table.deals.len() / SHARDS) as u64;
                let step = format!(
                    "SELECT index_only_scans('SELECT id FROM deals WHERE deleted_at IS NULL \
                     ORDER BY id {} OFFSET 9 LIMIT 1')",
                    table.ids.collation()
                );
                index_only(&cluster, true).await;
                assert_eq!(cluster.number(&step).await, 1);
                let by_index = cuts(&request).await;
                index_only(&cluster, false).await;
                assert_eq!(cluster.number(&step).await, 0);
                prop_assert_eq!(by_index, cuts(&request).await);
                Ok(())
            })
        })
        .unwrap();
}

#[test]
fn any_table_read_page_by_page_gives_what_keys_give() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = runtime.block_on(Cluster::start());
    let (by_pages, refused) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let mut runner = TestRunner::new(config());
    runner
        .run(&Table::any(), |table| {
            runtime.block_on(async {
                table.fill(&cluster).await;
                let mut request = request(cluster.source(), calculator(true));
                request.rows_per_part = (table.deals.len() / 2 / SHARDS).max(1) as u64;
                let chosen = plan_here(&request).await;
                let is_paged = matches!(chosen, Ok(LocalPlan::Pages(_)));
                by_pages.set(by_pages.get() + u32::from(is_paged));
                let chosen = outcome(&request, chosen).await;
                let keyed = plan(&request).await.map(LocalPlan::from);
                let keyed = outcome(&request, keyed).await;
                refused.set(refused.get() + u32::from(keyed.is_err()));
                prop_assert_eq!(chosen, keyed);
                Ok(())
            })
        })
        .unwrap();
    assert!(by_pages.get() > CASES / 3, "{by_pages:?} by pages");
    assert!(refused.get() < CASES * 2 / 3, "{refused:?} refused");
}

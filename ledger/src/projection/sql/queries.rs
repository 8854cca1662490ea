//! The queries of the store.

use std::collections::HashMap;

use async_trait::async_trait;

use super::{Database, SqlViews, Tx, notes, positions, select};
use crate::ids::Aggregate;
use crate::journal::{Position, StoredCommit};
use crate::projection::proof::{self, Owned, TableRows};
use crate::projection::row::{Column, ColumnSpec, ColumnValue, Kind, ViewRow};
use crate::projection::rows::TABLES;
use crate::projection::store::{ViewError, ViewStore};
use crate::projection::views::{
    AdviceRow, AlertRow, AnomalyRow, AsOf, AuditRow, ComparisonRow, EnvironmentRow, FlagHistoryRow,
    FlagRow, GateDetail, GateRow, HealthRow, MAX_LEFT_WORKERS, MAX_PAGE_ROWS, MAX_WORKERS,
    MeasurementRow, NoticeRow, Page, PageCursor, PhaseDetail, PhaseRow, RegressionFilter,
    RegressionRow, RequestFilter, RequestRow, RevisionRow, RollbackPointRow, RollbackRow,
    RolloutDetail, RolloutFilter, RolloutRow, SignOffRow, SnapshotRow, StepRow, SuccessMetricRow,
    TimelineFilter, TimelineRow, ViewAnswer, WorkerRow,
};

/// Conditions joined by AND, with their arguments.
#[derive(Default)]
struct Conditions {
    texts: Vec<&'static str>,
    args: Vec<ColumnValue>,
}

impl Conditions {
    fn add(&mut self, text: &'static str, args: impl IntoIterator<Item = ColumnValue>) {
        self.texts.push(text);
        self.args.extend(args);
    }

    fn add_if<C: Column>(&mut self, text: &'static str, value: Option<&C>) {
        if let Some(value) = value {
            self.add(text, [value.to_value()]);
        }
    }

    fn text(&self) -> String {
        if self.texts.is_empty() {
            String::new()
        } else {
            format!("WHERE {}", self.texts.join(" AND "))
        }
    }
}

fn quoted(columns: &[ColumnSpec]) -> Vec<String> {
    let quoted = columns.iter().map(|column| format!("\"{}\"", column.name));
    quoted.collect()
}

fn page_rows(limit: u32) -> u32 {
    if limit == 0 {
        MAX_PAGE_ROWS
    } else {
        limit.min(MAX_PAGE_ROWS)
    }
}

/// Reads a page, and one row more to know whether it is the last.
async fn page<R: ViewRow, T: Tx>(
    tx: &mut T,
    conditions: Conditions,
    order: &str,
    limit: u32,
    place: impl Fn(&R) -> PageCursor,
) -> Result<Page<R>, ViewError> {
    let limit = page_rows(limit);
    let rest = format!("{} ORDER BY {order} LIMIT {}", conditions.text(), limit + 1);
    let mut rows: Vec<R> = select(tx, &rest, conditions.args).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let next = if rows.len() > limit {
        rows.truncate(limit);
        rows.last().map(place)
    } else {
        None
    };
    Ok(Page { rows, next })
}

/// Returns the latest rows, in order.
async fn latest<R: ViewRow, T: Tx>(
    tx: &mut T,
    conditions: Conditions,
) -> Result<Vec<R>, ViewError> {
    let rest = format!(
        "{} ORDER BY t.sequence DESC, t.idx DESC LIMIT {MAX_PAGE_ROWS}",
        conditions.text()
    );
    let mut rows: Vec<R> = select(tx, &rest, conditions.args).await?;
    rows.reverse();
    Ok(rows)
}

fn of_rollout(rollout: Option<&str>) -> Conditions {
    let mut conditions = Conditions::default();
    conditions.add_if("t.rollout = ?", rollout.map(str::to_owned).as_ref());
    conditions
}

fn after(conditions: &mut Conditions, place: PageCursor) {
    if place != PageCursor::default() {
        conditions.add(
            "(t.sequence, t.idx) > (?, ?)",
            [place.sequence.to_value(), place.idx.to_value()],
        );
    }
}

fn after_ordinal(conditions: &mut Conditions, place: PageCursor) {
    if place != PageCursor::default() {
        conditions.add(
            "(t.sequence, t.idx, t.ordinal) > (?, ?, ?)",
            [
                place.sequence.to_value(),
                place.idx.to_value(),
                place.ordinal.to_value(),
            ],
        );
    }
}

impl<D: Database> SqlViews<D> {
    async fn detail(tx: &mut D::Tx, id: &str) -> Result<Option<RolloutDetail>, ViewError> {
        let args = || vec![ColumnValue::Text(id.to_owned())];
        let all = "WHERE t.rollout = ?";
        let in_plan = "WHERE t.rollout = ? ORDER BY t.position";
        let in_order = "WHERE t.rollout = ? ORDER BY t.sequence, t.idx";
        let Some(rollout) = select::<RolloutRow, _>(tx, all, args()).await?.pop() else {
            return Ok(None);
        };
        let Some(health_detail) = select::<HealthRow, _>(tx, all, args()).await?.pop() else {
            return Err(ViewError::Schema {
                reason: format!("rollout {id} has no health"),
            });
        };
        let phases: Vec<PhaseRow> = select(tx, &format!("{in_plan}, t.phase"), args()).await?;
        let steps: Vec<StepRow> = select(tx, &format!("{in_plan}, t.step"), args()).await?;
        let gates: Vec<GateRow> = select(tx, &format!("{in_plan}, t.gate"), args()).await?;
        let sign_offs: Vec<SignOffRow> = select(tx, in_order, args()).await?;
        let metrics = format!("{in_plan}, t.metric");
        let rollbacks = format!("{all} ORDER BY t.started_sequence, t.rollback");
        Ok(Some(RolloutDetail {
            rollout,
            health_detail,
            phases: tree(phases, steps, gates, sign_offs),
            alerts: select::<AlertRow, _>(tx, in_order, args()).await?,
            rollback_points: select::<RollbackPointRow, _>(tx, in_order, args()).await?,
            rollbacks: select::<RollbackRow, _>(tx, &rollbacks, args()).await?,
            advice: select::<AdviceRow, _>(tx, in_order, args()).await?,
            success_metrics: select::<SuccessMetricRow, _>(tx, &metrics, args()).await?,
            notices: select::<NoticeRow, _>(tx, in_order, args()).await?,
            snapshots: select::<SnapshotRow, _>(tx, in_order, args()).await?,
            comparisons: select::<ComparisonRow, _>(tx, in_order, args()).await?,
            audits: select::<AuditRow, _>(tx, in_order, args()).await?,
            revisions: select::<RevisionRow, _>(
                tx,
                "WHERE t.rollout = ? ORDER BY t.revision",
                args(),
            )
            .await?,
            requests: select::<RequestRow, _>(
                tx,
                "WHERE t.rollout = ? ORDER BY t.made_sequence, t.request",
                args(),
            )
            .await?,
        }))
    }
}

fn tree(
    phases: Vec<PhaseRow>,
    steps: Vec<StepRow>,
    gates: Vec<GateRow>,
    sign_offs: Vec<SignOffRow>,
) -> Vec<PhaseDetail> {
    let mut gates: HashMap<String, GateDetail> = gates
        .into_iter()
        .map(|gate| {
            let detail = GateDetail {
                gate,
                sign_offs: Vec::new(),
            };
            (detail.gate.gate.clone(), detail)
        })
        .collect();
    for sign_off in sign_offs {
        if let Some(gate) = gates.get_mut(&sign_off.gate) {
            gate.sign_offs.push(sign_off);
        }
    }
    let mut steps_of: HashMap<String, Vec<StepRow>> = HashMap::new();
    for step in steps {
        steps_of.entry(step.phase.clone()).or_default().push(step);
    }
    phases
        .into_iter()
        .map(|phase| PhaseDetail {
            steps: steps_of.remove(&phase.phase).unwrap_or_default(),
            gate_detail: gates.remove(&phase.phase),
            phase,
        })
        .collect()
}

#[async_trait]
impl<D: Database> ViewStore for SqlViews<D> {
    async fn position(&self) -> Result<AsOf, ViewError> {
        let (tx, as_of) = self.begin_query().await?;
        tx.commit().await?;
        Ok(as_of)
    }

    async fn standing(&self) -> Result<Position, ViewError> {
        let sql = "SELECT ledger, sequence, commit_id FROM view_position WHERE id = 1";
        let found = positions::read(&self.database, sql, Vec::new()).await?;
        found.ok_or_else(|| ViewError::Schema {
            reason: "view_position has no row".to_owned(),
        })
    }

    async fn acknowledged(&self, ledger: &str) -> Result<Option<Position>, ViewError> {
        let sql = "SELECT ledger, sequence, commit_id FROM acknowledged WHERE ledger = ?";
        let ledger = ColumnValue::Text(ledger.to_owned());
        positions::read(&self.database, sql, vec![ledger]).await
    }

    async fn acknowledge(&self, position: &Position) -> Result<(), ViewError> {
        positions::write(&self.database, position).await
    }

    async fn forget_acknowledged(&self, ledger: &str) -> Result<(), ViewError> {
        positions::forget(&self.database, ledger).await
    }

    async fn rollouts_over(&self) -> Result<Vec<(String, u64)>, ViewError> {
        notes::rollouts_over(&self.database).await
    }

    async fn note_rollout_over(&self, rollout: &str, sequence: u64) -> Result<(), ViewError> {
        notes::note_rollout_over(&self.database, rollout, sequence).await
    }

    async fn names_evidence(&self, sha256: &str) -> Result<bool, ViewError> {
        notes::names_evidence(&self.database, sha256).await
    }

    async fn evidence_of_open(&self, limit: u32) -> Result<Vec<String>, ViewError> {
        notes::evidence_of_open(&self.database, limit).await
    }

    async fn apply(&self, batch: &[StoredCommit]) -> Result<AsOf, ViewError> {
        self.apply_batch(batch).await
    }

    async fn reset(&self) -> Result<(), ViewError> {
        self.empty().await
    }

    async fn close(&self) {
        self.shut().await;
    }

    async fn index(&self) -> Result<(), ViewError> {
        self.create_indexes().await
    }

    async fn rollouts(
        &self,
        filter: &RolloutFilter,
    ) -> Result<ViewAnswer<Vec<RolloutRow>>, ViewError> {
        let (mut tx, as_of) = self.begin_query().await?;
        let mut conditions = Conditions::default();
        conditions.add_if("t.environment = ?", filter.environment.as_ref());
        conditions.add_if("t.status = ?", filter.status.as_ref());
        conditions.add_if("t.runbook = ?", filter.runbook.as_ref());
        if filter.open_only {
            conditions.add("t.closed_at IS NULL", []);
        }
        conditions.add_if("t.opened_sequence < ?", filter.before_sequence.as_ref());
        let rest = format!(
            "{} ORDER BY t.opened_sequence DESC LIMIT {}",
            conditions.text(),
            page_rows(filter.limit)
        );
        let rows = select(&mut tx, &rest, conditions.args).await?;
        Self::answer(tx, as_of, rows).await
    }

    async fn rollout(&self, rollout: &str) -> Result<ViewAnswer<Option<RolloutDetail>>, ViewError> {
        let (mut tx, as_of) = self.begin_query().await?;
        let detail = Self::detail(&mut tx, rollout).await?;
        Self::answer(tx, as_of, detail).await
    }

    async fn health(&self, rollout: &str) -> Result<ViewAnswer<Option<HealthRow>>, ViewError> {
        let (mut tx, as_of) = self.begin_query().await?;
        let conditions = of_rollout(Some(rollout));
        let rows: Vec<HealthRow> = select(&mut tx, &conditions.text(), conditions.args).await?;
        Self::answer(tx, as_of, rows.into_iter().next()).await
    }

    async fn measurements(
        &self,
        rollout: &str,
        step: &str,
        place: PageCursor,
        limit: u32,
    ) -> Result<ViewAnswer<Page<MeasurementRow>>, ViewError> {
        let (mut tx, as_of) = self.begin_query().await?;
        let mut conditions = of_rollout(Some(rollout));
        conditions.add("t.step = ?", [ColumnValue::Text(step.to_owned())]);
        after_ordinal(&mut conditions, place);
        let order = "t.sequence, t.idx, t.ordinal";
        let rows = page(&mut tx, conditions, order, limit, |row: &MeasurementRow| {
            PageCursor {
                sequence: row.sequence,
                idx: row.idx,
                ordinal: row.ordinal,
            }
        })
        .await?;
        Self::answer(tx, as_of, rows).await
    }

    async fn flags(
        &self,
        environment: Option<&str>,
    ) -> Result<ViewAnswer<Vec<FlagRow>>, ViewError> {
        let (mut tx, as_of) = self.begin_query().await?;
        let mut conditions = Conditions::default();
        conditions.add_if("t.environment = ?", environment.map(str::to_owned).as_ref());
        let rest = format!("{} ORDER BY t.environment, t.\"key\"", conditions.text());
        let rows = select(&mut tx, &rest, conditions.args).await?;
        Self::answer(tx, as_of, rows).await
    }

    async fn workers(&self) -> Result<ViewAnswer<Vec<WorkerRow>>, ViewError> {
        let (mut tx, as_of) = self.begin_query().await?;
        let present = format!("WHERE t.status = 'present' ORDER BY t.worker LIMIT {MAX_WORKERS}");
        let mut rows = select(&mut tx, &present, Vec::new()).await?;
        let left = format!(
            "WHERE t.status <> 'present' ORDER BY t.updated_sequence DESC LIMIT {MAX_LEFT_WORKERS}"
        );
        rows.extend(select::<WorkerRow, _>(&mut tx, &left, Vec::new()).await?);
        Self::answer(tx, as_of, rows).await
    }

    async fn flag_history(
        &self,
        environment: &str,
        key: &str,
    ) -> Result<ViewAnswer<Vec<FlagHistoryRow>>, ViewError> {
        let (mut tx, as_of) = self.begin_query().await?;
        let mut conditions = Conditions::default();
        conditions.add(
            "t.environment = ?",
            [ColumnValue::Text(environment.to_owned())],
        );
        conditions.add("t.\"key\" = ?", [ColumnValue::Text(key.to_owned())]);
        let rows = latest(&mut tx, conditions).await?;
        Self::answer(tx, as_of, rows).await
    }

    async fn snapshots(
        &self,
        rollout: Option<&str>,
    ) -> Result<ViewAnswer<Vec<SnapshotRow>>, ViewError> {
        let (mut tx, as_of) = self.begin_query().await?;
        let rows = latest(&mut tx, of_rollout(rollout)).await?;
        Self::answer(tx, as_of, rows).await
    }

    async fn comparisons(
        &self,
        rollout: Option<&str>,
    ) -> Result<ViewAnswer<Vec<ComparisonRow>>, ViewError> {
        let (mut tx, as_of) = self.begin_query().await?;
        let rows = latest(&mut tx, of_rollout(rollout)).await?;
        Self::answer(tx, as_of, rows).await
    }

    async fn regressions(
        &self,
        filter: &RegressionFilter,
    ) -> Result<ViewAnswer<Page<RegressionRow>>, ViewError> {
        let (mut tx, as_of) = self.begin_query().await?;
        let mut conditions = of_rollout(filter.rollout.as_deref());
        conditions.add_if("t.sequence = ?", filter.comparison.as_ref());
        if filter.current_only {
            conditions.add(
                "EXISTS (SELECT 1 FROM comparisons c WHERE c.sequence = t.sequence \
                 AND c.idx = t.idx AND c.superseded_by IS NULL)",
                [],
            );
        }
        after_ordinal(&mut conditions, filter.after);
        let order = "t.sequence, t.idx, t.ordinal";
        let rows = page(
            &mut tx,
            conditions,
            order,
            filter.limit,
            |row: &RegressionRow| PageCursor {
                sequence: row.sequence,
                idx: row.idx,
                ordinal: row.ordinal,
            },
        )
        .await?;
        Self::answer(tx, as_of, rows).await
    }

    async fn audits(&self, rollout: Option<&str>) -> Result<ViewAnswer<Vec<AuditRow>>, ViewError> {
        let (mut tx, as_of) = self.begin_query().await?;
        let rows = latest(&mut tx, of_rollout(rollout)).await?;
        Self::answer(tx, as_of, rows).await
    }

    async fn alerts(
        &self,
        rollout: Option<&str>,
        open_only: bool,
    ) -> Result<ViewAnswer<Vec<AlertRow>>, ViewError> {
        let (mut tx, as_of) = self.begin_query().await?;
        let mut conditions = of_rollout(rollout);
        if open_only {
            conditions.add("t.status <> 'resolved'", []);
        }
        let rows = latest(&mut tx, conditions).await?;
        Self::answer(tx, as_of, rows).await
    }

    async fn environments(&self) -> Result<ViewAnswer<Vec<EnvironmentRow>>, ViewError> {
        let (mut tx, as_of) = self.begin_query().await?;
        let rest = format!("ORDER BY t.environment LIMIT {MAX_PAGE_ROWS}");
        let rows = select(&mut tx, &rest, Vec::new()).await?;
        Self::answer(tx, as_of, rows).await
    }

    async fn requests(
        &self,
        filter: &RequestFilter,
    ) -> Result<ViewAnswer<Vec<RequestRow>>, ViewError> {
        let (mut tx, as_of) = self.begin_query().await?;
        let mut conditions = of_rollout(filter.rollout.as_deref());
        conditions.add_if("t.request = ?", filter.request.as_ref());
        if filter.open_only {
            conditions.add("t.status IN ('waiting', 'open', 'overdue')", []);
        }
        let rest = format!(
            "{} ORDER BY t.made_sequence DESC, t.request DESC LIMIT {MAX_PAGE_ROWS}",
            conditions.text()
        );
        let mut rows: Vec<RequestRow> = select(&mut tx, &rest, conditions.args).await?;
        rows.reverse();
        Self::answer(tx, as_of, rows).await
    }

    async fn timeline(
        &self,
        filter: &TimelineFilter,
    ) -> Result<ViewAnswer<Page<TimelineRow>>, ViewError> {
        let (mut tx, as_of) = self.begin_query().await?;
        let mut conditions = of_rollout(filter.rollout.as_deref());
        conditions.add_if("t.subject = ?", filter.subject.as_ref());
        after(&mut conditions, filter.after);
        let order = "t.sequence, t.idx";
        let rows = page(
            &mut tx,
            conditions,
            order,
            filter.limit,
            |row: &TimelineRow| PageCursor {
                sequence: row.sequence,
                idx: row.idx,
                ordinal: 0,
            },
        )
        .await?;
        Self::answer(tx, as_of, rows).await
    }

    async fn rows_of(
        &self,
        aggregate: &Aggregate,
    ) -> Result<ViewAnswer<Vec<TableRows>>, ViewError> {
        let (mut tx, as_of) = self.begin_query().await?;
        let mut all = Vec::new();
        for Owned { table, by } in proof::owned(aggregate) {
            let own: Vec<String> = by
                .iter()
                .map(|(column, _)| format!("\"{column}\" = ?"))
                .collect();
            let sql = format!(
                "SELECT {} FROM {} WHERE {}",
                quoted(table.columns).join(", "),
                table.name,
                own.join(" AND ")
            );
            let kinds: Vec<Kind> = table.columns.iter().map(|column| column.kind).collect();
            let of = by
                .into_iter()
                .map(|(_, text)| ColumnValue::Text(text))
                .collect();
            all.push((table, tx.fetch(sql, of, &kinds).await?));
        }
        Self::answer(tx, as_of, all).await
    }

    async fn anomalies(
        &self,
        place: PageCursor,
        limit: u32,
    ) -> Result<ViewAnswer<Page<AnomalyRow>>, ViewError> {
        let (mut tx, as_of) = self.begin_query().await?;
        let mut conditions = Conditions::default();
        after(&mut conditions, place);
        let order = "t.sequence, t.idx";
        let rows = page(&mut tx, conditions, order, limit, |row: &AnomalyRow| {
            PageCursor {
                sequence: row.sequence,
                idx: row.idx,
                ordinal: 0,
            }
        })
        .await?;
        Self::answer(tx, as_of, rows).await
    }

    async fn dump(&self) -> Result<Vec<(&'static str, Vec<String>)>, ViewError> {
        let (mut tx, _) = self.begin_query().await?;
        let mut dump = Vec::with_capacity(TABLES.len());
        for table in TABLES {
            let quoted = quoted(table.columns);
            let kinds: Vec<Kind> = table.columns.iter().map(|column| column.kind).collect();
            let sql = format!(
                "SELECT {} FROM {} ORDER BY {}",
                quoted.join(", "),
                table.name,
                quoted.get(..table.key).unwrap_or_default().join(", ")
            );
            let rows = tx.fetch(sql, Vec::new(), &kinds).await?;
            dump.push((
                table.name,
                rows.iter().map(|row| format!("{row:?}")).collect(),
            ));
        }
        tx.commit().await?;
        Ok(dump)
    }
}

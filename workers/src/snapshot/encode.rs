//! Encodes the rows of a shard as a part and sums them up in its report.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::SnapshotError;
use super::manifest::{Part, Total};
use super::parquet::PartWriter;
use super::row::RowFields;
use super::task::{ShardReport, ShardTask};

/// Maximum number of deal types counted separately, so that a column of free text cannot make the
/// manifest grow without bound.
const MAX_DEAL_TYPES: usize = 256;
/// The name under which all further types are counted.
const OTHER_TYPES: &str = "(other)";

/// An encoded part that is not stored yet.
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    /// The shard's report; its part has no address yet.
    pub(super) report: ShardReport,
}

/// Encodes the rows of a shard, which must arrive in key order.
pub(super) struct ShardEncoder<'t> {
    task: &'t ShardTask,
    writer: PartWriter,
    report: ShardReport,
}

impl<'t> ShardEncoder<'t> {
    pub(super) fn new(task: &'t ShardTask) -> Result<Self, SnapshotError> {
        let metrics = &task.calculator.metrics;
        let report = ShardReport {
            shard: task.shard,
            part: Part::default(),
            totals: vec![Total::default(); metrics.iter().filter(|m| !m.is_text()).count()],
            deal_types: BTreeMap::new(),
        };
        Ok(Self {
            task,
            writer: PartWriter::new(metrics)?,
            report,
        })
    }

    /// Appends a row. Refuses an id that does not sort after the previous one.
    pub(super) fn push(&mut self, row: &impl RowFields) -> Result<(), SnapshotError> {
        let last = self.writer.last_id();
        let order = self.task.key_order.compare(last, row.deal_id());
        if self.writer.rows() > 0 && order != Ordering::Less {
            return Err(SnapshotError::twice(&self.task.source.table, row.deal_id()));
        }
        count_type(&mut self.report.deal_types, row.deal_type(), 1);
        for (total, value) in self.report.totals.iter_mut().zip(row.numbers()) {
            total.0 += i128::from(value);
        }
        self.writer.push(row)
    }

    /// Ends the part. Refuses a number of rows other than the plan counted.
    pub(super) fn finish(mut self) -> Result<Encoded, SnapshotError> {
        let rows = self.writer.rows();
        if rows != self.task.deals {
            return Err(self.task.error(format!(
                "it has {rows} deals, the plan counted {}; ids occur twice, or the source is not as it was planned",
                self.task.deals
            )));
        }
        let (bytes, part) = self.writer.finish()?;
        self.report.part = part;
        Ok(Encoded {
            bytes,
            report: self.report,
        })
    }
}

/// Counts deals of a type, under a common name once there are too many types.
pub(super) fn count_type(types: &mut BTreeMap<String, u64>, name: &str, deals: u64) {
    if let Some(count) = types.get_mut(name) {
        *count += deals;
        return;
    }
    let name = if types.len() < MAX_DEAL_TYPES {
        name
    } else {
        OTHER_TYPES
    };
    *types.entry(name.to_owned()).or_default() += deals;
}

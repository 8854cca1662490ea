//! Files as sources: a digest identifies the content that was read.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::json_lines::{self, Lines};
use super::parquet_rows::{self, Rows};
use super::{Cut, Held, KeyRange, Planned, RawDeal, Sink};
use crate::snapshot::SnapshotError;
use crate::snapshot::database::FileKind;
use crate::snapshot::row::KeyOrder;
use crate::snapshot::source::{Consistency, SnapshotSource};
use crate::snapshot::task::{ShardRead, ShardTask};

/// A file with a known digest, and what is needed to detect a later write to it.
#[derive(Clone, Debug)]
pub(in crate::snapshot) struct SourceFile {
    file: Arc<File>,
    path: PathBuf,
    size: u64,
    modified: Option<SystemTime>,
}

impl SourceFile {
    pub(super) fn open(path: &Path) -> Result<Self, SnapshotError> {
        let failed = |error| file_error(path, &error);
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(SnapshotError::File {
                path: path.display().to_string(),
                reason: "it is no file".to_owned(),
            });
        }
        Ok(Self {
            file: Arc::new(file),
            path: path.to_owned(),
            size: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }

    /// Opens the file and refuses it if its content is not what was planned.
    pub(in crate::snapshot) async fn open_verified(
        path: &Path,
        expected: &str,
    ) -> Result<Self, SnapshotError> {
        let path = path.to_owned();
        let expected = expected.to_owned();
        blocking(move || {
            let file = Self::open(&path)?;
            if file.digest()? == expected {
                Ok(file)
            } else {
                Err(file.changed())
            }
        })
        .await
    }

    /// A new reader with its own position, at the beginning of the file.
    pub(super) fn reopen(&self) -> Result<File, SnapshotError> {
        let file = File::open(&self.path).map_err(|error| self.error(&error))?;
        self.check_unchanged()?;
        Ok(file)
    }

    fn digest(&self) -> Result<String, SnapshotError> {
        let mut hasher = Sha256::new();
        let mut file = self.reopen()?;
        let mut chunk = vec![0; 1 << 20];
        loop {
            let read = file.read(&mut chunk).map_err(|error| self.error(&error))?;
            let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            hasher.update(bytes);
        }
        Ok(hex::encode(hasher.finalize()))
    }

    /// Fails unless the path still leads to the same file, with the same size and modification
    /// time.
    pub(in crate::snapshot) fn check_unchanged(&self) -> Result<(), SnapshotError> {
        let now = std::fs::metadata(&self.path).map_err(|error| self.error(&error))?;
        let here = self.file.metadata().map_err(|error| self.error(&error))?;
        let same = [now, here]
            .iter()
            .all(|found| found.len() == self.size && found.modified().ok() == self.modified);
        if same { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> SnapshotError {
        SnapshotError::FileChanged {
            path: self.path.display().to_string(),
        }
    }

    pub(super) fn error(&self, error: &impl ToString) -> SnapshotError {
        file_error(&self.path, error)
    }

    /// The error for a deal that is out of order.
    pub(super) fn order_error(&self, place: String, reason: String) -> SnapshotError {
        SnapshotError::FileOrder {
            path: self.path.display().to_string(),
            place,
            reason,
        }
    }

    /// The error for a line or row that is not a deal.
    pub(super) fn row_error(&self, place: String, reason: impl Into<String>) -> SnapshotError {
        SnapshotError::FileRow {
            path: self.path.display().to_string(),
            place,
            reason: reason.into(),
        }
    }
}

fn file_error(path: &Path, error: &impl ToString) -> SnapshotError {
    SnapshotError::File {
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, SnapshotError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(SnapshotError::Compute {
                reason: error.to_string(),
            })
        })
}

/// What the planning pass over a file finds out: key order, counts and cuts.
#[derive(Debug)]
pub(super) struct Scan {
    rows: u64,
    order: Option<KeyOrder>,
    previous: String,
    pub(super) total: u64,
    pub(super) deleted: u64,
    /// For each shard, its first key and where it begins.
    begins: Vec<(String, Place)>,
}

/// The position of a deal in a file: byte offset and line number for JSON lines, row for Parquet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) at: u64,
    pub(super) line: u64,
}

impl Scan {
    fn new(rows: u64) -> Self {
        Self {
            rows,
            order: None,
            previous: String::new(),
            total: 0,
            deleted: 0,
            begins: Vec::new(),
        }
    }

    /// Records the next live deal. `Err` says what is wrong with its id.
    pub(super) fn deal(&mut self, id: &str, order: KeyOrder, place: Place) -> Result<(), String> {
        match self.order {
            None => self.order = Some(order),
            Some(first) if first != order => {
                return Err("some ids are numbers and some are texts".to_owned());
            }
            Some(order) => match order.compare(&self.previous, id) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Err(format!("id {id:?} occurs twice")),
                std::cmp::Ordering::Greater => {
                    return Err(format!("id {id:?} comes after {:?}", self.previous));
                }
            },
        }
        if self.total.is_multiple_of(self.rows) {
            self.begins.push((id.to_owned(), place));
        }
        self.total += 1;
        self.previous.clear();
        self.previous.push_str(id);
        Ok(())
    }

    fn cuts(self, end: u64, read: impl Fn(Place, u64) -> ShardRead) -> Vec<Cut> {
        let mut left = self.total;
        let mut cuts = Vec::with_capacity(self.begins.len());
        let mut begins = self.begins.into_iter().peekable();
        while let Some((from, place)) = begins.next() {
            let next = begins.peek();
            let deals = left.min(self.rows);
            left -= deals;
            cuts.push(Cut {
                range: KeyRange {
                    from: Some(from),
                    below: next.map(|(key, _)| key.clone()),
                },
                deals,
                read: read(place, next.map_or(end, |(_, place)| place.at)),
            });
        }
        cuts
    }
}

/// Reads the file once to find its digest, the order of its ids and where its shards begin.
pub(super) async fn plan(
    kind: FileKind,
    path: &Path,
    source: &SnapshotSource,
    rows: u64,
) -> Result<Planned, SnapshotError> {
    for (field, given) in [
        ("where", source.filter.is_some()),
        ("inventory_query", source.inventory_query.is_some()),
    ] {
        if given {
            return Err(SnapshotError::Request {
                field,
                reason: "it is SQL, and the source is a file; leave it out".to_owned(),
            });
        }
    }
    let (path, source) = (path.to_owned(), source.clone());
    blocking(move || {
        let file = SourceFile::open(&path)?;
        let mut scan = Scan::new(rows);
        let sha256;
        let order;
        let (total, deleted, shards);
        match kind {
            FileKind::JsonLines => {
                let (digest, end) = json_lines::scan(&file, &source, &mut scan)?;
                sha256 = digest;
                (total, deleted) = (scan.total, scan.deleted);
                order = scan.order;
                shards = scan.cuts(end, |place, end| ShardRead::JsonLines {
                    start: place.at,
                    end,
                    first_line: place.line,
                });
            }
            FileKind::Parquet => {
                let end = parquet_rows::scan(&file, &source, &mut scan)?;
                sha256 = file.digest()?;
                (total, deleted) = (scan.total, scan.deleted);
                order = scan.order;
                shards = scan.cuts(end, |place, end| ShardRead::Parquet {
                    start: place.at,
                    end,
                });
            }
        }
        file.check_unchanged()?;
        Ok(Planned {
            held: Held::File(file),
            consistency: Consistency::FileDigest,
            key_order: order.unwrap_or_default(),
            total,
            deleted,
            file_sha256: Some(sha256),
            shards,
        })
    })
    .await
}

/// The deals of a shard in batches, read on a blocking thread.
enum Batches {
    Lines(Lines),
    Rows(Rows),
}

impl Batches {
    fn next(&mut self) -> Result<Vec<RawDeal>, SnapshotError> {
        match self {
            Self::Lines(lines) => lines.next_batch(),
            Self::Rows(rows) => rows.next_batch(),
        }
    }
}

/// Reads a shard. Fails if the file changed between planning and the end of the read.
pub(super) async fn read(
    file: &SourceFile,
    task: &ShardTask,
    sink: &mut Sink,
) -> Result<(), SnapshotError> {
    let source = super::source_of(task);
    let mut batches = {
        let (file, task) = (file.clone(), task.clone());
        blocking(move || match task.read {
            ShardRead::JsonLines {
                start,
                end,
                first_line,
            } => Lines::open(file, source, start, end, first_line).map(Batches::Lines),
            ShardRead::Parquet { start, end } => {
                Rows::open(file, source, start, end).map(Batches::Rows)
            }
            _ => Err(task.error("it is not of a file")),
        })
        .await?
    };
    loop {
        let (returned, deals) = blocking(move || {
            let deals = batches.next()?;
            Ok((batches, deals))
        })
        .await?;
        batches = returned;
        if deals.is_empty() {
            return file.check_unchanged();
        }
        if sink.send(deals).await.is_err() {
            return Ok(());
        }
    }
}

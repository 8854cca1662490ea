//! JSON lines as a source: one object per line, each a deal. Blank lines are skipped.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use sonic_rs::{JsonType, JsonValueTrait, LazyValue};

use super::RawDeal;
use super::file::{Place, Scan, SourceFile};
use crate::snapshot::SnapshotError;
use crate::snapshot::row::KeyOrder;
use crate::snapshot::source::SnapshotSource;

/// The longest line that is read, in bytes.
const MAX_LINE_BYTES: u64 = 256 * 1024 * 1024;
/// A batch ends when its lines reach this size, in bytes; one line may exceed it.
const BATCH_BYTES: usize = 1024 * 1024;
/// How much is read at once, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// Reads the lines of a file from an offset and tracks its position.
struct LineReader {
    file: SourceFile,
    reader: BufReader<File>,
    place: Place,
}

impl LineReader {
    fn open(file: SourceFile, place: Place) -> Result<Self, SnapshotError> {
        let mut opened = file.reopen()?;
        opened
            .seek(SeekFrom::Start(place.at))
            .map_err(|error| file.error(&error))?;
        Ok(Self {
            reader: BufReader::with_capacity(BUFFER_BYTES, opened),
            file,
            place,
        })
    }

    /// Reads the next line including its line end and returns its position; the line is empty at
    /// the end of the file.
    fn next(&mut self, line: &mut Vec<u8>) -> Result<Place, SnapshotError> {
        line.clear();
        let place = self.place;
        let read = (&mut self.reader)
            .take(MAX_LINE_BYTES + 1)
            .read_until(b'\n', line)
            .map_err(|error| self.file.error(&error))?;
        if read as u64 > MAX_LINE_BYTES {
            return Err(self.error(place, format!("it is longer than {MAX_LINE_BYTES} bytes")));
        }
        self.place.at += read as u64;
        self.place.line += 1;
        Ok(place)
    }

    fn error(&self, place: Place, reason: impl Into<String>) -> SnapshotError {
        self.file.row_error(format!("line {}", place.line), reason)
    }
}

/// The deal on a line; `None` when the line is blank or belongs to another tenant.
struct Line<'a> {
    id: Cow<'a, str>,
    order: KeyOrder,
    deal_type: Option<Cow<'a, str>>,
    inventory: Option<LazyValue<'a>>,
    deleted: bool,
}

fn parse<'a>(line: &'a [u8], source: &SnapshotSource) -> Result<Option<Line<'a>>, String> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let table = &source.table;
    let (mut id, mut tenant) = (None, None);
    let (mut deal_type, mut inventory, mut deleted_at) = (None, None, None);
    let mut others = Vec::new();
    for field in sonic_rs::to_object_iter(line) {
        let (name, value) = field
            .map_err(|error| format!("it is no JSON object: {}", first_line(&error.to_string())))?;
        let key: &str = name.as_ref();
        let place = if key == table.id {
            &mut id
        } else if key == table.deal_type {
            &mut deal_type
        } else if key == table.inventory {
            &mut inventory
        } else if Some(key) == table.deleted_at.as_deref() {
            &mut deleted_at
        } else if source.tenant.is_some() && key == table.tenant_id {
            &mut tenant
        } else {
            others.push(name);
            continue;
        };
        // Refused, because JSON readers disagree on which of the two values holds.
        if place.replace(value).is_some() {
            return Err(twice(key));
        }
    }
    others.sort_unstable();
    if let Some([name, ..]) = others.windows(2).find(|pair| pair.first() == pair.last()) {
        return Err(twice(name));
    }
    if let Some(wanted) = &source.tenant {
        // A deal without a tenant belongs to none, like a table row whose column is NULL.
        let found = tenant.map(scalar).transpose()?.flatten();
        if found.is_none_or(|(found, _)| found != wanted.as_str()) {
            return Ok(None);
        }
    }
    let id = id.map(scalar).transpose()?.flatten();
    let Some((id, order)) = id else {
        return Err(format!("it has no `{}`", table.id));
    };
    Ok(Some(Line {
        id,
        order,
        deal_type: deal_type
            .map(scalar)
            .transpose()?
            .flatten()
            .map(|(text, _)| text),
        inventory: inventory.filter(|value| !value.is_null()),
        deleted: deleted_at.is_some_and(|value| !value.is_null()),
    }))
}

fn twice(key: &str) -> String {
    format!("the key `{key}` occurs twice")
}

/// A text or integer; `None` for null.
fn scalar(value: LazyValue<'_>) -> Result<Option<(Cow<'_, str>, KeyOrder)>, String> {
    match value.get_type() {
        JsonType::Null => Ok(None),
        JsonType::String => match value.as_str() {
            Some(text) => Ok(Some((Cow::Owned(text.to_owned()), KeyOrder::Bytes))),
            None => Err("a text is not valid".to_owned()),
        },
        JsonType::Number => match value.as_i64() {
            Some(number) => Ok(Some((Cow::Owned(number.to_string()), KeyOrder::Integer))),
            None => match value.as_u64() {
                Some(number) => Ok(Some((Cow::Owned(number.to_string()), KeyOrder::Integer))),
                None => Err(format!("{} is no 64-bit integer", value.as_raw_str())),
            },
        },
        _ => Err("an id, type or tenant is neither text nor integer".to_owned()),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// The planning pass: computes the digest and records the deals.
pub(super) fn scan(
    file: &SourceFile,
    source: &SnapshotSource,
    scan: &mut Scan,
) -> Result<(String, u64), SnapshotError> {
    let start = Place { at: 0, line: 1 };
    let mut reader = LineReader::open(file.clone(), start)?;
    let mut hasher = Sha256::new();
    let mut line = Vec::new();
    loop {
        let place = reader.next(&mut line)?;
        if line.is_empty() {
            return Ok((hex::encode(hasher.finalize()), place.at));
        }
        hasher.update(&line);
        let parsed = parse(&line, source).map_err(|reason| reader.error(place, reason))?;
        match parsed {
            None => {}
            Some(deal) if deal.deleted => scan.deleted += 1,
            Some(deal) => scan
                .deal(&deal.id, deal.order, place)
                .map_err(|reason| file.order_error(format!("line {}", place.line), reason))?,
        }
    }
}

/// Reads the lines of one shard.
pub(super) struct Lines {
    reader: LineReader,
    source: SnapshotSource,
    end: u64,
}

impl Lines {
    pub(super) fn open(
        file: SourceFile,
        source: SnapshotSource,
        start: u64,
        end: u64,
        first_line: u64,
    ) -> Result<Self, SnapshotError> {
        let place = Place {
            at: start,
            line: first_line,
        };
        Ok(Self {
            reader: LineReader::open(file, place)?,
            source,
            end,
        })
    }

    /// The next batch of deals; empty at the end of the shard.
    pub(super) fn next_batch(&mut self) -> Result<Vec<RawDeal>, SnapshotError> {
        let mut deals = Vec::new();
        let mut bytes = 0;
        while self.reader.place.at < self.end && bytes < BATCH_BYTES {
            let mut line = Vec::new();
            let place = self.reader.next(&mut line)?;
            if line.is_empty() {
                break;
            }
            bytes += line.len();
            let line = Bytes::from(line);
            let parsed = parse(&line, &self.source);
            let parsed = parsed.map_err(|reason| self.reader.error(place, reason))?;
            let Some(deal) = parsed.filter(|deal| !deal.deleted) else {
                continue;
            };
            deals.push(RawDeal {
                inventory: deal
                    .inventory
                    .map_or(Bytes::from_static(b"[]"), |value| inventory(&line, &value)),
                id: deal.id.into_owned(),
                deal_type: deal.deal_type.map(Cow::into_owned),
            });
        }
        Ok(deals)
    }
}

/// The inventory: the array itself, or the string that contains it, as database exports write it.
fn inventory(line: &Bytes, value: &LazyValue<'_>) -> Bytes {
    match value.as_str() {
        Some(text) => Bytes::copy_from_slice(text.as_bytes()),
        None => line.slice_ref(value.as_raw_str().as_bytes()),
    }
}

//! Makes a stopped nats-server forget sequences that it assigned and whose messages were torn off.
//!
//! If a stream's last block lost its end, nats-server knows from its index how far it got, and
//! records that as the deletion of the last sequence, in a separate block after the others:
//!
//! ```text
//! 1.blk   [ m1 ][ m2 ][ m3 ]      what is left of the block
//! 2.blk   [ 4 is deleted ]        so that the next sequence is 5
//! index.db                        the last sequence is 4
//! ```
//!
//! Without these two files, the next sequence is 4.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Size of a record that says that a message was deleted: length, sequence, time, subject length,
/// and a checksum.
const DELETION_BYTES: usize = 30;
/// Flag in the sequence of such a record.
const DELETED: u64 = 1 << 62;
/// Maximum size of a block scanned for such records.
const MAX_DELETIONS_BYTES: u64 = 1024 * 1024;

/// Moves the files that only record sequences after `after` from a stream to the directory
/// `lost-end-…` in the data directory, and returns its path; `None` if there were none. `stamp`
/// completes its name. The server of the data directory must be stopped.
///
/// # Errors
/// The file system's error; some of the files may have been moved.
pub fn discard_torn_tail(
    data_dir: &Path,
    stream: &str,
    after: u64,
    stamp: &str,
) -> io::Result<Option<PathBuf>> {
    let messages = data_dir
        .join("nats/jetstream/jetstream/$G/streams")
        .join(stream)
        .join("msgs");
    let mut blocks = blocks(&messages)?;
    let mut moved = Vec::new();
    while let Some((_, path)) = blocks.pop() {
        if !only_forgets(&path, after)? {
            break;
        }
        moved.push(path);
    }
    if moved.is_empty() {
        return Ok(None);
    }
    let index = messages.join("index.db");
    if index.exists() {
        moved.push(index);
    }
    let aside = data_dir.join(format!("lost-end-{stamp}"));
    fs::create_dir_all(&aside)?;
    for path in moved {
        if let Some(name) = path.file_name() {
            fs::rename(&path, aside.join(name))?;
        }
    }
    fs::File::open(&messages)?.sync_all()?;
    Ok(Some(aside))
}

/// Returns the message blocks with their numbers.
fn blocks(messages: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut blocks = Vec::new();
    for entry in fs::read_dir(messages)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str());
        let number = number.and_then(|stem| stem.parse().ok());
        if let (Some(number), Some("blk")) = (number, path.extension().and_then(|end| end.to_str()))
        {
            blocks.push((number, path));
        }
    }
    blocks.sort();
    Ok(blocks)
}

/// True if a block holds nothing but deletions of sequences after `after`.
fn only_forgets(block: &Path, after: u64) -> io::Result<bool> {
    let mut bytes = Vec::new();
    let read = fs::File::open(block)?
        .take(MAX_DELETIONS_BYTES)
        .read_to_end(&mut bytes)?;
    let (records, rest) = bytes.as_chunks::<DELETION_BYTES>();
    let is_deletion = |record: &[u8; DELETION_BYTES]| {
        let (length, sequence) = record.split_at(4);
        let length = length.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let sequence = sequence
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes));
        length.is_some_and(|length| usize::try_from(length) == Ok(DELETION_BYTES))
            && sequence & DELETED != 0
            && sequence & !DELETED > after
    };
    Ok(read > 0 && rest.is_empty() && records.iter().all(is_deletion))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn deletion(sequence: u64) -> Vec<u8> {
        let mut record = 30_u32.to_le_bytes().to_vec();
        record.extend((sequence | DELETED).to_le_bytes());
        record.resize(DELETION_BYTES, 0);
        record
    }

    #[test]
    fn only_files_that_remember_lost_sequences_are_moved() {
        let dir = tempfile::TempDir::new().unwrap();
        let messages = dir
            .path()
            .join("nats/jetstream/jetstream/$G/streams/S/msgs");
        fs::create_dir_all(&messages).unwrap();
        let message = [7_u8; 90];
        let write = |name: &str, bytes: &[u8]| fs::write(messages.join(name), bytes).unwrap();
        write("2.blk", &deletion(2));
        write("9.blk", &message);
        write("10.blk", &deletion(6));
        write("index.db", b"index");
        let forget = || discard_torn_tail(dir.path(), "S", 5, "1").unwrap();
        let aside = forget().unwrap();
        let names = |path: &Path| {
            let mut names: Vec<_> = fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(&messages), ["2.blk", "9.blk"]);
        assert_eq!(names(&aside), ["10.blk", "index.db"]);
        // Anything else must stay: the message, and a deletion before it.
        assert_eq!(forget(), None);
        write("11.blk", &deletion(5));
        write("index.db", b"index");
        assert_eq!(forget(), None);
        assert!(messages.join("index.db").exists());
    }
}

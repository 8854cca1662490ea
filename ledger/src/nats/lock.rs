//! Allows only one process per data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::ServerError;

/// An exclusive lock on a data directory, held by the process that uses it. The kernel releases it
/// however the process ends; the remaining file has no meaning.
#[derive(Debug)]
pub struct DataLock {
    /// Locked (`flock`) for as long as it is open.
    _file: File,
}

impl DataLock {
    /// Locks `dir`, which must exist.
    ///
    /// # Errors
    /// `Locked` names the process that holds the lock.
    pub fn acquire(dir: &Path) -> Result<Self, ServerError> {
        let path: PathBuf = dir.join("rollbook.lock");
        let io = |source| ServerError::Io {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(io)?;
                let holder = holder.trim();
                return Err(ServerError::Locked {
                    dir: dir.to_path_buf(),
                    holder: match holder {
                        "" => "another process".to_owned(),
                        pid => format!("process {pid}"),
                    },
                });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_second_holder_is_refused_by_name_until_the_first_releases_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataLock::acquire(dir.path()).unwrap();
        match DataLock::acquire(dir.path()) {
            Err(ServerError::Locked { holder, .. }) => {
                assert_eq!(holder, format!("process {}", std::process::id()));
            }
            other => panic!("{other:?}"),
        }
        drop(first);
        DataLock::acquire(dir.path()).unwrap();
    }
}

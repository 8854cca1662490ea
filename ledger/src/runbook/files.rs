//! The files beside a runbook. The loader reads them only through [`Files`].

use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// The largest file a runbook may inline, in bytes.
pub const MAX_INLINED_BYTES: usize = 1024 * 1024;

/// Reads files below a root, by paths relative to it with `/` between names and without `..`.
pub trait Files {
    /// The content of a file.
    fn read(&self, path: &str) -> Result<String, FileError>;
}

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Absolute, or leads out of the root.
    #[error("`{0}` leads out of the runbook's repository; keep the file inside")]
    Outside(String),
    /// Not there.
    #[error("there is no file `{0}`")]
    Missing(String),
    /// There, but not readable as text of bounded size.
    #[error("`{path}` cannot be read: {reason}")]
    Unreadable {
        /// The path.
        path: String,
        /// Why.
        reason: String,
    },
}

/// Joins a path that stands in a file at `directory` (relative to the root) and resolves `.`
/// and `..`. Purely by text; links are the reader's business.
pub(super) fn resolve(directory: &str, path: &str) -> Result<String, FileError> {
    let outside = || FileError::Outside(path.to_owned());
    if path.is_empty() || path.starts_with('/') || path.contains(['\\', '\0']) {
        return Err(outside());
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(outside)?;
            }
            name => parts.push(name),
        }
    }
    Ok(parts.join("/"))
}

/// No files: a runbook that stands alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, path: &str) -> Result<String, FileError> {
        Err(FileError::Missing(path.to_owned()))
    }
}

/// Files of a directory on disk. The only part of `runbook` that touches one. Links are
/// followed only as long as they stay inside.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Files below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The root for a runbook file: the nearest directory above it that holds `.git`, else
    /// its own directory. Also gives the file's path relative to that root.
    pub fn around(file: &Path) -> std::io::Result<(Self, String)> {
        let file = file.canonicalize()?;
        let own = file.parent().unwrap_or(&file);
        let root = own
            .ancestors()
            .find(|directory| directory.join(".git").exists())
            .unwrap_or(own);
        let relative: Vec<String> = file
            .strip_prefix(root)
            .unwrap_or(&file)
            .components()
            .filter_map(|component| match component {
                Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
                _ => None,
            })
            .collect();
        Ok((Self::new(root), relative.join("/")))
    }
}

impl Files for Directory {
    fn read(&self, path: &str) -> Result<String, FileError> {
        let unreadable = |reason: String| FileError::Unreadable {
            path: path.to_owned(),
            reason,
        };
        let io = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => FileError::Missing(path.to_owned()),
            _ => unreadable(error.to_string()),
        };
        let root = self.root.canonicalize().map_err(io)?;
        let file = root.join(resolve("", path)?).canonicalize().map_err(io)?;
        if !file.starts_with(&root) {
            return Err(FileError::Outside(path.to_owned()));
        }
        if !file.is_file() {
            return Err(unreadable("it is not a file".to_owned()));
        }
        let mut text = String::new();
        let limit = u64::try_from(MAX_INLINED_BYTES).unwrap_or(u64::MAX);
        std::fs::File::open(&file)
            .map_err(io)?
            .take(limit.saturating_add(1))
            .read_to_string(&mut text)
            .map_err(io)?;
        if text.len() > MAX_INLINED_BYTES {
            return Err(unreadable(format!(
                "it has more than {MAX_INLINED_BYTES} bytes"
            )));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside_the_root() {
        assert_eq!(
            resolve("runbooks", "../migrations/./a.sql").unwrap(),
            "migrations/a.sql"
        );
        for bad in ["", "/etc/passwd", "../../x", "a\\b", "a/../../../x"] {
            assert!(resolve("runbooks", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_directory_does_not_follow_links_out_of_it() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::write(outer.path().join("secret"), "s").unwrap();
        std::fs::write(root.join("a.sql"), "select 1").unwrap();
        std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
        let files = Directory::new(&root);
        assert_eq!(files.read("a.sql").unwrap(), "select 1");
        assert_eq!(
            files.read("link"),
            Err(FileError::Outside("link".to_owned()))
        );
        assert!(matches!(files.read("none"), Err(FileError::Missing(_))));
        std::fs::write(root.join("big"), "x".repeat(MAX_INLINED_BYTES + 1)).unwrap();
        assert!(matches!(
            files.read("big"),
            Err(FileError::Unreadable { .. })
        ));
    }
}

//! The files that a runbook refers to. The loader reads them only through [`Files`].

use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// Maximum size of a file that a runbook inlines, in bytes.
pub const MAX_INLINED_BYTES: usize = 1024 * 1024;

/// Reads the files that a runbook refers to.
pub trait Files {
    /// Reads a file by its path as written in the runbook: relative to the runbook's directory,
    /// never absolute. The implementation decides how far `..` may lead.
    fn read(&self, path: &str) -> Result<String, FileError>;
}

impl<F: Fn(&str) -> Result<String, String>> Files for F {
    fn read(&self, path: &str) -> Result<String, FileError> {
        self(path).map_err(|reason| FileError::Unreadable {
            path: path.to_owned(),
            reason,
        })
    }
}

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The path is absolute, or points outside the root.
    #[error("`{0}` points outside the runbook's repository; keep the file inside")]
    Outside(String),
    /// The file does not exist.
    #[error("there is no file `{0}`")]
    Missing(String),
    /// The file exists, but is not readable as text of bounded size.
    #[error("`{path}` cannot be read: {reason}")]
    Unreadable {
        /// The path.
        path: String,
        /// The cause.
        reason: String,
    },
}

/// True if a runbook may use the path at all.
pub(super) fn is_relative(path: &str) -> bool {
    !path.is_empty() && !path.starts_with('/') && !path.contains(['\\', '\0'])
}

/// True if the path or pattern cannot leave its base directory, apart from symbolic links.
pub fn stays_below(path: &str) -> bool {
    is_relative(path) && !path.split('/').any(|part| part == "..")
}

/// Joins a path to `directory` (relative to the root) and resolves `.` and `..` lexically.
fn resolve(directory: &str, path: &str) -> Result<String, FileError> {
    let outside = || FileError::Outside(path.to_owned());
    if !is_relative(path) {
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

/// No files, for a self-contained runbook.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, path: &str) -> Result<String, FileError> {
        Err(FileError::Missing(path.to_owned()))
    }
}

/// The files of a directory on disk; the only part of `runbook` that does I/O. `..` and symbolic
/// links are followed only if they stay below the root.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
    base: String,
}

impl Directory {
    /// Creates a reader of files below `root`, for a runbook in its subdirectory `base` (`""` for
    /// the root itself).
    pub fn new(root: impl Into<PathBuf>, base: impl Into<String>) -> Self {
        Self {
            root: root.into(),
            base: base.into(),
        }
    }

    /// Creates a reader for a runbook on disk: the root is the nearest directory above it that
    /// contains `.git`, or else its own directory.
    pub fn around(file: &Path) -> std::io::Result<Self> {
        let file = file.canonicalize()?;
        let own = file.parent().unwrap_or(&file);
        let root = own
            .ancestors()
            .find(|directory| directory.join(".git").exists())
            .unwrap_or(own);
        let base: Vec<String> = own
            .strip_prefix(root)
            .unwrap_or(Path::new(""))
            .components()
            .filter_map(|component| match component {
                Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
                _ => None,
            })
            .collect();
        Ok(Self::new(root, base.join("/")))
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
        let file = root
            .join(resolve(&self.base, path)?)
            .canonicalize()
            .map_err(io)?;
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
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
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
        let files = Directory::new(&root, "");
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

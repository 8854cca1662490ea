//! A file that a command writes: whole or not at all, and never in place of another unless asked to.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rollbook_workers::snapshot::SnapshotError;
use tempfile::NamedTempFile;

use crate::exit::{Exit, Failure};
use crate::interrupt;

/// What a new file may be, before the umask.
const NEW_FILE_MODE: u32 = 0o666;

/// A file that is about to be written.
pub(super) struct NewFile {
    /// As the user named it.
    pub(super) name: String,
    /// Where it is; a link is followed.
    path: PathBuf,
    /// The rights of the file that is replaced; `None` if there is none.
    replaced: Option<Permissions>,
}

impl NewFile {
    pub(super) fn new(file: &Path, replace: bool) -> Result<Self, Failure> {
        let name = file.display().to_string();
        match std::fs::metadata(file) {
            Ok(found) if !found.is_file() => Err(Failure::own(
                Exit::Usage,
                "RB-CLI-77",
                format!("{name} is no ordinary file; name another --output"),
            )),
            Ok(_) if !replace => Err(exists(&name)),
            Ok(found) => Ok(Self {
                path: std::fs::canonicalize(file).map_err(|error| unwritable(&name, error))?,
                name,
                replaced: Some(found.permissions()),
            }),
            Err(_) => Ok(Self {
                path: file.to_owned(),
                name,
                replaced: None,
            }),
        }
    }

    /// A file beside it, which takes its name once it is whole.
    pub(super) fn begin(&self) -> Result<NamedTempFile, Failure> {
        let of_new = || Permissions::from_mode(NEW_FILE_MODE);
        let rights = self.replaced.clone().unwrap_or_else(of_new);
        let directory = self.path.parent().filter(|it| *it != Path::new(""));
        let unfinished = tempfile::Builder::new()
            .prefix(".rollbook-")
            .suffix(".part")
            .permissions(rights)
            .tempfile_in(directory.unwrap_or(Path::new(".")))
            .map_err(|error| unwritable(&self.name, error))?;
        interrupt::set_unfinished(Some(unfinished.path().to_owned()));
        Ok(unfinished)
    }

    pub(super) fn finish(&self, written: NamedTempFile) -> Result<(), Failure> {
        written
            .as_file()
            .sync_all()
            .map_err(|error| unwritable(&self.name, error))?;
        let named = match self.replaced {
            Some(_) => written.persist(&self.path),
            None => written.persist_noclobber(&self.path),
        };
        interrupt::set_unfinished(None);
        match named {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(exists(&self.name))
            }
            Err(error) => Err(unwritable(&self.name, error.error)),
        }
    }
}

fn exists(name: &str) -> Failure {
    Failure::own(
        Exit::Usage,
        "RB-CLI-68",
        format!("{name} exists already; name another --output, or replace it with --force"),
    )
}

/// A place that cannot be written to: a wrong name is wrong usage, a full disk is not.
fn unwritable(name: &str, reason: io::Error) -> Failure {
    let exit = match reason.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::PermissionDenied => Exit::Usage,
        _ => Exit::Unavailable,
    };
    let to = name.to_owned();
    Failure::new(exit, SnapshotError::Export { to, reason })
}

//! A file that a command writes: whole or not at all, and over another one only if that is asked for.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::exit::{Exit, Failure};
use crate::interrupt;

/// What a new file may be, before the umask.
const NEW_FILE_MODE: u32 = 0o666;

/// How many links are followed, as by Linux.
const MAX_LINKS: usize = 40;

/// A file that is about to be written.
pub(super) struct NewFile {
    /// As the user named it.
    name: String,
    /// Where it is; links are followed, whether or not they lead to a file.
    path: PathBuf,
    /// Whether a file that is there is replaced, even one that appears meanwhile.
    replace: bool,
    /// The rights of the file that is replaced; `None` if there is none yet.
    rights: Option<Permissions>,
}

impl NewFile {
    /// Refuses a place that is no ordinary file, and a file that is there unless it is replaced.
    pub(super) fn new(file: &Path, replace: bool) -> Result<Self, Failure> {
        let name = file.display().to_string();
        let rights = match std::fs::metadata(file) {
            Ok(found) if !found.is_file() => {
                return Err(Failure::own(
                    Exit::Usage,
                    "RB-CLI-77",
                    format!("{name} is no ordinary file; name another --output"),
                ));
            }
            Ok(_) if !replace => return Err(exists(&name)),
            Ok(found) => Some(found.permissions()),
            Err(_) => None,
        };
        // Without `replace`, a link that leads nowhere is itself what is there.
        let path = if replace {
            behind_links(file).map_err(|error| unwritable(&name, error))?
        } else {
            file.to_owned()
        };
        Ok(Self {
            name,
            path,
            replace,
            rights,
        })
    }

    /// As the user named it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The failure of a write.
    pub(super) fn unwritable(&self, reason: io::Error) -> Failure {
        unwritable(&self.name, reason)
    }

    /// A file beside it, which takes its name once it is whole.
    pub(super) fn begin(&self) -> Result<NamedTempFile, Failure> {
        let of_new = || Permissions::from_mode(NEW_FILE_MODE);
        let begun = tempfile::Builder::new()
            .prefix(".rollbook-")
            .suffix(".part")
            .permissions(self.rights.clone().unwrap_or_else(of_new))
            .tempfile_in(directory_of(&self.path));
        let unfinished = begun.map_err(|error| unwritable(&self.name, error))?;
        if let Some(rights) = &self.rights {
            // The umask narrows only the rights given at the creation.
            let kept = unfinished.as_file().set_permissions(rights.clone());
            kept.map_err(|error| unwritable(&self.name, error))?;
        }
        interrupt::set_unfinished(Some(unfinished.path().to_owned()));
        Ok(unfinished)
    }

    /// Gives what was written its name. Durable on return, as far as the file itself.
    pub(super) fn finish(&self, written: NamedTempFile) -> Result<(), Failure> {
        written
            .as_file()
            .sync_all()
            .map_err(|error| unwritable(&self.name, error))?;
        let named = if self.replace {
            written.persist(&self.path)
        } else {
            written.persist_noclobber(&self.path)
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

/// Where a file is or would be made: the end of its links.
fn behind_links(file: &Path) -> io::Result<PathBuf> {
    let mut path = file.to_owned();
    for _ in 0..MAX_LINKS {
        match std::fs::read_link(&path) {
            Ok(target) => path = directory_of(&path).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "its links lead in a circle",
    ))
}

fn directory_of(path: &Path) -> &Path {
    let directory = path.parent().filter(|it| *it != Path::new(""));
    directory.unwrap_or(Path::new("."))
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
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::PermissionDenied => Exit::Usage,
        _ => Exit::Unavailable,
    };
    Failure::own(
        exit,
        "RB-CLI-50",
        format!("{name}: cannot be written: {reason}; name another --output, or make room there"),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn written(file: &NewFile, text: &str) -> Result<(), Failure> {
        let mut unfinished = file.begin()?;
        unfinished.write_all(text.as_bytes()).unwrap();
        file.finish(unfinished)
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_replaced_only_if_that_is_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rows");
        for (replace, left) in [(false, "other"), (true, "rows")] {
            let _ = std::fs::remove_file(&path);
            let file = NewFile::new(&path, replace).unwrap();
            std::fs::write(&path, "other").unwrap();
            assert_eq!(written(&file, "rows").is_ok(), replace);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), left);
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_is_followed_only_to_replace() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("real")).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("real/rows", &link).unwrap();
        let file = NewFile::new(&link, false).unwrap();
        assert!(written(&file, "rows").is_err());
        let file = NewFile::new(&link, true).unwrap();
        written(&file, "rows").unwrap();
        assert!(link.is_symlink());
        let rows = std::fs::read_to_string(directory.path().join("real/rows")).unwrap();
        assert_eq!(rows, "rows");
    }

    #[test]
    fn the_rights_of_a_replaced_file_are_kept_whatever_the_umask() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rows");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        let file = NewFile::new(&path, true).unwrap();
        written(&file, "new").unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
    }
}

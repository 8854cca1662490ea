//! A small file system that can really run full: a tmpfs in its own mount namespace, which the
//! kernel removes when its shell ends, for whatever reason. Root can create it, and so can anybody
//! where user namespaces are allowed.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Its size; the ledger of one slice takes a tenth of it.
const MEGABYTES: u32 = 64;
/// The file that fills it.
const BALLAST: &str = "ballast";

/// A shell in the mount namespace of the small disk.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    shell: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    place: PathBuf,
    in_user_namespace: bool,
}

impl SmallDisk {
    /// Mounts a small disk at `place`, an empty directory. `Err` says why the machine does not
    /// allow it.
    pub(crate) fn mount(place: &Path) -> Result<Self, String> {
        let mut refused = String::new();
        for in_user_namespace in [false, true] {
            let mut disk = Self::shell(place, in_user_namespace)?;
            let mount = format!(
                "mount -t tmpfs -o size={MEGABYTES}m tmpfs '{}'",
                place.display()
            );
            match disk.tried(&mount) {
                Ok(()) => return Ok(disk),
                Err(answer) => refused.push_str(&answer),
            }
        }
        Err(format!(
            "no small file system can be mounted: be root, or allow user namespaces (unshare --map-root-user --mount): {refused}"
        ))
    }

    fn shell(place: &Path, in_user_namespace: bool) -> Result<Self, String> {
        let failed = |reason: &dyn std::fmt::Display| {
            format!("unshare of the Debian package util-linux: {reason}")
        };
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if in_user_namespace {
            command.arg("--map-root-user");
        }
        let mut shell = command
            .arg("sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let output = shell.stdout.take().ok_or_else(|| failed(&"no output"))?;
        Ok(Self {
            input: shell.stdin.take(),
            output: BufReader::new(output),
            shell,
            place: place.to_path_buf(),
            in_user_namespace,
        })
    }

    /// Runs a command in the shell; the error is its output.
    fn tried(&mut self, command: &str) -> Result<(), String> {
        let mut printed = String::new();
        if let Some(input) = &mut self.input {
            // A shell that could not be started has closed its pipes.
            let _ = writeln!(input, "{{ {command}; }} 2>&1; echo \"ended $?\"");
        }
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap_or(0) == 0 {
                break;
            }
            match line.trim_end().strip_prefix("ended ") {
                Some("0") => return Ok(()),
                Some(_) => break,
                None => printed.push_str(&line),
            }
        }
        Err(format!("[{}]", printed.trim_end()))
    }

    /// The words to put before a program so that it sees the disk and runs in `directory`; the
    /// process id stays the same.
    pub(crate) fn enter(&self, directory: &Path) -> Vec<String> {
        let mut words = vec![
            "nsenter".to_owned(),
            format!("--target={}", self.shell.id()),
            "--mount".to_owned(),
            format!("--wdns={}", directory.display()),
        ];
        if self.in_user_namespace {
            words.extend(["--user".to_owned(), "--preserve-credentials".to_owned()]);
        }
        words
    }

    /// Fills the disk completely.
    pub(crate) fn fill(&mut self) {
        let ballast = self.place.join(BALLAST);
        // `dd` fails because there is no room, which is its purpose.
        let _ = self.tried(&format!("dd if=/dev/zero of='{}' bs=4k", ballast.display()));
    }

    /// Frees the space again.
    pub(crate) fn empty(&mut self) -> Result<(), String> {
        let ballast = self.place.join(BALLAST);
        self.tried(&format!("rm -f '{}'", ballast.display()))
    }

    /// Unmounts it and leaves a copy of its content in its directory.
    pub(crate) fn unmount(mut self) -> Result<(), String> {
        let kept = self.place.with_extension("kept");
        let (place, kept) = (self.place.clone(), kept);
        self.tried(&format!("cp -a '{}' '{}'", place.display(), kept.display()))?;
        drop(self);
        let moved = std::fs::remove_dir_all(&place).and_then(|()| std::fs::rename(&kept, &place));
        moved.map_err(|error| format!("{}: {error}", place.display()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.shell.wait();
    }
}

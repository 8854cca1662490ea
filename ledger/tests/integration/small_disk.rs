//! A file system that really fills: a tmpfs in a mount namespace of its own, which the kernel
//! takes back when its shell ends, however that happens. Made by root, or by anybody where user
//! namespaces are allowed.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Set to anything but `false` by CI systems, and by `.ci/run`.
const CI: &str = "CI";

/// A shell in the namespace of the disk.
pub struct SmallDisk {
    shell: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    in_user_namespace: bool,
}

impl SmallDisk {
    /// Mounts `megabytes` at `place`, an empty directory.
    ///
    /// Where the machine allows no mount: `None` and a notice, but a failure under CI, where
    /// nobody reads notices.
    pub fn mount(place: &Path, megabytes: u32) -> Option<Self> {
        let mut refused = String::new();
        for in_user_namespace in [false, true] {
            let mut disk = Self::shell(in_user_namespace);
            let mount = format!(
                "mount -t tmpfs -o size={megabytes}m tmpfs '{}'",
                place.display()
            );
            match disk.tried(&mount) {
                Ok(()) => return Some(disk),
                Err(answer) => refused.push_str(&answer),
            }
        }
        let notice = format!(
            "this test needs a small disk: run it as root, or allow user namespaces (unshare --map-root-user --mount): {refused}"
        );
        let on_ci = std::env::var(CI).is_ok_and(|value| !value.is_empty() && value != "false");
        assert!(!on_ci, "{notice}");
        // Past the test harness, which swallows what is printed.
        let _ = writeln!(std::io::stderr(), "NOT TESTED: {notice}");
        None
    }

    fn shell(in_user_namespace: bool) -> Self {
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
            .expect("unshare of the Debian package util-linux");
        Self {
            input: shell.stdin.take(),
            output: BufReader::new(shell.stdout.take().unwrap()),
            shell,
            in_user_namespace,
        }
    }

    /// Runs a command beside the disk; what it printed if it failed.
    fn tried(&mut self, command: &str) -> Result<(), String> {
        let mut input = self.input.as_ref().unwrap();
        // A shell that could not be started has closed its pipes.
        let _ = writeln!(input, "{{ {command}; }} 2>&1; echo \"ended $?\"");
        let mut printed = String::new();
        for line in self.output.by_ref().lines().map(Result::unwrap) {
            match line.strip_prefix("ended ") {
                Some("0") => return Ok(()),
                Some(_) => break,
                None => printed.push_str(&line),
            }
        }
        Err(format!("[{printed}]"))
    }

    /// Runs a command beside the disk, which must succeed.
    pub fn run(&mut self, command: &str) {
        self.tried(command).unwrap();
    }

    /// The words before a program that is to see the disk; it keeps the process id.
    pub fn enter(&self) -> Vec<String> {
        let mut words = vec![
            "nsenter".to_owned(),
            format!("--target={}", self.shell.id()),
            "--mount".to_owned(),
        ];
        if self.in_user_namespace {
            words.extend(["--user".to_owned(), "--preserve-credentials".to_owned()]);
        }
        words
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.shell.wait();
    }
}

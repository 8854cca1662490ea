//! A file system that really fills up: a tmpfs in its own mount namespace, which the kernel removes
//! when its shell ends for any reason. Needs root, or a machine that allows user namespaces.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Set to anything except `false` by CI systems and by `.ci/run`.
const CI: &str = "CI";

/// A shell in the mount namespace of the disk.
pub struct SmallDisk {
    shell: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    in_user_namespace: bool,
}

impl SmallDisk {
    /// Mounts a disk of `megabytes` at `place`, an empty directory.
    ///
    /// If the machine does not allow it, prints a notice and returns `None`; under CI, where nobody
    /// reads notices, it panics.
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
        // Write to stderr directly, because the test harness captures printed output.
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

    /// Runs a command in the namespace; the error is what it printed.
    fn tried(&mut self, command: &str) -> Result<(), String> {
        let mut input = self.input.as_ref().unwrap();
        // A shell that could not start has closed its pipes.
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

    /// Runs a command in the namespace; it must succeed.
    pub fn run(&mut self, command: &str) {
        self.tried(command).unwrap();
    }

    /// Returns a command prefix that runs a program in the namespace under the same process id.
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

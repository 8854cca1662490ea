//! A directory with a running `rollbook up`, and the commands run in it.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// Time limit for every child.
const AT_MOST: Duration = Duration::from_secs(120);
/// Interval between two checks of a condition.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The workspace this test was built from.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// The nats-server for tests; without one a test fails instead of passing silently.
pub(crate) fn nats_server() -> PathBuf {
    if let Some(named) = std::env::var_os("ROLLBOOK_NATS_SERVER") {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([workspace().join(".tools/bin")])
        .map(|directory| directory.join("nats-server"))
        .find(|file| file.is_file())
        .expect(
            "a nats-server in ROLLBOOK_NATS_SERVER, PATH or .tools/bin; `make setup` installs one",
        )
}

/// A process in a group of its own, killed with the group when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    output: Option<[Output; 2]>,
    shown: String,
}

/// What a process prints to one of its two streams.
#[derive(Debug)]
struct Output {
    reader: JoinHandle<()>,
    read: Arc<Mutex<Vec<u8>>>,
}

impl Output {
    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.read.lock().unwrap()).into_owned()
    }

    /// The whole output; the process has ended.
    fn whole(self) -> String {
        self.reader.join().unwrap();
        let read = std::mem::take(&mut *self.read.lock().unwrap());
        String::from_utf8_lossy(&read).into_owned()
    }
}

/// The result of a process.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    shown: String,
}

impl Process {
    /// Starts a command with its output captured.
    pub(crate) fn start(command: &mut Command) -> Self {
        let shown = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{shown}: {error}"));
        let output = [
            collect(child.stdout.take().unwrap()),
            collect(child.stderr.take().unwrap()),
        ];
        Self {
            child,
            output: Some(output),
            shown,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Sends a signal to the process itself, not to its group.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits until it has printed this to standard output; fails at once if it ends first.
    #[track_caller]
    pub(crate) fn until_says(&self, text: &str) {
        self.until(text, |[out, _]| out);
    }

    /// What it has printed to standard output so far.
    pub(crate) fn said(&self) -> String {
        let [out, _] = self.output.as_ref().unwrap();
        out.so_far()
    }

    /// Waits until it has printed this to standard error; fails at once if it ends first.
    #[track_caller]
    pub(crate) fn until_complains(&self, text: &str) {
        self.until(text, |[_, err]| err);
    }

    #[track_caller]
    fn until(&self, text: &str, stream: impl Fn(&[Output; 2]) -> &Output) {
        let output = self.output.as_ref().unwrap();
        let deadline = Instant::now() + AT_MOST;
        loop {
            // Checked first: the last output may be read just after the process has ended.
            let ended = self.ended();
            if ended {
                std::thread::sleep(LOOK_EVERY * 4);
            }
            if stream(output).so_far().contains(text) {
                return;
            }
            let [out, err] = output.each_ref().map(Output::so_far);
            assert!(
                !ended,
                "{} ended without `{text}`\n--- stdout\n{out}\n--- stderr\n{err}",
                self.shown
            );
            assert!(
                Instant::now() < deadline,
                "waited {AT_MOST:?} for `{text}` from {}\n--- stdout\n{out}\n--- stderr\n{err}",
                self.shown
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Whether it has ended; `finish` still gets the exit code.
    pub(crate) fn ended(&self) -> bool {
        // A process that has ended but was not waited for is a zombie.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.rsplit(')')
            .next()
            .is_none_or(|rest| rest.trim_start().starts_with('Z'))
    }

    /// Waits for the end, and kills the whole group if it does not come.
    pub(crate) fn finish(self) -> Ran {
        self.finish_within(AT_MOST)
    }

    /// The same with this time limit.
    pub(crate) fn finish_within(mut self, at_most: Duration) -> Ran {
        let status = self.wait(at_most);
        // What a command left behind must not keep its pipes open.
        let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
        let [out, err] = self.output.take().unwrap().map(Output::whole);
        let shown = std::mem::take(&mut self.shown);
        let Some(status) = status else {
            panic!("{shown}: still runs after {at_most:?}\n{out}\n{err}");
        };
        Ran {
            code: status.code(),
            out,
            err,
            shown,
        }
    }

    fn wait(&mut self, at_most: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + at_most;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.output.is_some() {
            let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

fn collect(mut from: impl Read + Send + 'static) -> Output {
    let read = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&read);
    let reader = std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(bytes @ 1..) = from.read(&mut chunk) {
            into.lock().unwrap().extend_from_slice(&chunk[..bytes]);
        }
    });
    Output { reader, read }
}

impl Ran {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.shown,
            self.out,
            self.err
        );
        self
    }

    /// Asserts that standard output contains this, wherever its lines are broken.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(
            self.out.contains(text) || on_one_line(&self.out).contains(&on_one_line(text)),
            "`{text}` is not in the output of {}\n{}\n{}",
            self.shown,
            self.out,
            self.err
        );
        self
    }

    /// Asserts that standard error contains this.
    #[track_caller]
    pub(crate) fn complains(self, text: &str) -> Self {
        assert!(
            self.err.contains(text),
            "`{text}` is not in the errors of {}\n{}\n{}",
            self.shown,
            self.out,
            self.err
        );
        self
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}\n{}", self.shown, self.out, self.err))
    }

    /// Standard output as one JSON value per line.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }
}

/// A working directory for `rollbook` commands.
#[derive(Debug)]
pub(crate) struct Place {
    directory: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        }
    }

    /// Sets these variables for every further child.
    pub(crate) fn set(&mut self, variables: Vec<(&'static str, String)>) {
        self.variables.extend(variables);
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path().join(".rollbook")
    }

    /// Writes a file and returns its name.
    pub(crate) fn write<'a>(&self, name: &'a str, text: &str) -> &'a str {
        fs::write(self.path().join(name), text).unwrap();
        name
    }

    /// Copies `hello.yaml` from the repository.
    pub(crate) fn hello(&self) -> &'static str {
        let text = fs::read_to_string(workspace().join("runbooks/hello.yaml")).unwrap();
        self.write("hello.yaml", &text)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.path().join(name).exists()
    }

    /// `rollbook` with arguments separated by spaces, not yet started.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollbook"));
        command.args(words(line));
        self.clean(&mut command);
        command
    }

    /// The same, wrapped in another program that these words start.
    pub(crate) fn command_behind(&self, before: &[String], line: &str) -> Command {
        let mut command = Command::new(&before[0]);
        command.args(&before[1..]);
        command.arg(env!("CARGO_BIN_EXE_rollbook"));
        command.args(words(line));
        self.clean(&mut command);
        command
    }

    /// The environment of every child, without the caller's configuration.
    pub(crate) fn clean(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            let shown = name.to_string_lossy();
            if ["ROLLBOOK_", "AWS_", "OTEL_"]
                .iter()
                .any(|ours| shown.starts_with(ours))
            {
                command.env_remove(name);
            }
        }
        command
            .env_remove("DEALS_DATABASE_URL")
            .env_remove("TRACEPARENT")
            .env("NO_COLOR", "1")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .env("ROLLBOOK_NATS_SERVER", nats_server())
            .current_dir(self.path());
    }

    /// Runs a command and waits for its end. Arguments are separated by spaces; `'…'` keeps spaces.
    #[track_caller]
    pub(crate) fn run(&self, line: &str) -> Ran {
        Process::start(&mut self.command(line)).finish()
    }

    /// Opens a rollout in `local` as alice.
    #[track_caller]
    pub(crate) fn open(&self, file: &str, id: &str) {
        self.run(&format!("open {file} --env local --id {id} --as alice"))
            .exits(0);
    }

    /// Opens a rollout in `local` as alice, starts it, and waits until it needs a person.
    #[track_caller]
    pub(crate) fn waiting(&self, file: &str, id: &str) {
        self.run(&format!(
            "open {file} --env local --id {id} --as alice --start"
        ))
        .exits(0);
        self.run(&format!("status {id} --wait 60")).exits(4);
    }

    /// Signs a gate as it is shown now: `1 h --as bob`.
    #[track_caller]
    pub(crate) fn approve(&self, line: &str) -> Ran {
        let named = line.split(" --").next().unwrap_or_default();
        let server = line
            .split_once("--server ")
            .map_or(String::new(), |(_, url)| format!("--server {url}"));
        let shown = self.run(&format!("gate {named} --digest {server}"));
        let seen = shown.exits(0).out;
        self.run(&format!("approve {line} --seen {}", seen.trim()))
    }

    /// Starts `rollbook up` and waits until it is ready.
    pub(crate) fn up(&self) -> Process {
        self.up_with("")
    }

    /// The same with more options.
    pub(crate) fn up_with(&self, options: &str) -> Process {
        let line = format!("up --listen 127.0.0.1:0 {options}");
        let mut process = Process::start(&mut self.command(&line));
        wait_for("`rollbook up` to answer", || {
            if let Some(status) = process.child.try_wait().unwrap() {
                let _ = killpg(Pid::from_raw(process.pid()), Signal::SIGKILL);
                let [out, err] = process.output.take().unwrap().map(Output::whole);
                panic!("`rollbook up` ended with {status}\n{out}\n{err}");
            }
            self.run("list").code == Some(0)
        });
        process
    }

    /// The address of the running `rollbook up`.
    pub(crate) fn endpoint(&self) -> String {
        fs::read_to_string(self.data_dir().join("endpoint"))
            .unwrap()
            .trim()
            .to_owned()
    }

    /// Waits until the status of a step is one of these.
    #[track_caller]
    pub(crate) fn until_step(&self, rollout: &str, step: &str, wanted: &[&str]) -> Value {
        let mut found = Value::Null;
        wait_for(&format!("step {step} to be {wanted:?}"), || {
            found = self.step(rollout, step);
            wanted.iter().any(|status| found["status"] == *status)
        });
        found
    }

    /// The current state of one step.
    #[track_caller]
    pub(crate) fn step(&self, rollout: &str, step: &str) -> Value {
        self.run(&format!("show {step} {rollout} --json"))
            .exits(0)
            .json()
    }

    /// Processes of nats-server that use this directory.
    pub(crate) fn nats_servers(&self) -> Vec<i32> {
        let here = self.data_dir().display().to_string();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&words).into_owned();
            let is_server = line
                .split('\0')
                .next()
                .is_some_and(|first| first.ends_with("nats-server"));
            if is_server && line.contains(&here) {
                found.push(pid);
            }
        }
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for pid in self.nats_servers() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Waits until a condition holds; fails after a time limit.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + AT_MOST;
    while !holds() {
        assert!(Instant::now() < deadline, "waited {AT_MOST:?} for {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A text without its line breaks and indentation.
fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// A runbook of one environment with these phases, as YAML indented by two.
pub(crate) fn runbook(phases: &str) -> String {
    format!(
        "apiVersion: rollbook/v1\nkind: Runbook\nmetadata: {{name: test, version: \"1.0\", owner: tests}}\n\
         environments: {{local: {{}}}}\nroles: {{crew: [alice, bob, carol]}}\nphases:\n{phases}"
    )
}

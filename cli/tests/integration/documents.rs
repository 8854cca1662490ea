//! Runs the commands of the documents exactly as written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::harness::{Place, Process, workspace};

/// The blocks of a document that are marked `sh run`, concatenated.
fn script(document: &str) -> String {
    let text = fs::read_to_string(workspace().join(document)).unwrap();
    let mut script = String::new();
    let mut inside = false;
    for line in text.lines() {
        match line.trim_end() {
            "```sh run" => inside = true,
            "```" => inside = false,
            line if inside => {
                script.push_str(line);
                script.push('\n');
            }
            _ => {}
        }
    }
    assert!(!inside, "{document}: a block is not closed");
    assert!(
        script.contains("rollbook "),
        "{document}: has no block marked `sh run`"
    );
    script
}

/// Runs a document's blocks in one shell, in a directory with the repository's runbooks.
fn runs(document: &str) {
    let place = Place::new();
    symlink(workspace().join("runbooks"), place.path().join("runbooks")).unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_rollbook")).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = [binaries.to_path_buf()]
        .into_iter()
        .chain(std::env::split_paths(&path));
    let mut shell = Command::new("sh");
    shell
        .args(["-exc", &script(document)])
        .env("PATH", std::env::join_paths(paths).unwrap());
    place.clean(&mut shell);
    let ran = Process::start(&mut shell).finish().exits(0);
    assert!(place.has("report.html"), "{ran:?}");
    assert!(
        place.nats_servers().is_empty(),
        "{document}: leaves a nats-server behind"
    );
}

#[test]
fn the_readme() {
    runs("README.md");
}

#[test]
fn the_operator_guide() {
    runs("docs/operators.md");
}

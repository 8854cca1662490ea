//! Names that refer to something declared elsewhere in the file.

use std::collections::HashSet;

use super::super::calculator::CalculatorSpec;
use super::super::diagnostic::{Code, Path};
use super::super::kind::Referent;
use super::super::model::{Channel, SecretRef, SourceKind, WindowKind};
use super::{Linter, Placed};
use crate::suggestion::suggest;

pub(super) fn check(linter: &mut Linter<'_>) {
    let mut used = Used::default();
    environments(linter);
    for placed in linter.steps() {
        step(linter, &placed, &mut used);
    }
    sections(linter, &mut used);
    credentials(linter);
    unused(linter, &used);
}

#[derive(Default)]
struct Used {
    sources: HashSet<String>,
    flags: HashSet<String>,
    channels: HashSet<String>,
    snapshots: HashSet<String>,
    windows: HashSet<String>,
}

/// The kind of source that a use requires.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Database,
    Http,
    Any,
}

fn unknown(linter: &mut Linter<'_>, path: &Path, what: &str, name: &str, known: &[&str]) {
    linter.error(
        Code::UnknownReference,
        path,
        format!("there is no {what} `{name}`"),
        suggest(name, known),
    );
}

fn environments(linter: &mut Linter<'_>) {
    let runbook = linter.runbook;
    let known: Vec<&str> = runbook.environments.keys().map(String::as_str).collect();
    let root = Path::root();
    if known.is_empty() {
        linter.error(
            Code::Empty,
            &root.key("environments"),
            "there is no environment",
            Some("declare at least one".to_owned()),
        );
    }
    if let Some(environment) = linter.environment
        && !known.contains(&environment)
    {
        unknown(
            linter,
            &root.key("environments"),
            "environment",
            environment,
            &known,
        );
    }
    for (i, window) in runbook.windows.iter().enumerate() {
        for (j, name) in window.environments.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let path = root.key("windows").index(i).key("environments").index(j);
                unknown(linter, &path, "environment", name, &known);
            }
        }
    }
    for (name, source) in &runbook.sources {
        for environment in source.url.keys() {
            if !known.contains(&environment.as_str()) {
                let path = root.key("sources").key(name).key("url").key(environment);
                unknown(linter, &path, "environment", environment, &known);
            }
        }
    }
    for placed in linter.steps() {
        if let Some(name) = &placed.step.environment
            && !known.contains(&name.as_str())
        {
            unknown(
                linter,
                &placed.path.key("environment"),
                "environment",
                name,
                &known,
            );
        }
    }
}

/// Checks a source by name; `environment` is the step's own.
fn source(
    linter: &mut Linter<'_>,
    used: &mut Used,
    (name, path): (&str, &Path),
    wanted: Wanted,
    environment: Option<&str>,
) {
    let runbook = linter.runbook;
    let Some(found) = runbook.sources.get(name) else {
        let known: Vec<&str> = runbook.sources.keys().map(String::as_str).collect();
        unknown(linter, path, "source", name, &known);
        return;
    };
    used.sources.insert(name.to_owned());
    let is_http = found.kind == SourceKind::Http;
    let wrong = match wanted {
        Wanted::Database if is_http => Some("a database is needed, this source is an endpoint"),
        Wanted::Http if !is_http => Some("an endpoint is needed, this source is a database"),
        _ => None,
    };
    if let Some(message) = wrong {
        linter.error(
            Code::UnknownReference,
            path,
            format!("`{name}`: {message}"),
            None,
        );
    }
    let needed: Vec<&str> = match environment.or(linter.environment) {
        Some(one) => vec![one],
        None => runbook.environments.keys().map(String::as_str).collect(),
    };
    let certain = needed.len() == 1;
    for environment in needed {
        if found.url.contains_key(environment) || !runbook.environments.contains_key(environment) {
            continue;
        }
        let message = format!("source `{name}` has no URL for environment `{environment}`");
        let suggestion = Some(format!("add `{environment}` under sources.{name}.url"));
        if certain {
            linter.error(Code::SourceUrl, path, message, suggestion);
        } else {
            linter.warn(Code::SourceUrl, path, message, suggestion);
        }
    }
}

fn step(linter: &mut Linter<'_>, placed: &Placed<'_>, used: &mut Used) {
    let runbook = linter.runbook;
    let (step, path) = (placed.step, &placed.path);
    let environment = step.environment.as_deref();
    if let Some(name) = &step.window {
        let known: Vec<&str> = runbook
            .windows
            .iter()
            .filter(|w| w.kind == WindowKind::Allow)
            .map(|w| w.name.as_str())
            .collect();
        used.windows.insert(name.clone());
        if !known.contains(&name.as_str()) {
            unknown(linter, &path.key("window"), "allow window", name, &known);
        }
    }
    for part in placed.parts() {
        for (path, referent) in part.kind.references(&part.path) {
            resolve(linter, used, (referent, &path), environment);
        }
    }
}

/// Checks what a step refers to; `environment` is the step's own.
fn resolve(
    linter: &mut Linter<'_>,
    used: &mut Used,
    (referent, path): (Referent<'_>, &Path),
    environment: Option<&str>,
) {
    let mut of_type = |name, wanted| source(linter, used, (name, path), wanted, environment);
    match referent {
        Referent::Source(name) => of_type(name, Wanted::Any),
        Referent::Database(name) => of_type(name, Wanted::Database),
        Referent::Endpoint(name) => of_type(name, Wanted::Http),
        Referent::Flag(key) => flag(linter, used, key, path),
        Referent::Role(name) => role(linter, name, path),
        Referent::Channel(name) => channel(linter, used, name, path),
        Referent::Snapshot(name) => snapshot(linter, used, name, path),
        Referent::Capture(name) => {
            snapshot(linter, used, name, path);
            snapshot_sources(linter, used, name, environment);
        }
        Referent::Metric(name) => metric_sources(linter, used, name, environment),
    }
}

fn flag(linter: &mut Linter<'_>, used: &mut Used, key: &str, path: &Path) {
    let known: Vec<&str> = linter.runbook.flags.keys().map(String::as_str).collect();
    used.flags.insert(key.to_owned());
    if !known.contains(&key) {
        unknown(linter, path, "flag", key, &known);
    }
}

pub(super) fn role(linter: &mut Linter<'_>, name: &str, path: &Path) {
    let known: Vec<&str> = linter.runbook.roles.keys().map(String::as_str).collect();
    if !known.contains(&name) {
        unknown(linter, path, "role", name, &known);
    }
}

fn channel(linter: &mut Linter<'_>, used: &mut Used, name: &str, path: &Path) {
    let known: Vec<&str> = linter.runbook.channels.keys().map(String::as_str).collect();
    used.channels.insert(name.to_owned());
    if !known.contains(&name) {
        unknown(linter, path, "channel", name, &known);
    }
}

fn snapshot(linter: &mut Linter<'_>, used: &mut Used, name: &str, path: &Path) {
    let known: Vec<&str> = linter
        .runbook
        .snapshots
        .keys()
        .map(String::as_str)
        .collect();
    used.snapshots.insert(name.to_owned());
    if !known.contains(&name) {
        unknown(linter, path, "snapshot", name, &known);
    }
}

/// Checks the sources of a declared snapshot where it is taken.
fn snapshot_sources(
    linter: &mut Linter<'_>,
    used: &mut Used,
    name: &str,
    environment: Option<&str>,
) {
    let Some(spec) = linter.runbook.snapshots.get(name) else {
        return;
    };
    let at = Path::root().key("snapshots").key(name).key("source");
    source(
        linter,
        used,
        (&spec.source, &at),
        Wanted::Database,
        environment,
    );
    if let Some(CalculatorSpec::Exec(exec)) = &spec.calculator {
        let path = exec_path(name);
        for (variable, name) in &exec.env_sources {
            let at = path.key(variable);
            source(linter, used, (name, &at), Wanted::Any, environment);
        }
    }
}

/// Returns the path of the sources given to a snapshot's program.
fn exec_path(snapshot: &str) -> Path {
    let path = Path::root().key("snapshots").key(snapshot);
    path.key("calculator").key("exec").key("env_sources")
}

fn metric_sources(linter: &mut Linter<'_>, used: &mut Used, name: &str, environment: Option<&str>) {
    let runbook = linter.runbook;
    let Some(metric) = runbook.metrics.get(name) else {
        return; // a threshold without a metric is the measures' finding
    };
    let path = Path::root().key("metrics").key(name);
    if let Some(sql) = &metric.sql {
        let at = path.key("sql").key("source");
        source(
            linter,
            used,
            (&sql.source, &at),
            Wanted::Database,
            environment,
        );
    }
    if let Some(http) = &metric.http {
        let at = path.key("http").key("source");
        source(linter, used, (&http.source, &at), Wanted::Http, environment);
    }
    if let Some(run) = &metric.run {
        for (variable, name) in &run.env_sources {
            let at = path.key("run").key("env_sources").key(variable);
            source(linter, used, (name, &at), Wanted::Any, environment);
        }
    }
}

fn sections(linter: &mut Linter<'_>, used: &mut Used) {
    let runbook = linter.runbook;
    let root = Path::root();
    for (name, spec) in &runbook.snapshots {
        let path = root.key("snapshots").key(name);
        if !runbook.sources.contains_key(&spec.source) {
            let known: Vec<&str> = runbook.sources.keys().map(String::as_str).collect();
            unknown(linter, &path.key("source"), "source", &spec.source, &known);
        }
        used.sources.insert(spec.source.clone());
        if let Some(key) = &spec.awareness_flag {
            flag(linter, used, key, &path.key("awareness_flag"));
        }
        if let Some(CalculatorSpec::Exec(exec)) = &spec.calculator {
            for (variable, source) in &exec.env_sources {
                if !runbook.sources.contains_key(source) {
                    let known: Vec<&str> = runbook.sources.keys().map(String::as_str).collect();
                    let at = exec_path(name).key(variable);
                    unknown(linter, &at, "source", source, &known);
                }
                used.sources.insert(source.clone());
            }
        }
    }
    for (name, metric) in &runbook.metrics {
        let path = root.key("metrics").key(name);
        for (kind, source) in [
            ("sql", metric.sql.as_ref().map(|m| &m.source)),
            ("http", metric.http.as_ref().map(|m| &m.source)),
        ] {
            let Some(source) = source else { continue };
            if runbook.sources.contains_key(source) {
                used.sources.insert(source.clone());
            } else {
                let known: Vec<&str> = runbook.sources.keys().map(String::as_str).collect();
                unknown(
                    linter,
                    &path.key(kind).key("source"),
                    "source",
                    source,
                    &known,
                );
            }
        }
        for (variable, source) in metric.run.iter().flat_map(|run| &run.env_sources) {
            if !runbook.sources.contains_key(source) {
                let known: Vec<&str> = runbook.sources.keys().map(String::as_str).collect();
                let at = path.key("run").key("env_sources").key(variable);
                unknown(linter, &at, "source", source, &known);
            }
            used.sources.insert(source.clone());
        }
    }
    for (i, notice) in runbook.notices.iter().enumerate() {
        let path = root.key("notices").index(i).key("channel");
        channel(linter, used, &notice.channel, &path);
    }
}

/// Reports URLs with passwords, which do not belong in a file that everyone can see.
fn credentials(linter: &mut Linter<'_>) {
    let runbook = linter.runbook;
    let mut found: Vec<Path> = Vec::new();
    for (name, source) in &runbook.sources {
        for (environment, url) in &source.url {
            if let SecretRef::Value(text) = url
                && carries_password(text)
            {
                found.push(
                    Path::root()
                        .key("sources")
                        .key(name)
                        .key("url")
                        .key(environment)
                        .key("value"),
                );
            }
        }
    }
    for (name, channel) in &runbook.channels {
        if let Channel::Webhook(SecretRef::Value(text)) = channel
            && carries_password(text)
        {
            found.push(
                Path::root()
                    .key("channels")
                    .key(name)
                    .key("webhook")
                    .key("value"),
            );
        }
    }
    for path in found {
        linter.error(
            Code::Credential,
            &path,
            "the URL carries a password",
            Some("refer to it: `env: NAME` or `file: PATH`".to_owned()),
        );
    }
}

pub(super) fn carries_password(url: &str) -> bool {
    url.split_once("://")
        .map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(""))
        .and_then(|authority| authority.rsplit_once('@'))
        .is_some_and(|(user, _)| user.contains(':'))
}

fn unused(linter: &mut Linter<'_>, used: &Used) {
    let runbook = linter.runbook;
    let root = Path::root();
    let mut found: Vec<(&str, &str, Path)> = Vec::new();
    for name in runbook
        .sources
        .keys()
        .filter(|n| !used.sources.contains(*n))
    {
        found.push(("source", name, root.key("sources").key(name)));
    }
    for name in runbook.flags.keys().filter(|n| !used.flags.contains(*n)) {
        found.push(("flag", name, root.key("flags").key(name)));
    }
    for name in runbook
        .channels
        .keys()
        .filter(|n| !used.channels.contains(*n))
    {
        found.push(("channel", name, root.key("channels").key(name)));
    }
    for name in runbook
        .snapshots
        .keys()
        .filter(|n| !used.snapshots.contains(*n))
    {
        found.push(("snapshot", name, root.key("snapshots").key(name)));
    }
    for (i, window) in runbook.windows.iter().enumerate() {
        if window.named_only && !used.windows.contains(&window.name) {
            found.push(("window", &window.name, root.key("windows").index(i)));
        }
    }
    for (what, name, path) in found {
        linter.warn(
            Code::Unused,
            &path,
            format!("the {what} `{name}` is not used"),
            None,
        );
    }
}

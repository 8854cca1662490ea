//! Configuration: flags override `ROLLBOOK_*`, which override `rollbook.toml`, which overrides
//! defaults. Parsed raw first, then converted once; every value remembers where it came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rollbook_ledger::{person, redacted};
use serde::Deserialize;

use crate::args::EVERYWHERE;
use crate::exit::{Exit, Failure};

/// The default address of the HTTP API.
pub(crate) const DEFAULT_LISTEN: &str = "127.0.0.1:7400";
/// The file looked for in the working directory.
const FILE_NAME: &str = "rollbook.toml";

/// `rollbook.toml` as written. Unknown keys are errors.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileConfig {
    server: Option<String>,
    data_dir: Option<String>,
    #[serde(rename = "as")]
    actor: Option<String>,
    ledger: Option<String>,
    listen: Option<String>,
    nats: Option<String>,
    nats_system: Option<String>,
    nats_server: Option<String>,
    database: Option<String>,
    objects: Option<String>,
}

/// The options from the command line.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ConfigArgs {
    /// URL of the server to talk to [default: the one `rollbook up` runs in the data directory]
    #[arg(
        long,
        global = true,
        help_heading = EVERYWHERE,
        value_name = "URL",
        env = "ROLLBOOK_SERVER",
        hide_env_values = true
    )]
    pub(crate) server: Option<String>,
    /// Directory of the embedded ledger [default: .rollbook]
    #[arg(
        long,
        global = true,
        help_heading = EVERYWHERE,
        value_name = "DIR",
        env = "ROLLBOOK_DATA_DIR"
    )]
    pub(crate) data_dir: Option<String>,
    /// Who acts; recorded with every command
    #[arg(long = "as", global = true, value_name = "PERSON", env = "ROLLBOOK_AS")]
    pub(crate) actor: Option<String>,
    /// Configuration file [default: rollbook.toml when it exists]
    #[arg(
        long,
        global = true,
        help_heading = EVERYWHERE,
        value_name = "FILE",
        env = "ROLLBOOK_CONFIG"
    )]
    pub(crate) config: Option<PathBuf>,
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Value {
    /// The effective value, with credentials; `shown` has them redacted.
    #[serde(skip)]
    value: String,
    /// For display: credentials in URLs replaced.
    #[serde(rename = "value")]
    shown: String,
    /// `flag or ROLLBOOK_X`, `rollbook.toml`, `default`.
    from: String,
}

/// The effective configuration.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    values: BTreeMap<&'static str, Value>,
}

impl Config {
    /// Reads environment and file in addition to the command-line options.
    pub(crate) fn load(args: &ConfigArgs) -> Result<Self, Failure> {
        let (file, file_name) = read_file(args.config.as_deref())?;
        let mut values = BTreeMap::new();
        let mut set = |key: &'static str,
                       flag: Option<&String>,
                       env: &str,
                       file_value: Option<String>,
                       default: Option<&str>| {
            let found = flag
                .cloned()
                .map(|value| {
                    (
                        value,
                        format!(
                            "--{} or {env}",
                            if key == "as" { "as" } else { key }.replace('_', "-")
                        ),
                    )
                })
                .or_else(|| std::env::var(env).ok().map(|value| (value, env.to_owned())))
                .or_else(|| file_value.map(|value| (value, file_name.clone())))
                .or_else(|| default.map(|value| (value.to_owned(), "default".to_owned())));
            if let Some((value, from)) = found {
                let shown = shown(key, &value);
                values.insert(key, Value { value, shown, from });
            }
        };
        set(
            "server",
            args.server.as_ref(),
            "ROLLBOOK_SERVER",
            file.server,
            None,
        );
        set(
            "data_dir",
            args.data_dir.as_ref(),
            "ROLLBOOK_DATA_DIR",
            file.data_dir,
            Some(".rollbook"),
        );
        set("as", args.actor.as_ref(), "ROLLBOOK_AS", file.actor, None);
        set("ledger", None, "ROLLBOOK_LEDGER", file.ledger, Some("main"));
        set(
            "listen",
            None,
            "ROLLBOOK_LISTEN",
            file.listen,
            Some(DEFAULT_LISTEN),
        );
        set("nats", None, "ROLLBOOK_NATS", file.nats, None);
        set(
            "nats_system",
            None,
            "ROLLBOOK_NATS_SYSTEM",
            file.nats_system,
            None,
        );
        set(
            "nats_server",
            None,
            "ROLLBOOK_NATS_SERVER",
            file.nats_server,
            None,
        );
        set("database", None, "ROLLBOOK_DATABASE", file.database, None);
        set("objects", None, "ROLLBOOK_OBJECTS", file.objects, None);
        Ok(Self { values })
    }

    /// Overrides one value with a flag of the command itself.
    pub(crate) fn with_flag(mut self, key: &'static str, flag: Option<&String>) -> Self {
        if let Some(value) = flag {
            let from = format!("--{}", key.replace('_', "-"));
            self.values.insert(
                key,
                Value {
                    value: value.clone(),
                    shown: shown(key, value),
                    from,
                },
            );
        }
        self
    }

    /// An effective value.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|value| value.value.as_str())
    }

    /// Every effective value, including credentials: never display these.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.values.values().map(|value| value.value.as_str())
    }

    /// The embedded ledger's directory.
    pub(crate) fn data_dir(&self) -> PathBuf {
        PathBuf::from(self.get("data_dir").unwrap_or(".rollbook"))
    }

    /// The acting person, in the normal form of the name.
    pub(crate) fn actor(&self) -> Result<String, Failure> {
        let name = self.get("as").ok_or_else(|| {
            Failure::own(
                Exit::Usage,
                "RB-CLI-1",
                "who acts? Name the person with --as NAME, ROLLBOOK_AS or `as` in rollbook.toml",
            )
        })?;
        person::name(name).map_err(Failure::usage)
    }

    /// Who acts, if a person is named; a name that is none is an error.
    pub(crate) fn actor_if_named(&self) -> Result<Option<String>, Failure> {
        match self.get("as") {
            Some(_) => self.actor().map(Some),
            None => Ok(None),
        }
    }

    /// The server's URL: as configured, otherwise that of the `rollbook up` in the data directory.
    pub(crate) fn server(&self) -> String {
        if let Some(server) = self.get("server") {
            return server.trim_end_matches('/').to_owned();
        }
        let endpoint = self.data_dir().join(ENDPOINT_FILE);
        std::fs::read_to_string(endpoint)
            .map(|text| text.trim().to_owned())
            .unwrap_or_else(|_| format!("http://{DEFAULT_LISTEN}"))
    }

    /// Everything, for `rollbook config`.
    pub(crate) fn values(&self) -> &BTreeMap<&'static str, Value> {
        &self.values
    }
}

impl Value {
    /// The value for display.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Where it came from.
    pub(crate) fn from(&self) -> &str {
        &self.from
    }
}

/// Written by `rollbook up` into its data directory: the URL it listens on.
pub(crate) const ENDPOINT_FILE: &str = "endpoint";

fn read_file(named: Option<&Path>) -> Result<(FileConfig, String), Failure> {
    let path = named.unwrap_or(Path::new(FILE_NAME));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok((FileConfig::default(), FILE_NAME.to_owned()));
        }
        Err(error) => {
            return Err(Failure::own(
                Exit::Usage,
                "RB-CLI-2",
                format!("{}: cannot be read: {error}", path.display()),
            ));
        }
    };
    let file = toml::from_str(&text).map_err(|error| {
        Failure::own(
            Exit::Usage,
            "RB-CLI-3",
            format!("{}: {error}", path.display()),
        )
    })?;
    Ok((file, path.display().to_string()))
}

/// A value as `rollbook config` shows it, without credentials.
fn shown(key: &str, value: &str) -> String {
    match key {
        "nats" | "nats_system" => redacted::nats_addresses(value),
        _ => redacted::url(value),
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_password_never_shows() {
        for (key, value, seen) in [
            ("database", "postgres://u:p@h:5/db", "postgres://***@h:5/db"),
            (
                "nats",
                "nats://u:p@a,nats://t0ken@b",
                "nats://***@a,nats://***@b",
            ),
            (
                "nats_system",
                "nats://sys:p@a:4222,t0ken@b",
                "nats://***@a:4222,***@b",
            ),
            (
                "database",
                "postgres://h/db?user=u&password=p&sslmode=require",
                "postgres://h/db?user=***&password=***&sslmode=require",
            ),
            ("data_dir", "/tmp/x@y", "/tmp/x@y"),
        ] {
            assert_eq!(shown(key, value), seen);
        }
    }
}

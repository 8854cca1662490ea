//! Resolves what a plan only refers to: source URLs, channel addresses and secrets.

use std::collections::BTreeSet;

use rollbook_ledger::runbook::model::{Channel, SecretRef, Source, SourceKind};
use rollbook_ledger::runbook::{EnvValue, Runbook};
use url::Url;

use super::error::ExecutorError;
use super::own_secrets;
use super::redact::Redactor;

/// The port that supplies secret values at execution time.
pub trait SecretResolver: Send + Sync + std::fmt::Debug {
    /// Resolves a reference. The error names the reference, never a value.
    fn resolve(&self, reference: &SecretRef) -> Result<String, ExecutorError>;

    /// Credentials of this process that no plan refers to; they must not be shown either.
    fn own(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }
}

/// Resolves secrets from the worker's own environment variables and files.
#[derive(Clone, Default)]
pub struct ProcessSecrets {
    own: BTreeSet<String>,
}

impl std::fmt::Debug for ProcessSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProcessSecrets({} of its own)", self.own.len())
    }
}

impl ProcessSecrets {
    /// Makes a resolver that knows the credentials in this process's variables and in its settings.
    pub fn new<'a>(settings: impl IntoIterator<Item = &'a str>) -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let mut own = own_secrets::of_variables(variables);
        own.extend(settings.into_iter().flat_map(own_secrets::of_setting));
        Self { own }
    }

    /// Adds another credential of this process.
    #[must_use]
    pub fn and(mut self, secret: String) -> Self {
        self.own.insert(secret);
        self
    }
}

/// A variable that a plan passes on from the worker is redacted if it has at least this many bytes.
const MIN_VARIABLE_BYTES: usize = 4;

/// The largest secret file that is accepted, in bytes.
const MAX_SECRET_FILE_BYTES: u64 = 64 * 1024;

impl SecretResolver for ProcessSecrets {
    fn resolve(&self, reference: &SecretRef) -> Result<String, ExecutorError> {
        let failed = |reason: String| ExecutorError::Secret {
            reference: describe(reference),
            reason,
        };
        match reference {
            SecretRef::Value(text) => Ok(text.clone()),
            SecretRef::Env(name) => std::env::var(name).map_err(|error| match error {
                std::env::VarError::NotPresent => {
                    failed("it is not set; set it where the worker runs".to_owned())
                }
                std::env::VarError::NotUnicode(_) => failed("it is not UTF-8 text".to_owned()),
            }),
            SecretRef::File(path) => {
                let size = std::fs::metadata(path)
                    .map_err(|error| failed(error.to_string()))?
                    .len();
                if size > MAX_SECRET_FILE_BYTES {
                    return Err(failed(format!(
                        "it has {size} bytes, a secret has at most {MAX_SECRET_FILE_BYTES}"
                    )));
                }
                let text =
                    std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            }
        }
    }

    fn own(&self) -> BTreeSet<String> {
        self.own.clone()
    }
}

/// A reference in readable form. Shows no value except that of a [`SecretRef::Value`], without its
/// password.
pub fn describe(reference: &SecretRef) -> String {
    match reference {
        SecretRef::Env(name) => format!("environment variable {name}"),
        SecretRef::File(path) => format!("file {path}"),
        SecretRef::Value(text) => without_password(text),
    }
}

/// The URL with its password masked; a text that is not a URL is unchanged.
pub fn without_password(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) if url.password().is_some() => {
            if url.set_password(Some("***")).is_err() {
                return "a URL with a password".to_owned();
            }
            url.to_string()
        }
        _ => text.to_owned(),
    }
}

/// The parts of a resolved value that must never be shown. A plain value is not a secret, but a
/// password in it is.
fn secret_parts(reference: &SecretRef, value: &str) -> Vec<String> {
    let mut parts = Vec::new();
    if !matches!(reference, SecretRef::Value(_)) {
        parts.push(value.to_owned());
    }
    if let Ok(url) = Url::parse(value) {
        parts.extend(own_secrets::of_url(&url));
    }
    parts
}

/// Makes a redactor for every secret that the plan refers to in any environment, as far as this
/// worker can resolve it, and for the worker's own credentials: a command could print any of them.
pub fn redactor_for(
    plan: &Runbook,
    secrets: &dyn SecretResolver,
) -> Result<Redactor, ExecutorError> {
    let sources = plan.sources.values().flat_map(|source| source.url.values());
    let channels = plan.channels.values().filter_map(|channel| match channel {
        Channel::Webhook(reference) => Some(reference),
        Channel::File(_) => None,
    });
    let mut values = secrets.own();
    for reference in sources.chain(channels) {
        if let Ok(value) = secrets.resolve(reference) {
            values.extend(secret_parts(reference, &value));
        }
    }
    let variables = plan.environments_of_programs();
    for value in variables.into_iter().flat_map(|env| env.values()) {
        if let EnvValue::Reference(reference) = value
            && let Ok(value) = secrets.resolve(reference)
            // Short values such as `1` or `on` are not redacted.
            && value.len() >= MIN_VARIABLE_BYTES
        {
            values.extend(secret_parts(reference, &value));
        }
    }
    Redactor::new(&values).map_err(|error| ExecutorError::Plan {
        reason: error.to_string(),
    })
}

/// A source of the plan, with its URL for one environment.
#[derive(Clone)]
pub struct ResolvedSource {
    /// Its name in the plan.
    pub name: String,
    /// The kind of source.
    pub kind: SourceKind,
    /// The URL with credentials; it must never be shown.
    pub url: String,
}

impl std::fmt::Debug for ResolvedSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "source `{}` ({:?})", self.name, self.kind)
    }
}

/// Finds a source and resolves its URL for an environment.
pub fn resolve_source(
    plan: &Runbook,
    name: &str,
    environment: &str,
    secrets: &dyn SecretResolver,
) -> Result<ResolvedSource, ExecutorError> {
    let (source, reference) = source_reference(plan, name, environment)?;
    Ok(ResolvedSource {
        name: name.to_owned(),
        kind: source.kind,
        url: secrets.resolve(reference)?,
    })
}

/// The reference of a source's URL for an environment.
pub fn source_reference<'a>(
    plan: &'a Runbook,
    name: &str,
    environment: &str,
) -> Result<(&'a Source, &'a SecretRef), ExecutorError> {
    let source = plan.sources.get(name).ok_or_else(|| ExecutorError::Plan {
        reason: format!("source `{name}` is not declared; add it to `sources`"),
    })?;
    let reference = source.url.get(environment).ok_or_else(|| ExecutorError::Plan {
        reason: format!(
            "source `{name}` has no URL for environment `{environment}`; add `sources.{name}.url.{environment}`"
        ),
    })?;
    Ok((source, reference))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_whole_secret_values_are_secret_parts() {
        let env = SecretRef::Env("X".to_owned());
        let parts = secret_parts(&env, "postgres://u:p%40ss@host/db?sslpassword=hide");
        for expected in ["p%40ss", "p@ss", "hide"] {
            assert!(parts.iter().any(|p| p == expected), "{expected}: {parts:?}");
        }
        assert_eq!(
            parts.first().map(String::as_str),
            Some("postgres://u:p%40ss@host/db?sslpassword=hide")
        );
        let value = SecretRef::Value("sqlite:deals.db".to_owned());
        assert!(secret_parts(&value, "sqlite:deals.db").is_empty());
    }

    #[test]
    fn descriptions_hide_passwords() {
        let shown = describe(&SecretRef::Value("postgres://u:hidden@h/db".to_owned()));
        assert!(!shown.contains("hidden"), "{shown}");
        assert_eq!(
            describe(&SecretRef::Env("DB".to_owned())),
            "environment variable DB"
        );
    }

    #[test]
    fn a_missing_variable_or_file_is_named() {
        let missing = ProcessSecrets::default()
            .resolve(&SecretRef::Env("ROLLBOOK_TEST_SURELY_NOT_SET".to_owned()))
            .unwrap_err();
        assert!(missing.to_string().contains("ROLLBOOK_TEST_SURELY_NOT_SET"));
        let missing = ProcessSecrets::default()
            .resolve(&SecretRef::File("/nonexistent/secret".to_owned()))
            .unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/secret"));
    }
}

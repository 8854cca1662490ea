//! The log on standard error, with the credentials of this process redacted.

use std::io::{self, IsTerminal, Write};

use rollbook_workers::executor::{ProcessSecrets, RedactError, Redactor, SecretResolver};
use tracing_subscriber::fmt::MakeWriter;

/// Starts logging at the level that `ROLLBOOK_LOG` selects.
pub(crate) fn init() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("ROLLBOOK_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Redacted::default())
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .init();
}

/// Created with the first line, because most commands log nothing.
#[derive(Default)]
struct Redacted(std::sync::OnceLock<Result<Redactor, RedactError>>);

struct Line<'a>(&'a Result<Redactor, RedactError>);

impl<'a> MakeWriter<'a> for Redacted {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(
            self.0
                .get_or_init(|| Redactor::new(ProcessSecrets::new([]).own())),
        )
    }
}

impl Write for Line<'_> {
    /// Receives one whole event at a time from the subscriber.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let mut out = io::stderr().lock();
        match self.0 {
            Ok(redactor) => out.write_all(&redactor.bytes(event))?,
            // Never writes anything unredacted.
            Err(error) => writeln!(out, "{error}")?,
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

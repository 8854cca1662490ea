//! The log, on standard error, without the credentials of this process.

use std::io::{self, IsTerminal, Write};

use rollbook_workers::executor::{ProcessSecrets, RedactError, Redactor, SecretResolver};
use tracing_subscriber::fmt::MakeWriter;

/// Begins to log what `ROLLBOOK_LOG` asks for.
pub(crate) fn init() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("ROLLBOOK_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Redacted::default())
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .init();
}

/// Made with the first line: most commands log nothing.
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
    /// A whole event at a time, as the subscriber writes it.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let mut out = io::stderr().lock();
        match self.0 {
            Ok(redactor) => out.write_all(&redactor.bytes(event))?,
            // Nothing unredacted leaves.
            Err(error) => writeln!(out, "{error}")?,
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

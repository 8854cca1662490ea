//! The log on standard error, with the credentials of this process redacted: lines of text, or JSON
//! with the ids of the trace.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use jiff::Timestamp;
use opentelemetry::trace::TraceContextExt;
use rollbook_workers::executor::{ProcessSecrets, RedactError, Redactor, SecretResolver};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::telemetry::Traces;

/// The filter of a command without `ROLLBOOK_LOG`. Traces that do not arrive concern a long-running
/// process, not a command.
const COMMAND_LOG: &str = "warn,opentelemetry-otlp=off,opentelemetry_sdk=off";
const PROCESS_LOG: &str = "warn";

/// Starts logging at the level that `ROLLBOOK_LOG` selects, in the format that `ROLLBOOK_LOG_FORMAT`
/// selects (`text` or `json`), and tracing.
pub(crate) fn init(traces: Option<&Traces>, stays: bool) {
    let default = if stays { PROCESS_LOG } else { COMMAND_LOG };
    let filter =
        EnvFilter::try_from_env("ROLLBOOK_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let format = std::env::var("ROLLBOOK_LOG_FORMAT").unwrap_or_default();
    let lines = tracing_subscriber::fmt::layer().with_writer(Redacted::default());
    let lines = if format == "json" {
        lines.event_format(JsonLine).with_ansi(false).boxed()
    } else {
        let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        lines.with_ansi(colours).boxed()
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(traces.map(Traces::layer))
        .init();
    if !["", "text", "json"].contains(&format.as_str()) {
        tracing::warn!("ROLLBOOK_LOG_FORMAT is neither `text` nor `json`; the log is text");
    }
}

/// One JSON object a line: `timestamp`, `level`, `target`, `message`, the event's fields, and where
/// it belongs to a trace `trace_id` and `span_id`.
struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Map::new();
        event.record(&mut Fields(&mut line));
        let metadata = event.metadata();
        // Not that of the context, which hides the spans that the log's filter leaves out.
        let context = Span::current().context();
        let span = context.span();
        let span = span.span_context();
        if span.is_valid() {
            line.insert("trace_id".to_owned(), span.trace_id().to_string().into());
            line.insert("span_id".to_owned(), span.span_id().to_string().into());
        }
        line.insert("timestamp".to_owned(), Timestamp::now().to_string().into());
        line.insert("level".to_owned(), metadata.level().as_str().into());
        line.insert("target".to_owned(), metadata.target().into());
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// The fields of an event as members of an object.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0
            .insert(field.name().to_owned(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
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

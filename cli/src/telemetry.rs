//! Traces over OTLP, set up by the standard `OTEL_*` variables; without them nothing is traced.
//!
//! A collector that is slow or gone delays and stops nothing: spans wait in a bounded queue, are sent
//! by a thread of their own, and are dropped when the queue is full. They hold ids, verdicts and
//! states, never texts of people or programs.

use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use rollbook_ledger::error_code::Coded;
use rollbook_ledger::trace::is_traceparent;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::registry::LookupSpan;

/// The last spans are sent for this long when the process ends.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// Either of them asks for traces.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// The first that is set says how traces are sent.
const PROTOCOLS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
];

/// Why nothing is traced though it is asked for. The program runs without.
#[derive(Debug, thiserror::Error, Coded)]
pub(crate) enum TelemetryError {
    /// Only OTLP is spoken.
    #[error(
        "RB-TELEMETRY-1: OTEL_TRACES_EXPORTER is `{0}`; write `otlp` or `none`, or leave it out"
    )]
    Exporter(String),
    /// Only these protocols are spoken.
    #[error("RB-TELEMETRY-3: {name} is `{value}`; write `http/protobuf` or `grpc`")]
    Protocol {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// The other variables contradict themselves.
    #[error(
        "RB-TELEMETRY-2: traces cannot be sent: {0}; correct the OTEL_EXPORTER_OTLP_… variables"
    )]
    Build(#[from] ExporterBuildError),
}

/// Sends the spans of this process until it is ended.
#[derive(Debug)]
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// Begins to send the spans of `service`; `None`: nobody asked for it. Needs a Tokio runtime for
    /// gRPC, and the process's TLS provider.
    pub(crate) fn start(service: &'static str) -> Result<Option<Self>, TelemetryError> {
        if !is_wanted(&variable)? {
            return Ok(None);
        }
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        // The name that the variables give, if any, comes before ours.
        let is_named = variable("OTEL_SERVICE_NAME").is_some()
            || variable("OTEL_RESOURCE_ATTRIBUTES")
                .is_some_and(|attributes| attributes.contains("service.name="));
        let mut resource = Resource::builder();
        if !is_named {
            resource = resource.with_service_name(service);
        }
        let exporter = SpanExporter::builder().build()?;
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_batch_exporter(exporter)
            .build();
        Ok(Some(Self(provider)))
    }

    /// Takes the spans of our own crates. Events are for the log, which is redacted.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("rollbook"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(FilterFn::new(is_ours))
    }

    /// Sends what is left, for at most a second.
    pub(crate) fn end(self) {
        // What could not be sent is lost; the ledger holds what happened.
        let _ = self.0.shutdown_with_timeout(FLUSH_WITHIN);
    }
}

/// The trace context that this process was started with, as `TRACEPARENT`; empty: none.
pub(crate) fn inherited() -> String {
    variable("TRACEPARENT")
        .filter(|text| is_traceparent(text))
        .unwrap_or_default()
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with("rollbook")
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether the variables ask for traces.
fn is_wanted(variable: &impl Fn(&str) -> Option<String>) -> Result<bool, TelemetryError> {
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(false);
    }
    let wanted = match variable("OTEL_TRACES_EXPORTER").as_deref() {
        Some("otlp") => true,
        Some("none") => false,
        Some(other) => return Err(TelemetryError::Exporter(other.to_owned())),
        None => ENDPOINTS.iter().any(|name| variable(name).is_some()),
    };
    let protocol = PROTOCOLS
        .into_iter()
        .find_map(|name| Some((name, variable(name)?)));
    match protocol {
        Some((name, value)) if wanted && !["http/protobuf", "grpc"].contains(&value.as_str()) => {
            Err(TelemetryError::Protocol { name, value })
        }
        _ => Ok(wanted),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_sent_where_the_standard_variables_ask_for_them() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        for (variables, wanted) in [
            (vec![], Some(false)),
            (vec![endpoint], Some(true)),
            (
                vec![("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/v1/traces")],
                Some(true),
            ),
            (vec![("OTEL_TRACES_EXPORTER", "otlp")], Some(true)),
            (
                vec![endpoint, ("OTEL_TRACES_EXPORTER", "none")],
                Some(false),
            ),
            (vec![endpoint, ("OTEL_SDK_DISABLED", "TRUE")], Some(false)),
            (vec![endpoint, ("OTEL_TRACES_EXPORTER", "zipkin")], None),
            (
                vec![endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")],
                None,
            ),
        ] {
            let variable = |name: &str| {
                let found = variables.iter().find(|(given, _)| *given == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(is_wanted(&variable).ok(), wanted, "{variables:?}");
        }
    }
}

//! W3C trace context across process boundaries: HTTP headers, commits and tasks carry it as
//! `traceparent`. Without an exporter spans are disabled and cost nothing, and an incoming context
//! is passed on unchanged.

use std::collections::HashMap;

use opentelemetry::global::get_text_map_propagator;
use serde::{Deserialize, Serialize};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Name of the HTTP header, message header and field that carry a trace context.
pub const TRACEPARENT: &str = "traceparent";

/// What caused a commit or a task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Id of the commit that caused it, or empty.
    #[serde(default)]
    pub causation_id: String,
    /// Trace context of the cause, or empty.
    #[serde(default)]
    pub traceparent: String,
}

/// True if a text is a W3C trace context of version 00: 2, 32, 16 and 2 lower-case hexadecimal
/// digits, neither id all zeros.
pub fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags] = parts.as_slice() else {
        return false;
    };
    let is_hex = |part: &str, digits: usize| {
        part.len() == digits
            && part
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_id = |part: &str, digits| is_hex(part, digits) && part.bytes().any(|b| b != b'0');
    *version == "00" && is_id(trace, 32) && is_id(span, 16) && is_hex(flags, 2)
}

/// Makes `span`, which must not have been entered yet, a child of the span in a trace context.
/// Without a valid context the span starts a new trace.
pub fn continue_from(span: &Span, traceparent: &str) {
    if span.is_disabled() || traceparent.is_empty() {
        return;
    }
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let parent = get_text_map_propagator(|propagator| propagator.extract(&carrier));
    // Fails only if tracing is disabled.
    let _ = span.set_parent(parent);
}

/// Returns the trace context of `span`, or the received one if the span is disabled.
pub fn context_of(span: &Span, received: &str) -> String {
    if span.is_disabled() {
        return received.to_owned();
    }
    let mut carrier: HashMap<String, String> = HashMap::new();
    let context = span.context();
    get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut carrier));
    carrier
        .remove(TRACEPARENT)
        .unwrap_or_else(|| received.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_context_has_the_form_of_version_00() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_traceparent(good));
        for bad in [
            "",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-\r\nX: y",
        ] {
            assert!(!is_traceparent(bad), "{bad:?}");
        }
    }

    #[test]
    fn without_an_exporter_a_context_is_passed_on_as_it_came() {
        let span = tracing::info_span!("untraced");
        continue_from(
            &span,
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        );
        assert_eq!(context_of(&span, "as it came"), "as it came");
    }
}

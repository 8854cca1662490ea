//! A collector of traces in this process: it takes OTLP over HTTP and gRPC, as others do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// A span as it arrived. Ids are hexadecimal; `parent` is empty for the first of a trace.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) attributes: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default)]
struct Spans(Arc<Mutex<Vec<Seen>>>);

impl Spans {
    fn take(&self, request: ExportTraceServiceRequest) {
        let mut spans = self.0.lock().unwrap();
        for resource in request.resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let service = texts(attributes).remove("service.name").unwrap_or_default();
            for span in resource.scope_spans.into_iter().flat_map(|it| it.spans) {
                spans.push(Seen {
                    service: service.clone(),
                    name: span.name,
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    attributes: texts(span.attributes),
                });
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(
    attributes: Vec<opentelemetry_proto::tonic::common::v1::KeyValue>,
) -> BTreeMap<String, String> {
    let text = |value: Option<Value>| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes
        .into_iter()
        .map(|it| (it.key, text(it.value.and_then(|value| value.value))))
        .collect()
}

#[tonic::async_trait]
impl TraceService for Spans {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.take(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A running collector; it ends with the test's process.
#[derive(Debug)]
pub(crate) struct Collector {
    spans: Spans,
    http: SocketAddr,
    grpc: SocketAddr,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let spans = Spans::default();
        let serving = spans.clone();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let grpc = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let addresses = (http.local_addr().unwrap(), grpc.local_addr().unwrap());
                tell.send(addresses).unwrap();
                let spans = serving.clone();
                let take = move |body: Bytes| async move {
                    spans.take(ExportTraceServiceRequest::decode(body).unwrap());
                };
                let router = Router::new().route("/v1/traces", post(take));
                let service = TraceServiceServer::new(serving);
                let rpc = tonic::transport::Server::builder().add_service(service);
                let rpc = rpc.serve_with_incoming(TcpIncoming::from(grpc));
                let (served, called) = tokio::join!(axum::serve(http, router), rpc);
                served.unwrap();
                called.unwrap();
            });
        });
        let (http, grpc) = told.recv().unwrap();
        Self { spans, http, grpc }
    }

    /// The variables that send traces here by a protocol.
    pub(crate) fn variables(&self, protocol: &str) -> Vec<(&'static str, String)> {
        let address = if protocol == "grpc" {
            self.grpc
        } else {
            self.http
        };
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
        ]
    }

    /// What has arrived.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.spans.0.lock().unwrap().clone()
    }
}

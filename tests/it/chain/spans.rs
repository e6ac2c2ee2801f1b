//! The spans that Envoy's own tracer exports, received over OTLP: what it says of who called whom.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use chain::parts::GATEWAY;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tokio::runtime::Runtime;
use tonic_prost::ProstCodec;

use super::apps::serve;
use super::mesh::{A, B, Place};
use super::truth::Hop;

/// Where the trace service stands in gRPC.
const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// One span as Envoy exported it.
#[derive(Debug, Clone)]
pub(crate) struct Exported {
    pub(crate) trace_id: String,
    pub(crate) parent: String,
    /// The hop that it stands for; none for the span of one try, which the gateway opens under its own.
    pub(crate) hop: Option<Hop>,
}

type Shared = Arc<Mutex<HashMap<String, Exported>>>;

/// A receiver of traces.
pub(crate) struct Tracer {
    pub(crate) address: SocketAddr,
    spans: Shared,
}

impl Tracer {
    /// Listens when this returns.
    pub(crate) fn start(runtime: &Runtime) -> Self {
        let spans = Shared::default();
        let router = Router::new().route(PATH, post(export)).with_state(Arc::clone(&spans));
        Self { address: serve(runtime, router), spans }
    }

    /// Spans that stand for a hop, of those received so far.
    pub(crate) fn hops(&self) -> usize {
        self.spans.lock().unwrap().values().filter(|span| span.hop.is_some()).count()
    }

    /// The span that stands for a hop.
    pub(crate) fn of(&self, hop: &Hop) -> Option<(String, Exported)> {
        let spans = self.spans.lock().unwrap();
        let found = spans.iter().find(|(_, span)| span.hop.as_ref() == Some(hop));
        found.map(|(id, span)| (id.clone(), span.clone()))
    }

    /// The hop whose span lies above this one, with the spans of single tries counted to the hop that made them; else
    /// the id of a span that Envoy did not export, which is who called the mesh; empty where there is none.
    pub(crate) fn above(&self, span: &Exported) -> Result<Hop, String> {
        let spans = self.spans.lock().unwrap();
        let mut parent = &span.parent;
        loop {
            match spans.get(parent) {
                Some(Exported { hop: Some(hop), .. }) => return Ok(hop.clone()),
                Some(attempt) => parent = &attempt.parent,
                None => return Err(parent.clone()),
            }
        }
    }
}

async fn export(State(spans): State<Shared>, request: Request) -> Response {
    let codec = ProstCodec::<ExportTraceServiceResponse, ExportTraceServiceRequest>::default();
    let service = tower::service_fn(move |request: tonic::Request<ExportTraceServiceRequest>| {
        keep(&mut spans.lock().unwrap(), request.into_inner());
        async { Ok::<_, tonic::Status>(tonic::Response::new(ExportTraceServiceResponse::default())) }
    });
    tonic::server::Grpc::new(codec).unary(service, request).await.map(Body::new)
}

fn keep(spans: &mut HashMap<String, Exported>, request: ExportTraceServiceRequest) {
    for resource in request.resource_spans {
        let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
        let service = text(&attributes, "service.name");
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let call = text(&span.attributes, "call");
            let place = match (service.as_str(), span.kind()) {
                (name, SpanKind::Server) if name == GATEWAY.traced_as() => Some(Place::Gateway),
                (name, SpanKind::Server) if name == A.traced_as() => Some(Place::InboundA),
                (name, SpanKind::Client) if name == A.traced_as() => Some(Place::OutboundA),
                (name, SpanKind::Server) if name == B.traced_as() => Some(Place::InboundB),
                (name, SpanKind::Client) if name == GATEWAY.traced_as() => None,
                other => panic!("a span of nobody in this chain: {other:?} {}", span.name),
            };
            let attempt = text(&span.attributes, "attempt").parse().unwrap_or(0);
            let exported = Exported {
                trace_id: hex(&span.trace_id),
                parent: hex(&span.parent_span_id),
                hop: place.map(|place| Hop::new(place, &call, attempt)),
            };
            spans.insert(hex(&span.span_id), exported);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(AnyValue::StringValue(text)) => text.clone(),
        _ => String::new(),
    }
}

//! The messages of OpenTelemetry's protocol (OTLP 1) that spans are sent in, with its names and numbers, and how a [`Span`] becomes them.
//!
//! They are written down here, as far as they are used, and encoded by prost: OpenTelemetry's own crate would bring a gRPC stack with it.

use flott_cluster::traces::{AttributeValue, Span as JobSpan};
use prost::{Message, Oneof};
use std::collections::BTreeMap;

/// What one request holds.
#[derive(Clone, PartialEq, Message)]
pub struct ExportTraceServiceRequest {
    /// One for this process.
    #[prost(message, repeated, tag = "1")]
    pub resource_spans: Vec<ResourceSpans>,
}

/// Spans of a process.
#[derive(Clone, PartialEq, Message)]
pub struct ResourceSpans {
    /// The process.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// Its spans.
    #[prost(message, repeated, tag = "2")]
    pub scope_spans: Vec<ScopeSpans>,
}

/// A process.
#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    /// What is known of it.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

/// Spans of a scope.
#[derive(Clone, PartialEq, Message)]
pub struct ScopeSpans {
    /// The scope.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<InstrumentationScope>,
    /// Its spans.
    #[prost(message, repeated, tag = "2")]
    pub spans: Vec<Span>,
}

/// What tells spans.
#[derive(Clone, PartialEq, Message)]
pub struct InstrumentationScope {
    /// Flink's name of a class.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// One span.
#[derive(Clone, PartialEq, Message)]
pub struct Span {
    /// 16 random bytes, the same for all spans below one.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    /// 8 random bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    /// That of the span above; empty if there is none.
    #[prost(bytes = "vec", tag = "4")]
    pub parent_span_id: Vec<u8>,
    /// What it is.
    #[prost(string, tag = "5")]
    pub name: String,
    /// [`INTERNAL`]
    #[prost(int32, tag = "6")]
    pub kind: i32,
    /// When it began, in nanoseconds since the epoch.
    #[prost(fixed64, tag = "7")]
    pub start_time_unix_nano: u64,
    /// When it ended, in nanoseconds since the epoch.
    #[prost(fixed64, tag = "8")]
    pub end_time_unix_nano: u64,
    /// What is known of it.
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
}

/// The kind of spans that are no requests.
pub const INTERNAL: i32 = 1;

/// An attribute.
#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// The value of an attribute.
#[derive(Clone, PartialEq, Message)]
pub struct AnyValue {
    /// One of several types.
    #[prost(oneof = "Value", tags = "1, 3")]
    pub value: Option<Value>,
}

/// Those that are used.
#[derive(Clone, PartialEq, Oneof)]
pub enum Value {
    /// A text.
    #[prost(string, tag = "1")]
    Text(String),
    /// A whole number.
    #[prost(int64, tag = "3")]
    Integer(i64),
}

/// The body of a request with these spans. `resource` tells of the process, `variables` stand in every span.
///
/// # Errors
/// If the system gives no random bytes for ids.
pub fn encode(
    spans: Vec<JobSpan>,
    resource: &BTreeMap<String, String>,
    variables: &BTreeMap<String, String>,
) -> Result<Vec<u8>, getrandom::Error> {
    let mut by_scope: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    for span in spans {
        let of_scope = by_scope.entry(span.scope).or_default();
        add(of_scope, span, &random::<16>()?, &[], variables)?;
    }
    let scope_spans = by_scope.into_iter().map(|(name, spans)| ScopeSpans {
        scope: Some(InstrumentationScope { name: name.to_owned() }),
        spans,
    });
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: resource.iter().map(text).collect(),
            }),
            scope_spans: scope_spans.collect(),
        }],
    };
    Ok(request.encode_to_vec())
}

/// Adds a span of a trace, and those below it.
fn add(
    into: &mut Vec<Span>,
    span: JobSpan,
    trace_id: &[u8],
    parent: &[u8],
    variables: &BTreeMap<String, String>,
) -> Result<(), getrandom::Error> {
    let span_id = random::<8>()?;
    let own = span.attributes.into_iter().map(|(key, value)| match value {
        AttributeValue::Text(value) => text((&key, &value)),
        AttributeValue::Integer(value) => attribute(&key, Value::Integer(value)),
    });
    into.push(Span {
        trace_id: trace_id.to_vec(),
        span_id: span_id.to_vec(),
        parent_span_id: parent.to_vec(),
        name: span.name.to_owned(),
        kind: INTERNAL,
        start_time_unix_nano: nanoseconds(span.start_ms),
        end_time_unix_nano: nanoseconds(span.end_ms),
        attributes: own.chain(variables.iter().map(text)).collect(),
    });
    for child in span.children {
        add(into, child, trace_id, &span_id, variables)?;
    }
    Ok(())
}

fn text((key, value): (&String, &String)) -> KeyValue {
    attribute(key, Value::Text(value.clone()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    }
}

fn nanoseconds(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000)
}

fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_that_of_the_protocol() {
        let span = Span {
            trace_id: vec![0xa; 2],
            span_id: vec![0xb],
            parent_span_id: vec![],
            name: "C".into(),
            kind: INTERNAL,
            start_time_unix_nano: 1,
            end_time_unix_nano: 2,
            attributes: vec![
                attribute("k", Value::Integer(5)),
                attribute("t", Value::Text("x".into())),
            ],
        };
        // Field numbers and types by hand, from opentelemetry/proto/trace/v1/trace.proto.
        let expected: Vec<u8> = [
            &[0x0a, 2, 0xa, 0xa, 0x12, 1, 0xb, 0x2a, 1, b'C', 0x30, 1][..],
            &[0x39, 1, 0, 0, 0, 0, 0, 0, 0, 0x41, 2, 0, 0, 0, 0, 0, 0, 0],
            &[0x4a, 7, 0x0a, 1, b'k', 0x12, 2, 0x18, 5],
            &[0x4a, 8, 0x0a, 1, b't', 0x12, 3, 0x0a, 1, b'x'],
        ]
        .concat();
        assert_eq!(span.encode_to_vec(), expected);
    }

    #[test]
    fn a_span_and_those_below_it_are_one_trace() {
        let span = |name, children| JobSpan {
            scope: "scope",
            name,
            start_ms: 3,
            end_ms: 4,
            attributes: vec![],
            children,
        };
        let spans = vec![span("a", vec![span("b", vec![span("c", vec![])])]), span("d", vec![])];
        let variables = BTreeMap::from([("host".to_owned(), "here".to_owned())]);
        let bytes = encode(spans, &variables, &variables).unwrap();
        let request = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
        let scopes = &request.resource_spans[0].scope_spans;
        assert_eq!((scopes.len(), scopes[0].spans.len()), (1, 4));
        let [a, b, c, d] = &scopes[0].spans[..] else {
            unreachable!()
        };
        assert_eq!([&a.trace_id, &b.trace_id], [&c.trace_id; 2]);
        assert_ne!(a.trace_id, d.trace_id);
        assert_eq!((&b.parent_span_id, &c.parent_span_id), (&a.span_id, &b.span_id));
        assert!(a.parent_span_id.is_empty() && d.parent_span_id.is_empty());
        assert_eq!((d.start_time_unix_nano, d.end_time_unix_nano), (3_000_000, 4_000_000));
        assert_eq!(c.attributes, [attribute("host", Value::Text("here".into()))]);
    }
}

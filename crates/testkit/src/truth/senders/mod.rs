//! Writing a view down as its server would.

mod als;
mod fastly;
mod labels;
mod otlp;

use super::mesh::{Form, Server, Who};
use super::view::{Kind, View};
use crate::protobuf::Message;

/// A view as one server is about to write it.
#[derive(Clone, Copy)]
pub(super) struct Sight<'v> {
    pub(super) view: &'v View,
    pub(super) server: &'v Server,
    pub(super) tag: u32,
    /// Time since the start, for the record of a request that has not ended.
    pub(super) so_far_ns: Option<i64>,
}

/// One record.
#[derive(Debug, Clone)]
pub(super) enum Written {
    Line(String),
    /// An ALS entry, of the HTTP or the TCP logger.
    Entry(Message),
    /// An OTLP log record.
    Log(Message),
}

impl Sight<'_> {
    pub(super) fn write(&self, form: Form) -> Written {
        match form {
            Form::Vcl => Written::Line(fastly::vcl(self)),
            Form::CoarseVcl => Written::Line(fastly::coarse(self)),
            Form::JsonIds | Form::Json => Written::Line(labels::json(self, form == Form::JsonIds)),
            Form::Text => Written::Line(labels::text(self)),
            Form::Als => Written::Entry(als::entry(self)),
            Form::OtlpLabels => Written::Log(otlp::labels(self)),
            Form::OtlpText => Written::Log(otlp::text_body(self)),
        }
    }

    /// What this server's clock shows for the start.
    fn start_ns(&self) -> i64 {
        self.server.clock(self.view.start_ns)
    }

    /// The User-Agent that holds the tag.
    fn agent(&self) -> String {
        format!("probe/{}", self.tag)
    }

    fn node(&self) -> String {
        match &self.server.who {
            Who::Proxy(pod) => pod.node(),
            Who::Cache { .. } => String::new(),
        }
    }

    /// TCP has no User-Agent: its tag is the route name, which is empty there otherwise.
    fn route(&self) -> String {
        match self.view.kind {
            Kind::Tcp => self.agent(),
            _ if self.view.flags == "NR" => String::new(),
            _ => "default".to_owned(),
        }
    }
}

/// One ALS message of entries of one logger.
pub(super) fn als_message<'m>(
    server: &Server,
    is_http: bool,
    entries: impl Iterator<Item = &'m Message>,
) -> Vec<u8> {
    als::message(server, is_http, entries)
}

/// One OTLP request of log records.
pub(super) fn otlp_request<'m>(records: impl Iterator<Item = &'m Message>) -> Vec<u8> {
    otlp::request(records)
}

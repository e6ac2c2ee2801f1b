//! Records to deliveries: batched as senders batch, and disordered if the plan says so.

use std::collections::BTreeMap;

use super::contract::{Delivery, Wire};
use super::journey::{MS, SECOND};
use super::mesh::{Form, Mesh, Server, Who};
use super::plan::Plan;
use super::senders::{self, Sight, Written};
use super::view::{Kind, View};
use crate::rng::Rng;

/// Fastly's default period, and the flush interval of Envoy and of log shippers.
const FASTLY_PERIOD: i64 = 5 * SECOND;
const ENVOY_PERIOD: i64 = SECOND;
/// How often a long request is logged while it lasts.
const PROGRESS_PERIOD: i64 = 10 * SECOND;
/// How late a late delivery is at most.
const LATEST: i64 = 3_600 * SECOND;

/// Which records share a delivery, in the order of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Batch {
    sent_ns: i64,
    /// The server, or for lines of many the first of them.
    sender: usize,
    form: Form,
    is_http: bool,
}

struct Record {
    tag: u32,
    written: Written,
}

/// The deliveries of all views that are not lost, in the order of receipt, and how many records of each view they hold.
pub(super) fn all(views: &[View], mesh: &Mesh, plan: &Plan, rng: &mut Rng) -> (Vec<Delivery>, Vec<u32>) {
    let mut batches: BTreeMap<Batch, Vec<Record>> = BTreeMap::new();
    for (tag, view) in views.iter().enumerate().filter(|(_, view)| !view.is_lost) {
        let server = &mesh.servers[view.server];
        for form in [Some(server.form), server.twin].into_iter().flatten() {
            let period = if matches!(server.who, Who::Cache { .. }) { FASTLY_PERIOD } else { ENVOY_PERIOD };
            let mut put = |at: i64, so_far_ns: Option<i64>| {
                let sent_ns = (at.div_euclid(period) + 1) * period;
                let sender = sender(server, view.server, form);
                let batch = Batch { sent_ns, sender, form, is_http: view.kind != Kind::Tcp };
                let written = Sight { view, server, tag: tag as u32, so_far_ns }.write(form);
                batches.entry(batch).or_default().push(Record { tag: tag as u32, written });
            };
            if form == Form::Als {
                let mut at = view.start_ns + PROGRESS_PERIOD;
                while at < view.end_ns {
                    put(at, Some(at - view.start_ns));
                    at += PROGRESS_PERIOD;
                }
            }
            put(view.end_ns, None);
        }
    }
    let mut copies = vec![0; views.len()];
    let mut deliveries = Vec::with_capacity(batches.len());
    for (batch, mut records) in batches {
        let server = &mesh.servers[batch.sender];
        let latency = rng.between(20 * MS as u64, 400 * MS as u64) as i64;
        let mut deliver = |records: &[Record], received_ns: i64, rng: &mut Rng| {
            for record in records {
                copies[record.tag as usize] += 1;
            }
            let (format, body) = body(&batch, server, records);
            let origin = server.origin(batch.form);
            deliveries.push(Delivery { format, origin, body, received_ns, id: rng.next_u128() });
        };
        let mut received_ns = batch.sent_ns + latency;
        if plan.faults.is_disordered {
            shuffle(&mut records, rng);
            if rng.below(10) == 0 {
                received_ns += rng.below(LATEST as u64) as i64;
            }
            if rng.below(6) == 0 {
                // A sender that saw no answer sends the batch again, or from somewhere in it.
                let from = if rng.below(2) == 0 { 0 } else { rng.below(records.len() as u64) as usize };
                deliver(&records[from..], received_ns + rng.below(60 * SECOND as u64) as i64, rng);
            }
        }
        deliver(&records, received_ns, rng);
    }
    deliveries.sort_by_key(|delivery| (delivery.received_ns, delivery.id));
    (deliveries, copies)
}

/// Whose delivery it is. Lines of servers that the receiver does not know come through a collector that mixes them, as
/// does OTLP in Istio's default shape, which does not say who sent it.
fn sender(server: &Server, number: usize, form: Form) -> usize {
    // A Fastly aggregator sends for several cache servers.
    const CACHES: usize = 4;
    match form {
        Form::Vcl | Form::CoarseVcl => number / CACHES * CACHES,
        Form::Text | Form::Json if server.is_known => number,
        Form::Text | Form::Json | Form::OtlpText => 0,
        _ => number,
    }
}

fn body(batch: &Batch, server: &Server, records: &[Record]) -> (Wire, Vec<u8>) {
    let wire = match batch.form {
        Form::Vcl | Form::CoarseVcl => Wire::FastlyLines,
        Form::Text => Wire::IstioText,
        Form::Json | Form::JsonIds => Wire::IstioJson,
        Form::Als => Wire::Als,
        Form::OtlpLabels | Form::OtlpText => Wire::OtlpLogs,
    };
    let messages = records.iter().filter_map(|record| match &record.written {
        Written::Entry(message) | Written::Log(message) => Some(message),
        Written::Line(_) => None,
    });
    let body = match wire {
        Wire::Als => senders::als_message(server, batch.is_http, messages),
        Wire::OtlpLogs => senders::otlp_request(messages),
        _ => {
            let mut lines = Vec::with_capacity(records.len() * 700);
            for record in records {
                if let Written::Line(line) = &record.written {
                    lines.extend_from_slice(line.as_bytes());
                    lines.push(b'\n');
                }
            }
            lines
        }
    };
    (wire, body)
}

fn shuffle(records: &mut [Record], rng: &mut Rng) {
    for at in (1..records.len()).rev() {
        records.swap(at, rng.below(at as u64 + 1) as usize);
    }
}

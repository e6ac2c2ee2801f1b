//! One body, record by record: JSON objects wherever they stand, CLF lines, OTLP documents; the rest is rejected.

use std::borrow::Cow;

use event::{Hop, Notes, RejectReason};

use super::json::{Fault, FaultKind, Scanner};
use super::map::Draft;
use super::plan::Plans;
use super::preset::PresetId;
use super::shape::{self, Entry, Key, Paths};
use super::target::Target;
use super::{repair, text};
use crate::coerce::Scalar;
use crate::framing::{self, Body, MAX_RECORD_BYTES, Piece, Prefix};
use crate::{Delivery, Rules, Sink, time};

/// Bytes that may be scanned a second time to join the lines of pretty-printed objects, per byte of the body.
/// Without the bound, lines that only open brackets would make every line look far ahead.
const LOOK_AHEAD_FACTOR: usize = 4;

/// State of one body.
pub(crate) struct Decoder<'d> {
    fixed: Option<PresetId>,
    delivery: &'d Delivery<'d>,
    rules: &'d Rules,
    paths: Paths,
    plans: Plans,
    order: Vec<Key>,
    /// What is left of [`LOOK_AHEAD_FACTOR`].
    look_ahead: usize,
}

/// What is known of a record apart from its own text.
#[derive(Clone, Copy, Default)]
struct Context<'t> {
    offset: u64,
    prefix: Prefix<'t>,
    notes: Notes,
}

/// What is read of one record; kept for the next, so that its room is.
#[derive(Default)]
struct Parsed<'t> {
    entries: Vec<Entry<'t>>,
    values: Vec<Scalar<'t>>,
}

impl<'d> Decoder<'d> {
    pub(crate) fn new(fixed: Option<PresetId>, delivery: &'d Delivery<'d>, rules: &'d Rules) -> Self {
        Self {
            fixed,
            delivery,
            rules,
            paths: Paths::new(),
            plans: Plans::default(),
            order: Vec::new(),
            look_ahead: 0,
        }
    }

    pub(crate) fn run(&mut self, payload: &[u8], sink: &mut dyn Sink) {
        let mut body = Body::new(payload);
        let mut parsed = Parsed::default();
        self.look_ahead = payload.len().saturating_mul(LOOK_AHEAD_FACTOR);
        // What is UTF-8 from `valid_at` on: each byte is looked at once, not once for each record before it.
        let (mut valid_at, mut valid) = (0, valid_part(payload));
        while let Some(piece) = body.next_piece() {
            if piece.start >= valid_at + valid.len() {
                (valid_at, valid) = (piece.start, valid_part(&payload[piece.start..]));
            }
            // A record never starts inside of a character: what stands before it is ASCII, or a line that ended.
            let rest = valid.get(piece.start - valid_at..).unwrap_or_default();
            let line = rest.get(..piece.end - piece.start).or_else(|| {
                // Of an array on one line, only the element with the bad bytes is bad.
                let end = if piece.in_array { body.resync(piece, piece.start) } else { piece.end };
                rest.get(..end - piece.start)
            });
            let Some(line) = line else {
                self.bad_utf8(&mut body, payload, piece, sink);
                continue;
            };
            if line.starts_with('{') {
                self.object(&mut body, piece, line, rest, &mut parsed, sink);
            } else {
                self.line(&mut body, piece, line, &mut parsed, sink);
            }
        }
    }

    /// A record that begins with a brace.
    fn object<'t>(
        &mut self,
        body: &mut Body<'_>,
        piece: Piece,
        line: &'t str,
        rest: &'t str,
        parsed: &mut Parsed<'t>,
        sink: &mut dyn Sink,
    ) {
        let context = Context { offset: piece.start as u64, ..Context::default() };
        let mut fault = match self.record(line, context, parsed, sink) {
            Ok(length) => return body.resume(piece.start + length, true),
            Err(fault) => fault,
        };
        if fault.kind == FaultKind::End && !piece.counted {
            // Perhaps printed over several lines; a line that was cut shows by what follows it.
            let text = bounded(rest, MAX_RECORD_BYTES.min(self.look_ahead));
            match self.record(text, context, parsed, sink) {
                Ok(length) => return body.resume(piece.start + length, true),
                Err(later) => self.look_ahead = self.look_ahead.saturating_sub(later.at),
            }
        } else if piece.in_array && fault.kind != FaultKind::Depth {
            // An element may hold line breaks: its extent is not its line.
            let text = bounded(rest, MAX_RECORD_BYTES);
            let end = body.resync(piece, piece.start + fault.at) - piece.start;
            let element = text.get(..end).unwrap_or(line);
            fault = match self.mend(element, fault, context, sink) {
                Ok(()) => return body.resume(piece.start + end, true),
                Err(fault) => fault,
            };
            self.reject_json(element, fault, context, sink);
            return body.resume(piece.start + end, true);
        }
        let end = body.resync(piece, piece.start + fault.at);
        match self.mend(line, fault, context, sink) {
            Ok(()) => {}
            Err(fault) => self.reject_json(line, fault, context, sink),
        }
        body.resume(end.min(piece.end), false);
    }

    /// A line that does not begin with a brace: prefixed, CLF, or not ours.
    fn line<'t>(
        &mut self,
        body: &mut Body<'_>,
        piece: Piece,
        line: &'t str,
        parsed: &mut Parsed<'t>,
        sink: &mut dyn Sink,
    ) {
        if piece.in_array {
            return self.element(body, piece, line, sink);
        }
        let (prefix, message) = framing::strip_prefix(line);
        let message_at = line.len() - message.len();
        let context = Context { offset: piece.start as u64, prefix, notes: Notes::NONE };
        let end = piece.end;
        if message.starts_with('{') {
            match self.record(message, context, parsed, sink) {
                Ok(length) => return body.resume(piece.start + message_at + length, true),
                Err(fault) => {
                    if let Err(fault) = self.mend(message, fault, context, sink) {
                        self.reject_json(line, Fault { at: fault.at + message_at, ..fault }, context, sink);
                    }
                }
            }
        } else {
            self.text(line, message, context, sink);
        }
        body.resume(end, false);
    }

    fn text(&mut self, line: &str, message: &str, context: Context<'_>, sink: &mut dyn Sink) {
        let mut draft = Draft::new("fastly-clf", &self.rules.redactor);
        if !text::clf(message.trim_end(), &mut draft) {
            let detail = "neither a JSON object nor a common or combined log line";
            return self.reject(line.trim_end(), RejectReason::UnknownFormat, detail, context, sink);
        }
        self.finish(draft, Hop::Unknown, context, sink);
    }

    /// Something in an array that is no object.
    fn element(&mut self, body: &mut Body<'_>, piece: Piece, line: &str, sink: &mut dyn Sink) {
        let context = Context { offset: piece.start as u64, ..Context::default() };
        let mut scanner = Scanner::new(line);
        match scanner.skip_value() {
            Ok(()) => {
                let element = &line[..scanner.at()];
                let detail = "an element of the array is not an object";
                self.reject(element, RejectReason::NotAnObject, detail, context, sink);
                body.resume(piece.start + scanner.at(), true);
            }
            Err(fault) => {
                let end = body.resync(piece, piece.start + fault.at).min(piece.end).max(piece.start + 1);
                let element = line.get(..end - piece.start).unwrap_or(line);
                self.reject_json(element, fault, context, sink);
                body.resume(end, false);
            }
        }
    }

    /// A line with bytes that are not UTF-8: they are replaced, and the rest of the line is read.
    fn bad_utf8(&mut self, body: &mut Body<'_>, payload: &[u8], piece: Piece, sink: &mut dyn Sink) {
        let end = if piece.in_array { body.resync(piece, piece.start) } else { piece.end };
        let bytes = &payload[piece.start..end];
        let lossy = String::from_utf8_lossy(bytes);
        let (prefix, message) = framing::strip_prefix(&lossy);
        let context = Context { offset: piece.start as u64, prefix, notes: Notes::BAD_UTF8 };
        let mut rest = message;
        let mut parsed = Parsed::default();
        while rest.starts_with('{') {
            match self.record(rest, context, &mut parsed, sink) {
                Ok(length) => rest = rest[length..].trim_start_matches([' ', '\t', '\r', '\n', ',']),
                Err(fault) => {
                    if let Err(fault) = self.mend(rest, fault, context, sink) {
                        self.reject_json(rest, fault, context, sink);
                    }
                    rest = "";
                }
            }
        }
        let left = rest.trim();
        if !left.is_empty() {
            self.text(left, left, context, sink);
        }
        body.resume(end, piece.in_array);
    }

    /// Reads one object at the start of `text`; its length, or why it is none.
    fn record<'t>(
        &mut self,
        text: &'t str,
        context: Context<'t>,
        parsed: &mut Parsed<'t>,
        sink: &mut dyn Sink,
    ) -> Result<usize, Fault> {
        if let Some(length) = self.plans.read(text, &mut parsed.values)
            && length <= MAX_RECORD_BYTES
        {
            self.event(&text[..length], false, context, &mut parsed.values, sink);
            return Ok(length);
        }
        if let Some(key) = otlp_key(text) {
            return self.otlp(text, key, context, sink);
        }
        if self.paths.forget_if_full() {
            self.plans.clear();
        }
        let Parsed { entries, values } = parsed;
        let walked = shape::walk(text, &mut self.paths, self.plans.predicted(), &mut self.order, entries)?;
        if walked.length > MAX_RECORD_BYTES {
            let detail = format!("the record has more than {MAX_RECORD_BYTES} bytes");
            self.reject(&text[..walked.length], RejectReason::TooLarge, &detail, context, sink);
            return Ok(walked.length);
        }
        if !walked.as_predicted {
            self.plans.choose(&self.order, entries, &self.paths, self.rules, self.fixed);
        }
        if !walked.cut {
            self.plans.learn(&text[..walked.length], entries);
        }
        values.clear();
        values.extend(entries.drain(..).map(|entry| entry.value));
        self.event(&text[..walked.length], walked.cut, context, values, sink);
        Ok(walked.length)
    }

    /// One record, its values in its own order, by the plan that was used last.
    fn event<'t>(
        &self,
        text: &'t str,
        cut: bool,
        context: Context<'t>,
        values: &mut [Scalar<'t>],
        sink: &mut dyn Sink,
    ) {
        let Some(plan) = self.plans.last().filter(|plan| plan.knows_any) else {
            let detail = "no preset knows any field of the object";
            return self.reject(text, RejectReason::NoKnownField, detail, context, sink);
        };
        let preset = plan.preset.map(|id| self.rules.fastly.preset(id));
        let mut draft = Draft::new(preset.map_or("", |preset| preset.name.as_str()), &self.rules.redactor);
        for step in &plan.steps {
            let value = std::mem::replace(&mut values[step.entry as usize], Scalar::Null);
            let name = self.paths.name(step.path);
            if !step.absent.is_empty() && is_one_of(&value, &step.absent) {
                continue;
            }
            if step.edge_only && !draft.may_be_edge() || matches!(step.target, Target::Attribute) {
                draft.attribute_judged(name, Some(step.secret_name), value);
            } else {
                draft.put(step.target, name, value);
            }
        }
        if plan.has_duplicates {
            draft.note(Notes::DUPLICATE_KEYS);
        }
        if cut {
            draft.note(Notes::TRUNCATED);
        }
        self.finish(draft, preset.map_or(Hop::Unknown, |preset| preset.hop), context, sink);
    }

    fn finish<'e>(&'e self, mut draft: Draft<'_, 'e>, hop: Hop, context: Context<'e>, sink: &mut dyn Sink) {
        let Prefix { time, host, name, structured } = context.prefix;
        if !host.is_empty() {
            draft.put(Target::Server, "log.host", host.into());
        }
        if !name.is_empty() {
            draft.attribute("log.name", name.into());
        }
        if !structured.is_empty() {
            draft.attribute("log.structured", structured.into());
        }
        if draft.event.start_ns == 0
            && let Some(instant) = time::parse_text(time)
        {
            draft.started(instant);
        }
        draft.note(context.notes);
        draft.conclude(hop, self.delivery);
        self.delivery.finish(draft.event, context.offset, sink);
    }

    /// The bounded repair, once; the whole text must be one object after it.
    fn mend(
        &mut self,
        text: &str,
        fault: Fault,
        context: Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Fault> {
        let Cow::Owned(mended) = repair::repair(text) else { return Err(fault) };
        let mut scanner = Scanner::new(&mended);
        // The offset in the text as it came is the one to tell.
        scanner.skip_value().map_err(|after| Fault { at: fault.at, kind: after.kind })?;
        if scanner.peek().is_some() {
            return Err(fault);
        }
        let mut notes = context.notes;
        notes.add(Notes::REPAIRED);
        self.record(&mended, Context { notes, ..context }, &mut Parsed::default(), sink).map(drop)
    }

    /// A whole OTLP document as one record.
    fn otlp(
        &mut self,
        text: &str,
        key: &str,
        context: Context<'_>,
        sink: &mut dyn Sink,
    ) -> Result<usize, Fault> {
        let mut scanner = Scanner::new(text);
        scanner.skip_value()?;
        let document = &text[..scanner.at()];
        if key == "resourceLogs" {
            // Its records are placed by their ordinal, which other documents and lines of the body have too.
            let id = self.delivery.id ^ (u128::from(context.offset) + 1) << 64;
            let delivery = Delivery { id, ..*self.delivery };
            crate::otlp::decode_json(document.as_bytes(), &delivery, self.rules, sink);
            return Ok(scanner.at());
        }
        let detail = format!("an OTLP document of {key}: only log records are read");
        self.reject(document, RejectReason::UnknownFormat, &detail, context, sink);
        Ok(scanner.at())
    }

    fn reject_json(&self, text: &str, fault: Fault, context: Context<'_>, sink: &mut dyn Sink) {
        let text = text.trim_end();
        let (at, length) = (fault.at.min(text.len()), text.len());
        let cut = matches!(fault.kind, FaultKind::End | FaultKind::EndInString) || at_a_limit(length);
        let (reason, detail) = match fault.kind {
            FaultKind::Depth => {
                (RejectReason::TooDeep, format!("nested too deep at byte {at} of the record"))
            }
            FaultKind::Expected(what) if cut => {
                (RejectReason::Truncated, format!("cut at {length} bytes: expected {what} at byte {at}"))
            }
            _ if cut => {
                (RejectReason::Truncated, format!("the line ends after {length} bytes inside the object"))
            }
            FaultKind::Expected(what) => {
                (RejectReason::BadJson, format!("expected {what} at byte {at} of the record"))
            }
            _ => (RejectReason::BadJson, format!("not JSON at byte {at} of the record")),
        };
        self.reject(text, reason, &detail, context, sink);
    }

    fn reject(
        &self,
        text: &str,
        reason: RejectReason,
        detail: &str,
        context: Context<'_>,
        sink: &mut dyn Sink,
    ) {
        self.delivery.refuse(self.rules, "fastly", reason, detail, context.offset, text.as_bytes(), sink);
    }
}

/// Whether a length is that of a line cut by Fastly: 16 KiB in VCL, 64 KiB in Compute, give or take a prefix.
fn at_a_limit(length: usize) -> bool {
    const SLACK: usize = 128;
    [16 * 1024, 64 * 1024].iter().any(|&limit| length.abs_diff(limit) <= SLACK)
}

/// The key of an OTLP document at the start of `text`.
fn otlp_key(text: &str) -> Option<&'static str> {
    let rest = text.strip_prefix('{')?.trim_start().strip_prefix("\"resource")?;
    ["Logs", "Spans", "Metrics"]
        .into_iter()
        .zip(["resourceLogs", "resourceSpans", "resourceMetrics"])
        .find(|(tail, _)| rest.starts_with(tail))
        .map(|(_, key)| key)
}

fn is_one_of(value: &Scalar<'_>, words: &[String]) -> bool {
    matches!(value, Scalar::Text(text) if words.iter().any(|word| word == text))
}

/// The longest head that is UTF-8.
fn valid_part(bytes: &[u8]) -> &str {
    let valid = str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    str::from_utf8(&bytes[..valid]).unwrap_or_default()
}

fn bounded(text: &str, limit_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(limit_bytes)]
}

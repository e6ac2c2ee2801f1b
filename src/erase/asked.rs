//! What an erasure asks for, and whether a record is part of it. The same question is asked of records on their way
//! into the store here, and of rows by `store::erase`.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};

use correlation::Id;
use event::{HopEvent, Record, Reject};
use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use store::erase::Scope;
use trace::EventIds;

/// Shortest text that is looked for inside of others: shorter ones stand in everybody's records.
pub(crate) const LEAST_TEXT_BYTES: usize = 4;
/// Longest value that is taken.
const VALUE_MOST_BYTES: usize = 512;

/// By what a person is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Who asked, in plain: as the token or the log names them.
    Subject,
    /// Who asked, as the pseudonym that is stored.
    Pseudonym,
    /// The client's address.
    Client,
    /// Any id: correlation, request, edge request or trace id.
    Id,
}

/// One erasure as it was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    pub(crate) tenant: String,
    pub(crate) kind: Kind,
    pub(crate) value: String,
    /// Of a subject: its pseudonym, by this service's key.
    #[serde(default)]
    pub(crate) pseudonym: String,
    /// Receipt, unix nanoseconds: from when, and until when (at the latest the moment of asking).
    pub(crate) from_ns: i64,
    pub(crate) until_ns: i64,
    /// Look at the record's own fields only and not into texts.
    pub(crate) exact: bool,
    /// Delete all originals of damaged segments, too.
    pub(crate) delete_corrupt: bool,
    pub(crate) asked_ns: i64,
    /// Keyed hash of kind and value.
    pub(crate) value_hash: String,
}

/// An erasure that records are held against.
#[derive(Debug)]
pub(crate) struct Match {
    pub(crate) asked: Asked,
    client: u128,
    /// Ids that the value itself stands for.
    own_ids: Vec<u128>,
    text: Option<Regex>,
    /// Per-request ids of the events found so far: their requests go as a whole.
    ids: RwLock<HashSet<u128>>,
}

impl Match {
    /// Fails with a sentence where the value cannot be what its kind says.
    pub(crate) fn new(asked: Asked, ids: impl IntoIterator<Item = u128>) -> Result<Self, String> {
        let value = asked.value.trim();
        if value.is_empty() || value.len() > VALUE_MOST_BYTES {
            return Err(format!("`value` is empty or longer than {VALUE_MOST_BYTES} bytes"));
        }
        let (mut client, mut own_ids) = (0, Vec::new());
        match asked.kind {
            Kind::Client => {
                let address: IpAddr = value.parse().map_err(|_| format!("{value:?} is no IP address"))?;
                client = match address {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
                    IpAddr::V6(v6) => v6.to_bits(),
                };
                if client == 0 {
                    return Err("`::` stands for records without an address, which is nobody's".to_owned());
                }
            }
            Kind::Id => own_ids = Id::candidates(value),
            Kind::Subject | Kind::Pseudonym => {}
        }
        if asked.kind == Kind::Id && own_ids.is_empty() {
            return Err(format!("{value:?} is not an id"));
        }
        let pattern = pattern(&asked, "(?-u:\\b)");
        let text = match pattern.is_empty() {
            true => None,
            false => {
                let built = RegexBuilder::new(&pattern).build();
                Some(built.map_err(|error| format!("`value` cannot be looked for: {error}"))?)
            }
        };
        Ok(Self { asked, client, own_ids, text, ids: RwLock::new(ids.into_iter().collect()) })
    }

    /// The same question for the store, without the ids that were found on the way.
    pub(crate) fn scope(&self) -> Scope {
        Scope {
            tenant: self.asked.tenant.clone(),
            from_ns: self.asked.from_ns,
            until_ns: self.asked.until_ns,
            subject: self.subject().to_owned(),
            client: self.client,
            ids: self.own_ids.clone(),
            pattern: pattern(&self.asked, "\\b"),
        }
    }

    fn subject(&self) -> &str {
        match self.asked.kind {
            Kind::Subject => &self.asked.pseudonym,
            Kind::Pseudonym => self.asked.value.trim(),
            Kind::Client | Kind::Id => "",
        }
    }

    /// Whether a record goes: by itself, or as part of a request that does.
    pub(crate) fn takes(&self, record: &Record<'_>) -> bool {
        match record {
            Record::Event(event) => self.takes_event(event),
            Record::Reject(reject) => self.takes_reject(reject),
            // Counts of a source and a minute: nobody's.
            Record::Tally(_) => false,
        }
    }

    pub(crate) fn takes_event(&self, event: &HopEvent<'_>) -> bool {
        if event.tenant != self.asked.tenant || !self.received(event.received_ns) {
            return false;
        }
        let ids = EventIds::from(event);
        let subject = self.subject();
        (!subject.is_empty() && event.subject == subject)
            || (self.client != 0 && event.client_address == self.client)
            || ids.all().any(|(_, id)| self.own_ids.contains(&id))
            || self.finds(store::erase::texts_of(event).map(str::as_bytes))
            || self.has_any(&ids)
    }

    fn takes_reject(&self, reject: &Reject<'_>) -> bool {
        reject.tenant == self.asked.tenant
            && self.received(reject.received_ns)
            && self.finds([reject.bytes.as_ref(), reject.detail.as_bytes()])
    }

    /// Whether bytes hold the value, in any of the forms that are looked for.
    pub(crate) fn finds<'b>(&self, texts: impl IntoIterator<Item = &'b [u8]>) -> bool {
        self.text.as_ref().is_some_and(|text| texts.into_iter().any(|bytes| text.is_match(bytes)))
    }

    /// As [`Self::finds`], in bytes of the spool: also the value as numbers.
    pub(crate) fn stands_in(&self, bytes: &[u8]) -> bool {
        let numbers = self.own_ids.iter().chain([&self.client]).filter(|number| **number != 0);
        let mut numbers = numbers.map(|number| number.to_le_bytes());
        self.finds([bytes]) || numbers.any(|number| memchr::memmem::find(bytes, &number).is_some())
    }

    fn received(&self, at_ns: i64) -> bool {
        (self.asked.from_ns..=self.asked.until_ns).contains(&at_ns)
    }

    fn has_any(&self, ids: &EventIds) -> bool {
        let known = self.ids.read().unwrap_or_else(PoisonError::into_inner);
        ids.bridging().any(|(_, id)| known.contains(&id))
    }

    /// Adds ids of what was found; whether any was new.
    pub(crate) fn grow(&self, ids: impl IntoIterator<Item = u128>) -> bool {
        let mut known = self.ids.write().unwrap_or_else(PoisonError::into_inner);
        ids.into_iter().filter(|id| known.insert(*id)).count() > 0
    }

    /// The ids found so far.
    pub(crate) fn ids(&self) -> Vec<u128> {
        self.ids.read().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

/// A regular expression of every form in which the value may stand in a text, as a word of its own and in any case;
/// empty where texts are not looked into. `edge` is how the engine of the expression writes a word's edge.
fn pattern(asked: &Asked, edge: &str) -> String {
    let mut forms: Vec<String> = Vec::new();
    let value = asked.value.trim();
    match asked.kind {
        _ if asked.exact => {}
        Kind::Subject => {
            forms.extend([value.to_owned(), asked.pseudonym.clone(), percent(value), escaped(value)]);
        }
        Kind::Pseudonym => forms.push(value.to_owned()),
        Kind::Client => {
            forms.push(value.to_owned());
            forms.extend(value.parse::<IpAddr>().map(|address| address.to_canonical().to_string()));
        }
        Kind::Id => {
            forms.push(value.to_owned());
            for id in Id::candidates(value) {
                forms.extend([format!("{id:032x}"), uuid::Uuid::from_u128(id).to_string()]);
            }
        }
    }
    forms.retain(|form| form.len() >= LEAST_TEXT_BYTES);
    forms.sort();
    forms.dedup();
    if forms.is_empty() {
        return String::new();
    }
    let word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let bounded = |form: &String| {
        let quoted = regex::escape(form);
        if asked.kind == Kind::Client && form.contains(':') {
            // A longer IPv6 address goes on with a colon.
            return format!("(?:^|[^0-9A-Za-z_:]){quoted}(?:$|[^0-9A-Za-z_:])");
        }
        let before = if word(form.as_bytes().first()) { edge } else { "" };
        let after = if word(form.as_bytes().last()) { edge } else { "" };
        format!("{before}{quoted}{after}")
    };
    format!("(?i)(?:{})", forms.iter().map(bounded).collect::<Vec<_>>().join("|"))
}

/// As it stands in a query: everything but unreserved characters as `%XX`.
fn percent(value: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value.bytes().map(|b| if keep(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// As JSON writers in ASCII write it: `\u00e9`.
fn escaped(value: &str) -> String {
    let mut units = [0; 2];
    let escape = |c: char, units: &mut [u16; 2]| -> String {
        if c.is_ascii() {
            return c.to_string();
        }
        c.encode_utf16(units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    };
    value.chars().map(|c| escape(c, &mut units)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(kind: Kind, value: &str) -> Match {
        let asked = Asked {
            tenant: "default".into(),
            kind,
            value: value.into(),
            pseudonym: "5bdcc146bf60754e6a042426089575c7".into(),
            from_ns: 0,
            until_ns: 100,
            exact: false,
            delete_corrupt: false,
            asked_ns: 100,
            value_hash: String::new(),
        };
        Match::new(asked, []).unwrap()
    }

    fn with(change: impl FnOnce(&mut HopEvent<'static>)) -> HopEvent<'static> {
        let mut event = HopEvent { tenant: "default".into(), received_ns: 50, ..HopEvent::default() };
        change(&mut event);
        event
    }

    #[test]
    fn a_value_is_found_as_a_word_and_not_inside_of_another() {
        let client = asked(Kind::Client, "10.0.0.1");
        for text in ["10.0.0.1", "10.0.0.1:443", "1.2.3.4, 10.0.0.1", "::ffff:10.0.0.1"] {
            assert!(client.takes_event(&with(|event| event.forwarded_for = text.into())), "{text}");
        }
        for text in ["210.0.0.1", "10.0.0.11", "10x0x0x1", ""] {
            assert!(!client.takes_event(&with(|event| event.forwarded_for = text.into())), "{text}");
        }
        let v6 = asked(Kind::Client, "2001:DB8::1");
        assert!(v6.takes_event(&with(|event| event.downstream_remote = "[2001:db8::1]:443".into())));
        assert!(!v6.takes_event(&with(|event| event.downstream_remote = "[2001:db8::1:5]:443".into())));
        assert!(v6.takes_event(&with(|event| event.client_address = 0x2001_0db8 << 96 | 1)));
        let person = asked(Kind::Subject, "zoë@example.com");
        for text in ["ZOË@example.com", "to=zo%C3%AB%40example.com&", "{\"u\":\"zo\\u00eb@example.com\"}"] {
            assert!(person.takes_event(&with(|event| event.query = text.into())), "{text}");
        }
        assert!(!person.takes_event(&with(|event| event.query = "zoë@example.community".into())));
        assert!(person.takes_event(&with(|event| event.subject = person.asked.pseudonym.clone().into())));
    }

    #[test]
    fn tenant_and_time_bind_and_short_names_are_not_looked_for_in_texts() {
        let person = asked(Kind::Subject, "bob");
        assert!(!person.takes_event(&with(|event| event.path = "/bob".into())));
        let hit = |event: &mut HopEvent<'static>| event.subject = person.asked.pseudonym.clone().into();
        assert!(person.takes_event(&with(hit)));
        assert!(!person.takes_event(&with(|event| {
            hit(event);
            event.received_ns = 101;
        })));
        assert!(!person.takes_event(&with(|event| {
            hit(event);
            event.tenant = "other".into();
        })));
    }

    #[test]
    fn a_request_goes_as_a_whole_and_a_trace_id_does_not_take_others_along() {
        let id = asked(Kind::Id, "0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f");
        let edge = with(|event| {
            event.correlation_id = 0x0192_f0c4_8a4e_7cc3_98c4_dc0c_0c07_398f;
            event.request_id = 7;
            event.trace_id = 9;
        });
        assert!(id.takes_event(&edge));
        id.grow(EventIds::from(&edge).bridging().map(|(_, id)| id));
        assert!(id.takes_event(&with(|event| event.request_id = 7)));
        assert!(!id.takes_event(&with(|event| event.trace_id = 9)));
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_sentence() {
        let refused = |kind, value: &str| {
            let asked = Asked { kind, value: value.into(), ..asked(Kind::Subject, "x").asked };
            Match::new(asked, []).unwrap_err()
        };
        assert!(refused(Kind::Client, "300.1.1.1").contains("is no IP address"));
        assert!(refused(Kind::Client, "::").contains("nobody's"));
        assert!(refused(Kind::Id, "-").contains("is not an id"));
        assert!(refused(Kind::Subject, " ").contains("empty"));
    }
}

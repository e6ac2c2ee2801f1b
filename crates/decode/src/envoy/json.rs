//! Envoy's JSON lines: Istio's default 24 keys, a user's own labels, or operator text as keys; any order, any types.

use std::borrow::Cow;
use std::collections::HashMap;

use event::{Notes, RejectReason};

use crate::coerce::Scalar;
use crate::envoy::draft::{Draft, Peer};
use crate::envoy::object::{MAX_DEPTH, Member, Object, ObjectError};
use crate::envoy::target::{self, Target};
use crate::envoy::verdict;
use crate::{Delivery, Rules, Sink};

/// What became of one line.
pub(crate) type Read = Result<(), (RejectReason, String)>;

/// Distinct keys remembered; a sender that writes more makes them up, and is looked up anew each time.
const MAX_KEYS: usize = 1024;

/// Keys seen so far in this delivery, with their meaning, and their order in the line before: log templates repeat
/// theirs, so most keys are found by one comparison.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    order: Vec<(Box<str>, Target)>,
    known: HashMap<Box<str>, Target>,
}

impl Keys {
    #[inline]
    pub(crate) fn target(&mut self, place: usize, key: &str) -> Target {
        match self.order.get(place) {
            Some((known, target)) if **known == *key => *target,
            _ => self.find(place, key),
        }
    }

    #[cold]
    fn find(&mut self, place: usize, key: &str) -> Target {
        let target = match self.known.get(key) {
            Some(target) => *target,
            None => {
                let target = target::label(key);
                if self.known.len() < MAX_KEYS {
                    self.known.insert(key.into(), target);
                }
                target
            }
        };
        if place < self.order.len() {
            self.order[place] = (key.into(), target);
        } else if place == self.order.len() && place < MAX_KEYS {
            self.order.push((key.into(), target));
        }
        target
    }
}

/// Reads one object into an event. `line` may be followed by blanks only.
pub(crate) fn read(
    line: &str,
    is_lossy: bool,
    keys: &mut Keys,
    index: u64,
    (delivery, rules): (&Delivery<'_>, &Rules),
    sink: &mut dyn Sink,
) -> Read {
    let mut draft = Draft::new("envoy-json", rules);
    if is_lossy {
        draft.event.notes.add(Notes::BAD_UTF8);
    }
    read_members(line, &mut draft, keys)?;
    if draft.evidence() < MIN_EVIDENCE {
        return Err((
            RejectReason::NoKnownField,
            "an object, but fewer than two of its keys are known as Envoy fields".to_owned(),
        ));
    }
    draft.finish(delivery, index, sink);
    Ok(())
}

/// Puts every member of the object that fills `line` into the draft.
#[inline]
pub(crate) fn read_members<'a>(line: &'a str, draft: &mut Draft<'a, '_>, keys: &mut Keys) -> Read {
    let mut object = Object::open(line).map_err(explain)?;
    let mut place = 0;
    loop {
        while let Some((known, target)) = keys.order.get(place)
            && let Some(member) = object.expected(known)
        {
            place += 1;
            match member.map_err(explain)? {
                Member::Scalar(scalar) => draft.put(*target, known, scalar),
                Member::Nested(text) => put_nested(draft, *target, Cow::Owned(known.to_string()), text),
            }
        }
        let Some((key, member)) = object.member().map_err(explain)? else { break };
        let target = keys.target(place, &key);
        place += 1;
        match member {
            Member::Scalar(scalar) => draft.put(target, &key, scalar),
            Member::Nested(text) => put_nested(draft, target, key, text),
        }
    }
    if !line[object.position()..].trim_ascii().is_empty() {
        return Err((
            RejectReason::BadJson,
            format!("more text after the object, at byte {}", object.position()),
        ));
    }
    Ok(())
}

/// Fields that must be known before an object counts as an access log record: an Envoy process also writes JSON about
/// itself, with a time and a message.
const MIN_EVIDENCE: u32 = 2;

fn explain(error: ObjectError) -> (RejectReason, String) {
    match error {
        ObjectError::Cut => (RejectReason::Truncated, "the object does not end in its line".to_owned()),
        ObjectError::Bad(at) => (RejectReason::BadJson, format!("not JSON at byte {at} of the line")),
        ObjectError::TooDeep => (RejectReason::TooDeep, format!("nested deeper than {MAX_DEPTH}")),
    }
}

/// Objects stand only where dynamic metadata or filter state was asked for.
fn put_nested<'a>(draft: &mut Draft<'a, '_>, target: Target, key: Cow<'a, str>, text: &'a str) {
    match target {
        Target::Secret => draft.event.notes.add(Notes::REDACTED),
        Target::Rbac => {
            if let Some(members) = flat(text) {
                for (name, value) in members {
                    if !verdict::rbac_fact(&mut draft.event, &name, value.clone()) {
                        draft.attribute(&name, value);
                    }
                }
            }
        }
        Target::UpstreamPeer | Target::DownstreamPeer => {
            let mut peer = Peer::default();
            for (name, value) in flat(text).unwrap_or_default() {
                peer.put(&name, value);
            }
            match target {
                Target::UpstreamPeer => draft.upstream_peer = peer,
                _ => draft.downstream_peer = peer,
            }
        }
        _ => draft.named_attribute(key.clone(), &key, Cow::Borrowed(text)),
    }
}

/// The text members of an object.
fn flat(text: &str) -> Option<Vec<(Cow<'_, str>, Cow<'_, str>)>> {
    let mut object = Object::open(text).ok()?;
    let mut members = Vec::new();
    while let Ok(Some((key, member))) = object.member() {
        if let Member::Scalar(scalar @ Scalar::Text(_)) = member {
            members.push((key, scalar.to_text()));
        }
    }
    Some(members)
}

//! THE list of personal fields: what of a hop event tells of a person. Masking for readers without the role `personal`,
//! the erasing of one person's records and the documentation all go by it.
//!
//! Not on it, and why: `country` and `asn` name crowds; `path` and `host` are what a log is searched by (an application
//! that writes names into its paths has personal paths: give its readers no log, or its paths a redaction rule);
//! `downstream_peer` and `upstream_peer` are workloads; ids are random.

use correlation::IdKind;

use crate::fields::{Attributes, HopEvent, Text};

/// What stands for a text that a reader may not see.
pub const MASK: &str = "[masked]";

/// Hides a value; whether it was there stays visible for text.
trait Hide {
    fn hide(&mut self);
}

impl Hide for Text<'_> {
    fn hide(&mut self) {
        if !self.is_empty() {
            *self = MASK.into();
        }
    }
}

impl Hide for u128 {
    fn hide(&mut self) {
        *self = 0;
    }
}

impl Hide for Attributes<'_> {
    /// Names stay. So does the text of an id, by which the same record is found anyway.
    fn hide(&mut self) {
        for (name, text) in self {
            if !IdKind::ALL.iter().any(|kind| kind.name() == name) {
                text.hide();
            }
        }
    }
}

macro_rules! personal {
    ($( $field:ident: $why:literal; )*) => {
        /// Name of the field (and column) of everything personal, and why it is.
        pub const PERSONAL: &[(&str, &str)] = &[ $( (stringify!($field), $why) ),* ];

        impl HopEvent<'_> {
            /// Hides every personal field: text becomes [`MASK`], an address is as if it had not been logged.
            pub fn mask_personal(&mut self) {
                $( self.$field.hide(); )*
            }
        }
    };
}

personal! {
    client_address: "the client's address";
    forwarded_for: "addresses of the client and of proxies on its way";
    downstream_remote: "at the first hop the client's address";
    user_agent: "free text of the client; with an address often one person's";
    ja3: "fingerprint of the client's TLS";
    ja4: "fingerprint of the client's TLS";
    query: "what the client typed: names, searches, addresses";
    upstream_path: "may carry the query after a rewrite";
    referer: "where the client came from, with its query";
    subject: "who asked; a pseudonym is one person's all the same";
    attributes: "what the schema has no field for, so nobody has said that it is not personal";
}

/// Whether a field, by its name, is personal.
pub fn is_personal(field: &str) -> bool {
    PERSONAL.iter().any(|(name, _)| *name == field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_masked_is_gone_and_the_rest_is_whole() {
        let mut event = HopEvent {
            client_address: 7,
            query: "name=ada".into(),
            path: "/cart".into(),
            status: 200,
            attributes: vec![("note".into(), "ada".into()), ("request_id".into(), "r-1".into())],
            ..HopEvent::default()
        };
        event.mask_personal();
        let shown = format!("{event:?}");
        assert!(!shown.contains("ada"), "{shown}");
        assert_eq!((event.client_address, event.query.as_ref(), event.path.as_ref()), (0, MASK, "/cart"));
        assert_eq!(event.attributes, [("note".into(), MASK.into()), ("request_id".into(), "r-1".into())]);
        assert_eq!(event.referer, "", "what was not logged is not said to be hidden");
    }

    #[test]
    fn every_name_is_a_field() {
        for (name, _) in PERSONAL {
            assert!(HopEvent::FIELDS.iter().any(|field| field.name == *name), "{name}");
        }
    }
}

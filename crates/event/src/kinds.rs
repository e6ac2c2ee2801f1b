//! The closed vocabularies of a hop event: hop, direction, precision.
//!
//! The numbers are stored (spool and columns): never renumber, only append.

macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident { $( $(#[$variant_doc:meta])* $variant:ident = $number:literal $text:literal ),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(u8)]
        pub enum $name {
            $( $(#[$variant_doc])* $variant = $number ),*
        }

        impl $name {
            /// Every value, in the order of the stored numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word used in columns, JSON and panels.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The value of a stored number; `None` for a number from a newer version.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// The value of a word, as [`Self::name`] writes it.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

vocabulary! {
    /// Where on its way a request was seen. The order is the order of travel.
    Hop {
        /// The record does not say.
        #[default]
        Unknown = 0 "unknown",
        /// The first Fastly POP.
        Edge = 1 "edge",
        /// A shield POP between edge and origin.
        Shield = 2 "shield",
        /// An ingress gateway of the mesh.
        Gateway = 3 "gateway",
        /// An ambient node proxy (reserved until decoded).
        Ztunnel = 4 "ztunnel",
        /// An ambient waypoint proxy (reserved until decoded).
        Waypoint = 5 "waypoint",
        /// A sidecar beside a workload.
        Sidecar = 6 "sidecar",
        /// A workload that logs for itself.
        Service = 7 "service",
        /// An egress gateway of the mesh.
        Egress = 8 "egress",
        /// An origin outside of the mesh.
        Origin = 9 "origin",
    }
}

vocabulary! {
    /// Which way the hop stood in the request, seen from its own workload.
    Direction {
        /// The record does not say, or the hop has no workload.
        #[default]
        Unknown = 0 "unknown",
        /// Toward the workload.
        Inbound = 1 "inbound",
        /// Away from the workload.
        Outbound = 2 "outbound",
    }
}

vocabulary! {
    /// How fine the clock was that wrote a timestamp. A trace may not order closer than this.
    Precision {
        /// No time in the record: the time of receipt stands in.
        #[default]
        Received = 0 "received",
        /// Whole seconds.
        Second = 1 "s",
        /// Milliseconds.
        Millisecond = 2 "ms",
        /// Microseconds.
        Microsecond = 3 "us",
        /// Nanoseconds.
        Nanosecond = 4 "ns",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back() {
        for &hop in Hop::ALL {
            assert_eq!(Hop::from_number(hop as u8), Some(hop));
            assert_eq!(Hop::from_name(hop.name()), Some(hop));
        }
        assert_eq!(Hop::from_number(200), None);
    }
}

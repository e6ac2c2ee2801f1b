//! Where time is spent: one place, or several that cannot be told apart.

use std::fmt;
use std::ops::BitOr;

/// A set of places, in the order of travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Places(u8);

impl Places {
    /// Nowhere.
    pub const NONE: Self = Self(0);
    /// In the POPs.
    pub const EDGE: Self = Self(1);
    /// Between POPs, and from them to the gateway.
    pub const NETWORK: Self = Self(2);
    /// In the ingress gateway.
    pub const GATEWAY: Self = Self(4);
    /// In sidecars and on the ways between them.
    pub const MESH: Self = Self(8);
    /// In applications.
    pub const WORKLOAD: Self = Self(16);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::EDGE, "edge"),
        (Self::NETWORK, "edge_to_gateway_network"),
        (Self::GATEWAY, "gateway"),
        (Self::MESH, "mesh"),
        (Self::WORKLOAD, "workload"),
    ];

    /// What places are sorted by: the first one on the way, then the fewer.
    pub(super) fn order(self) -> (u32, u8) {
        (self.0.trailing_zeros(), self.0)
    }

    /// The names of the places, in the order of travel.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(place, _)| self.0 & place.0 != 0).map(|(_, name)| name)
    }
}

impl BitOr for Places {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// `gateway`, `gateway+mesh`.
impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.names().enumerate() {
            if at > 0 {
                f.write_str("+")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

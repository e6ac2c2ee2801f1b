//! What a reader may do.

/// One thing that readers may do or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Ask for events, traces, rejects and counts, personal fields masked.
    Search,
    /// The same, personal fields shown.
    Personal,
    /// Erase and administer. Shows nothing by itself.
    Admin,
}

impl Role {
    const ALL: [Self; 3] = [Self::Search, Self::Personal, Self::Admin];

    /// The word used in the configuration and in problems.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Personal => "personal",
            Self::Admin => "admin",
        }
    }
}

/// A set of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roles(u8);

impl Roles {
    /// What a `[[reader]]` without `roles` has: what every reader could do before there were roles.
    pub(crate) const DEFAULT: Self = Self(1 << Role::Search as u8 | 1 << Role::Personal as u8);

    /// These roles, and what they include: who sees personal fields may search.
    pub(crate) fn of(roles: impl IntoIterator<Item = Role>) -> Self {
        let with_included = |role| match role {
            Role::Personal => Self::DEFAULT.0,
            role => 1 << role as u8,
        };
        Self(roles.into_iter().map(with_included).fold(0, |all, bit| all | bit))
    }

    /// The roles of configured words; the first word that is none is the error.
    pub(crate) fn named(words: &[String]) -> Result<Self, &str> {
        let mut roles = Vec::new();
        for word in words {
            let known = Role::ALL.into_iter().find(|role| role.name() == word);
            roles.push(known.ok_or(word.as_str())?);
        }
        Ok(Self::of(roles))
    }

    /// Whether the role is among them.
    pub(crate) fn allow(self, role: Role) -> bool {
        self.0 & (1 << role as u8) != 0
    }

    /// Their words.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        Role::ALL.into_iter().filter(move |role| self.allow(*role)).map(Role::name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_includes_search_and_admin_includes_nothing() {
        let named = |words: &str| {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            Roles::named(&words).unwrap().names().collect::<Vec<_>>()
        };
        assert_eq!(named("personal"), ["search", "personal"]);
        assert_eq!(named("admin"), ["admin"]);
        assert_eq!(named("search admin"), ["search", "admin"]);
        assert!(Roles::named(&["root".to_owned()]).is_err());
    }
}

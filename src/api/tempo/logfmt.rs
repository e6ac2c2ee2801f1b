//! `name=value name="a value"`, as searches without TraceQL write their tags.

/// Most pairs of one query.
const MAX_PAIRS: usize = 32;

/// Every pair, in order. A name without a value has an empty one, which every value contains.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let name = &rest[..end];
        if name.is_empty() || name.contains('"') {
            return Err(format!("a name is expected before {rest:?}"));
        }
        rest = &rest[end..];
        let value = match rest.strip_prefix('=') {
            None => String::new(),
            Some(after) => {
                let (value, after) = match after.strip_prefix('"') {
                    Some(quoted) => {
                        unquoted(quoted).ok_or_else(|| format!("the value of {name} has no closing quote"))?
                    }
                    None => {
                        let (value, after) =
                            after.split_at(after.find(char::is_whitespace).unwrap_or(after.len()));
                        (value.to_owned(), after)
                    }
                };
                rest = after;
                value
            }
        };
        if found.iter().any(|(other, _)| other == name) {
            return Err(format!("{name} stands twice"));
        }
        if found.len() == MAX_PAIRS {
            return Err(format!("more than {MAX_PAIRS} tags"));
        }
        found.push((name.to_owned(), value));
        rest = rest.trim_start();
    }
    Ok(found)
}

/// A quoted value after its opening quote, and what follows it.
fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_bare_or_in_quotes() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            pairs(r#" service.name=cart  url.path="a \"b\" c" error "#).unwrap(),
            [pair("service.name", "cart"), pair("url.path", "a \"b\" c"), pair("error", "")]
        );
        assert!(pairs("").unwrap().is_empty());
        for bad in ["=x", "a=\"b", "a=1 a=2", "\"a\"=b"] {
            assert!(pairs(bad).is_err(), "{bad}");
        }
    }
}

//! Words of Fastly to words of the schema: cache states, POPs, protocols, geo sentinels.

use std::borrow::Cow;

use crate::coerce::Scalar;

/// `hit`, `miss`, `pass`, `error`, `synth` or empty, by the prefix of `fastly_info.state`.
pub(crate) fn cache_result(state: &str) -> &'static str {
    const PREFIXES: &[(&str, &str)] = &[
        ("HITPASS", "pass"),
        ("HIT-SYNTH", "synth"),
        ("HIT", "hit"),
        ("MISS", "miss"),
        ("PASS", "pass"),
        ("ERROR", "error"),
        ("BG-ERROR", "error"),
    ];
    let starts =
        |prefix: &str| state.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
    PREFIXES.iter().find(|(prefix, _)| starts(prefix)).map_or("", |(_, result)| result)
}

/// The POP in the name of a cache server: `cache-lga21947-LGA`, `cache-fra-etou8220160`, `cache-sjc3128`.
pub(crate) fn pop_of_server<'a>(server: &str) -> Cow<'a, str> {
    let Some(rest) = server.strip_prefix("cache-") else { return Cow::Borrowed("") };
    let letters = |part: &str| part.len() == 3 && part.bytes().all(|byte| byte.is_ascii_alphabetic());
    let last = rest.rsplit('-').next().filter(|part| letters(part));
    let pop = last.or_else(|| rest.get(..3).filter(|part| letters(part)));
    pop.map_or(Cow::Borrowed(""), |pop| Cow::Owned(pop.to_ascii_uppercase()))
}

/// `2.0` and the like, as some templates cut it, to `HTTP/2`; other names as they stand.
pub(crate) fn protocol(text: Cow<'_, str>) -> Cow<'_, str> {
    match &*text {
        "1.0" => "HTTP/1.0".into(),
        "1.1" => "HTTP/1.1".into(),
        "2" | "2.0" => "HTTP/2".into(),
        "3" | "3.0" => "HTTP/3".into(),
        _ => text,
    }
}

/// `1.3` to `TLSv1.3`; other names as they stand.
pub(crate) fn tls_version(text: Cow<'_, str>) -> Cow<'_, str> {
    match &*text {
        "1.0" => "TLSv1.0".into(),
        "1.1" => "TLSv1.1".into(),
        "1.2" => "TLSv1.2".into(),
        "1.3" => "TLSv1.3".into(),
        _ => text,
    }
}

/// Every pair of lower-case letters: a country code is lowered in each record, without an allocation this way.
const PAIRS: &str = {
    const BYTES: [u8; 26 * 26 * 2] = {
        let mut bytes = [0; 26 * 26 * 2];
        let mut at = 0;
        while at < 26 * 26 {
            bytes[2 * at] = b'a' + (at / 26) as u8;
            bytes[2 * at + 1] = b'a' + (at % 26) as u8;
            at += 1;
        }
        bytes
    };
    match str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "",
    }
};

pub(crate) fn lower(text: Cow<'_, str>) -> Cow<'_, str> {
    if let [a @ b'A'..=b'Z', b @ b'A'..=b'Z'] = text.as_bytes() {
        let at = 2 * (usize::from(a - b'A') * 26 + usize::from(b - b'A'));
        return Cow::Borrowed(&PAIRS[at..at + 2]);
    }
    if text.chars().any(char::is_uppercase) { Cow::Owned(text.to_lowercase()) } else { text }
}

pub(crate) fn upper(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        Cow::Owned(text.to_ascii_uppercase())
    } else {
        text
    }
}

/// `?` is what geo lookups print for "unknown"; 999.9 what they print for latitude and longitude.
pub(crate) fn is_absent_geo(name: &str, value: &Scalar<'_>) -> bool {
    let Scalar::Text(text) = value else { return false };
    match &**text {
        "?" => true,
        "999.9" | "999.90" | "999.900" => {
            let last = name.rsplit(['.', '_']).next().unwrap_or(name);
            last.starts_with("lat") || last.starts_with("lon")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_states() {
        for (state, result) in [
            ("HIT", "hit"),
            ("HIT-STALE-CLUSTER", "hit"),
            ("HIT-SYNTH", "synth"),
            ("HITPASS", "pass"),
            ("PASS", "pass"),
            ("MISS-WAIT", "miss"),
            ("ERROR", "error"),
            ("BG-ERROR-LOSSY", "error"),
            ("NONE", ""),
            ("", ""),
            ("é", ""),
        ] {
            assert_eq!(cache_result(state), result, "{state}");
        }
    }

    #[test]
    fn pops_of_servers() {
        for (server, pop) in [
            ("cache-lga21947-LGA", "LGA"),
            ("cache-fra-etou8220160-FRA", "FRA"),
            ("cache-fra-etou8220160", "FRA"),
            ("cache-sjc3128", "SJC"),
            ("cache-example-XYZ", "XYZ"),
            ("web1", ""),
            ("cache-é", ""),
        ] {
            assert_eq!(pop_of_server(server), pop, "{server}");
        }
    }

    #[test]
    fn country_codes_are_lowered_without_allocating() {
        assert!(matches!(lower("US".into()), Cow::Borrowed("us")));
        assert!(matches!(lower("ZZ".into()), Cow::Borrowed("zz")));
        assert_eq!(lower("United States".into()), "united states");
    }

    #[test]
    fn sentinels_hold_for_their_names_only() {
        assert!(is_absent_geo("geo_lat", &"999.900".into()));
        assert!(is_absent_geo("network.geoip.longitude", &"999.9".into()));
        assert!(!is_absent_geo("price", &"999.9".into()));
    }
}

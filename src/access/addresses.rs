//! From where a source may send, and who a request is from behind proxies.
//!
//! A token that is presented from elsewhere is answered with 503, not 403: the likeliest cause is that the list is older
//! than the sender's addresses, and Fastly never sends again what was answered with 4xx. Whoever stole the token gains
//! nothing by being told to come back. Only where a source has no token is a stranger told 403.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use axum::http::HeaderMap;
use ipnet::IpNet;

use super::reread::{FromFile, Reread};

/// Most networks of one list; Fastly has 21.
const MAX_NETWORKS: usize = 4_096;
/// Proxies that are walked through in one X-Forwarded-For.
const MAX_HOPS: usize = 32;

/// Networks, as written and from a file.
#[derive(Debug, Default)]
pub(crate) struct AddressList {
    fixed: Vec<IpNet>,
    file: Option<FromFile<Vec<IpNet>>>,
}

impl AddressList {
    /// Networks as written; `None` where nothing is.
    pub(crate) fn new(written: &[String], file: Option<PathBuf>) -> Result<Option<Self>, String> {
        let fixed = written.iter().map(|text| network(text)).collect::<Result<Vec<_>, _>>()?;
        let file = file.map(|path| FromFile::open(path, networks)).transpose()?;
        Ok((!fixed.is_empty() || file.is_some()).then_some(Self { fixed, file }))
    }

    /// Whether an address is in one of the networks.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.fixed.iter().any(|network| network.contains(&address))
            || self
                .file
                .as_ref()
                .is_some_and(|file| file.current().iter().any(|network| network.contains(&address)))
    }
}

impl Reread for AddressList {
    fn look(&self) {
        if let Some(file) = &self.file {
            file.look();
        }
    }
}

/// Who a request is from: the connection's peer, or, where that is a trusted proxy, the last address in
/// `X-Forwarded-For` that is none. Read from the right: what stands further left was written by whoever sent it.
pub(crate) fn origin(peer: SocketAddr, headers: &HeaderMap, proxies: Option<&AddressList>) -> IpAddr {
    let mut nearest = peer.ip().to_canonical();
    let Some(proxies) = proxies else { return nearest };
    let values = headers.get_all("x-forwarded-for").iter().rev();
    let written = values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
    for text in written.take(MAX_HOPS) {
        if !proxies.contains(nearest) {
            break;
        }
        // A trusted proxy that writes what is no address has said nothing.
        let Some(address) = address(text.trim()) else { break };
        nearest = address;
    }
    nearest
}

/// An address, with or without a port behind it.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let ip = bare.parse().or_else(|_| text.parse().map(|with_port: SocketAddr| with_port.ip()));
    ip.ok().map(|ip: IpAddr| ip.to_canonical())
}

fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let parsed = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    parsed.map_err(|_| format!("{text:?} is no address or network such as 151.101.0.0/16"))
}

/// One network a line, or Fastly's `GET /public-ip-list` as it is answered.
fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    #[derive(serde::Deserialize)]
    struct PublicIpList {
        addresses: Vec<String>,
        #[serde(default)]
        ipv6_addresses: Vec<String>,
    }
    let texts = if text.trim_start().starts_with('{') {
        let list: PublicIpList = serde_json::from_str(text)
            .map_err(|error| format!("not the JSON of Fastly's public-ip-list: {error}"))?;
        [list.addresses, list.ipv6_addresses].concat()
    } else {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    let networks = texts.iter().map(|text| network(text)).collect::<Result<Vec<_>, _>>()?;
    match networks.len() {
        0 => Err("holds no network: nobody could send".to_owned()),
        1..=MAX_NETWORKS => Ok(networks),
        _ => Err(format!("holds more than {MAX_NETWORKS} networks")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(written: &[&str]) -> AddressList {
        let written: Vec<String> = written.iter().map(|text| (*text).to_owned()).collect();
        AddressList::new(&written, None).unwrap().unwrap()
    }

    #[test]
    fn mapped_addresses_are_the_ones_that_they_map() {
        let list = list(&["192.0.2.0/24", "2001:db8::/32", "203.0.113.7"]);
        for inside in ["192.0.2.9", "::ffff:192.0.2.9", "2001:db8::1", "203.0.113.7"] {
            assert!(list.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["192.0.3.9", "::1", "203.0.113.8"] {
            assert!(!list.contains(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn files_hold_lines_or_fastly_s_own_list() {
        assert_eq!(networks("# ours\n10.0.0.0/8\n\n::1\n").unwrap().len(), 2);
        let fastly =
            r#"{"addresses":["23.235.32.0/20","43.249.72.0/22"],"ipv6_addresses":["2a04:4e40::/32"]}"#;
        assert_eq!(networks(fastly).unwrap().len(), 3);
        for bad in ["", "{}", "10.0.0.0/33", r#"{"addresses":["x"]}"#, r#"{"addresses":[]}"#] {
            assert!(networks(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn forwarded_addresses_are_read_from_the_right_through_trusted_hops() {
        let proxies = list(&["10.0.0.0/8"]);
        let from = |peer: &str, forwarded: &[&str]| {
            let values = forwarded
                .iter()
                .map(|value| (http::HeaderName::from_static("x-forwarded-for"), value.parse().unwrap()));
            let headers = HeaderMap::from_iter(values);
            origin(peer.parse().unwrap(), &headers, Some(&proxies)).to_string()
        };
        assert_eq!(from("192.0.2.1:9", &["1.1.1.1"]), "192.0.2.1", "who is no proxy says nothing");
        assert_eq!(from("10.0.0.1:9", &["1.1.1.1"]), "1.1.1.1");
        assert_eq!(from("10.0.0.1:9", &["6.6.6.6, 1.1.1.1, 10.0.0.2"]), "1.1.1.1", "the left is forged");
        assert_eq!(from("10.0.0.1:9", &["6.6.6.6", "1.1.1.1:443"]), "1.1.1.1");
        assert_eq!(from("10.0.0.1:9", &[]), "10.0.0.1");
        assert_eq!(from("10.0.0.1:9", &["1.1.1.1, nonsense"]), "10.0.0.1");
        assert_eq!(from("[::ffff:10.0.0.1]:9", &["[2001:db8::7]:80"]), "2001:db8::7");
    }
}

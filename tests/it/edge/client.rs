//! A client that sends bytes as they are, so that what no well-behaved client would send can be tested.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn values(&self, name: &str) -> std::vec::IntoIter<&str> {
        let of = self.headers.iter().filter(|(own, _)| own == name);
        of.map(|(_, value)| value.as_str()).collect::<Vec<_>>().into_iter()
    }

    /// The value of a header that must be there once.
    pub(super) fn header(&self, name: &str) -> &str {
        let values = self.values(name);
        assert_eq!(values.len(), 1, "{name} once in {self:?}");
        values.as_slice()[0]
    }
}

/// One request on a connection of its own. The target and the headers go out byte for byte.
pub(super) fn request(edge: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut head = format!("{method} {target} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str("host: shop.test\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    send(edge, format!("{head}\r\n").as_bytes())
}

/// Bytes, and the first answer to them.
pub(super) fn send(edge: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect_timeout(&edge, LIMIT).expect("connect to the edge");
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(bytes).expect("send");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    parse(&answer).unwrap_or_else(|| panic!("not an HTTP answer: {}", String::from_utf8_lossy(&answer)))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    // Chunk sizes between the pieces do no harm to what is looked for here.
    Some(Answer { status, headers, body: String::from_utf8_lossy(&bytes[end + 4..]).into_owned() })
}

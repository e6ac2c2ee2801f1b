//! The one place where bytes are decompressed: gzip, zstd, snappy (framed and raw), told by header and by magic,
//! streamed, and never past a cap.
//!
//! A sender's word is not taken for a size: output grows as input is read. A codec inside a codec is unpacked once
//! (a `.gz` sent with `Content-Encoding: zstd`); deeper nesting is refused, as only an attack nests deeper.

#![allow(clippy::disallowed_types, reason = "the capped decompressor is built from the raw ones")]

use std::io::{self, Read};

use bytes::Bytes;

/// Codecs one inside the other that are unpacked.
const MAX_NESTING: usize = 2;

/// First step of the output's growth, and the size of one read.
const CHUNK_BYTES: usize = 64 * 1024;

/// Most output for one byte of raw snappy, whose header claims its length: a copy element of 3 bytes yields at most
/// 64 bytes, so more than 22 for one is a lie.
const SNAPPY_MAX_RATIO: usize = 24;

/// Largest zstd window that is accepted, as a power of two: the format's own recommendation for decoders (8 MiB).
const ZSTD_WINDOW_LOG: u32 = 23;

/// A compression format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// RFC 1952, also of several members.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// Snappy with its frame format.
    SnappyFramed,
    /// One bare snappy block. Has no magic: only by header.
    SnappyRaw,
}

impl Codec {
    /// Name for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::SnappyFramed => "snappy (framed)",
            Self::SnappyRaw => "snappy (raw)",
        }
    }

    /// The codec that the first bytes show.
    pub fn of_magic(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, 0x08, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd), // a skippable frame
            _ if head.starts_with(b"\xff\x06\x00\x00sNaPpY") => Some(Self::SnappyFramed),
            _ => None,
        }
    }
}

/// Why a body was not unpacked. The sender is at fault; sending the same bytes again does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// `Content-Encoding` names a codec that is not spoken here.
    #[error("content encoding `{0}` is not supported; send gzip, zstd, snappy or identity")]
    Unsupported(String),
    /// The output passed the cap.
    #[error("{} body grows past {cap_bytes} bytes when unpacked; send smaller batches", codec.name())]
    TooLarge {
        /// What was being unpacked.
        codec: Codec,
        /// The cap that holds.
        cap_bytes: usize,
    },
    /// The bytes are not what the codec writes.
    #[error("{} body is broken after {unpacked_bytes} unpacked bytes: {message}", codec.name())]
    Corrupt {
        /// What was being unpacked.
        codec: Codec,
        /// How far it could be read.
        unpacked_bytes: usize,
        /// The codec's own words.
        message: String,
    },
    /// Whoever gives out memory has none for what comes out.
    #[error("there is no room for the unpacked body now")]
    NoRoom,
    /// More codecs one inside the other than are unpacked.
    #[error("{} inside {MAX_NESTING} other compressions is not unpacked", .0.name())]
    Nested(Codec),
}

/// Unpacks a body. `content_encoding` is the header as it came (several codecs separated by commas are read from the
/// last to the first); the first bytes overrule it, since senders mislabel. Without a codec the body comes back as
/// it is, without a copy.
///
/// At most `cap_bytes` are ever held, plus the codec's own window (8 MiB for zstd).
pub fn decompress(
    body: Bytes,
    content_encoding: Option<&str>,
    cap_bytes: usize,
) -> Result<Bytes, CompressionError> {
    decompress_within(body, content_encoding, cap_bytes, &mut |_| true)
}

/// As [`decompress`], asking `room` before the output grows by so many bytes; on `false` it ends with
/// [`CompressionError::NoRoom`]. More may have been asked for than came out at last.
pub fn decompress_within(
    mut body: Bytes,
    content_encoding: Option<&str>,
    cap_bytes: usize,
    room: &mut dyn FnMut(usize) -> bool,
) -> Result<Bytes, CompressionError> {
    let mut named = Vec::new();
    for token in
        content_encoding.unwrap_or_default().split(',').map(str::trim).filter(|token| !token.is_empty())
    {
        match token.to_ascii_lowercase().as_str() {
            "identity" => {}
            "gzip" | "x-gzip" => named.push(Codec::Gzip),
            "zstd" => named.push(Codec::Zstd),
            "snappy" | "x-snappy" | "snappy-framed" | "x-snappy-framed" => named.push(Codec::SnappyRaw),
            _ => return Err(CompressionError::Unsupported(token.chars().take(64).collect())),
        }
    }
    for _ in 0..MAX_NESTING {
        let stated = named.pop();
        let codec = match (Codec::of_magic(&body), stated) {
            (Some(shown), _) => shown,
            (None, Some(Codec::SnappyRaw)) => Codec::SnappyRaw,
            (None, Some(stated)) if body.is_empty() => {
                let message = "the body is empty".to_owned();
                return Err(CompressionError::Corrupt { codec: stated, unpacked_bytes: 0, message });
            }
            // A header without its codec: some proxy unpacked the body and left the label. Text says so itself.
            (None, Some(_)) if looks_plain(&body) => return Ok(body),
            (None, Some(stated)) => stated,
            (None, None) => return Ok(body),
        };
        // An unlabelled raw snappy block that turns out to be plain text was mislabelled.
        body = match unpack(codec, &body, cap_bytes, room) {
            Err(CompressionError::Corrupt { .. }) if codec == Codec::SnappyRaw && looks_plain(&body) => {
                return Ok(body);
            }
            unpacked => Bytes::from(unpacked?),
        };
    }
    match Codec::of_magic(&body) {
        Some(codec) => Err(CompressionError::Nested(codec)),
        None => Ok(body),
    }
}

/// Log text: begins with a printable character and holds no control characters near its beginning.
fn looks_plain(body: &[u8]) -> bool {
    let head = &body[..body.len().min(64)];
    head.iter().all(|&byte| byte >= 0x20 || matches!(byte, b'\t' | b'\n' | b'\r'))
}

fn unpack(
    codec: Codec,
    body: &[u8],
    cap_bytes: usize,
    room: &mut dyn FnMut(usize) -> bool,
) -> Result<Vec<u8>, CompressionError> {
    let mut stream = |reader: &mut dyn Read| stream(codec, reader, cap_bytes, room);
    match codec {
        Codec::Gzip => stream(&mut flate2::bufread::MultiGzDecoder::new(body)),
        Codec::Zstd => {
            let corrupt = |error: io::Error| corrupt(codec, 0, &error);
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(corrupt)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(corrupt)?;
            stream(&mut decoder)
        }
        Codec::SnappyFramed => stream(&mut snap::read::FrameDecoder::new(body)),
        Codec::SnappyRaw => {
            let claimed = snap::raw::decompress_len(body).map_err(|error| corrupt(codec, 0, &error))?;
            if claimed > cap_bytes {
                return Err(CompressionError::TooLarge { codec, cap_bytes });
            }
            if claimed > body.len().saturating_mul(SNAPPY_MAX_RATIO) {
                return Err(corrupt(
                    codec,
                    0,
                    &format!("{} bytes cannot hold the {claimed} they claim", body.len()),
                ));
            }
            if !room(claimed) {
                return Err(CompressionError::NoRoom);
            }
            snap::raw::Decoder::new().decompress_vec(body).map_err(|error| corrupt(codec, 0, &error))
        }
    }
}

/// Sizes through which a buffer grows; past the last by a quarter. Few, because an allocator keeps each that was left; and
/// the last is one that it gives back to the system at once (glibc: more than 32 MiB). What is not written to is no memory.
const STEPS_BYTES: [usize; 4] = [CHUNK_BYTES, 512 << 10, 4 << 20, 33 << 20];

/// Makes room for so many more bytes, for a buffer that may grow to any size.
pub fn reserve_in_steps(buffer: &mut Vec<u8>, more: usize) {
    let wanted = buffer.len().saturating_add(more);
    if wanted > buffer.capacity() {
        let step = STEPS_BYTES.into_iter().find(|step| *step >= wanted);
        buffer.reserve_exact(step.unwrap_or(wanted.saturating_add(wanted / 4)) - buffer.len());
    }
}

/// Reads to the end or to one byte past the cap.
fn stream(
    codec: Codec,
    reader: &mut dyn Read,
    cap_bytes: usize,
    room: &mut dyn FnMut(usize) -> bool,
) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::new();
    loop {
        let before = out.len();
        // By a quarter: what is asked for and not used is kept from others.
        let step = CHUNK_BYTES.max(before / 4).min(cap_bytes + 1 - before);
        if !room(step) {
            return Err(CompressionError::NoRoom);
        }
        reserve_in_steps(&mut out, step + 1);
        let read = Read::take(&mut *reader, step as u64).read_to_end(&mut out);
        if let Err(error) = read {
            return Err(corrupt(codec, out.len(), &error));
        }
        if out.len() > cap_bytes {
            return Err(CompressionError::TooLarge { codec, cap_bytes });
        }
        if out.len() == before {
            return Ok(out);
        }
    }
}

fn corrupt(codec: Codec, unpacked_bytes: usize, error: &dyn ToString) -> CompressionError {
    CompressionError::Corrupt { codec, unpacked_bytes, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    const CAP: usize = 1 << 20;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(data, 1).unwrap()
    }

    fn framed(data: &[u8]) -> Vec<u8> {
        let mut encoder = snap::write::FrameEncoder::new(Vec::new());
        encoder.write_all(data).unwrap();
        encoder.into_inner().unwrap()
    }

    fn raw(data: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(data).unwrap()
    }

    fn run(body: Vec<u8>, header: Option<&str>) -> Result<Bytes, CompressionError> {
        decompress(body.into(), header, CAP)
    }

    #[test]
    fn every_codec_by_header_and_by_magic() {
        let text = b"{\"status\":200}\n".repeat(100);
        for packed in [gzip(&text), zstd(&text), framed(&text)] {
            assert_eq!(run(packed.clone(), None).unwrap(), text);
            // A wrong label is overruled by the magic.
            for label in ["gzip", "zstd", "snappy", "identity"] {
                assert_eq!(run(packed.clone(), Some(label)).unwrap(), text, "{label}");
            }
        }
        assert_eq!(run(raw(&text), Some("snappy")).unwrap(), text);
        assert_eq!(run(text.clone(), None).unwrap(), text);
        // A label on a body that a proxy has unpacked already.
        assert_eq!(run(text.clone(), Some("gzip")).unwrap(), text);
        let members = [gzip(&text), gzip(&text)].concat();
        assert_eq!(run(members, None).unwrap().len(), 2 * text.len());
        let frames = [zstd(&text), zstd(&text)].concat();
        assert_eq!(run(frames, None).unwrap().len(), 2 * text.len());
    }

    #[test]
    fn one_codec_inside_another_and_no_deeper() {
        let text = b"line\n".repeat(10);
        assert_eq!(run(zstd(&gzip(&text)), Some("zstd")).unwrap(), text);
        assert_eq!(run(gzip(&gzip(&gzip(&text))), None), Err(CompressionError::Nested(Codec::Gzip)));
    }

    #[test]
    fn bombs_stop_at_the_cap() {
        let zeros = vec![b'0'; 64 << 20];
        for (packed, header) in [
            (gzip(&zeros), None),
            (zstd(&zeros), None),
            (framed(&zeros), None),
            (raw(&zeros), Some("snappy")),
        ] {
            assert!(matches!(run(packed, header), Err(CompressionError::TooLarge { cap_bytes: CAP, .. })));
        }
        let exact = vec![b'0'; CAP];
        assert_eq!(run(zstd(&exact), None).unwrap().len(), CAP);
    }

    #[test]
    fn nothing_grows_past_the_room_that_is_given() {
        let zeros = vec![b'0'; 900 << 10];
        for (packed, header) in [
            (gzip(&zeros), None),
            (zstd(&zeros), None),
            (framed(&zeros), None),
            (raw(&zeros), Some("snappy")),
        ] {
            let mut given = 0;
            let mut room = |more: usize| {
                given += more;
                given <= 256 << 10
            };
            let unpacked = decompress_within(packed.clone().into(), header, CAP, &mut room);
            assert_eq!(unpacked, Err(CompressionError::NoRoom));
            let (mut asked, mut enough) = (0, 0);
            let mut room = |more: usize| {
                asked += more;
                enough = enough.max(more);
                true
            };
            let unpacked = decompress_within(packed.into(), header, CAP, &mut room).unwrap();
            assert!(asked >= unpacked.len() && asked <= unpacked.len() * 3 / 2 + CHUNK_BYTES, "{asked}");
        }
    }

    #[test]
    fn a_claimed_length_is_not_believed() {
        // Claims 1 MiB in 4 bytes.
        let error = run(vec![0x80, 0x80, 0x40, 0x00], Some("snappy")).unwrap_err();
        assert!(matches!(error, CompressionError::Corrupt { codec: Codec::SnappyRaw, .. }), "{error}");
    }

    #[test]
    fn broken_bodies_say_what_and_how_far() {
        let mut packed = gzip(&b"0123456789".repeat(50_000));
        packed.truncate(packed.len() / 2);
        let error = run(packed, None).unwrap_err();
        assert!(
            matches!(error, CompressionError::Corrupt { codec: Codec::Gzip, unpacked_bytes: 1.., .. }),
            "{error}"
        );
        let error = run(b"x".to_vec(), Some("br")).unwrap_err().to_string();
        assert!(error.contains("`br`") && error.contains("zstd"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), codec in 0usize..5) {
            let header = [None, Some("gzip"), Some("zstd"), Some("snappy"), Some("gzip, zstd")][codec];
            if let Ok(out) = decompress(bytes.into(), header, 4096) {
                prop_assert!(out.len() <= 4096);
            }
        }
    }
}

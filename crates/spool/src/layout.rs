//! Bytes to parts and back: header, batch head, trailer, and the walk over a segment that all readers share.
//!
//! The layout itself is described at the top of the crate. Nothing here does I/O, and nothing allocates by a length
//! that the bytes claim.

use crc32c::{crc32c, crc32c_append};

/// Version of everything that follows a segment's header.
pub const ENCODING_VERSION: u16 = 1;

pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const BATCH_HEAD_BYTES: usize = 20;
pub(crate) const RECORD_HEAD_BYTES: usize = 4;
pub(crate) const TRAILER_BYTES: usize = 48;

const MAGIC: [u8; 8] = *b"TLSPOOL\n";
pub(crate) const BATCH_MARK: [u8; 4] = *b"TLBA";
const TRAILER_MARK: [u8; 4] = *b"TLSE";

pub(crate) type SegmentId = [u8; 16];

/// The part of a segment's header that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) payload_version: u32,
    pub(crate) id: SegmentId,
    pub(crate) sequence: u64,
    pub(crate) created_unix_ms: u64,
}

/// Why 64 bytes are not a header of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// Fewer than 64 bytes, or nothing but zeros: the file was being created.
    Unwritten,
    Damaged(&'static str),
    ForeignVersion(u16),
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&ENCODING_VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.payload_version.to_le_bytes());
        out[16..32].copy_from_slice(&self.id);
        out[32..40].copy_from_slice(&self.sequence.to_le_bytes());
        out[40..48].copy_from_slice(&self.created_unix_ms.to_le_bytes());
        let crc = crc32c(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let Some(head) = bytes.get(..HEADER_BYTES) else { return Err(HeaderFault::Unwritten) };
        if !head.starts_with(&MAGIC) {
            let unwritten = bytes.iter().all(|&b| b == 0);
            return Err(if unwritten {
                HeaderFault::Unwritten
            } else {
                HeaderFault::Damaged("no spool magic")
            });
        }
        // The checksum first: a flipped bit in the version must not make the file look like another version's.
        if u32_at(head, 60) != crc32c(&head[..60]) {
            return Err(HeaderFault::Damaged("header checksum does not match"));
        }
        let version = u16::from_le_bytes([head[8], head[9]]);
        if version != ENCODING_VERSION {
            return Err(HeaderFault::ForeignVersion(version));
        }
        let mut id = [0; 16];
        id.copy_from_slice(&head[16..32]);
        Ok(Self {
            payload_version: u32_at(head, 12),
            id,
            sequence: u64_at(head, 32),
            created_unix_ms: u64_at(head, 40),
        })
    }
}

/// How far a segment goes: what its trailer will say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Offset of the first byte after the last batch.
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    pub(crate) batches: u64,
    /// CRC of all head CRCs so far.
    pub(crate) chain: u32,
}

impl Extent {
    /// A segment with a header and nothing else.
    pub(crate) const EMPTY: Self = Self { bytes: HEADER_BYTES as u64, records: 0, batches: 0, chain: 0 };

    /// The same segment with one more batch.
    pub(crate) fn with(self, batch_bytes: u64, records: u32, head_crc: u32) -> Self {
        Self {
            bytes: self.bytes + batch_bytes,
            records: self.records + u64::from(records),
            batches: self.batches + 1,
            chain: crc32c_append(self.chain, &head_crc.to_le_bytes()),
        }
    }

    pub(crate) fn trailer(&self, id: &SegmentId, sealed_unix_ms: u64) -> [u8; TRAILER_BYTES] {
        let mut out = [0; TRAILER_BYTES];
        out[..4].copy_from_slice(&TRAILER_MARK);
        out[4..8].copy_from_slice(&self.chain.to_le_bytes());
        out[8..16].copy_from_slice(&self.records.to_le_bytes());
        out[16..24].copy_from_slice(&self.batches.to_le_bytes());
        out[24..32].copy_from_slice(&self.bytes.to_le_bytes());
        out[32..40].copy_from_slice(&sealed_unix_ms.to_le_bytes());
        let crc = crc32c_append(crc32c(id), &out[..44]);
        out[44..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// What the trailer at the start of `bytes` says; `None` if there is no sound one.
    pub(crate) fn from_trailer(bytes: &[u8], id: &SegmentId) -> Option<Self> {
        let tail = bytes.get(..TRAILER_BYTES)?;
        if !tail.starts_with(&TRAILER_MARK) || u32_at(tail, 44) != crc32c_append(crc32c(id), &tail[..44]) {
            return None;
        }
        Some(Self {
            chain: u32_at(tail, 4),
            records: u64_at(tail, 8),
            batches: u64_at(tail, 16),
            bytes: u64_at(tail, 24),
        })
    }
}

/// Fills in the head of a framed batch but for its last four bytes. `frame` is head and body, within u32.
pub(crate) fn fill_batch_head(frame: &mut [u8], records: u32) {
    if let Some((head, body)) = frame.split_at_mut_checked(BATCH_HEAD_BYTES) {
        head[..4].copy_from_slice(&BATCH_MARK);
        head[4..8].copy_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        head[8..12].copy_from_slice(&records.to_le_bytes());
        head[12..16].copy_from_slice(&crc32c(body).to_le_bytes());
    }
}

/// Binds a framed batch to its segment and offset; returns the head's CRC, which the trailer chains.
pub(crate) fn bind_batch(frame: &mut [u8], id: &SegmentId, offset: u64) -> u32 {
    let crc = head_crc(frame, id, offset);
    if let Some(place) = frame.get_mut(16..20) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
    crc
}

fn head_crc(frame: &[u8], id: &SegmentId, offset: u64) -> u32 {
    let crc = crc32c_append(crc32c(id), &offset.to_le_bytes());
    crc32c_append(crc, frame.get(..16).unwrap_or_default())
}

/// A whole batch found in a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) offset: usize,
    /// Head and body.
    pub(crate) length: usize,
    pub(crate) records: u32,
    head_crc: u32,
}

/// The batch that starts at `offset`, or what is wrong there. `bytes` is the whole segment.
pub(crate) fn batch_at(bytes: &[u8], id: &SegmentId, offset: usize) -> Result<Span, &'static str> {
    let rest = bytes.get(offset..).unwrap_or_default();
    let Some((head, rest)) = rest.split_at_checked(BATCH_HEAD_BYTES) else {
        return Err("batch head is cut short");
    };
    if !head.starts_with(&BATCH_MARK) {
        return Err("neither a batch nor a trailer");
    }
    let crc = u32_at(head, 16);
    if crc != head_crc(head, id, offset as u64) {
        return Err("batch head checksum does not match");
    }
    let Some(body) = rest.get(..u32_at(head, 4) as usize) else { return Err("batch body is cut short") };
    if crc32c(body) != u32_at(head, 12) {
        return Err("batch body checksum does not match");
    }
    let records = u32_at(head, 8);
    if !is_framed(body, records) {
        return Err("record lengths do not add up");
    }
    Ok(Span { offset, length: BATCH_HEAD_BYTES + body.len(), records, head_crc: crc })
}

fn is_framed(mut body: &[u8], records: u32) -> bool {
    for _ in 0..records {
        match split_record(body) {
            Some((_, rest)) => body = rest,
            None => return false,
        }
    }
    body.is_empty()
}

/// The first record of a batch's body and what follows it.
pub(crate) fn split_record(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = body.split_first_chunk::<RECORD_HEAD_BYTES>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// What a walk from the header on found.
#[derive(Debug)]
pub(crate) struct Scan {
    /// The whole batches up to the first thing that is not one.
    pub(crate) spans: Vec<Span>,
    pub(crate) extent: Extent,
    pub(crate) end: End,
}

/// Why the walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A trailer that agrees with every batch before it, and nothing after it.
    Sealed,
    /// The bytes are used up; no trailer.
    Open,
    /// Something that is neither.
    Fault(&'static str),
}

/// Walks a whole segment whose header was already decoded.
pub(crate) fn scan(bytes: &[u8], id: &SegmentId) -> Scan {
    let mut spans = Vec::new();
    let mut extent = Extent::EMPTY;
    let end = loop {
        let offset = extent.bytes as usize;
        let rest = bytes.get(offset..).unwrap_or_default();
        if rest.is_empty() {
            break End::Open;
        }
        if rest.starts_with(&TRAILER_MARK) {
            break match Extent::from_trailer(rest, id) {
                Some(told) if told == extent && rest.len() == TRAILER_BYTES => End::Sealed,
                Some(told) if told == extent => End::Fault("bytes after the trailer"),
                Some(_) => End::Fault("the trailer does not agree with the batches"),
                None => End::Fault("trailer is cut short or fails its checksum"),
            };
        }
        match batch_at(bytes, id, offset) {
            Ok(span) => {
                extent = extent.with(span.length as u64, span.records, span.head_crc);
                spans.push(span);
            }
            Err(what) => break End::Fault(what),
        }
    };
    Scan { spans, extent, end }
}

/// The first whole batch at or after `from`: how a rescue finds its feet again behind damage.
pub(crate) fn next_batch(bytes: &[u8], id: &SegmentId, from: usize) -> Option<Span> {
    let rest = bytes.get(from..)?;
    rest.windows(BATCH_MARK.len())
        .enumerate()
        .filter(|(_, window)| *window == BATCH_MARK)
        .find_map(|(at, _)| batch_at(bytes, id, from + at).ok())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: SegmentId = [5; 16];

    fn framed(records: &[&[u8]]) -> Vec<u8> {
        let mut frame = vec![0; BATCH_HEAD_BYTES];
        for record in records {
            frame.extend((record.len() as u32).to_le_bytes());
            frame.extend(*record);
        }
        fill_batch_head(&mut frame, records.len() as u32);
        frame
    }

    /// A segment of these batches, without trailer.
    fn segment(batches: &[&[&[u8]]]) -> (Vec<u8>, Extent) {
        let header = Header { payload_version: 1, id: ID, sequence: 2, created_unix_ms: 3 };
        let (mut bytes, mut extent) = (header.encode().to_vec(), Extent::EMPTY);
        for records in batches {
            let mut frame = framed(records);
            let crc = bind_batch(&mut frame, &ID, extent.bytes);
            extent = extent.with(frame.len() as u64, records.len() as u32, crc);
            bytes.extend(frame);
        }
        (bytes, extent)
    }

    /// What is on disks must stay readable: a change here needs another encoding version.
    #[test]
    fn the_layout_is_byte_for_byte_as_documented() {
        let (mut bytes, extent) = segment(&[&[b"ab", b""]]);
        bytes.extend(extent.trailer(&ID, 4));
        let mut expected = b"TLSPOOL\n\x01\0\0\0\x01\0\0\0".to_vec();
        expected.extend([5; 16]);
        expected.extend(b"\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0");
        expected.extend([0; 12]);
        expected.extend(crc32c(&expected).to_le_bytes());
        let body = b"\x02\0\0\0ab\0\0\0\0";
        let mut head = b"TLBA\x0a\0\0\0\x02\0\0\0".to_vec();
        head.extend(crc32c(body).to_le_bytes());
        let head_crc = crc32c(&[&ID[..], &64u64.to_le_bytes(), &head].concat());
        head.extend(head_crc.to_le_bytes());
        expected.extend([&head[..], body].concat());
        let mut trailer = b"TLSE".to_vec();
        trailer.extend(crc32c(&head_crc.to_le_bytes()).to_le_bytes());
        for word in [2u64, 1, 64 + 20 + 10, 4] {
            trailer.extend(word.to_le_bytes());
        }
        trailer.extend([0; 4]);
        trailer.extend(crc32c(&[&ID[..], &trailer].concat()).to_le_bytes());
        expected.extend(trailer);
        assert_eq!(bytes, expected);
        assert_eq!(scan(&bytes, &ID).end, End::Sealed);
    }

    #[test]
    fn a_batch_is_only_itself_in_its_segment_at_its_offset() {
        let (bytes, extent) = segment(&[&[b"a"]]);
        assert!(batch_at(&bytes, &ID, HEADER_BYTES).is_ok());
        assert!(batch_at(&bytes, &[6; 16], HEADER_BYTES).is_err());
        // As a block of the file's own past might turn up again further on.
        let again = [&bytes[..], &bytes[HEADER_BYTES..]].concat();
        assert!(batch_at(&again, &ID, extent.bytes as usize).is_err());
        assert!(next_batch(&again, &ID, extent.bytes as usize).is_none());
    }

    #[test]
    fn a_trailer_that_contradicts_the_batches_is_not_believed() {
        let (bytes, extent) = segment(&[&[b"a"], &[b"b"]]);
        for wrong in [
            Extent { records: 3, ..extent },
            Extent { batches: 1, ..extent },
            Extent { chain: 0, ..extent },
            Extent { bytes: 0, ..extent },
        ] {
            let sealed = [&bytes[..], &wrong.trailer(&ID, 0)].concat();
            assert!(matches!(scan(&sealed, &ID).end, End::Fault(_)), "{wrong:?}");
        }
        let longer = [&bytes[..], &extent.trailer(&ID, 0), b"x"].concat();
        assert!(matches!(scan(&longer, &ID).end, End::Fault(_)));
    }

    #[test]
    fn a_claimed_length_is_checked_against_what_is_there() {
        // Sound checksums around lengths that lie: only a writer gone wrong makes these.
        for (body, records) in [
            (&[0xff, 0xff, 0xff, 0xff, 1][..], 1),
            (&[1, 0, 0, 0, 7, 9], 1),
            (&[1, 0, 0, 0, 7], u32::MAX),
            (&[], 1),
        ] {
            let mut frame = vec![0; BATCH_HEAD_BYTES];
            frame.extend(body);
            fill_batch_head(&mut frame, records);
            bind_batch(&mut frame, &ID, 0);
            assert_eq!(batch_at(&frame, &ID, 0).unwrap_err(), "record lengths do not add up");
            frame[4..8].fill(0xff);
            bind_batch(&mut frame, &ID, 0);
            assert_eq!(batch_at(&frame, &ID, 0).unwrap_err(), "batch body is cut short");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_walk_never_panics(bytes: Vec<u8>, at: usize, with: u8) {
            let (mut segment, extent) = segment(&[&[b"a", b"bc"], &[b""]]);
            segment.extend(extent.trailer(&ID, 0));
            let at = at % segment.len();
            segment[at] ^= with;
            for bytes in [bytes, segment] {
                let _ = Header::decode(&bytes);
                scan(&bytes, &ID);
                next_batch(&bytes, &ID, 0);
            }
        }
    }
}

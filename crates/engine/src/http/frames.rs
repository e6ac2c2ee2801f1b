//! ClickHouse's compressed frames (`decompress=1` on a request, `compress=1` for the answer).
//!
//! One frame: 16 bytes CityHash128 (version 1.0.2) of the rest, 1 byte method, u32 size of header and payload without the
//! hash, u32 size when decompressed, payload. All little-endian. Methods: 0x82 LZ4 block, 0x02 stored.

use bytes::{Buf, Bytes, BytesMut};

use crate::connection::EngineError;

const CHECKSUM_BYTES: usize = 16;
/// Method and the two sizes; counted in the compressed size.
const HEADER_BYTES: usize = 9;
const METHOD_LZ4: u8 = 0x82;
const METHOD_STORED: u8 = 0x02;
/// The largest frame accepted, compressed or not. The engine itself writes 1 MiB; clients write their buffer's size.
const FRAME_MAX_BYTES: usize = 64 << 20;
/// What LZ4 can expand to at most, per compressed byte; a larger claim is a lie, and is refused before allocating.
const LZ4_MAX_RATIO: usize = 255;
/// Size of the frames written.
const WRITTEN_FRAME_BYTES: usize = 1 << 20;

/// Takes frames apart as their bytes arrive.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    pending: BytesMut,
}

impl FrameReader {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The content of the next whole frame, once it is there.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        let Some(header) = self.pending.get(CHECKSUM_BYTES..CHECKSUM_BYTES + HEADER_BYTES) else {
            return Ok(None);
        };
        let (method, mut sizes) = (header[0], &header[1..]);
        let (size, decompressed) = (sizes.get_u32_le() as usize, sizes.get_u32_le() as usize);
        if !(HEADER_BYTES..=FRAME_MAX_BYTES).contains(&size) || decompressed > FRAME_MAX_BYTES {
            let what = format!(
                "a frame claims {size} bytes, {decompressed} decompressed; at most {FRAME_MAX_BYTES} are taken"
            );
            return Err(EngineError::new(273, "TOO_LARGE_SIZE_COMPRESSED", &what));
        }
        if self.pending.len() < CHECKSUM_BYTES + size {
            return Ok(None);
        }
        let frame = self.pending.split_to(CHECKSUM_BYTES + size);
        let (checksum, body) = frame.split_at(CHECKSUM_BYTES);
        if checksum != checksum_of(body) {
            return Err(EngineError::new(
                40,
                "CHECKSUM_DOESNT_MATCH",
                "a compressed frame was damaged on its way; send it again",
            ));
        }
        let payload = &body[HEADER_BYTES..];
        let damaged = |what: &str| EngineError::new(271, "CANNOT_DECOMPRESS", what);
        match method {
            METHOD_STORED if payload.len() == decompressed => Ok(Some(Bytes::copy_from_slice(payload))),
            METHOD_LZ4 if decompressed <= payload.len().saturating_mul(LZ4_MAX_RATIO) => {
                let content = lz4_flex::block::decompress(payload, decompressed)
                    .map_err(|error| damaged(&error.to_string()))?;
                Ok(Some(content.into()))
            }
            METHOD_STORED | METHOD_LZ4 => Err(damaged("a frame's sizes do not agree with its content")),
            other => {
                let what = format!("compression method 0x{other:02x} is not supported; use LZ4, or none");
                Err(EngineError::new(89, "UNKNOWN_COMPRESSION_METHOD", &what))
            }
        }
    }

    /// Says whether bytes of an unfinished frame are left over.
    pub(crate) fn finish(&self) -> Result<(), EngineError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        Err(EngineError::new(33, "CANNOT_READ_ALL_DATA", "the body ends inside a compressed frame"))
    }
}

/// Packs bytes into frames.
pub(crate) fn frames(content: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    for piece in content.chunks(WRITTEN_FRAME_BYTES) {
        let payload = lz4_flex::block::compress(piece);
        let mut body = Vec::with_capacity(HEADER_BYTES + payload.len());
        body.push(METHOD_LZ4);
        // Both sizes stay near 1 MiB.
        body.extend_from_slice(&((HEADER_BYTES + payload.len()) as u32).to_le_bytes());
        body.extend_from_slice(&(piece.len() as u32).to_le_bytes());
        body.extend_from_slice(&payload);
        out.extend_from_slice(&checksum_of(&body));
        out.extend_from_slice(&body);
    }
    out.freeze()
}

/// CityHash128 as ClickHouse writes it: low half first, both little-endian.
fn checksum_of(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = cityhash_rs::cityhash_102_128(body);
    let mut bytes = [0; CHECKSUM_BYTES];
    bytes[..8].copy_from_slice(&((hash >> 64) as u64).to_le_bytes());
    bytes[8..].copy_from_slice(&(hash as u64).to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], step: usize) -> Result<Vec<u8>, EngineError> {
        let mut reader = FrameReader::default();
        let mut out = Vec::new();
        for piece in bytes.chunks(step) {
            reader.push(piece);
            while let Some(content) = reader.next()? {
                out.extend_from_slice(&content);
            }
        }
        reader.finish()?;
        Ok(out)
    }

    #[test]
    fn frames_come_back_whole_however_they_are_cut() {
        let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let packed = frames(&content);
        for step in [1000, 65_536, packed.len()] {
            assert_eq!(read(&packed, step).unwrap(), content);
        }
        assert_eq!(read(&packed[..packed.len() - 1], 4096).unwrap_err().code, 33);
    }

    #[test]
    fn damage_and_false_claims_are_refused() {
        let mut packed = frames(b"hello hello hello hello").to_vec();
        packed[30] ^= 1;
        assert_eq!(read(&packed, 7).unwrap_err().code, 40);
        let mut packed = frames(b"hello hello hello hello").to_vec();
        packed[17..21].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(read(&packed, 7).unwrap_err().code, 273);
        let mut packed = frames(b"hello hello hello hello").to_vec();
        packed[21..25].copy_from_slice(&(60_u32 << 20).to_le_bytes());
        let checksum = checksum_of(&packed[16..]);
        packed[..16].copy_from_slice(&checksum);
        assert_eq!(read(&packed, 7).unwrap_err().code, 271);
    }
}

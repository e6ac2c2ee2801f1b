//! Events in the form that correlation reads: the spool's bytes of some thousand events, packed together. Shipping
//! writes them, correlation reads them.
//!
//! ```text
//! packed = zstd( version u8 (1) · (length u32 LE · bytes of one event)… )
//! ```

use bytes::Bytes;
use decode::compression::{CompressionError, decompress};

/// First byte of what is packed. No codec's output begins with it.
const VERSION: u8 = 1;
/// Plain bytes at which a chunk is full: some thousand events, so that one is unpacked at a time without much memory.
const FULL_BYTES: usize = 512 << 10;
/// Most plain bytes of a chunk that is read: a full one and the largest event, with room.
const MOST_BYTES: usize = 64 << 20;
/// The fastest level that packs well: hops of one request repeat each other.
const LEVEL: i32 = 1;

/// Why a chunk could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChunkError {
    #[error("it cannot be unpacked: {0}")]
    Packing(#[from] CompressionError),
    #[error("it is of version {0}, this build reads {VERSION}: upgrade this instance")]
    Version(u8),
    #[error("it ends in the middle of an event")]
    Short,
}

/// Packs the events of one segment.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    plain: Vec<u8>,
    events: u32,
}

impl Packer {
    /// Adds an event as it stands in the spool; a full chunk comes out.
    pub(crate) fn push(&mut self, event: &[u8]) -> std::io::Result<Option<(u32, Vec<u8>)>> {
        if self.plain.is_empty() {
            self.plain.push(VERSION);
        }
        self.keep(event);
        if self.plain.len() < FULL_BYTES { Ok(None) } else { self.finish() }
    }

    /// For a chunk that was one before, however large: [`Self::keep`] and [`Self::pack`].
    pub(crate) fn whole() -> Self {
        Self { plain: vec![VERSION], events: 0 }
    }

    /// Adds an event to the one chunk.
    pub(crate) fn keep(&mut self, event: &[u8]) {
        self.plain.extend_from_slice(&(event.len() as u32).to_le_bytes());
        self.plain.extend_from_slice(event);
        self.events += 1;
    }

    /// The one chunk, also of nothing.
    pub(crate) fn pack(self) -> std::io::Result<(u32, Vec<u8>)> {
        Ok((self.events, zstd::bulk::compress(&self.plain, LEVEL)?))
    }

    /// What is left, as the last chunk.
    pub(crate) fn finish(&mut self) -> std::io::Result<Option<(u32, Vec<u8>)>> {
        if self.events == 0 {
            return Ok(None);
        }
        let packed = zstd::bulk::compress(&self.plain, LEVEL)?;
        let events = std::mem::take(&mut self.events);
        self.plain.clear();
        Ok(Some((events, packed)))
    }
}

/// The plain bytes of a chunk.
#[derive(Debug, Clone)]
pub(crate) struct Plain(Bytes);

impl Plain {
    /// Unpacks a chunk.
    pub(crate) fn unpack(packed: Bytes) -> Result<Self, ChunkError> {
        let plain = decompress(packed, Some("zstd"), MOST_BYTES)?;
        match plain.first() {
            Some(&VERSION) => Ok(Self(plain)),
            Some(&other) => Err(ChunkError::Version(other)),
            None => Err(ChunkError::Short),
        }
    }

    /// Place and bytes of every event, in order.
    pub(crate) fn events(&self) -> impl Iterator<Item = Result<(u32, &[u8]), ChunkError>> {
        let mut at = 1;
        std::iter::from_fn(move || {
            (at < self.0.len()).then(|| {
                let place = at;
                let event = self.event(place as u32).ok_or(ChunkError::Short);
                at = event.as_ref().map_or(self.0.len(), |event| place + 4 + event.len());
                event.map(|event| (place as u32, event))
            })
        })
    }

    /// The bytes of the event at a place that [`Self::events`] gave.
    pub(crate) fn event(&self, place: u32) -> Option<&[u8]> {
        let (length, rest) = self.0.get(place as usize..)?.split_first_chunk()?;
        rest.get(..u32::from_le_bytes(*length) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_back_by_order_and_by_place() {
        let events: Vec<Vec<u8>> = (0..4000u32).map(|n| vec![n as u8; (n % 300) as usize]).collect();
        let mut packer = Packer::default();
        let mut chunks = Vec::new();
        for event in &events {
            chunks.extend(packer.push(event).unwrap());
        }
        chunks.extend(packer.finish().unwrap());
        assert!(chunks.len() > 1, "more than one chunk is full");
        assert_eq!(chunks.iter().map(|(events, _)| *events).sum::<u32>(), 4000);
        let mut back = Vec::new();
        for (_, packed) in chunks {
            let plain = Plain::unpack(packed.into()).unwrap();
            for event in plain.events() {
                let (place, event) = event.unwrap();
                assert_eq!(plain.event(place), Some(event));
                back.push(event.to_vec());
            }
        }
        assert_eq!(back, events);
    }

    #[test]
    fn nothing_is_no_chunk_and_damage_is_an_error() {
        assert_eq!(Packer::default().finish().unwrap(), None);
        assert!(Plain::unpack(Bytes::from_static(b"no zstd")).is_err());
        let other = zstd::bulk::compress(&[9, 0, 0, 0, 0], 1).unwrap();
        assert!(matches!(Plain::unpack(other.into()), Err(ChunkError::Version(9))));
        let cut = zstd::bulk::compress(&[VERSION, 5, 0, 0, 0, 1], 1).unwrap();
        let plain = Plain::unpack(cut.into()).unwrap();
        assert!(matches!(plain.events().next(), Some(Err(ChunkError::Short))));
    }
}

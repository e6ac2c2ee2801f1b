//! A file or stdin as an unpacked stream, with its head to tell the format by.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use anyhow::Context as _;

/// Bytes of the head: a few hundred lines, and past the identifier of an ALS stream (60 to 80 KB).
const HEAD_BYTES: u64 = 256 * 1024;

/// A stream that is handed to a blocking thread.
pub(in crate::cli) type Stream = Box<dyn Read + Send>;

/// One input, opened.
pub(in crate::cli) struct Opened {
    /// Packed size, where it is a file.
    pub(in crate::cli) size_bytes: Option<u64>,
    /// The unpacked beginning.
    pub(in crate::cli) head: Vec<u8>,
    /// All of it, unpacked, the head included.
    pub(in crate::cli) stream: Stream,
}

/// Opens a path, `-` for stdin; `count` sees the packed bytes as they are read.
pub(in crate::cli) fn open(path: &Path, count: impl Fn(u64) + Send + 'static) -> anyhow::Result<Opened> {
    let what = || format!("read {}", path.display());
    let (packed, size_bytes): (Stream, _) = if path == Path::new("-") {
        (Box::new(io::stdin()), None)
    } else {
        let file = File::open(path).with_context(what)?;
        let metadata = file.metadata().with_context(what)?;
        anyhow::ensure!(!metadata.is_dir(), "{} is a directory: name the files in it", path.display());
        (Box::new(file), metadata.is_file().then_some(metadata.len()))
    };
    let mut stream = unpack(Box::new(Counted { inner: packed, count })).with_context(what)?;
    let mut head = Vec::new();
    (&mut stream).take(HEAD_BYTES).read_to_end(&mut head).with_context(what)?;
    let stream = Box::new(Cursor::new(head.clone()).chain(stream));
    Ok(Opened { size_bytes, head, stream })
}

/// Unpacks gzip and zstd by their magic numbers, several members in a row included.
///
/// These decompressors have no cap on what comes out, and need none: the stream is read piece by piece, never held.
#[expect(clippy::disallowed_types, reason = "read in pieces of bounded size: output is never collected")]
fn unpack(mut packed: Stream) -> io::Result<Stream> {
    let mut magic = Vec::new();
    (&mut packed).take(4).read_to_end(&mut magic)?;
    let starts = |with: &[u8]| magic.starts_with(with);
    let (gzip, zstd) = (starts(&[0x1f, 0x8b]), starts(&[0x28, 0xb5, 0x2f, 0xfd]));
    let whole = BufReader::with_capacity(128 * 1024, Cursor::new(magic).chain(packed));
    Ok(if gzip {
        Box::new(flate2::read::MultiGzDecoder::new(whole))
    } else if zstd {
        Box::new(zstd::stream::read::Decoder::with_buffer(whole)?)
    } else {
        Box::new(whole)
    })
}

/// Tells how many packed bytes went through.
struct Counted<F> {
    inner: Stream,
    count: F,
}

impl<F: Fn(u64)> Read for Counted<F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        (self.count)(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn read(content: &[u8]) -> (Vec<u8>, Vec<u8>, u64) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let counted = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&counted);
        let mut opened =
            open(file.path(), move |bytes| _ = seen.fetch_add(bytes, Ordering::Relaxed)).unwrap();
        assert_eq!(opened.size_bytes, Some(content.len() as u64));
        let mut all = Vec::new();
        opened.stream.read_to_end(&mut all).unwrap();
        (opened.head, all, counted.load(Ordering::Relaxed))
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(content).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn packed_files_are_told_by_their_magic() {
        let line = b"{\"a\":1}\n".as_slice();
        let two_members = [gzip(line), gzip(line)].concat();
        let zstd = zstd::encode_all(line, 1).unwrap();
        for (content, expected) in [(line, 1), (&two_members, 2), (&zstd, 1)] {
            let (head, all, counted) = read(content);
            assert_eq!(all, line.repeat(expected));
            assert_eq!(head, all);
            assert_eq!(counted, content.len() as u64);
        }
        assert_eq!(read(b"").1, b"");
    }

    #[test]
    fn more_than_the_head_comes_through_in_order() {
        let content: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let (head, all, _) = read(&content);
        assert_eq!(head.len() as u64, HEAD_BYTES);
        assert_eq!(all, content);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = open(Path::new("/nowhere/x.log"), |_| {}).err().unwrap();
        assert!(format!("{error:#}").starts_with("read /nowhere/x.log: "), "{error:#}");
    }
}

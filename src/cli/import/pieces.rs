//! Cutting a stream into pieces that are sent one by one, in bounded memory, without ever cutting a record.

use std::io::{self, Read};

/// Bytes of a piece of lines: large enough that a request costs little beside it, small enough that a few in flight
/// stay within what a service holds for one client.
pub(in crate::cli) const PIECE_BYTES: usize = 2 << 20;

/// Most bytes of one record, document or frame; more is a mistake or an attack, and is refused here.
pub(in crate::cli) const RECORD_MOST_BYTES: usize = 16 << 20;

/// Where a stream may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Cut {
    /// After a line break.
    Lines,
    /// Between the elements of a JSON array that may be larger than a piece, and between arrays on lines of their own.
    Elements,
    /// After every JSON document.
    Documents,
    /// After every varint-length-delimited frame.
    Frames,
    /// Nowhere: the stream is one record.
    Whole,
}

/// One piece, or what stood where a piece would be too large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Piece {
    /// Whole records.
    Whole {
        /// Where the piece began in the (unpacked) file.
        offset: u64,
        /// The records; for frames without the length.
        bytes: Vec<u8>,
    },
    /// One record longer than [`RECORD_MOST_BYTES`], skipped.
    TooLarge {
        /// Where it began.
        offset: u64,
    },
}

/// The pieces of one stream.
pub(in crate::cli) struct Pieces<R> {
    input: R,
    cut: Cut,
    piece_bytes: usize,
    record_most_bytes: usize,
    held: Vec<u8>,
    offset: u64,
    has_ended: bool,
    /// The previous piece ended inside of an array.
    in_array: bool,
}

impl<R: Read> Pieces<R> {
    pub(in crate::cli) fn new(input: R, cut: Cut) -> Self {
        // Documents go out one by one: what is held beyond the first is moved each time.
        let piece_bytes = if cut == Cut::Documents { PIECE_BYTES / 32 } else { PIECE_BYTES };
        Self::with_bounds(input, cut, piece_bytes, RECORD_MOST_BYTES)
    }

    fn with_bounds(input: R, cut: Cut, piece_bytes: usize, record_most_bytes: usize) -> Self {
        let held = Vec::new();
        Self {
            input,
            cut,
            piece_bytes,
            record_most_bytes,
            held,
            offset: 0,
            has_ended: false,
            in_array: false,
        }
    }

    /// The next piece, in the order of the stream; `None` at its end. A frame that ends early is an error of kind
    /// `UnexpectedEof`.
    pub(in crate::cli) fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        if self.cut == Cut::Frames {
            return self.next_frame();
        }
        let mut wanted = self.piece_bytes;
        loop {
            self.fill(wanted)?;
            if self.held.is_empty() {
                return Ok(None);
            }
            let is_last = self.has_ended && self.cut != Cut::Documents && self.held.len() <= self.piece_bytes;
            let boundary = if is_last { None } else { self.boundary() };
            if let Some((at, in_array)) = boundary {
                return Ok(Some(self.take(at, in_array)));
            }
            if self.has_ended {
                let all = self.held.len();
                return Ok(Some(self.take(all, false)));
            }
            if self.held.len() >= self.record_most_bytes {
                return self.skip_line().map(Some);
            }
            wanted = (self.held.len() * 2).min(self.record_most_bytes);
        }
    }

    /// Reads until `wanted` bytes are held or the stream ends.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.has_ended || self.held.len() >= wanted {
            return Ok(());
        }
        let missing = (wanted - self.held.len()) as u64;
        let read = (&mut self.input).take(missing).read_to_end(&mut self.held)?;
        self.has_ended = (read as u64) < missing;
        Ok(())
    }

    /// Where what is held may be cut, and whether that is inside of an array: as late as the size of a piece allows, or
    /// else at the first chance after it. Every document is a piece.
    fn boundary(&self) -> Option<(usize, bool)> {
        if self.cut == Cut::Whole {
            return None;
        }
        if self.cut == Cut::Lines {
            let is_break = |&byte: &u8| byte == b'\n';
            let (piece, rest) = self.held.split_at(self.held.len().min(self.piece_bytes));
            let within = piece.iter().rposition(is_break);
            let after = || rest.iter().position(is_break).map(|at| piece.len() + at);
            return within.or_else(after).map(|at| (at + 1, false));
        }
        let (mut depth, mut in_text, mut escaped) = (i64::from(self.in_array), false, false);
        let mut found = None;
        for (at, byte) in self.held.iter().enumerate() {
            if found.is_some() && at >= self.piece_bytes {
                break;
            }
            if in_text {
                (in_text, escaped) = match byte {
                    _ if escaped => (true, false),
                    b'\\' => (true, true),
                    b'"' => (false, false),
                    _ => (true, false),
                };
                continue;
            }
            match byte {
                b'"' => in_text = true,
                b'[' | b'{' => depth += 1,
                b']' | b'}' => {
                    depth -= 1;
                    if depth == 0 && self.cut == Cut::Documents {
                        return Some((at + 1, false));
                    }
                }
                b',' if depth == 1 && self.cut == Cut::Elements => found = Some((at + 1, true)),
                b'\n' if depth == 0 && self.cut == Cut::Elements => found = Some((at + 1, false)),
                _ => {}
            }
        }
        found
    }

    /// Takes what stands before `at`; a piece that begins or ends inside of an array is made an array again.
    fn take(&mut self, at: usize, in_array: bool) -> Piece {
        let rest = self.held.split_off(at);
        let mut bytes = std::mem::replace(&mut self.held, rest);
        let offset = self.offset;
        self.offset += at as u64;
        if self.in_array {
            bytes.insert(0, b'[');
        }
        if in_array {
            // The comma at the cut.
            bytes.pop();
            bytes.push(b']');
        }
        self.in_array = in_array;
        Piece::Whole { offset, bytes }
    }

    /// Drops a record that is too large, up to the next line break.
    fn skip_line(&mut self) -> io::Result<Piece> {
        let offset = self.offset;
        self.in_array = false;
        loop {
            if let Some(at) = self.held.iter().position(|&byte| byte == b'\n') {
                self.held.drain(..=at);
                self.offset += at as u64 + 1;
                break;
            }
            self.offset += self.held.len() as u64;
            self.held.clear();
            if self.has_ended {
                break;
            }
            self.fill(self.piece_bytes)?;
        }
        Ok(Piece::TooLarge { offset })
    }

    fn next_frame(&mut self) -> io::Result<Option<Piece>> {
        let offset = self.offset;
        let Some(length) = self.varint()? else { return Ok(None) };
        let mut bytes = Vec::new();
        let is_too_large = length > self.record_most_bytes as u64;
        let mut frame = (&mut self.input).take(length);
        let read = if is_too_large {
            io::copy(&mut frame, &mut io::sink())?
        } else {
            frame.read_to_end(&mut bytes)? as u64
        };
        self.offset += read;
        if read < length {
            return Err(cut_short(offset));
        }
        Ok(Some(if is_too_large { Piece::TooLarge { offset } } else { Piece::Whole { offset, bytes } }))
    }

    fn varint(&mut self) -> io::Result<Option<u64>> {
        let (start, mut value) = (self.offset, 0u64);
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            if (&mut self.input).take(1).read(&mut byte)? == 0 {
                return if self.offset == start { Ok(None) } else { Err(cut_short(start)) };
            }
            self.offset += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(Some(value));
            }
        }
        let message = format!("no frame begins at byte {start}: is this file length-delimited protobuf?");
        Err(io::Error::new(io::ErrorKind::InvalidData, message))
    }
}

fn cut_short(offset: u64) -> io::Error {
    let message = format!("the frame at byte {offset} is cut short: the file is damaged or incomplete");
    io::Error::new(io::ErrorKind::UnexpectedEof, message)
}

#[cfg(test)]
#[path = "pieces_tests.rs"]
mod tests;

//! Any bytes as a segment, for fuzzers: nothing panics, and no damage makes a record that nobody appended.

use std::collections::BTreeSet;

use crate::layout::{
    self, BATCH_HEAD_BYTES, End, Extent, Header, HeaderFault, RECORD_HEAD_BYTES, SegmentId, Span,
};
use crate::rescue::whole_batches;

const ID: SegmentId = [5; 16];
/// Records, batches and bytes of one built segment stay small: a fuzzer should try many, not large ones.
const MOST_BATCHES: usize = 8;
const MOST_RECORDS: usize = 8;
const MOST_BYTES: usize = 32 * 1024;

/// An even first byte: the rest is a file. An odd one: the rest says what is appended and what then happens to the file.
///
/// # Panics
/// If a record comes out that was never appended, or a damaged file passes for a whole one.
pub fn drive(bytes: &[u8]) {
    match bytes.split_first() {
        Some((kind, rest)) if kind % 2 == 1 => damaged(rest),
        Some((_, rest)) => any(rest),
        None => {}
    }
}

fn any(file: &[u8]) {
    let (Ok(Header { id, .. }) | Err((_, id))) = Header::decode(file).map_err(|fault| {
        assert!(fault != HeaderFault::ForeignVersion(layout::ENCODING_VERSION));
        (fault, ID)
    });
    let scan = layout::scan(file, &id);
    let records: u64 = scan.spans.iter().map(|span| records_of(file, span).len() as u64).sum();
    assert_eq!(records, scan.extent.records);
    assert!(scan.extent.bytes as usize <= file.len().max(Extent::EMPTY.bytes as usize));
    let rescued = whole_batches(file, &Header { payload_version: 1, id, sequence: 1, created_unix_ms: 1 });
    assert!(rescued.len() >= scan.spans.len());
}

/// Builds a segment, changes it, and asks both readers what they find.
fn damaged(script: &[u8]) {
    let mut script = script.iter().copied();
    let header = Header { payload_version: 1, id: ID, sequence: 7, created_unix_ms: 9 };
    let (mut file, mut extent) = (header.encode().to_vec(), Extent::EMPTY);
    let mut appended = BTreeSet::new();
    for batch in 0..next(&mut script) % MOST_BATCHES {
        let mut frame = vec![0; BATCH_HEAD_BYTES];
        let records = next(&mut script) % MOST_RECORDS;
        for record in 0..records {
            // Its number makes each record one of a kind, its length is the fuzzer's.
            let mut content = vec![batch as u8, record as u8];
            content.resize(2 + next(&mut script), 0xa5);
            frame.extend((content.len() as u32).to_le_bytes());
            frame.extend(&content);
            appended.insert(content);
        }
        layout::fill_batch_head(&mut frame, records as u32);
        let crc = layout::bind_batch(&mut frame, &ID, extent.bytes);
        extent = extent.with(frame.len() as u64, records as u32, crc);
        file.extend(frame);
    }
    file.extend(extent.trailer(&ID, 11));
    let whole = file.clone();
    while let Some(fault) = script.next() {
        let (at, with) = (next(&mut script) * 256 + next(&mut script), next(&mut script));
        let at = at % (file.len() + 1);
        match fault % 5 {
            0 => file.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= with as u8),
            1 => file.truncate(at),
            2 => file.iter_mut().skip(at).take(with).for_each(|byte| *byte = 0),
            // A stale block of the same file, elsewhere.
            3 if file.len() < MOST_BYTES => {
                let copy: Vec<u8> = file.iter().skip(at).take(4 * with).copied().collect();
                file.extend(copy);
            }
            _ => drop(file.drain(at..(at + with).min(file.len()))),
        }
    }
    let scan = layout::scan(&file, &ID);
    if scan.end == End::Sealed {
        // The header is checked apart, by whoever reads it first.
        let from = Extent::EMPTY.bytes as usize;
        assert!(file[from..] == whole[from..], "a damaged segment passes for a whole one");
    }
    for span in scan.spans.iter().chain(&whole_batches(&file, &header)) {
        for record in records_of(&file, span) {
            assert!(appended.contains(record), "a record that nobody appended: {record:?}");
        }
    }
}

fn records_of<'a>(file: &'a [u8], span: &Span) -> Vec<&'a [u8]> {
    let mut body = &file[span.offset + BATCH_HEAD_BYTES..span.offset + span.length];
    let mut records = Vec::with_capacity(body.len() / RECORD_HEAD_BYTES);
    while let Some((record, rest)) = layout::split_record(body) {
        records.push(record);
        body = rest;
    }
    records
}

fn next(script: &mut impl Iterator<Item = u8>) -> usize {
    usize::from(script.next().unwrap_or_default())
}

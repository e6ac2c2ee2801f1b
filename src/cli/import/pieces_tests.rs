//! Tests of [`super`]: whatever the content, records stay whole and in order.

use proptest::prelude::*;

use super::*;

/// Reads at most a few bytes at a time, as a pipe may.
struct Slow<'a>(&'a [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.0.len().min(self.1).min(out.len());
        out[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

fn pieces(content: &[u8], cut: Cut, piece_bytes: usize, most: usize) -> Vec<Piece> {
    let mut pieces = Pieces::with_bounds(Slow(content, 3), cut, piece_bytes, most);
    std::iter::from_fn(|| pieces.next_piece().unwrap()).collect()
}

fn texts(content: &str, cut: Cut, piece_bytes: usize) -> Vec<String> {
    let whole = |piece| match piece {
        Piece::Whole { bytes, .. } => String::from_utf8(bytes).unwrap(),
        Piece::TooLarge { offset } => format!("too large at {offset}"),
    };
    pieces(content.as_bytes(), cut, piece_bytes, 1000).into_iter().map(whole).collect()
}

#[test]
fn pieces_are_filled_with_whole_lines() {
    assert_eq!(texts("aa\nbb\ncc\ndd", Cut::Lines, 7), ["aa\nbb\n", "cc\ndd"]);
    assert_eq!(texts("", Cut::Lines, 7), [""; 0]);
}

#[test]
fn a_line_longer_than_a_piece_is_a_longer_piece() {
    assert_eq!(texts("aaaaaaaaaaaaaaaa\nb\n", Cut::Lines, 4), ["aaaaaaaaaaaaaaaa\n", "b\n"]);
}

#[test]
fn a_line_past_the_bound_is_skipped_alone() {
    let content = format!("a\n{}\nb\n", "x".repeat(50));
    let found = pieces(content.as_bytes(), Cut::Lines, 4, 16);
    assert_eq!(
        found,
        [
            Piece::Whole { offset: 0, bytes: b"a\n".to_vec() },
            Piece::TooLarge { offset: 2 },
            Piece::Whole { offset: 53, bytes: b"b\n".to_vec() },
        ]
    );
}

#[test]
fn an_array_is_cut_between_its_elements() {
    let content = r#"[{"a":[1,2],"b":"],{"},{"c":"\","},{"d":4}]"#;
    let found = texts(content, Cut::Elements, 24);
    assert!(found.len() > 1, "{found:?}");
    let elements: Vec<serde_json::Value> =
        found.iter().flat_map(|text| serde_json::from_str::<Vec<serde_json::Value>>(text).unwrap()).collect();
    assert_eq!(elements, serde_json::from_str::<Vec<serde_json::Value>>(content).unwrap());
}

#[test]
fn every_document_is_a_piece() {
    let found = texts("{\"a\":\n{\"}\":1}}\n{\"b\":2} {\"c\":3}\n", Cut::Documents, 4);
    let trimmed: Vec<&str> = found.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
    assert_eq!(trimmed, ["{\"a\":\n{\"}\":1}}", "{\"b\":2}", "{\"c\":3}"]);
}

#[test]
fn frames_are_read_by_their_length_and_a_cut_one_is_told() {
    let found = pieces(b"\x02ab\x00\x01c", Cut::Frames, 4, 16);
    let expected = [(0, b"ab".to_vec()), (3, Vec::new()), (4, b"c".to_vec())];
    assert_eq!(found, expected.map(|(offset, bytes)| Piece::Whole { offset, bytes }));
    let mut short = Pieces::new(&b"\x05ab"[..], Cut::Frames);
    assert_eq!(short.next_piece().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    let mut claimed = Pieces::new(&b"\xff\xff\xff\xff\xff\xff\xff\xff\x7fab"[..], Cut::Frames);
    assert!(claimed.next_piece().is_err());
}

proptest! {
    #[test]
    fn lines_are_never_split_and_keep_their_order(
        content in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..400),
        piece_bytes in 1usize..40,
    ) {
        let mut joined = Vec::new();
        let found = pieces(&content, Cut::Lines, piece_bytes, 10_000);
        for (at, piece) in found.iter().enumerate() {
            let Piece::Whole { offset, bytes } = piece else { return Err(TestCaseError::fail("too large")) };
            prop_assert_eq!(*offset, joined.len() as u64);
            prop_assert!(bytes.ends_with(b"\n") || at + 1 == found.len());
            let breaks = bytes.iter().filter(|&&byte| byte == b'\n').count();
            prop_assert!(bytes.len() <= piece_bytes || breaks <= 1, "larger than a piece, and not one line");
            joined.extend_from_slice(bytes);
        }
        prop_assert_eq!(joined, content);
    }

    #[test]
    fn any_content_ends_under_any_cut(content in any::<Vec<u8>>(), piece_bytes in 1usize..20) {
        for cut in [Cut::Lines, Cut::Elements, Cut::Documents, Cut::Frames, Cut::Whole] {
            let mut pieces = Pieces::with_bounds(content.as_slice(), cut, piece_bytes, 64);
            let ended = (0..=content.len() + 1).any(|_| !matches!(pieces.next_piece(), Ok(Some(_))));
            prop_assert!(ended);
        }
    }
}

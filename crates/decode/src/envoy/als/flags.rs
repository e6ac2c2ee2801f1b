//! `ResponseFlags`: a message of booleans here, the same short words as in Envoy's other formats in the schema.

use event::Text;

use crate::protobuf::{Message, WireError};

/// Short words by field number; 13 (unauthorized) is a message, its presence is the flag.
const WORDS: [&str; 29] = [
    "", "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX",
    "SI", "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DR",
];

/// Sorted and comma-separated. A flag newer than the table is named by its field number, so that none is lost.
pub(super) fn read(flags: &[u8]) -> Result<Text<'static>, WireError> {
    let mut words: Vec<Text<'static>> = Vec::new();
    let mut fields = Message::new(flags);
    while let Some((number, value)) = fields.field()? {
        let is_set = number == 13 || value.integer() != 0;
        if is_set && words.len() < WORDS.len() {
            words.push(match WORDS.get(number as usize) {
                Some(word) => Text::Borrowed(word),
                None => Text::Owned(format!("FLAG{number}")),
            });
        }
    }
    if words.len() < 2 {
        return Ok(words.pop().unwrap_or_default());
    }
    words.sort_unstable();
    words.dedup();
    Ok(Text::Owned(words.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_sorted_words() {
        assert_eq!(read(&[0x80, 0x01, 0x01, 0x30, 0x01]), Ok("UF,URX".into()));
        assert_eq!(read(&[0x6a, 0x02, 0x08, 0x01]), Ok("UAEX".into()));
        assert_eq!(read(&[0x30, 0x00]), Ok("".into()));
        assert_eq!(read(&[0xf0, 0x03, 0x01]), Ok("FLAG62".into()));
    }
}

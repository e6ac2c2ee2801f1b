//! No input makes a decoder panic, and damage in one place stays there.

use decode::Origin;
use decode::envoy::AlsStream;
use proptest::prelude::*;

use crate::support::{Found, capture, decode_lines, delimited, delivery, rules};

fn every_decoder(bytes: &[u8]) -> Found {
    let (origin, rules, mut found) = (Origin::default(), rules(), Found::default());
    let delivery = delivery(&origin);
    decode::envoy::decode_lines(bytes, &delivery, &rules, &mut found);
    AlsStream::new("").decode(bytes, &delivery, &rules, &mut found);
    decode::otlp::decode_protobuf(bytes, &delivery, &rules, &mut found);
    decode::otlp::decode_json(bytes, &delivery, &rules, &mut found);
    let _ = decode::sniff::family(bytes);
    found
}

/// The bytes with some places overwritten.
fn mutated(bytes: &[u8], changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, byte) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
    bytes
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        every_decoder(&bytes);
    }

    #[test]
    fn damaged_lines_give_one_result_a_line(changes in changes(), role in prop::sample::select(vec!["text", "json"])) {
        let bytes = capture(&format!("file/b.{role}.log"));
        let bytes = mutated(&bytes, &changes);
        let found = decode_lines(&bytes);
        // A mutation may make or unmake a line end, or blank a line out; it never makes a line vanish or double.
        let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
        prop_assert!(found.len() <= lines && found.len() + 1 >= lines, "{} of {lines}", found.len());
    }

    #[test]
    fn damaged_messages_are_survived(changes in changes(), which in 0usize..4) {
        let (als, otlp) = (capture("als/gw.http_envoy_accesslog.stream0.binpb"), capture("otlp/logs.grpc.binpb"));
        every_decoder(&mutated(delimited(&als)[1 + which], &changes));
        every_decoder(&mutated(delimited(&otlp)[which], &changes));
    }

    #[test]
    fn any_cut_of_a_message_is_survived(cut in any::<prop::sample::Index>()) {
        let als = capture("als/gw.tcp_envoy_accesslog.stream4.binpb");
        let message = delimited(&als)[0];
        every_decoder(&message[..cut.index(message.len())]);
    }

    #[test]
    fn wrapping_is_invisible(line in "\\[[0-9][ -~]{0,80}|\\{[ -~]{0,80}", cut in any::<prop::sample::Index>()) {
        let cut = cut.index(line.len());
        let stamp = "2026-11-21T19:41:27.681123456Z stdout";
        let cri = format!("{stamp} P {}\n{stamp} F {}\n", &line[..cut], &line[cut..]);
        let log = serde_json::to_string(&format!("{line}\n")).unwrap();
        let docker = format!("{{\"log\":{log},\"stream\":\"stdout\",\"time\":\"2026-11-21T19:41:27Z\"}}\n");
        let plain = decode_lines(line.as_bytes()).table();
        prop_assert_eq!(&decode_lines(cri.as_bytes()).table(), &plain);
        prop_assert_eq!(&decode_lines(docker.as_bytes()).table(), &plain);
    }
}

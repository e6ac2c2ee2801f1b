//! The printed texts: read by a parser of Terraform's language, by a shell, and held against the files that are shipped.

use clap::Parser as _;
use hcl_edit::expr::Expression;
use hcl_edit::structure::{Block, Body};

use super::*;
use crate::cli::setup::fastly::Arguments;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn wanted(more: &[&str]) -> (Wanted, bool) {
    let line = [&["x", "--endpoint", "https://logs.example.com/v1/fastly/site"], more].concat();
    let arguments = Line::parse_from(line).arguments;
    (Wanted::new(&arguments, arguments.compute).unwrap(), arguments.compute)
}

fn block<'a>(body: &'a Body, ident: &str, labels: &[&str]) -> &'a Block {
    let fits = |block: &&Block| {
        block.has_ident(ident)
            && (labels.is_empty()
                || block.labels.iter().map(|label| label.as_str()).eq(labels.iter().copied()))
    };
    body.blocks().find(fits).unwrap_or_else(|| panic!("no block {ident} {labels:?}"))
}

/// An attribute's value as Terraform reads it; templates and calls as they are written.
fn value(block: &Block, name: &str) -> String {
    let attribute = block.body.get_attribute(name).unwrap_or_else(|| panic!("no attribute {name}"));
    match &attribute.value {
        Expression::String(text) => text.to_string(),
        Expression::HeredocTemplate(heredoc) => {
            let pieces = heredoc.template.iter().map(|element| match element {
                hcl_edit::template::Element::Literal(literal) => literal.to_string(),
                other => panic!("{name} holds something of Terraform's: {other:?}"),
            });
            pieces.collect()
        }
        other => other.to_string().trim().to_owned(),
    }
}

#[test]
fn the_terraform_says_what_the_api_is_told() {
    for more in [&[][..], &["--no-ids", "--region", "us"], &["--compute", "--region", "eu"]] {
        let (wanted, is_compute) = wanted(more);
        let text = terraform(&wanted, is_compute);
        let body: Body = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
        let kind = if is_compute { "fastly_service_compute" } else { "fastly_service_vcl" };
        let service = block(&body, "resource", &[kind, "site"]);
        assert_eq!(value(block(&body, "variable", &["throughline_ingest_token"]), "sensitive"), "true");
        let logging = block(&service.body, "logging_https", &[]);
        for (field, is) in wanted.fields() {
            let attribute = if field == "log_processing_region" { "processing_region" } else { field };
            assert_eq!(value(logging, attribute), is, "{attribute}");
        }
        assert_eq!(value(logging, "header_value"), "\"Bearer ${var.throughline_ingest_token}\"");
        let snippets: Vec<_> = service.body.get_blocks("snippet").collect();
        assert_eq!(snippets.len(), wanted.snippets.len());
        for (block, snippet) in snippets.into_iter().zip(&wanted.snippets) {
            assert_eq!(value(block, "content").trim_end(), snippet.content.trim_end());
            assert_eq!(
                (value(block, "name"), value(block, "type")),
                (snippet.name.clone(), snippet.kind.to_owned())
            );
        }
    }
}

#[test]
fn the_shipped_terraform_has_the_same_settings() {
    let body: Body = include_str!("../../../../deploy/fastly/main.tf").parse().unwrap();
    let service = block(&body, "resource", &["fastly_service_vcl", "site"]);
    let logging = block(&service.body, "logging_https", &[]);
    for (_, _, attribute, is) in SETTINGS {
        assert_eq!(value(logging, attribute), is, "{attribute}");
    }
    assert_eq!(value(logging, "name"), "throughline");
    assert_eq!(value(logging, "processing_region"), "var.processing_region");
}

#[test]
fn no_text_ends_itself_and_no_token_is_in_any() {
    let (wanted, _) = wanted(&[]);
    for snippet in &wanted.snippets {
        assert!(!snippet.content.contains(END));
    }
    for text in [commands(&wanted, false), terraform(&wanted, false), vcl(&wanted), format(&wanted)] {
        for line in text.lines().filter(|line| line.contains("Bearer")) {
            assert!(
                line.contains("Bearer $THROUGHLINE_INGEST_TOKEN") || line.contains("Bearer ${var."),
                "{line}"
            );
        }
    }
    assert_eq!(
        format(&wanted).trim_end(),
        include_str!("../../../../deploy/fastly/log-format.json").trim_end()
    );
    assert_eq!(vcl(&wanted).matches("# ==== throughline ").count(), 6);
}

#[test]
fn the_code_for_compute_names_the_endpoint_and_writes_keys_that_the_preset_maps() {
    let (wanted, _) = wanted(&["--compute", "--name", "edge-logs"]);
    let code = format(&wanted);
    assert!(code.contains("const ENDPOINT: &str = \"edge-logs\";"));
    let preset: toml::Table =
        include_str!("../../../../schemas/fastly/throughline-vcl.toml").parse().unwrap();
    let fields = preset["fields"].as_table().unwrap();
    let set = code.split("line[\"").skip(1).map(|rest| rest.split_once('"').unwrap().0);
    let object = code.split_once("json!({").unwrap().1.split_once("})").unwrap().0;
    let listed = object
        .lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.split_once("\":").map(|(key, _)| key));
    let keys: Vec<_> = set.chain(listed).collect();
    assert_eq!(keys.len(), 21, "{keys:?}");
    for key in &keys {
        assert!(fields.contains_key(*key), "the preset does not map {key}");
    }
    for needed in preset["detect"]["all"].as_array().unwrap() {
        assert!(keys.contains(&needed.as_str().unwrap()), "{needed}");
    }
}

//! Plans for versions as they are found: empty, ours, older, somebody else's.

use clap::Parser as _;

use super::*;
use crate::cli::setup::fastly::Arguments;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn wanted(more: &[&str]) -> Wanted {
    let line = [&["x", "--endpoint", "https://logs.example.com/v1/fastly/site"], more].concat();
    Wanted::new(&Line::parse_from(line).arguments, false).unwrap()
}

/// A version that has everything, as Fastly tells it.
fn installed(wanted: &Wanted) -> Live {
    let snippet = |snippet: &Snippet| LiveSnippet {
        name: snippet.name.clone(),
        kind: snippet.kind.to_owned(),
        priority: PRIORITY.to_owned(),
        is_dynamic: false,
        content: snippet.content.to_owned(),
    };
    let mut endpoint: Vec<(String, String)> =
        wanted.fields().into_iter().map(|(field, value)| (field.to_owned(), value)).collect();
    endpoint.push(("name".to_owned(), wanted.name.clone()));
    endpoint.push((TOKEN_FIELD.to_owned(), "Bearer secret".to_owned()));
    Live {
        snippets: wanted.snippets.iter().map(snippet).collect(),
        endpoints: vec![endpoint],
        main_vcl: None,
    }
}

fn changes(plan: &Plan) -> Vec<(Change, &str)> {
    plan.steps.iter().map(|step| (step.change, step.name.as_str())).collect()
}

#[test]
fn an_empty_version_gets_everything_and_the_token_is_not_shown() {
    let wanted = wanted(&["--region", "eu"]);
    let plan = Plan::install(&wanted, &Live::default(), Some("secret"), false);
    assert!(plan.steps.iter().all(|step| step.change == Change::Create));
    assert_eq!(plan.steps.len(), 7);
    assert!(plan.needs_token() && !plan.is_done());
    let shown = plan.show();
    assert!(shown.contains("+ snippet throughline recv\n      type recv, priority 5, "), "{shown}");
    assert!(shown.contains("      log_processing_region: eu\n"), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn a_version_that_has_all_of_it_is_done_with_and_without_a_token_at_hand() {
    let wanted = wanted(&[]);
    let live = installed(&wanted);
    for token in [Some("secret"), None] {
        let plan = Plan::install(&wanted, &live, token, false);
        assert!(plan.is_done(), "{}", plan.show());
    }
    let plan = Plan::install(&wanted, &live, Some("next"), false);
    assert_eq!(changes(&plan).last(), Some(&(Change::Update, "throughline")));
    let shown = plan.show();
    assert!(shown.contains("header_value: another token"), "{shown}");
    assert!(!shown.contains("next") && !shown.contains("secret"), "{shown}");
    assert!(!plan.needs_token(), "an endpoint that is there has a token");
}

#[test]
fn a_changed_text_is_shown_line_by_line_and_a_changed_setting_with_both_values() {
    let wanted = wanted(&["--region", "eu"]);
    let mut live = installed(&wanted);
    live.snippets[1].content = live.snippets[1].content.replace("uuid.version7()", "uuid.version4()");
    let region = live.endpoints[0].iter_mut().find(|(field, _)| field == "log_processing_region").unwrap();
    region.1 = "none".to_owned();
    let plan = Plan::install(&wanted, &live, None, false);
    let shown = plan.show();
    let lines = "~ snippet throughline recv\n      -   set req.http.X-Correlation-Id = uuid.version4();\n      \
                 +   set req.http.X-Correlation-Id = uuid.version7();\n= snippet throughline miss\n";
    assert!(shown.contains(lines), "{shown}");
    assert!(shown.contains("log_processing_region: none -> eu"), "{shown}");
    let update = plan.steps.iter().find(|step| step.name == "throughline recv").unwrap();
    let sent: Vec<_> = update.fields.iter().map(|(field, _)| *field).collect();
    assert_eq!(sent, ["type", "priority", "content"]);
}

#[test]
fn what_is_somebody_elses_is_refused_unless_replaced_and_never_removed() {
    let wanted = wanted(&[]);
    let mut live = installed(&wanted);
    live.snippets[2].content = "set req.http.X = \"1\";".to_owned();
    live.endpoints[0].iter_mut().find(|(field, _)| field == "url").unwrap().1 =
        "https://other.example/in".to_owned();
    let plan = Plan::install(&wanted, &live, None, false);
    assert_eq!(plan.foreign.len(), 2, "{:?}", plan.foreign);
    assert!(plan.foreign[0].starts_with("snippet throughline miss is somebody else's"), "{:?}", plan.foreign);
    assert!(!plan.is_done());
    let forced = Plan::install(&wanted, &live, None, true);
    assert!(forced.foreign.is_empty());
    assert!(changes(&forced).contains(&(Change::Update, "throughline miss")));

    let removal = Plan::remove("throughline", &live);
    assert_eq!(removal.steps.len(), 5);
    assert!(
        removal.steps.iter().all(|step| step.change == Change::Delete && step.name != "throughline miss")
    );
    assert_eq!(removal.warnings.len(), 2);

    live.snippets[2].is_dynamic = true;
    let plan = Plan::install(&wanted, &live, None, true);
    assert!(plan.foreign[0].contains("a dynamic one"), "a version cannot replace it: {:?}", plan.foreign);
}

#[test]
fn what_would_not_work_as_meant_is_said_before() {
    let wanted = wanted(&[]);
    let mut live = installed(&wanted);
    live.main_vcl =
        Some("sub vcl_recv {\n#FASTLY recv\n}\nsub vcl_miss { #fastly MISS\n #FASTLY  miss \n}".to_owned());
    let mut other = live.endpoints[0].clone();
    other.iter_mut().find(|(field, _)| field == "name").unwrap().1 = "edge-logs".to_owned();
    live.endpoints.push(other);
    live.endpoints[0].push(("placement".to_owned(), "none".to_owned()));
    live.endpoints[0].push(("response_condition".to_owned(), "errors only".to_owned()));
    let warnings = Plan::install(&wanted, &live, None, false).warnings.join("\n");
    for part in [
        "no `#FASTLY pass`",
        "no `#FASTLY fetch`",
        "no `#FASTLY deliver`",
        "edge-logs sends to the same URL",
        "the placement `none`",
        "the condition errors only",
    ] {
        assert!(warnings.contains(part), "{part} is not in\n{warnings}");
    }
    assert!(
        !warnings.contains("#FASTLY recv")
            && !warnings.contains("#FASTLY miss")
            && !warnings.contains("init")
    );
}

#[test]
fn without_ids_only_the_endpoint_is_wanted() {
    let plan = Plan::install(&wanted(&["--no-ids"]), &Live::default(), None, false);
    assert_eq!(changes(&plan), [(Change::Create, "throughline")]);
}

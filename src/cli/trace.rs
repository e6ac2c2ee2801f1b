//! `throughline trace`: the path of one request, by any of its ids; with `--why`, why two records are one request or not.

use std::io::Write;
use std::process::ExitCode;

use super::client::{Client, Server, block_on, is_broken_pipe};
use crate::api::answer::{TraceAnswer, WhyAnswer};
use crate::render::{self, Colour, Screen, safe};

/// Exit code for an id that nothing was found for.
const NOT_FOUND: u8 = 1;

/// Show the path of one request.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Correlation id, request id or trace id, without saying which
    id: String,
    /// Say why two records are, or are not, one request: event keys (in brackets in the answer) or ids that they carry
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    why: Vec<String>,
    /// Print the answer as one line of JSON
    #[arg(long)]
    json: bool,
    /// When to colour
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Colour,
    #[command(flatten)]
    server: Server,
}

/// Runs the subcommand: 0 found, 1 not found.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(&arguments.server)?;
    let screen = Screen::of_stdout(arguments.color);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut talk = std::io::stderr().lock();
    let shown = if let [a, b] = arguments.why.as_slice() {
        let found = block_on(ask_why(&client, &arguments.id, a, b))?;
        show_why(&mut out, &mut talk, &arguments, found.as_ref())
    } else {
        let found = block_on(look_up(&client, &arguments.id))?;
        show(&mut out, &mut talk, &arguments, screen, found.as_ref())
    };
    match shown {
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        shown => shown,
    }
}

async fn look_up(client: &Client, id: &str) -> anyhow::Result<Option<TraceAnswer>> {
    client.find(&["api", "v1", "traces", id.trim()], &[]).await
}

async fn ask_why(client: &Client, id: &str, a: &str, b: &str) -> anyhow::Result<Option<WhyAnswer>> {
    let query = [("a", a.trim().to_owned()), ("b", b.trim().to_owned())];
    client.find(&["api", "v1", "traces", id.trim(), "why"], &query).await
}

fn show_why(
    out: &mut dyn Write,
    talk: &mut dyn Write,
    arguments: &Arguments,
    found: Option<&WhyAnswer>,
) -> anyhow::Result<ExitCode> {
    let Some(why) = found else {
        let id = arguments.id.trim();
        writeln!(
            talk,
            "{} does not lead to both records: look at `throughline trace {}`",
            safe(id),
            safe(id)
        )?;
        return Ok(ExitCode::from(NOT_FOUND));
    };
    if arguments.json {
        render::json_line(out, why)?;
    } else {
        writeln!(out, "{}", if why.same { "one request:" } else { "not one request:" })?;
        for reason in &why.reasons {
            writeln!(out, "  {}", safe(reason))?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn show(
    out: &mut dyn Write,
    talk: &mut dyn Write,
    arguments: &Arguments,
    screen: Screen,
    found: Option<&TraceAnswer>,
) -> anyhow::Result<ExitCode> {
    let Some(answer) = found else {
        writeln!(
            talk,
            "no request carries {} as correlation id, request id or trace id",
            safe(arguments.id.trim())
        )?;
        return Ok(ExitCode::from(NOT_FOUND));
    };
    if arguments.json {
        render::json_line(out, answer)?;
    } else {
        render::trace(out, answer, screen)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::tests::answering;

    fn arguments(json: bool) -> Arguments {
        let server = Server { url: String::new(), token: None };
        Arguments { id: "some\u{1b}id".to_owned(), why: Vec::new(), json, color: Colour::Never, server }
    }

    fn shown(json: bool, found: Option<&TraceAnswer>) -> (ExitCode, String, String) {
        let (mut out, mut talk) = (Vec::new(), Vec::new());
        let screen = Screen { columns: 100, coloured: false };
        let code = show(&mut out, &mut talk, &arguments(json), screen, found).unwrap();
        (code, String::from_utf8(out).unwrap(), String::from_utf8(talk).unwrap())
    }

    fn answer() -> TraceAnswer {
        TraceAnswer { asked: "id".to_owned(), ..TraceAnswer::default() }
    }

    #[test]
    fn not_found_is_said_on_stderr_with_code_1() {
        for json in [false, true] {
            let (code, out, talk) = shown(json, None);
            assert_eq!((code, out.as_str()), (ExitCode::from(1), ""));
            assert_eq!(talk, "no request carries some\\x1bid as correlation id, request id or trace id\n");
        }
    }

    #[test]
    fn json_is_one_line_that_reads_back() {
        let (code, out, _) = shown(true, Some(&answer()));
        assert_eq!(code, ExitCode::SUCCESS);
        assert_eq!(out.matches('\n').count(), 1);
        assert_eq!(serde_json::from_str::<TraceAnswer>(&out).unwrap(), answer());
    }

    #[tokio::test]
    async fn the_id_is_looked_up_as_typed_but_for_blanks() {
        let echo = |axum::extract::Path(id): axum::extract::Path<String>| async move {
            axum::Json(TraceAnswer { asked: id, ..TraceAnswer::default() })
        };
        let client =
            answering(axum::Router::new().route("/api/v1/traces/{id}", axum::routing::get(echo))).await;
        assert_eq!(look_up(&client, " a/b c ").await.unwrap().unwrap().asked, "a/b c");
    }
}

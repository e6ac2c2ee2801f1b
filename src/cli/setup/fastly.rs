//! `throughline setup fastly`: what makes a Fastly service send its log lines, with ids and timings, printed or applied.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use self::api::Fastly;
use self::wanted::{Region, TOKEN_VARIABLE, Wanted};
use super::REJECTED;
use super::rest::{self, Api};
use crate::cli::client::block_on;
use crate::render::safe;

mod api;
mod apply;
mod check;
mod plan;
mod print;
mod wanted;

/// The variable that Fastly's own tools read, too.
const API_TOKEN_VARIABLE: &str = "FASTLY_API_TOKEN";

/// Set up a Fastly service.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where Throughline takes the lines: https://HOST, or https://HOST/v1/fastly/SOURCE
    #[arg(long, value_name = "URL", required_unless_present = "undo")]
    endpoint: Option<String>,
    /// Name of the log endpoint, and first word of the snippets' names
    #[arg(long, default_value = "throughline")]
    name: String,
    /// Where Fastly may work on the lines before it sends them
    #[arg(long, value_enum, default_value_t = Region::None)]
    region: Region,
    /// For a Compute service: the log endpoint, and code that writes to it
    #[arg(long)]
    compute: bool,
    /// Without the snippets, where VCL of your own strips and mints X-Correlation-Id
    #[arg(long, conflicts_with = "compute")]
    no_ids: bool,
    /// What to print
    #[arg(long, value_enum, default_value_t = Form::Cli, conflicts_with = "apply")]
    print: Form,
    /// Compare with the service by Fastly's API, with the token in FASTLY_API_TOKEN
    #[arg(long, requires = "service_id")]
    apply: bool,
    /// Id of the service
    #[arg(long, env = "FASTLY_SERVICE_ID", value_name = "ID")]
    service_id: Option<String>,
    /// Make what differs in a clone of the active version
    #[arg(long, requires = "apply")]
    yes: bool,
    /// Activate that clone
    #[arg(long, requires = "yes")]
    activate: bool,
    /// Take the place of somebody else's objects that have our names
    #[arg(long, requires = "apply", conflicts_with = "undo")]
    replace: bool,
    /// Remove what this command made, and nothing else
    #[arg(long)]
    undo: bool,
    /// Where Fastly's API is
    #[arg(long, value_name = "URL", default_value = "https://api.fastly.com")]
    api: String,
    /// PEM file with certificates to trust beside the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// In which form it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// A script of Fastly's CLI
    Cli,
    /// A Terraform file
    Terraform,
    /// The snippets
    Vcl,
    /// The log format; for Compute the code that writes a line
    Format,
}

/// Runs the subcommand: 0 done, 1 something was refused.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if !arguments.apply {
        return print(arguments);
    }
    let Some(token) = rest::secret(API_TOKEN_VARIABLE) else {
        bail!(
            "set {API_TOKEN_VARIABLE} to a token of Fastly's API: scope global:read for a dry run, global to write"
        );
    };
    let Some(service_id) = arguments.service_id.clone().filter(|id| !id.is_empty()) else {
        bail!("--service-id says which service");
    };
    let api =
        Api::new(&arguments.api, "Fastly-Key", &token, arguments.ca_file.as_deref()).context("--api")?;
    if api.is_overheard() {
        bail!("--api {}: the token goes there, so it must be https or this machine", api.place());
    }
    let fastly = Fastly { api, service_id };
    let is_good = block_on(apply::run(&fastly, arguments))?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(REJECTED) })
}

fn print(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    if arguments.undo {
        if arguments.print != Form::Cli {
            bail!("--undo is printed as commands only: with Terraform, take the blocks out again");
        }
        let name = wanted::checked_name(&arguments.name)?;
        out.write_all(print::undo(name, arguments.compute).as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = Wanted::new(arguments, arguments.compute)?;
    let text = match arguments.print {
        Form::Cli => print::commands(&wanted, arguments.compute),
        Form::Terraform => print::terraform(&wanted, arguments.compute),
        Form::Vcl if wanted.snippets.is_empty() => bail!("--print vcl: there are no snippets to print"),
        Form::Vcl => print::vcl(&wanted),
        Form::Format => print::format(&wanted),
    };
    out.write_all(text.as_bytes())?;
    advise(&wanted, arguments)?;
    Ok(ExitCode::SUCCESS)
}

/// What the printed text does not do.
fn advise(wanted: &Wanted, arguments: &Arguments) -> anyhow::Result<()> {
    let mut talk = std::io::stderr().lock();
    let source = wanted.url.path().strip_prefix("/v1/fastly/").unwrap_or("fastly");
    let services = arguments.service_id.as_deref().unwrap_or("SERVICE ID");
    writeln!(
        talk,
        "need  in Throughline's configuration, for Fastly asks before it sends:\n\n\
         [fastly]\nservices = \"{}\"\n\n[[source]]\nname = \"{}\"\nkind = \"fastly\"\ntoken_file = \"/etc/throughline/{}.token\"\n",
        safe(services),
        safe(source),
        safe(source)
    )?;
    writeln!(talk, "need  that token in {TOKEN_VARIABLE}: it stands in none of the printed texts")?;
    if arguments.no_ids {
        writeln!(
            talk,
            "warn  without the snippets the line says X-Correlation-Id, X-Request-Id and X-Of-* as they come: your own VCL must \
             unset them at the first POP and set X-Correlation-Id anew"
        )?;
    }
    if arguments.region == Region::None {
        writeln!(talk, "note  Fastly works on the lines anywhere; --region eu or us keeps them there")?;
    }
    writeln!(
        talk,
        "note  nothing was changed; --apply --service-id ID compares with a service and changes it on request"
    )?;
    Ok(())
}

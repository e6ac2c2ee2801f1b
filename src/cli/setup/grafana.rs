//! `throughline setup grafana`: folder, data sources and boards by Grafana's HTTP API; a dry run unless told otherwise.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use self::api::{Check, Grafana};
use self::plan::Plan;
use self::wanted::{STORE_UID, TRACES_UID};
use super::REJECTED;
use super::rest::{self, Api};
use crate::cli::client::block_on;
use crate::render::safe;

mod api;
mod plan;
mod wanted;

const TOKEN_VARIABLE: &str = "GRAFANA_TOKEN";

/// Set up a Grafana.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where Grafana is, from here
    #[arg(long, value_name = "URL")]
    url: String,
    /// Where the store's HTTP interface is, from Grafana
    #[arg(long, value_name = "URL", required_unless_present = "undo")]
    store_url: Option<String>,
    /// Where throughline serve is, from Grafana
    #[arg(long, value_name = "URL", required_unless_present = "undo")]
    tempo_url: Option<String>,
    /// The store's user; its password is read from GRAFANA_STORE_PASSWORD
    #[arg(long, default_value = "grafana", value_name = "NAME")]
    store_user: String,
    /// File with user:password of the store, as DATA_DIR/clickhouse-credentials of the embedded engine
    #[arg(long, value_name = "FILE", conflicts_with = "store_user")]
    store_credentials: Option<PathBuf>,
    /// Send password and token again, where Grafana has some already
    #[arg(long)]
    renew_secrets: bool,
    /// The alert rules, too: they begin to notify by Grafana's policies
    #[arg(long, conflicts_with = "undo")]
    alerts: bool,
    /// Make the changes
    #[arg(long)]
    yes: bool,
    /// Remove what this command made, and nothing else
    #[arg(long)]
    undo: bool,
    /// PEM file with certificates to trust beside the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Runs the subcommand: 0 done, 1 something was refused or does not work.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Some(token) = rest::secret(TOKEN_VARIABLE) else {
        bail!("set {TOKEN_VARIABLE} to the token of a service account of Grafana with the role Admin");
    };
    let api =
        Api::new(&arguments.url, "Authorization", &format!("Bearer {token}"), arguments.ca_file.as_deref())
            .context("--url")?;
    let is_good = block_on(work(&Grafana { api }, arguments))?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(REJECTED) })
}

async fn work(grafana: &Grafana, arguments: &Arguments) -> anyhow::Result<bool> {
    let boards = wanted::boards()?;
    let sources = if arguments.undo { None } else { Some(wanted::sources(arguments)?) };
    let groups = wanted::groups()?;
    let wanted_groups = if arguments.alerts { groups.as_slice() } else { &[] };
    let version = grafana.version().await?;
    let plan = match &sources {
        Some(sources) => {
            Plan::install(grafana, sources, &boards, wanted_groups, arguments.renew_secrets).await?
        }
        None => Plan::remove(grafana, &boards, &groups).await?,
    };
    writeln!(
        std::io::stdout().lock(),
        "Grafana {} at {}:\n{}",
        safe(&version),
        safe(grafana.api.place()),
        plan.show()
    )?;
    if grafana.api.is_overheard() {
        talk("warn  --url is plain HTTP to another machine: whoever is between reads the token")?;
    }
    for note in &plan.notes {
        talk(&format!("note  {note}"))?;
    }
    for foreign in &plan.foreign {
        talk(&format!("FAIL  {foreign}"))?;
    }
    let plugin = if arguments.undo { None } else { Some(grafana.plugin().await?) };
    let has_plugin = plugin.as_ref().is_none_or(|check| !matches!(check, Check::Bad(_)));
    if let Some(check) = &plugin {
        tell(check)?;
    }
    if !plan.foreign.is_empty() || !has_plugin {
        talk("nothing was changed")?;
        return Ok(false);
    }
    if plan.is_done() {
        talk("ok    nothing to change")?;
    } else if arguments.yes {
        plan.execute(grafana).await?;
        talk("ok    done")?;
    } else {
        talk("dry run: nothing was written; --yes makes this")?;
        return Ok(true);
    }
    if arguments.undo {
        return Ok(true);
    }
    let mut is_good = true;
    for uid in [STORE_UID, TRACES_UID] {
        let check = grafana.health(uid).await?;
        is_good &= !matches!(check, Check::Bad(_));
        tell(&check)?;
    }
    talk(&format!("open  {}/dashboards/f/{}", safe(grafana.api.place()), wanted::FOLDER_UID))?;
    Ok(is_good)
}

fn tell(check: &Check) -> anyhow::Result<()> {
    match check {
        Check::Good(text) => talk(&format!("ok    {text}")),
        Check::Bad(text) => talk(&format!("FAIL  {text}")),
        Check::Unknown(text) => talk(&format!("?     {text}")),
    }
}

fn talk(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stderr().lock(), "{line}")?)
}

//! `--apply`: the difference shown; on request made in a clone, validated, and on request activated.
//!
//! The active version is never written to. A clone that an earlier run began is taken up again: by its comment, and only while
//! the version that it was cloned from is the active one.

use std::io::Write as _;

use anyhow::{Context as _, bail};

use super::Arguments;
use super::api::{Collection, Fastly, Live, Service, Version};
use super::check;
use super::plan::{Change, Plan};
use super::wanted::{self, TOKEN_FIELD, TOKEN_VARIABLE, Wanted};
use crate::cli::setup::rest;
use crate::render::safe;

/// Runs it: whether all is well.
pub(super) async fn run(fastly: &Fastly, arguments: &Arguments) -> anyhow::Result<bool> {
    let service = fastly.service().await?;
    check_kind(arguments, &service)?;
    let token = rest::secret(TOKEN_VARIABLE);
    let order = Order::new(arguments, &service, token)?;
    let Some(base) = base(&service) else {
        bail!("the service has no version: make one with its domain and backend first")
    };
    let live = fastly.live(base.number, service.is_compute).await?;
    let plan = order.plan(&live);

    let kind = if service.is_compute { "Compute" } else { "VCL" };
    let state = if base.is_active { "active" } else { "latest, none is active" };
    writeln!(
        std::io::stdout().lock(),
        "service {} ({}, {kind}), version {} ({state}):\n{}",
        safe(&fastly.service_id),
        safe(&service.name),
        base.number,
        plan.show().trim_end()
    )?;
    let talk = |line: &str| writeln!(std::io::stderr().lock(), "{line}");
    for warning in &plan.warnings {
        talk(&format!("warn  {warning}"))?;
    }
    if let Some(wanted) = &order.wanted {
        for line in
            check::endpoint(wanted, &fastly.service_id, order.token.as_deref(), arguments.ca_file.as_deref())
                .await?
        {
            talk(&line)?;
        }
        if service.is_compute {
            talk(&format!(
                "note  nothing is logged before the service's code writes to {:?}: `--compute --print format` shows how; \
                 Throughline's own edge service writes to the `log_endpoint` of its item, edge-logs if none is set (--name edge-logs)",
                wanted.name
            ))?;
        }
    }
    for foreign in &plan.foreign {
        talk(&format!("FAIL  {foreign}"))?;
    }
    if !plan.foreign.is_empty() {
        talk("nothing was changed")?;
        return Ok(false);
    }
    if plan.is_done() {
        talk(&format!("ok    nothing to {}: version {} is as it should be", order.verb(), base.number))?;
        return Ok(true);
    }
    order.finish(fastly, &service, base, &plan).await
}

fn check_kind(arguments: &Arguments, service: &Service) -> anyhow::Result<()> {
    if arguments.compute && !service.is_compute {
        bail!("the service is a VCL service: leave out --compute");
    }
    if arguments.no_ids && service.is_compute {
        bail!("the service is a Compute service, which has no snippets: leave out --no-ids");
    }
    Ok(())
}

/// The version to start from: the active one, or, as long as there is none, the latest.
fn base(service: &Service) -> Option<&Version> {
    let latest = service.versions.iter().max_by_key(|version| version.number);
    service.versions.iter().find(|version| version.is_active).or(latest)
}

/// What was asked for.
struct Order {
    /// None: our objects are to go.
    wanted: Option<Wanted>,
    name: String,
    token: Option<String>,
    replace: bool,
    yes: bool,
    activate: bool,
}

impl Order {
    fn new(arguments: &Arguments, service: &Service, token: Option<String>) -> anyhow::Result<Self> {
        let wanted = if arguments.undo { None } else { Some(Wanted::new(arguments, service.is_compute)?) };
        Ok(Self {
            wanted,
            name: wanted::checked_name(&arguments.name)?.to_owned(),
            token,
            replace: arguments.replace,
            yes: arguments.yes,
            activate: arguments.activate,
        })
    }

    fn verb(&self) -> &'static str {
        if self.wanted.is_some() { "change" } else { "undo" }
    }

    fn plan(&self, live: &Live) -> Plan {
        match &self.wanted {
            Some(wanted) => Plan::install(wanted, live, self.token.as_deref(), self.replace),
            None => Plan::remove(&self.name, live),
        }
    }

    /// By this comment a clone is known again; the number tells it from clones of the clone, which have its comment.
    fn comment(&self, number: u64, base: u64) -> String {
        let doing = if self.wanted.is_some() { "setup fastly" } else { "setup fastly --undo" };
        format!("throughline {doing} {}: version {number} from {base}", self.name)
    }

    /// The clone of an earlier run, if it is still of use.
    fn draft<'a>(&self, service: &'a Service, base: u64) -> Option<&'a Version> {
        let ours = |version: &&Version| {
            !version.is_locked && !version.is_active && version.comment == self.comment(version.number, base)
        };
        service.versions.iter().filter(ours).max_by_key(|version| version.number)
    }

    async fn finish(
        &self,
        fastly: &Fastly,
        service: &Service,
        base: &Version,
        plan: &Plan,
    ) -> anyhow::Result<bool> {
        let talk = |line: &str| writeln!(std::io::stderr().lock(), "{line}");
        let draft = self.draft(service, base.number);
        let rest = match draft {
            Some(draft) => Some(self.plan(&fastly.live(draft.number, service.is_compute).await?)),
            None => None,
        };
        let is_made = rest.as_ref().is_some_and(Plan::is_done);
        if !self.yes {
            talk(&match draft.filter(|_| is_made) {
                Some(draft) => format!(
                    "dry run: nothing was written. Version {}, made by an earlier run and not active, has all of this: \
                     --yes --activate activates it",
                    draft.number
                ),
                None => format!(
                    "dry run: nothing was written. --yes makes this in a clone of version {}; --yes --activate also activates it",
                    base.number
                ),
            })?;
            return Ok(true);
        }
        let plan = rest.as_ref().unwrap_or(plan);
        if plan.needs_token() && self.token.is_none() {
            bail!("set {TOKEN_VARIABLE} to the token of the source that takes these lines");
        }
        if let Some(foreign) = plan.foreign.first() {
            bail!("the clone of an earlier run was changed by somebody: {foreign}");
        }
        let number = match draft {
            Some(draft) => draft.number,
            None => self.cloned(fastly, base.number).await?,
        };
        if is_made && !self.activate {
            talk(&format!(
                "ok    nothing to change: version {number}, made by an earlier run, has it; --activate activates it"
            ))?;
            return Ok(true);
        }
        let untouched = || {
            format!(
                "version {number} is half made and not active, version {} is as it was: run this again to go on",
                base.number
            )
        };
        self.execute(fastly, number, plan).await.with_context(untouched)?;
        if let Some(objection) = fastly.objection(number).await.with_context(untouched)? {
            talk(&format!(
                "FAIL  version {number} is made, and Fastly does not take it as valid: {}",
                safe(&objection)
            ))?;
            talk(&format!("not activated; version {} is as it was", base.number))?;
            return Ok(false);
        }
        talk(&format!("ok    version {number} is made and valid"))?;
        if !self.activate {
            talk(&format!(
                "not active yet: run this again with --activate, or `fastly service version activate --service-id={} --version={number}`",
                safe(&fastly.service_id)
            ))?;
            return Ok(true);
        }
        let said = fastly.activate(number).await.with_context(|| {
            format!("version {number} is made and valid; version {} is still the active one", base.number)
        })?;
        if !said.is_empty() {
            talk(&format!("warn  Fastly says: {}", safe(&said)))?;
        }
        talk(&format!("ok    version {number} is active; until all POPs have it some minutes pass"))?;
        if base.is_active {
            talk(&format!(
                "back  `fastly service version activate --service-id={} --version={}`, or --undo for a new version without it",
                safe(&fastly.service_id),
                base.number
            ))?;
        }
        Ok(true)
    }

    async fn cloned(&self, fastly: &Fastly, base: u64) -> anyhow::Result<u64> {
        let number = fastly.clone_version(base).await?;
        fastly.set_comment(number, &self.comment(number, base)).await.with_context(|| {
            format!("version {number} was cloned and nothing else; version {base} is as it was")
        })?;
        Ok(number)
    }

    async fn execute(&self, fastly: &Fastly, version: u64, plan: &Plan) -> anyhow::Result<()> {
        let token = self.token.as_deref().map(wanted::bearer);
        for step in &plan.steps {
            let mut fields: Vec<(&str, &str)> =
                step.fields.iter().map(|(field, value)| (*field, value.as_str())).collect();
            if let Some(token) = token.as_deref().filter(|_| step.sends_token) {
                fields.push((TOKEN_FIELD, token));
            }
            let (collection, name) = (step.collection, step.name.as_str());
            match step.change {
                Change::Create => fastly.create(version, collection, &fields).await,
                Change::Update => fastly.update(version, collection, name, &fields).await,
                Change::Delete => fastly.delete(version, collection, name).await,
                Change::Keep => Ok(()),
            }
            .with_context(|| format!("{} {name}", what(collection)))?;
        }
        Ok(())
    }
}

fn what(collection: Collection) -> &'static str {
    match collection {
        Collection::Snippets => "snippet",
        Collection::Endpoints => "log endpoint",
    }
}

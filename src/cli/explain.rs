//! `throughline explain`: what log files tell, at once and offline: no service, no store, no change at any sender.
//!
//! | room | does |
//! |---|---|
//! | [`reading`] | opens files, tells formats apart, decodes on all cores |
//! | [`decoded`] | one piece to events, through the same decoders and redactor as the service |
//! | [`held`] | holds events within a bound, newest first |
//! | [`facts`] | counts what records say while they are read |
//! | [`groups`] | which events may be one request |
//! | [`findings`] | assembles them, counts and keeps the worst |
//! | [`advice`], [`snippets`] | what to change so that more joins |
//! | [`mod@answer`] | all of it as data |
//! | [`looked_up`] | one request by its id |
//! | [`guess`] | what a file that cannot be read looks like |

mod advice;
pub(crate) mod answer;
mod decoded;
mod facts;
mod findings;
mod groups;
mod guess;
mod held;
mod looked_up;
mod reading;
mod snippets;

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use correlation::IdKind;
use decode::redact::RedactionRules;
use decode::{Redactor, Rules, envoy, fastly};
use event::Hop;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::answer::{
    ExplainAnswer, FailingAnswer, FileAnswer, HopAnswer, JoinAnswer, LeftOutAnswer, RejectAnswer,
    RequestsAnswer, ToldAnswer, VERSION,
};
use self::facts::Facts;
use self::findings::Findings;
use self::groups::Groups;
use self::held::Held;
use self::reading::{File, FileRead, Reading};
use super::client::is_broken_pipe;
use super::import::kind::Format;
use crate::api::answer::{RequestAnswer, SkewAnswer, time_text as full_time_text};
use crate::render::{self, Colour, Screen, safe};

/// Exit code where nothing could be read, or no record carries the asked id.
const NOTHING: u8 = 1;

/// Clocks that differ by less are as good as equal.
const SKEW_LEAST_NS: i64 = 2_000_000;

/// Pairs of clocks that are told; hundreds of pods differ from hundreds of pods.
const SKEW_MOST: usize = 20;

/// Read log files and say what they tell, offline: no service, no store
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What the files hold; told by their content where it is `auto`
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// A file of an ingress gateway's lines (Istio's default formats do not say who wrote them)
    #[arg(long, value_name = "FILE")]
    gateway: Vec<PathBuf>,
    /// A file of sidecars' lines, where they do not say so
    #[arg(long, value_name = "FILE")]
    sidecar: Vec<PathBuf>,
    /// Show one request whole, by any of its ids
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    /// How many of the slowest and of the failing to show
    #[arg(long, default_value_t = 5, value_name = "N")]
    top: usize,
    /// Memory for the events; beyond it the oldest are left out, and the answer says so
    #[arg(long, default_value = "1GiB", value_parser = size, value_name = "SIZE")]
    memory: usize,
    /// A format string of yours that proxies write lines by
    #[arg(long, value_name = "STRING")]
    envoy_format: Vec<String>,
    /// A preset that describes your edge's lines (schemas/fastly shows how)
    #[arg(long, value_name = "FILE")]
    fastly_preset: Vec<PathBuf>,
    /// Print everything as one line of JSON
    #[arg(long)]
    json: bool,
    /// When to colour
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Colour,
    /// Files, plain or packed with gzip or zstd; `-` for stdin
    #[arg(required_unless_present_any = ["gateway", "sidecar"], value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Runs the subcommand: 0 something was read (and found), 1 nothing was.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let screen = Screen::of_stdout(arguments.color);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let shown = explain(&arguments, screen, &mut out, &mut std::io::stderr());
    match shown {
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        shown => shown,
    }
}

fn explain(
    arguments: &Arguments,
    screen: Screen,
    out: &mut dyn Write,
    talk: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let rules = rules(arguments)?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let bar = progress("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {wide_msg}");
    let received_ns = now_ns()?;
    let reading = Reading { rules: &rules, format: arguments.format, received_ns, workers, bar };
    let mut held = Held::new(arguments.memory);
    let mut reads = Vec::new();
    for (number, file) in files(arguments).iter().enumerate() {
        reading.bar.set_message(safe(&file.path.display().to_string()).into_owned());
        reads.push(reading.read(number as u32, file, &mut held));
    }
    reading.bar.finish_and_clear();
    let left_out = held.left_out();
    let events = held.finish();
    if let Some(asked) = &arguments.trace {
        return show_trace(arguments, screen, out, talk, looked_up::look_up(&events, asked).as_ref());
    }
    let groups = Groups::of(&events);
    let bar = progress("{bar:30} joining {pos}/{len}");
    bar.inc_length(groups.len() as u64);
    let mut findings = findings::find(&events, &groups, arguments.top, workers, &bar);
    bar.finish_and_clear();
    let mut answer = answer(&reads, &mut findings, groups.worn, arguments.top);
    answer.left_out = left_out.map(|left_out| LeftOutAnswer {
        records: left_out.events,
        before: full_time_text(left_out.before_ns),
    });
    if arguments.json {
        render::json_line(out, &answer)?;
    } else {
        render::explain(out, &answer, screen)?;
    }
    out.flush()?;
    Ok(if answer.records == 0 { ExitCode::from(NOTHING) } else { ExitCode::SUCCESS })
}

fn show_trace(
    arguments: &Arguments,
    screen: Screen,
    out: &mut dyn Write,
    talk: &mut dyn Write,
    found: Option<&crate::api::answer::TraceAnswer>,
) -> anyhow::Result<ExitCode> {
    let Some(answer) = found else {
        let asked = arguments.trace.as_deref().unwrap_or_default();
        writeln!(talk, "no record in these files carries {} as any of its ids", safe(asked))?;
        return Ok(ExitCode::from(NOTHING));
    };
    if arguments.json {
        render::json_line(out, answer)?;
    } else {
        render::trace(out, answer, screen)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The same rules as the service's, with a key for pseudonyms that nobody keeps.
fn rules(arguments: &Arguments) -> anyhow::Result<Rules> {
    let subject_key = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
    let redactor = Redactor::new(&RedactionRules { subject_key, ..RedactionRules::default() });
    let mut formats = envoy::Formats::istio_defaults();
    for text in &arguments.envoy_format {
        formats = formats.with_user(text).with_context(|| format!("--envoy-format {text:?}"))?;
    }
    let mut presets = fastly::Presets::built_in().context("read the built-in presets")?;
    for path in &arguments.fastly_preset {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("read the preset {}", path.display()))?;
        presets = presets.and_user(&text).with_context(|| format!("preset {}", path.display()))?;
    }
    Ok(Rules { redactor, fastly: presets, envoy: formats })
}

fn files(arguments: &Arguments) -> Vec<File> {
    let of = |paths: &[PathBuf], hop: Option<Hop>| -> Vec<File> {
        paths.iter().map(|path| File { path: path.clone(), hop }).collect()
    };
    [
        of(&arguments.files, None),
        of(&arguments.gateway, Some(Hop::Gateway)),
        of(&arguments.sidecar, Some(Hop::Sidecar)),
    ]
    .concat()
}

fn now_ns() -> anyhow::Result<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is set before 1970")?;
    i64::try_from(since.as_nanos()).context("the clock is set after 2262")
}

/// `512MiB`, `2GiB`, plain bytes.
fn size(text: &str) -> Result<usize, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: usize = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        unit => return Err(format!("{unit:?} is no unit of size: B, KiB, MiB or GiB")),
    };
    let number: usize = number.parse().map_err(|_| "give a size such as 512MiB".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "more than this machine can address".to_owned())
}

/// Equal for equal values within one run; only candidates rest on it.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A bar on a terminal for work that takes more than a moment; hidden elsewhere.
fn progress(template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
    if std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(4));
        bar.enable_steady_tick(Duration::from_millis(250));
    }
    // A template that does not parse would show the plain bar: still progress.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn answer(reads: &[FileRead], findings: &mut Findings, worn: u64, top: usize) -> ExplainAnswer {
    let mut facts = Facts::default();
    for read in reads {
        facts.merge(read.facts.clone());
    }
    let mut skews = findings.skews();
    skews.retain(|skew| skew.low_ns > SKEW_LEAST_NS || skew.high_ns < -SKEW_LEAST_NS);
    let apart =
        |skew: &trace::skew::Skew| if skew.low_ns > 0 { skew.low_ns } else { skew.high_ns.saturating_neg() };
    skews.sort_by_key(|skew| (std::cmp::Reverse(apart(skew)), skew.from.clone(), skew.to.clone()));
    let advice = advice::advise(&advice::Grounds { facts: &facts, findings, skews: &skews, worn });
    let all = facts.sum(|_, _, _| true);
    let told = |request: &trace::Request| ToldAnswer::from(RequestAnswer::new(request, &[]));
    ExplainAnswer {
        version: VERSION,
        files: reads.iter().map(file_answer).collect(),
        records: reads.iter().map(|read| read.events).sum(),
        rejected: reads.iter().map(|read| read.rejected).sum(),
        first: all.range.map(|(first, _)| full_time_text(first)),
        last: all.range.map(|(_, last)| full_time_text(last)),
        left_out: None,
        hops: hop_answers(&facts),
        requests: RequestsAnswer {
            count: findings.requests,
            joined: findings.joined,
            edge_to_mesh: findings.edge_and_mesh,
            edge_only: findings.edge_only,
            edge_answered: findings.edge_answered,
            mesh_only: findings.mesh_only,
            complete: findings.complete,
            failing: findings.failing_requests,
        },
        joined_by: findings
            .joined_by
            .iter()
            .map(|(&(between, by), &requests)| JoinAnswer {
                between: between.name().to_owned(),
                by: by.to_owned(),
                requests,
            })
            .collect(),
        skew: skews.iter().take(SKEW_MOST).map(SkewAnswer::from).collect(),
        failing: findings
            .failing()
            .into_iter()
            .take(top)
            .map(|failing| FailingAnswer {
                what: failing.kind.what.to_owned(),
                status: failing.kind.status,
                hop: failing.kind.hop.name().to_owned(),
                target: failing.kind.target.clone(),
                requests: failing.requests,
                latest: told(&failing.example),
            })
            .collect(),
        more_failing: findings.failing().len().saturating_sub(top) as u64,
        slowest: findings.slowest().iter().map(told).collect(),
        advice,
    }
}

fn file_answer(read: &FileRead) -> FileAnswer {
    let mut formats: Vec<String> = read.facts.0.iter().map(|(_, _, format, _)| format.clone()).collect();
    formats.sort();
    formats.dedup();
    let mut hops: Vec<String> = read.facts.hops().iter().map(|(hop, _)| hop.name().to_owned()).collect();
    hops.dedup();
    let range = read.facts.sum(|_, _, _| true).range;
    FileAnswer {
        file: read.name.clone(),
        kind: read.kind.to_owned(),
        formats,
        hops,
        hop_by_name: read.hop_by_name.map(|hop| hop.name().to_owned()).unwrap_or_default(),
        records: read.events,
        rejected: read.rejected,
        rejects: read
            .first_rejects
            .iter()
            .map(|reject| RejectAnswer {
                offset: reject.offset,
                reason: reject.reason.to_owned(),
                detail: reject.detail.clone(),
                head: reject.head.clone(),
            })
            .collect(),
        range: range
            .map(|(first, last)| vec![full_time_text(first), full_time_text(last)])
            .unwrap_or_default(),
        problem: read.problem.clone().unwrap_or_default(),
        looks_like: read.looks_like.clone().unwrap_or_default(),
    }
}

fn hop_answers(facts: &Facts) -> Vec<HopAnswer> {
    facts
        .hops()
        .into_iter()
        .map(|(hop, direction)| {
            let of = facts.sum(|other, way, _| (other, way) == (hop, direction));
            HopAnswer {
                hop: hop.name().to_owned(),
                direction: direction.name().to_owned(),
                records: of.records,
                places: of.places.len() as u64,
                correlation_id: of.with(IdKind::Correlation),
                request_id: of.with(IdKind::Request),
                edge_request_id: of.with(IdKind::EdgeRequest),
                trace_id: of.with(IdKind::Trace),
                unjoinable: of.unjoinable,
                without_duration: of.without_duration,
                clock: of.clock().name().to_owned(),
            }
        })
        .collect()
}

/// A time for the eye: whole seconds, UTC.
fn time_text(unix_ns: i64) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(unix_ns)) {
        Ok(time) => format!("{time:.0}"),
        Err(_) => unix_ns.to_string(),
    }
}

#[cfg(test)]
#[path = "explain/tests.rs"]
mod tests;

//! What `throughline explain` prints: what was read, which hops, how far they join, what fails, what is slow, and what
//! to change. Every text of a file comes through [`mod@super::safe`].

use std::io::{self, Write};

use super::offset_text;
use super::safe::{cut, fit, safe, width};
use super::screen::{Paint, Screen};
use super::table::hop_text;
use super::{counted, duration_text, grouped};
use crate::cli::explain::answer::{ExplainAnswer, FileAnswer, HopAnswer, RequestsAnswer, ToldAnswer};

/// Most columns of a file's name: of a longer one the end is what tells files apart.
const NAME_MOST: usize = 40;

/// Pairs of clocks that are shown; the answer as JSON has more.
const SKEW_SHOWN: usize = 3;

/// Records of a hop that have something.
type Count = fn(&HopAnswer) -> u64;

/// Writes the whole answer.
pub(crate) fn explain(out: &mut dyn Write, answer: &ExplainAnswer, screen: Screen) -> io::Result<()> {
    let mut page = Page { out, screen };
    page.read(answer)?;
    if answer.records == 0 {
        return page.nothing(answer);
    }
    page.hops(&answer.hops)?;
    page.requests(answer)?;
    page.failing(answer)?;
    page.slowest(answer)?;
    page.advice(answer)
}

struct Page<'a> {
    out: &'a mut dyn Write,
    screen: Screen,
}

impl Page<'_> {
    fn line(&mut self, paint: Paint, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", self.screen.paint(paint, &safe(text)))
    }

    /// Text broken between words, every line after the first indented by as much.
    fn wrapped(&mut self, paint: Paint, first: &str, indent: usize, text: &str) -> io::Result<()> {
        let text = safe(text);
        let room = self.screen.columns.saturating_sub(indent).max(20);
        let mut line = String::new();
        let mut lines = Vec::new();
        for word in text.split(' ') {
            if !line.is_empty() && width(&line) + 1 + width(word) > room {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
        for (at, line) in lines.iter().enumerate() {
            let lead = if at == 0 { fit(first, indent) } else { " ".repeat(indent) };
            writeln!(self.out, "{lead}{}", self.screen.paint(paint, line))?;
        }
        Ok(())
    }

    fn title(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out)?;
        self.line(Paint::Bold, text)
    }

    fn read(&mut self, answer: &ExplainAnswer) -> io::Result<()> {
        let range = match (&answer.first, &answer.last) {
            (Some(first), Some(last)) => format!(", {} to {}", second(first), second(last)),
            _ => String::new(),
        };
        let rejected = match answer.rejected {
            0 => String::new(),
            rejected => format!(", {} not readable", grouped(rejected)),
        };
        let files = counted(answer.files.len() as u64, "file");
        self.line(Paint::Bold, &format!("{files}, {}{rejected}{range}", counted(answer.records, "record")))?;
        let names: Vec<String> = answer.files.iter().map(|file| name(&file.file)).collect();
        let column = names.iter().map(|name| width(name)).max().unwrap_or(0);
        for (file, name) in answer.files.iter().zip(&names) {
            self.file(file, name, column)?;
        }
        if let Some(left_out) = &answer.left_out {
            let text = format!(
                "{} were left out for want of memory: what started before {} is missing. Pass more with --memory, or \
                 fewer files.",
                counted(left_out.records, "record"),
                second(&left_out.before)
            );
            self.wrapped(Paint::Notice, "", 2, &text)?;
        }
        Ok(())
    }

    fn file(&mut self, file: &FileAnswer, name: &str, column: usize) -> io::Result<()> {
        let indent = column + 4;
        let first = format!("  {}", fit(name, column));
        if file.records > 0 {
            let by_name = match file.hop_by_name.as_str() {
                "" => String::new(),
                hop => format!("; taken as the {hop}'s by its name"),
            };
            let text = format!(
                "{} of {} ({}){by_name}",
                counted(file.records, "record"),
                file.hops.join(", "),
                file.formats.join(", ")
            );
            self.wrapped(Paint::Plain, &first, indent, &text)?;
        } else {
            let why = if file.problem.is_empty() { &file.looks_like } else { &file.problem };
            self.wrapped(Paint::Notice, &first, indent, &format!("not read: {why}"))?;
        }
        if file.records > 0 && !file.problem.is_empty() {
            self.wrapped(Paint::Notice, "", indent, &file.problem)?;
        }
        if let Some(reject) = file.rejects.first() {
            let text = format!(
                "{} not readable, the first at byte {}: {} `{}`",
                counted(file.rejected, "record"),
                reject.offset,
                reject.detail,
                cut(&safe(reject.head.trim()), 60)
            );
            self.wrapped(Paint::Dim, "", indent, &text)?;
        }
        Ok(())
    }

    fn nothing(&mut self, answer: &ExplainAnswer) -> io::Result<()> {
        writeln!(self.out)?;
        let known = "Read are Fastly log lines (JSON and common log format), Envoy and Istio access logs (JSON, TEXT, \
                     your own format string with --envoy-format), captured access log streams and OTLP logs; plain, \
                     gzip or zstd.";
        let what = if answer.files.len() == 1 {
            "Nothing in this file could be read."
        } else {
            "Nothing in these files could be read."
        };
        self.wrapped(Paint::Notice, "", 0, &format!("{what} {known}"))
    }

    /// Which ids stand on which hop: where they do not, nothing joins.
    fn hops(&mut self, hops: &[HopAnswer]) -> io::Result<()> {
        writeln!(self.out)?;
        let ids: [(&str, Count); 4] = [
            ("correlation_id", |hop| hop.correlation_id),
            ("request_id", |hop| hop.request_id),
            ("edge_request_id", |hop| hop.edge_request_id),
            ("trace_id", |hop| hop.trace_id),
        ];
        let header = format!(
            "{} {:>9} {:>7}  {:>14} {:>10} {:>15} {:>8}  CLOCK",
            fit("HOP", 16),
            "RECORDS",
            "PLACES",
            ids[0].0,
            ids[1].0,
            ids[2].0,
            ids[3].0
        );
        self.line(Paint::Bold, &cut(&header, self.screen.columns))?;
        for hop in hops {
            let share = |count: u64| match (count * 100).checked_div(hop.records) {
                None | Some(0) if count == 0 => "-".to_owned(),
                None | Some(0) => "<1%".to_owned(),
                Some(percent) => format!("{percent}%"),
            };
            let cells: Vec<String> = ids.iter().map(|(_, count)| share(count(hop))).collect();
            let row = format!(
                "{} {:>9} {:>7}  {:>14} {:>10} {:>15} {:>8}  {}",
                fit(&safe(&hop_text(&hop.hop, &hop.direction)), 16),
                grouped(hop.records),
                grouped(hop.places),
                cells[0],
                cells[1],
                cells[2],
                cells[3],
                hop.clock
            );
            writeln!(self.out, "{}", cut(row.trim_end(), self.screen.columns))?;
        }
        Ok(())
    }

    fn requests(&mut self, answer: &ExplainAnswer) -> io::Result<()> {
        let RequestsAnswer {
            count,
            joined,
            edge_to_mesh,
            edge_only,
            edge_answered,
            mesh_only,
            complete,
            failing,
        } = answer.requests;
        self.title(&format!(
            "{}: {} joined over two hops or more ({})",
            counted(count, "request"),
            grouped(joined),
            percent(joined, count)
        ))?;
        let answered = match edge_answered {
            0 => String::new(),
            answered => format!(" ({} answered there, from cache)", grouped(answered)),
        };
        let lines = [
            (edge_to_mesh, "from the edge into the mesh".to_owned()),
            (edge_only, format!("seen at the edge only{answered}")),
            (mesh_only, "seen in the mesh only".to_owned()),
            (complete, "without a missing hop".to_owned()),
            (failing, "failing".to_owned()),
        ];
        for (count, what) in lines.iter().filter(|(count, _)| *count > 0) {
            self.line(Paint::Plain, &format!("  {:>9}  {what}", grouped(*count)))?;
        }
        for (between, words) in [
            ("edge_to_shield", "POP to POP"),
            ("edge_to_mesh", "edge to mesh"),
            ("in_mesh", "within the mesh"),
        ] {
            let of = answer.joined_by.iter().filter(|join| join.between == between);
            let by: Vec<String> = of
                .map(|join| {
                    format!("{} ({})", join.by.replace("hop_order", "their order"), grouped(join.requests))
                })
                .collect();
            if !by.is_empty() {
                self.line(Paint::Plain, &format!("  {words} joined by {}", by.join(", ")))?;
            }
        }
        for skew in answer.skew.iter().take(SKEW_SHOWN) {
            let (low, high) = (offset_text(skew.low_ns), offset_text(skew.high_ns));
            let text = format!("  clocks: {} is {low} to {high} against {}", skew.to, skew.from);
            self.line(Paint::Notice, &text)?;
        }
        if answer.skew.len() > SKEW_SHOWN {
            let more = answer.skew.len() - SKEW_SHOWN;
            self.line(Paint::Dim, &format!("  clocks: {more} more pairs differ (--json has them)"))?;
        }
        Ok(())
    }

    fn failing(&mut self, answer: &ExplainAnswer) -> io::Result<()> {
        if answer.failing.is_empty() {
            return Ok(());
        }
        self.title("Failing, by kind; the latest of each:")?;
        for failing in &answer.failing {
            self.told(&format!("{:>5}×", grouped(failing.requests)), &failing.latest, Paint::Bad)?;
        }
        if answer.more_failing > 0 {
            let more = counted(answer.more_failing, "more kind");
            self.line(Paint::Dim, &format!("         {more}: --top shows them"))?;
        }
        Ok(())
    }

    fn slowest(&mut self, answer: &ExplainAnswer) -> io::Result<()> {
        if answer.slowest.is_empty() {
            return Ok(());
        }
        self.title("Slowest that did not fail:")?;
        for told in &answer.slowest {
            let took = told.duration_ns.map(duration_text).unwrap_or_default();
            self.told(&format!("{took:>6}"), told, Paint::Plain)?;
        }
        let id = answer.slowest.first().map(|told| told.id.as_str()).filter(|id| !id.is_empty());
        if let Some(id) = id {
            self.line(Paint::Dim, &format!("  One request hop by hop: the same files and --trace {id}"))?;
        }
        Ok(())
    }

    fn told(&mut self, lead: &str, told: &ToldAnswer, paint: Paint) -> io::Result<()> {
        let indent = 10;
        self.wrapped(paint, &format!("  {lead} "), indent, &told.summary)?;
        let id =
            if told.id.is_empty() { "no id".to_owned() } else { format!("{} {}", told.id_kind, told.id) };
        self.wrapped(Paint::Dim, "", indent, &format!("{id}, {}", second(&told.start)))
    }

    fn advice(&mut self, answer: &ExplainAnswer) -> io::Result<()> {
        if answer.advice.is_empty() {
            return Ok(());
        }
        self.title("To join more:")?;
        for (at, advice) in answer.advice.iter().enumerate() {
            self.wrapped(Paint::Plain, &format!("  {}. ", at + 1), 5, &advice.text)?;
            if !advice.snippet.is_empty() {
                writeln!(self.out)?;
                for line in advice.snippet.lines() {
                    // Never cut: it is there to be copied.
                    self.line(Paint::Dim, &format!("       {line}"))?;
                }
                writeln!(self.out)?;
            }
        }
        Ok(())
    }
}

/// The end of a path, with an ellipsis where it was cut.
fn name(file: &str) -> String {
    let shown = if file == "-" { "stdin".to_owned() } else { safe(file).into_owned() };
    let count = shown.chars().count();
    if count <= NAME_MOST {
        return shown;
    }
    let end: String = shown.chars().skip(count - NAME_MOST + 1).collect();
    format!("…{end}")
}

fn percent(part: u64, of: u64) -> String {
    match (part.saturating_mul(100)).checked_div(of) {
        None => "none".to_owned(),
        Some(percent) => format!("{percent}%"),
    }
}

/// A time to the second, as it is said: `2026-11-21 19:41:04Z`.
fn second(time: &str) -> String {
    time.get(..19).map_or_else(|| time.to_owned(), |time| format!("{}Z", time.replace('T', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_for_the_eye() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1_000, 1_234_567].map(grouped).each_ref().map(String::as_str)
        );
        assert_eq!((counted(1, "file"), counted(2, "file")), ("1 file".to_owned(), "2 files".to_owned()));
        assert_eq!(second("2026-11-21T19:41:04.123456789Z"), "2026-11-21 19:41:04Z");
        assert_eq!(name(&format!("/very/long/{}/gateway.log", "x".repeat(60))).chars().count(), NAME_MOST);
    }

    #[test]
    fn text_is_broken_between_words_and_nothing_unsafe_is_written() {
        let mut out = Vec::new();
        let screen = Screen { columns: 40, coloured: false };
        let text = format!("{} \u{1b}[2J end", "word ".repeat(20));
        Page { out: &mut out, screen }.wrapped(Paint::Plain, "  1. ", 5, &text).unwrap();
        let shown = String::from_utf8(out).unwrap();
        assert!(shown.lines().count() > 2 && shown.lines().all(|line| width(line) <= 40), "{shown}");
        assert!(!shown.contains('\u{1b}'));
    }
}

//! What Grafana and its ClickHouse data source do to a query before it is sent, by the plug-in's published source
//! (4.20): `$__conditionalAll` and variables in the browser, the time macros in its backend.

use std::collections::BTreeMap;

/// What a board is opened with: times in unix seconds.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) from_s: i64,
    pub(crate) to_s: i64,
    pub(crate) interval_s: i64,
    /// Values of variables; none chosen of a multi-value variable is "All".
    pub(crate) variables: BTreeMap<String, Vec<String>>,
}

impl View {
    fn values(&self, name: &str) -> &[String] {
        self.variables.get(name).unwrap_or_else(|| panic!("no variable ${{{name}}}"))
    }

    /// The statement as it is sent.
    pub(crate) fn sent(&self, raw: &str) -> String {
        let sql = self.times(&self.interpolated(&self.conditions(raw)));
        assert!(!sql.contains("$__") && !sql.contains("${"), "a macro is left: {sql}");
        sql
    }

    /// `$__conditionalAll(condition, $variable)`: the condition, or what is always true where all values are chosen.
    fn conditions(&self, raw: &str) -> String {
        const MACRO: &str = "$__conditionalAll(";
        let mut sql = raw.to_owned();
        while let Some(at) = sql.rfind(MACRO) {
            let (arguments, end) = arguments(&sql, at + MACRO.len());
            assert_eq!(arguments.len(), 2, "$__conditionalAll takes two arguments: {arguments:?}");
            let name = arguments[1].trim().trim_start_matches('$').trim_matches(['{', '}']);
            let phrase = if self.values(name).is_empty() { "1=1" } else { &arguments[0] };
            sql = format!("{}{phrase}{}", &sql[..at], &sql[end..]);
        }
        sql
    }

    /// `${name}` and `${name:singlequote}`.
    pub(crate) fn interpolated(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (inside, after) = after.split_once('}').expect("a closed variable");
            out.push_str(before);
            let (name, format) = inside.split_once(':').unwrap_or((inside, ""));
            let values = match name {
                "__from" => vec![(self.from_s * 1000).to_string()],
                "__to" => vec![(self.to_s * 1000).to_string()],
                name => self.values(name).to_vec(),
            };
            let quoted = |value: &String| format!("'{}'", value.replace('\'', "\\'"));
            match format {
                "singlequote" => out.push_str(&values.iter().map(quoted).collect::<Vec<_>>().join(",")),
                "" => out.push_str(&values.join(",")),
                other => panic!("${{{name}:{other}}} is not understood here"),
            }
            rest = after;
        }
        out + rest
    }

    fn times(&self, raw: &str) -> String {
        let (from, to) = (self.from_s, self.to_s);
        let one = |sql: String, name: &str, make: &dyn Fn(&str) -> String| {
            let mut sql = sql;
            while let Some(at) = sql.find(name) {
                let (arguments, end) = arguments(&sql, at + name.len());
                assert_eq!(arguments.len(), 1, "{name}) takes one argument");
                sql = format!("{}{}{}", &sql[..at], make(&arguments[0]), &sql[end..]);
            }
            sql
        };
        let sql = one(raw.to_owned(), "$__timeFilter(", &|column| {
            format!("{column} >= toDateTime({from}) AND {column} <= toDateTime({to})")
        });
        let sql = one(sql, "$__timeInterval(", &|column| {
            format!("toStartOfInterval(toDateTime({column}), INTERVAL {} second)", self.interval_s)
        });
        sql.replace("$__fromTime", &format!("toDateTime({from})"))
            .replace("$__toTime", &format!("toDateTime({to})"))
            .replace("$__interval_s", &self.interval_s.to_string())
    }
}

/// The arguments that begin at `start`, and where their closing bracket ends.
fn arguments(text: &str, start: usize) -> (Vec<String>, usize) {
    let (mut depth, mut from, mut found) = (1, start, Vec::new());
    for (at, byte) in text.bytes().enumerate().skip(start) {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b',' if depth == 1 => {
                found.push(text[from..at].to_owned());
                from = at + 1;
            }
            _ => {}
        }
        if depth == 0 {
            found.push(text[from..at].to_owned());
            return (found, at + 1);
        }
    }
    panic!("a bracket is not closed: {text}");
}

//! What the output can show: how wide it is and whether it takes colours.

use std::io::IsTerminal as _;

use clap::ValueEnum;

/// Columns where nothing says how wide the output is: a pipe, a file.
const DEFAULT_COLUMNS: usize = 100;

/// Fewest columns that a waterfall is laid out for.
const LEAST_COLUMNS: usize = 40;

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Even into a pipe
    Always,
    /// Not at all
    Never,
}

/// Width and colour of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    /// Columns that a line may take.
    pub(crate) columns: usize,
    /// Whether to write colours.
    pub(crate) coloured: bool,
}

/// How a piece of text is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Bold,
    Dim,
    Good,
    Notice,
    Bad,
}

impl Screen {
    /// The screen behind stdout.
    pub(crate) fn of_stdout(colour: Colour) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let terminal =
            if is_terminal { terminal_size::terminal_size().map(|(width, _)| width.0) } else { None };
        Self::new(colour, is_terminal, set("NO_COLOR").is_some(), terminal, set("COLUMNS").as_deref())
    }

    /// The rule: a terminal's own width, else `COLUMNS`, else 100. `NO_COLOR` holds unless colour was asked for by
    /// option.
    fn new(
        colour: Colour,
        is_terminal: bool,
        no_color: bool,
        terminal: Option<u16>,
        columns: Option<&str>,
    ) -> Self {
        let stated = columns.and_then(|text| text.parse().ok()).filter(|&columns: &usize| columns > 0);
        let columns = terminal.map(usize::from).filter(|&columns| columns > 0).or(stated);
        let coloured = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => is_terminal && !no_color,
        };
        Self { columns: columns.unwrap_or(DEFAULT_COLUMNS).max(LEAST_COLUMNS), coloured }
    }

    /// Text, already safe, in a colour where the screen takes one.
    pub(crate) fn paint(self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Plain => return text.to_owned(),
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Good => "32",
            Paint::Notice => "33",
            Paint::Bad => "31",
        };
        if self.coloured && !text.trim().is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// The colour of a status: none sent and server errors are bad, client errors are worth a look.
pub(crate) fn status_paint(status: u64) -> Paint {
    match status {
        0 | 500.. => Paint::Bad,
        400..500 => Paint::Notice,
        100..400 => Paint::Good,
        _ => Paint::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_only_on_a_terminal_and_never_against_no_color() {
        let coloured =
            |colour, is_terminal, no_color| Screen::new(colour, is_terminal, no_color, None, None).coloured;
        assert!(coloured(Colour::Auto, true, false));
        assert!(!coloured(Colour::Auto, false, false));
        assert!(!coloured(Colour::Auto, true, true));
        assert!(coloured(Colour::Always, false, true));
        assert!(!coloured(Colour::Never, true, false));
    }

    #[test]
    fn the_terminal_knows_its_width_best() {
        let columns = |terminal, columns| Screen::new(Colour::Auto, false, false, terminal, columns).columns;
        assert_eq!(columns(Some(132), Some("80")), 132);
        assert_eq!(columns(None, Some("80")), 80);
        assert_eq!(columns(None, Some("wide")), 100);
        assert_eq!(columns(Some(3), None), 40);
    }
}

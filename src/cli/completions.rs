//! `throughline completions SHELL`: what a shell needs to complete subcommands and options, from the table of clap.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

/// The shell that will read it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script; where it goes is the shell's business (docs/operations.md, "Shell completions").
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    let mut command = super::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "throughline", &mut script);
    std::io::stdout().write_all(&script).context("print the completions")?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_learns_every_subcommand() {
        let names: Vec<String> = super::super::Arguments::command()
            .get_subcommands()
            .map(|one| one.get_name().to_owned())
            .collect();
        assert!(names.len() > 15, "{names:?}");
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(
                shell,
                &mut super::super::Arguments::command(),
                "throughline",
                &mut script,
            );
            let script = String::from_utf8(script).unwrap();
            for name in &names {
                assert!(script.contains(name.as_str()), "{shell}: {name}");
            }
        }
    }
}

//! The engine alone, for the tests and for looking into a data directory: `--lib LIBCHDB --path DIR [--stay]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = engine::Options::parse(std::env::args_os().skip(1))
        .map_err(|error| error.to_string())
        .and_then(|options| engine::run(options).map_err(|error| error.to_string()));
    match outcome {
        Ok(never) => match never {},
        Err(error) => {
            use std::io::Write as _;
            drop(writeln!(std::io::stderr(), "engine: {error}"));
            ExitCode::FAILURE
        }
    }
}

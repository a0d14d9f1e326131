//! Plugin: is the clock of this host synchronised, as chronyd sees it.

mod args;
mod judge;
mod tracking;

use std::io::Write;
use std::process::ExitCode;

use nodemedic_plugin_sdk::{EXIT_USAGE, Report, child, emit};

/// chronyd answers in a millisecond; by default the agent gives a plugin ten seconds.
const CHRONYC_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
/// The answer is one line of 150 bytes.
const OUTPUT_MAX_BYTES: usize = 4096;

fn main() -> ExitCode {
    let args = match args::parse(std::env::args().skip(1)) {
        Ok(args::Asked::Run(args)) => args,
        Ok(args::Asked::Print(text)) => {
            let told = std::io::stdout().write_all(text.as_bytes());
            return if told.is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            };
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    emit(&look(&args).unwrap_or_else(Report::unknown))
}

/// Asks chronyd. Whatever keeps us from seeing is unknown, and says nothing about the clock.
fn look(args: &args::Args) -> Result<Report, String> {
    let mut words = vec![String::from("-c"), String::from("-n")];
    words.extend(args.chronyc_args.iter().cloned());
    words.push(String::from("tracking"));
    let said = child::run(&args.chronyc, &words, CHRONYC_TIMEOUT, OUTPUT_MAX_BYTES)?;
    if said.code != Some(0) {
        let words = [said.stdout.trim(), said.stderr.trim()].join(" ");
        return Err(format!(
            "{} cannot ask chronyd: {}; is chronyd running?",
            args.chronyc,
            words.trim()
        ));
    }
    let tracking = tracking::parse(&said.stdout)?;
    Ok(Report::of(judge::findings(&tracking, args.limits)))
}

//! The command line.

use crate::judge::Limits;

const HELP: &str = "\
nodemedic-plugin-chrony: is this host's clock synchronised, as chronyd sees it

Usage: nodemedic-plugin-chrony [options] [-- more arguments for chronyc]

  --warning-ms N    an offset above this is a warning (100)
  --critical-ms N   an offset above this is critical (1000)
  --chronyc PATH    the program to ask (chronyc)
  --version, --help
";

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// Above which offsets something is wrong.
    pub limits: Limits,
    /// The program to ask.
    pub chronyc: String,
    /// Before its own word `tracking`.
    pub chronyc_args: Vec<String>,
}

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Look.
    Run(Args),
    /// Print this.
    Print(String),
}

/// Reads a command line without the program's name.
pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut args = Args {
        limits: Limits {
            warning_ms: 100,
            critical_ms: 1000,
        },
        chronyc: String::from("chronyc"),
        chronyc_args: Vec::new(),
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--help" | "-h" => return Ok(Asked::Print(String::from(HELP))),
            "--version" => {
                let version = env!("CARGO_PKG_VERSION");
                return Ok(Asked::Print(format!("nodemedic-plugin-chrony {version}\n")));
            }
            "--warning-ms" => args.limits.warning_ms = number(&word, &value()?)?,
            "--critical-ms" => args.limits.critical_ms = number(&word, &value()?)?,
            "--chronyc" => args.chronyc = value()?,
            "--" => args.chronyc_args = words.by_ref().collect(),
            _ => return Err(format!("unknown argument {word}; --help lists all")),
        }
    }
    if args.limits.critical_ms < args.limits.warning_ms {
        return Err(String::from("--critical-ms is below --warning-ms"));
    }
    Ok(Asked::Run(args))
}

fn number(name: &str, text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("{name} {text}: not a number of milliseconds"))
}

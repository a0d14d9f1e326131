//! The command line.

use crate::host::Settings;

/// What `--help` prints.
pub const HELP: &str = include_str!("help.txt");
const VERSION: &str = concat!("nodemedic-watchdog ", env!("CARGO_PKG_VERSION"), "\n");
/// How long a promise may take to be made good, at least: less than a second is not measured by
/// the kernel's own reaping of a large process. And at most: no driver that we know takes longer.
const SPAN_MS: std::ops::RangeInclusive<u64> = 1000..=600_000;

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Args {
    /// For the guard, as far as the command line says it.
    pub settings: Settings,
    /// The watchdog device.
    pub device: Option<String>,
    /// 0 for none.
    pub pretimeout_ms: u64,
    /// Where beats come in.
    pub socket: String,
    /// Where last words go.
    pub state: String,
    /// Where devices are described.
    pub sys_root: String,
    /// Print this and do nothing.
    pub print: Option<&'static str>,
}

impl Args {
    /// Reads a command line without the program's name.
    ///
    /// # Errors
    /// One sentence for the user.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
        let (mut args, mut no_device) = (Args::default(), false);
        args.settings.timeout_ms = 10_000;
        args.socket.push_str("/run/nodemedic/watchdog.sock");
        args.state.push_str("/var/lib/nodemedic-watchdog");
        args.sys_root.push_str("/sys");
        while let Some(name) = words.next() {
            let mut value = || words.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--device" => args.device = Some(value()?),
                "--no-device" => no_device = true,
                "--dry-run" => args.settings.dry_run = true,
                "--timeout" => args.settings.timeout_ms = span(&name, &value()?)?,
                "--pretimeout" => args.pretimeout_ms = span(&name, &value()?)?,
                "--last-resort" => match value()?.as_str() {
                    "say" => args.settings.reboot = false,
                    "reboot" => args.settings.reboot = true,
                    other => return Err(format!("{name} {other}: want say or reboot")),
                },
                "--agent-uid" => {
                    let uid = value()?.parse().map_err(|_| format!("{name}: not a number"))?;
                    args.settings.agent_uid = Some(uid);
                }
                "--socket" => args.socket = value()?,
                "--state" => args.state = value()?,
                "--sys-root" => args.sys_root = value()?,
                "--help" => args.print = Some(HELP),
                "--version" => args.print = Some(VERSION),
                _ => return Err(format!("unknown argument {name}; --help lists all")),
            }
        }
        args.settings.hardware = args.device.is_some();
        if args.settings.hardware == no_device && args.print.is_none() {
            return Err("say --device PATH, or --no-device if there is none: one of them".into());
        }
        Ok(args)
    }
}

/// Milliseconds.
fn span(name: &str, text: &str) -> Result<u64, String> {
    let split = text.trim_end_matches(|c: char| c.is_ascii_lowercase()).len();
    let scale = [("ms", 1), ("s", 1000), ("m", 60_000)].into_iter().find(|s| s.0 == &text[split..]);
    let ms = scale.zip(text[..split].parse::<u64>().ok()).and_then(|(s, n)| n.checked_mul(s.1));
    let bad = || format!("{name} {text}: want a span from 1s to 10m, such as 10s");
    ms.filter(|ms| SPAN_MS.contains(ms)).ok_or_else(bad)
}

//! The command line.

use crate::verdict::{LAST_RESORT, Settings};

/// What `--help` and `--version` print.
pub const HELP: &str =
    concat!("nodemedic-watchdog ", env!("CARGO_PKG_VERSION"), "\n", include_str!("help.txt"));
/// How long a promise may take to be made good, at least: less than a second is not measured by
/// the kernel's own reaping of a large process. And at most: no driver that we know takes longer.
const SPAN_MS: [u64; 2] = [1000, 600_000];

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Args {
    /// For the guard, as far as the command line says it.
    pub settings: Settings,
    /// The watchdog device, if there is one.
    pub device: String,
    /// 0 for none.
    pub pretimeout_ms: u64,
    /// Where beats come in.
    pub socket: String,
    /// Where last words go.
    pub state: String,
    /// Where devices are described.
    pub sys_root: String,
}

impl Args {
    /// Reads a command line without the program's name.
    ///
    /// # Errors
    /// One sentence for the user.
    pub fn parse(mut words: Vec<String>) -> Result<Args, String> {
        let mut args = Args {
            device: value(&mut words, "--device", "")?,
            socket: value(&mut words, "--socket", "/run/nodemedic-watchdog/watchdog.sock")?,
            state: value(&mut words, "--state", "/var/lib/nodemedic-watchdog")?,
            sys_root: value(&mut words, "--sys-root", "/sys")?,
            pretimeout_ms: span(&mut words, "--pretimeout", 0)?,
            settings: Settings::default(),
        };
        args.settings.timeout_ms = span(&mut words, "--timeout", 10_000)?;
        args.settings.flags = match value(&mut words, "--last-resort", "say")?.as_str() {
            "say" => 0,
            "reboot" => LAST_RESORT * u32::from(args.device.is_empty()),
            other => return Err(format!("--last-resort {other}: want say or reboot")),
        };
        let agent = value(&mut words, "--agent-uid", "0")?;
        let named = nix::unistd::User::from_name(&agent).ok().flatten().map(|u| u.uid.as_raw());
        args.settings.uids[0] = named.or(agent.parse().ok()).ok_or(format!("no user {agent}"))?;
        let mut flag = |name: &str| {
            let at = words.iter().position(|word| word == name);
            at.map(|at| words.remove(at)).is_some()
        };
        let no_device = flag("--no-device");
        args.settings.dry_run = flag("--dry-run");
        args.settings.hardware = !args.device.is_empty();
        match words.first() {
            Some(word) => Err(format!("unknown argument {word}, or a second one; see --help")),
            None if args.settings.hardware != no_device => Ok(args),
            None => Err("say --device PATH, or --no-device if there is none: one of them".into()),
        }
    }
}

/// Takes an option out of the words.
fn value(words: &mut Vec<String>, name: &str, default: &str) -> Result<String, String> {
    let Some(at) = words.iter().position(|word| word == name) else { return Ok(default.into()) };
    words.remove(at);
    let value = words.get(at).is_some().then(|| words.remove(at));
    value.ok_or(format!("{name} needs a value"))
}

/// Takes a span out of the words: milliseconds.
fn span(words: &mut Vec<String>, name: &str, default_ms: u64) -> Result<u64, String> {
    let text = value(words, name, "")?;
    let units = [("ms", 1), ("s", 1000), ("m", 60_000)].into_iter();
    let read = |(unit, ms)| text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(ms);
    match units.filter_map(read).find(|ms| (SPAN_MS[0]..=SPAN_MS[1]).contains(ms)) {
        None if text.is_empty() => Ok(default_ms),
        ms => ms.ok_or(format!("{name} {text}: want a span from 1s to 10m, such as 10s")),
    }
}

//! The command line.

use std::path::PathBuf;

/// What `--help` prints.
pub const HELP: &str = "\
nodemedic-watchdog: keeps the promises of leases when the agent cannot

Usage: nodemedic-watchdog (--device PATH | --no-device) [options]

  --device PATH       feed this watchdog device; it resets the host when a promise cannot be kept
  --no-device         declare that there is none: promises are enforced by killing alone
  --timeout SPAN      with a device: its timeout; without: the time in which a broken promise is
                      made good (10s; 500ms, 10s and 1m are spans)
  --socket PATH       where beats come in (/run/nodemedic/watchdog.sock)
  --agent-uid UID     beats of this user count too, besides root's and our own
  --release-on-stop   disarm at a stop even while promises are live
  --proc-root PATH    where processes are seen (/proc)
  --cgroup-root PATH  where cgroups are (/sys/fs/cgroup)
  --version, --help

Exit: 0 ended as asked, 1 failed, 64 wrong usage.
";

/// How long a promise may take to be made good, at least: less than a second is not measured by
/// the kernel's own reaping of a large process.
const TIMEOUT_MIN_MS: u64 = 1000;
/// No driver that we know takes longer.
const TIMEOUT_MAX_MS: u64 = 600_000;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// The device; `None` when there is declared to be none.
    pub device: Option<PathBuf>,
    /// See the help text.
    pub timeout_ms: u64,
    /// Where beats come in.
    pub socket: PathBuf,
    /// One more sender.
    pub agent_uid: Option<u32>,
    /// Disarm at a stop even while promises are live.
    pub release_on_stop: bool,
    /// Where processes are seen.
    pub proc_root: PathBuf,
    /// Where cgroups are.
    pub cgroup_root: PathBuf,
}

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Run so.
    Run(Args),
    /// Print this.
    Print(String),
}

/// Reads a command line without the program's name.
///
/// # Errors
/// One sentence for the user.
pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut device: Option<Option<PathBuf>> = None;
    let mut args = Args {
        device: None,
        timeout_ms: 10_000,
        socket: PathBuf::from("/run/nodemedic/watchdog.sock"),
        agent_uid: None,
        release_on_stop: false,
        proc_root: PathBuf::from("/proc"),
        cgroup_root: PathBuf::from("/sys/fs/cgroup"),
    };
    while let Some(word) = words.next() {
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name.to_string(), Some(value.to_string())),
            None => (word, None),
        };
        let mut value = || {
            inline
                .clone()
                .or_else(|| words.next())
                .ok_or_else(|| format!("{name} needs a value"))
        };
        match name.as_str() {
            "--help" | "-h" => return Ok(Asked::Print(String::from(HELP))),
            "--version" => {
                return Ok(Asked::Print(format!(
                    "nodemedic-watchdog {}\n",
                    env!("CARGO_PKG_VERSION")
                )));
            }
            "--device" => set_device(&mut device, Some(PathBuf::from(value()?)))?,
            "--no-device" => set_device(&mut device, None)?,
            "--timeout" => args.timeout_ms = timeout(&value()?)?,
            "--socket" => args.socket = PathBuf::from(value()?),
            "--agent-uid" => {
                let text = value()?;
                let uid = text
                    .parse()
                    .map_err(|_| format!("--agent-uid {text}: not a number"))?;
                args.agent_uid = Some(uid);
            }
            "--release-on-stop" => args.release_on_stop = true,
            "--proc-root" => args.proc_root = PathBuf::from(value()?),
            "--cgroup-root" => args.cgroup_root = PathBuf::from(value()?),
            _ => return Err(format!("unknown argument {name}; --help lists all")),
        }
    }
    let missing = "say --device PATH, or --no-device to declare that there is none";
    args.device = device.ok_or(missing)?;
    Ok(Asked::Run(args))
}

fn set_device(slot: &mut Option<Option<PathBuf>>, to: Option<PathBuf>) -> Result<(), String> {
    match slot.replace(to) {
        None => Ok(()),
        Some(_) => Err(String::from(
            "--device and --no-device: say one of them, once",
        )),
    }
}

fn timeout(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        _ => None,
    };
    (scale.zip(number.parse::<u64>().ok()))
        .and_then(|(scale, number)| number.checked_mul(scale))
        .filter(|ms| (TIMEOUT_MIN_MS..=TIMEOUT_MAX_MS).contains(ms))
        .ok_or_else(|| format!("--timeout {text}: want a span from 1s to 10m, such as 10s"))
}

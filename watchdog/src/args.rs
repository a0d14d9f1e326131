//! The command line.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What `--help` prints.
pub const HELP: &str = include_str!("help.txt");
/// What takes a value, with its default; an empty one is none.
const VALUES: [(&str, &str); 10] = [
    ("--device", ""),
    ("--timeout", "10s"),
    ("--pretimeout", ""),
    ("--last-resort", "say"),
    ("--state", "/var/lib/nodemedic-watchdog"),
    ("--socket", "/run/nodemedic/watchdog.sock"),
    ("--agent-uid", ""),
    ("--proc-root", "/proc"),
    ("--cgroup-root", "/sys/fs/cgroup"),
    ("--sys-root", "/sys"),
];
const FLAGS: [&str; 5] = ["--no-device", "--dry-run", "--release-on-stop", "--version", "--help"];
/// How long a promise may take to be made good, at least: less than a second is not measured by
/// the kernel's own reaping of a large process. And at most: no driver that we know takes longer.
const SPAN_MS: std::ops::RangeInclusive<u64> = 1000..=600_000;

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Args(BTreeMap<String, String>);

impl Args {
    /// Reads a command line without the program's name.
    ///
    /// # Errors
    /// One sentence for the user.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
        let mut args = Args::default();
        while let Some(word) = words.next() {
            let (name, inline) = match word.split_once('=') {
                Some((name, value)) => (name.to_string(), Some(value.to_string())),
                None => (word, None),
            };
            let value = match VALUES.iter().any(|(known, _)| *known == name) {
                true => inline.or_else(|| words.next()).ok_or(format!("{name} needs a value"))?,
                false if FLAGS.contains(&name.as_str()) => String::from("yes"),
                false => return Err(format!("unknown argument {name}; --help lists all")),
            };
            if args.0.insert(name.clone(), value).is_some() {
                return Err(format!("{name} is said twice"));
            }
        }
        if args.has("--help") || args.has("--version") {
            return Ok(args);
        }
        if args.has("--device") == args.has("--no-device") {
            let why =
                "say --device PATH, or --no-device to declare that there is none: one of them";
            return Err(String::from(why));
        }
        args.span("--timeout")?;
        args.span("--pretimeout")?;
        args.uid()?;
        match args.text("--last-resort") {
            "say" | "reboot" => Ok(args),
            other => Err(format!("--last-resort {other}: want say or reboot")),
        }
    }

    /// True when it was said.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Its value or default.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        let default = VALUES.iter().find(|(known, _)| *known == name).map_or("", |known| known.1);
        self.0.get(name).map_or(default, String::as_str)
    }

    /// The same as a path.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(self.text(name))
    }

    /// One more sender.
    ///
    /// # Errors
    /// When it is no number.
    pub fn uid(&self) -> Result<Option<u32>, String> {
        let text = self.0.get("--agent-uid");
        let number =
            text.map(|text| text.parse().map_err(|_| format!("--agent-uid {text}: not a number")));
        number.transpose()
    }

    /// Milliseconds; 0 for nothing.
    ///
    /// # Errors
    /// When it is no span.
    pub fn span(&self, name: &str) -> Result<u64, String> {
        let text = self.text(name);
        let (number, unit) =
            text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let scale = match unit {
            "" if text.is_empty() => return Ok(0),
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            _ => None,
        };
        let ms = scale.zip(number.parse::<u64>().ok()).and_then(|(scale, n)| n.checked_mul(scale));
        let bad = || format!("{name} {text}: want a span from 1s to 10m, such as 10s");
        ms.filter(|ms| SPAN_MS.contains(ms)).ok_or_else(bad)
    }
}

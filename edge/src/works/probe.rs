//! How people write probes: `probe = { ... }` or `probes = [ ... ]`, checked, becomes what the
//! protocol carries. The same for works and for services of a host.

use nodemedic_protocol::Millis;
use nodemedic_protocol::work::{Check, Limits, PROBES_MAX, ProbeSpec, Run};

use super::raw::{Probe, RawLimits};

/// How often a probe asks when nothing is said. A dead process is noticed by its exit at once; the
/// probe is for one that hangs, and at this rate costs far below a percent of a processor.
pub const INTERVAL: Millis = Millis::from_secs(5);

/// How long an answer may take when nothing is said: a local one takes milliseconds, two seconds
/// are a hang.
pub const TIMEOUT: Millis = Millis::from_secs(2);

/// How long a probe must fail when nothing is said: three in a row, so that one hiccup restarts
/// nothing. An age and a silence are a time of their own and need no second one.
pub const FAIL_FOR: Millis = Millis::from_secs(15);

/// A shorter interval asks more than any service can be expected to bear.
pub const INTERVAL_MIN: Millis = Millis(100);

/// A silence is looked at so many times within its bound when no interval is set, but not more
/// often than every second: the journal is asked through a program.
const LOOKS: u64 = 10;

/// What has failed for so long, on and off, was for a person long before.
const WITHIN_MAX: Millis = Millis::from_secs(3600);

/// Answers that a window may hold, so that what is remembered of a probe stays small.
const ANSWERS_MAX: u64 = 1000;

/// A question, and the answer that is looked for: one line, not a conversation.
const TEXT_MAX_BYTES: usize = 4096;

/// The questions there are.
const QUESTIONS: &str = "http, tcp, unix, exec, process, watchdog, log, limits";

/// A mistake: the key below the table that has `probe`, and what is wrong with it. A probe in a
/// list has its number, from 1, as its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where.
    pub key: Vec<String>,
    /// What, and what to write instead.
    pub message: String,
}

/// Every probe that was written.
///
/// # Errors
/// The first mistake.
pub fn probes(one: Option<Probe>, more: Option<Vec<Probe>>) -> Result<Vec<ProbeSpec>, Wrong> {
    let wrong = |key: &str, message: String| Wrong {
        key: vec![key.to_owned()],
        message,
    };
    match (one, more) {
        (Some(_), Some(_)) => Err(wrong(
            "probe",
            "is beside probes: write all of them as probes = [{ ... }, { ... }]".to_owned(),
        )),
        (Some(one), None) => Ok(vec![probe(&["probe".to_owned()], one)?]),
        (None, Some(more)) if more.len() > PROBES_MAX => Err(wrong(
            "probes",
            format!("are {}; at most {PROBES_MAX} are asked", more.len()),
        )),
        (None, Some(more)) => more
            .into_iter()
            .zip(1..)
            .map(|(raw, number)| probe(&["probes".to_owned(), i32::to_string(&number)], raw))
            .collect(),
        (None, None) => Ok(Vec::new()),
    }
}

/// Whether what runs so can be asked so.
///
/// # Errors
/// Why not, and what to write instead.
pub fn fits(check: &Check, run: &Run) -> Result<(), &'static str> {
    match (check, run) {
        (Check::Watchdog { .. }, Run::Command { .. }) => Err(
            "asks for WATCHDOG=1, which a command has nobody to say to; make it a unit of \
             systemd, or use log",
        ),
        _ => Ok(()),
    }
}

/// Where in the file this probe is.
struct At<'a>(&'a [String]);

impl At<'_> {
    fn wrong(&self, key: &[&str], message: impl Into<String>) -> Wrong {
        let below = key.iter().map(|k| (*k).to_owned());
        Wrong {
            key: self.0.iter().cloned().chain(below).collect(),
            message: message.into(),
        }
    }
}

fn probe(key: &[String], mut raw: Probe) -> Result<ProbeSpec, Wrong> {
    let at = At(key);
    let check = check(&at, &mut raw)?;
    let interval = raw.interval.unwrap_or(match &check {
        Check::Log { max_age, .. } => max_age
            .scaled(1, LOOKS)
            .clamp(Millis::from_secs(1), Millis::from_secs(60)),
        _ => INTERVAL,
    });
    if interval < INTERVAL_MIN {
        let message = format!("is below {INTERVAL_MIN}, which is a load and no probe");
        return Err(at.wrong(&["interval"], message));
    }
    let timeout = raw.timeout.unwrap_or(TIMEOUT);
    if timeout == Millis::ZERO {
        return Err(at.wrong(&["timeout"], "is zero: nothing answers in no time"));
    }
    let fail_for = raw.fail_for.unwrap_or(match &check {
        Check::Watchdog { .. } | Check::Log { .. } => Millis::ZERO,
        _ => FAIL_FOR,
    });
    if let Some(within) = raw.within {
        let beside = if fail_for == Millis::ZERO {
            Some("has no use beside fail_for = \"0s\", by which the first failure is enough".into())
        } else if within <= fail_for {
            Some(format!(
                "is not above fail_for, {fail_for}: nothing fails for longer than it lasts"
            ))
        } else if within > WITHIN_MAX {
            Some(format!("is above {WITHIN_MAX}"))
        } else if within.0 / interval.0 > ANSWERS_MAX {
            Some(format!(
                "holds {} answers at this interval; {ANSWERS_MAX} at most are remembered, raise \
                 interval",
                within.0 / interval.0
            ))
        } else {
            None
        };
        if let Some(message) = beside {
            return Err(at.wrong(&["within"], message));
        }
    }
    watch_for_spin(&at, &check, interval)?;
    Ok(ProbeSpec {
        check,
        interval,
        timeout,
        fail_for,
        within: raw.within,
    })
}

/// What lasts shorter than the time between two looks is not seen to last.
fn watch_for_spin(at: &At<'_>, check: &Check, interval: Millis) -> Result<(), Wrong> {
    let Check::Limits(limits) = check else {
        return Ok(());
    };
    let spans = [("cpu_spin", limits.cpu_spin), ("d_state", limits.d_state)];
    for (key, span) in spans {
        if span.is_some_and(|span| span < interval) {
            let message = format!("is below the interval, {interval}: it could not be seen");
            return Err(at.wrong(&["limits", key], message));
        }
    }
    Ok(())
}

fn check(at: &At<'_>, raw: &mut Probe) -> Result<Check, Wrong> {
    let mut checks = Vec::new();
    if let Some(url) = raw.http.take() {
        checks.push(http(at, url, raw)?);
    }
    if let Some(address) = raw.tcp.take() {
        checks.push(Check::Tcp {
            address: with_port(at, "tcp", address)?,
        });
    }
    if let Some(path) = raw.unix.take() {
        checks.push(unix(at, path, raw)?);
    }
    if let Some(command) = raw.exec.take() {
        if command.first().is_none_or(String::is_empty) {
            return Err(at.wrong(&["exec"], "is empty: name a program first"));
        }
        checks.push(Check::Exec { command });
    }
    if raw.process {
        checks.push(Check::Process);
    }
    if let Some(max_age) = raw.watchdog {
        above_zero(at, "watchdog", max_age)?;
        checks.push(Check::Watchdog { max_age });
    }
    if let Some(max_age) = raw.log {
        above_zero(at, "log", max_age)?;
        let file = raw.file.take();
        if let Some(file) = &file {
            whole_path(at, "file", file, "")?;
        }
        checks.push(Check::Log { max_age, file });
    }
    if let Some(raw) = raw.limits.take() {
        checks.push(Check::Limits(limits(at, &raw)?));
    }
    match checks.pop() {
        Some(check) if checks.is_empty() => {
            left_over(at, raw)?;
            Ok(check)
        }
        _ => Err(at.wrong(
            &[],
            format!("asks not exactly one thing: set one of {QUESTIONS}"),
        )),
    }
}

/// What no question has taken belongs to one that is not asked.
fn left_over(at: &At<'_>, raw: &Probe) -> Result<(), Wrong> {
    let all = [
        ("ca", raw.ca.is_some(), "http = \"https://...\""),
        ("address", raw.address.is_some(), "http"),
        ("send", raw.send.is_some(), "unix"),
        ("expect", raw.expect.is_some(), "unix"),
        ("file", raw.file.is_some(), "log"),
    ];
    for (key, is_left, owner) in all {
        if is_left {
            return Err(at.wrong(
                &[key],
                format!("belongs to {owner}, which is not asked here"),
            ));
        }
    }
    Ok(())
}

fn http(at: &At<'_>, url: String, raw: &mut Probe) -> Result<Check, Wrong> {
    let is_tls = url.starts_with("https://");
    if !is_tls && !url.starts_with("http://") {
        return Err(at.wrong(&["http"], "must begin with http:// or https://"));
    }
    let ca = if is_tls { raw.ca.take() } else { None };
    if let Some(ca) = &ca {
        whole_path(at, "ca", ca, "")?;
    }
    let address = raw.address.take();
    let address = address.map(|a| with_port(at, "address", a)).transpose()?;
    Ok(Check::Http { url, ca, address })
}

fn unix(at: &At<'_>, path: String, raw: &mut Probe) -> Result<Check, Wrong> {
    if !path.starts_with('@') {
        whole_path(at, "unix", &path, ", or \"@name\" of an abstract socket")?;
    }
    let (send, expect) = (raw.send.take(), raw.expect.take());
    for (key, text) in [("send", &send), ("expect", &expect)] {
        let length = text.as_ref().map_or(1, String::len);
        if length == 0 || length > TEXT_MAX_BYTES {
            let message = format!("is {length} bytes long; 1 to {TEXT_MAX_BYTES} make sense");
            return Err(at.wrong(&[key], message));
        }
    }
    Ok(Check::Unix { path, send, expect })
}

fn limits(at: &At<'_>, raw: &RawLimits) -> Result<Limits, Wrong> {
    let wrong = |key: &str, message: &str| Err(at.wrong(&["limits", key], message));
    let none = RawLimits::default();
    let nothing = (raw.rss, raw.fds, raw.fds_percent) == (none.rss, none.fds, none.fds_percent)
        && (raw.cpu_spin, raw.d_state) == (none.cpu_spin, none.d_state);
    if nothing && raw.cpu_percent.is_none() {
        let message = "limits nothing: set rss, fds, fds_percent, cpu_spin or d_state";
        return Err(at.wrong(&["limits"], message));
    }
    if raw.rss == Some(0) {
        return wrong("rss", "is zero: whatever runs has more");
    }
    if raw.fds == Some(0) {
        return wrong("fds", "is zero: whatever runs has more");
    }
    if raw.fds_percent.is_some_and(|p| !(1..=100).contains(&p)) {
        return wrong("fds_percent", "must be from 1 to 100");
    }
    match (raw.cpu_percent, raw.cpu_spin) {
        (Some(_), None) => {
            return wrong("cpu_percent", "has no use without cpu_spin, for how long");
        }
        (Some(0), _) => return wrong("cpu_percent", "is zero: whatever runs has more"),
        _ => {}
    }
    Ok(Limits {
        rss_bytes: raw.rss,
        fds: raw.fds,
        fds_percent: raw.fds_percent,
        cpu_spin: raw.cpu_spin,
        cpu_percent: raw.cpu_percent,
        d_state: raw.d_state,
    })
}

fn above_zero(at: &At<'_>, key: &str, span: Millis) -> Result<(), Wrong> {
    if span == Millis::ZERO {
        return Err(at.wrong(&[key], "is zero: whatever is well would fail"));
    }
    Ok(())
}

fn with_port(at: &At<'_>, key: &str, address: String) -> Result<String, Wrong> {
    if address.contains(':') {
        Ok(address)
    } else {
        Err(at.wrong(&[key], "has no port: write \"host:port\""))
    }
}

fn whole_path(at: &At<'_>, key: &str, path: &str, or: &str) -> Result<(), Wrong> {
    if super::is_whole(path) {
        return Ok(());
    }
    Err(at.wrong(
        &[key],
        format!("{path:?} is no whole path: write \"/...\"{or}"),
    ))
}

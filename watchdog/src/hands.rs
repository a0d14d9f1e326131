//! The guard's eyes and hands on this host: processes, the agent, the device, and the two files
//! that outlive this program. After [`Hands::open`] nothing here allocates, because it has to work
//! when there is no memory left, and nothing waits for a disk.

use std::fmt::{Arguments, Display};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::{fd::OwnedFd, unix::fs::MetadataExt};

use nix::fcntl::{OFlag, open};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{self, Pid, geteuid};
use nix::{errno::Errno, poll::PollFlags, sys::stat::Mode, time::ClockId};

use crate::beat::Promise;
use crate::edge::{self, ALERT, TEXT_MAX, is_ready, written};
use crate::verdict::{Act, Host};
use crate::{clock, sys};

/// Of a file, read at once. `/proc/PID/cgroup` is the longest: a line of up to 500 bytes for each
/// of the dozen hierarchies of version 1.
const CHUNK: usize = 8192;
/// How long a reboot waits for the last words, and for `sync`, on a disk that perhaps hangs.
const SYNC_MS: u16 = 1000;

/// See above.
pub struct Hands {
    proc: String,
    list: OwnedFd,
    /// The hierarchy of version 2, where there is one.
    cgroups: Option<&'static str>,
    /// The watchdog device.
    pub device: Option<File>,
    agent: Option<OwnedFd>,
    boot_id: String,
    promises: Kept,
    /// To the process that writes last words.
    scribe: OwnedFd,
}

/// A file that is replaced whole: how it is called while it is written, and then.
struct Kept(String, String);

impl Kept {
    fn put(&self, parts: [&[u8]; 2], sync: bool) -> io::Result<()> {
        let mut file = File::create(&self.0)?;
        file.write_all(parts[0])?;
        file.write_all(parts[1])?;
        if sync {
            file.sync_all()?;
        }
        fs::rename(&self.0, &self.1)
    }
}

/// Writes each text that comes in as the last words, until the watchdog has ended: a process of its
/// own, which a disk that hangs may hold for as long as it likes.
fn write_words(state: &str) {
    let words = Kept(format!("{state}/last-words.new"), format!("{state}/last-words"));
    let mut room = [0; TEXT_MAX];
    while let Ok(length @ 1..) = io::stdin().read(&mut room) {
        // Before a reset the name has to be on the disk too.
        let put = words.put([&room[..length], b""], true);
        if let Err(e) = put.and_then(|()| File::open(state)?.sync_all()) {
            edge::say(ALERT, format_args!("cannot write last words in {state}: {e}; see --state"));
        }
    }
}

/// Writes to a file of the kernel.
///
/// # Errors
/// When that is not there, or does not take it.
pub fn poke(path: Arguments<'_>, text: &[u8]) -> nix::Result<()> {
    let file = written(path, |path| open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()));
    unistd::write(file?, text).map(drop)
}

/// Makes something of what a file holds; ESRCH when what it tells of has ended.
fn contents<R>(path: Arguments<'_>, read: impl FnOnce(&[u8]) -> R) -> nix::Result<R> {
    let mut room = [0; CHUNK];
    let file = written(path, |path| open(path, OFlag::O_CLOEXEC, Mode::empty()));
    match file.and_then(|file| unistd::read(file, &mut room)) {
        Err(Errno::ENOENT | Errno::ENODEV) => Err(Errno::ESRCH),
        length => Ok(read(&room[..length?])),
    }
}

/// Whether a process runs, its session and its start time, see proc(5).
fn stat(proc: &str, pid: impl Display) -> nix::Result<(bool, u64, u64)> {
    let parse = |text: &[u8]| {
        // The name is in parentheses and may itself hold spaces and parentheses.
        let mut fields = text.rsplit(|b| *b == b')').next()?.split(|b| *b == b' ').skip(1);
        let state = fields.next()?;
        let mut number = |skip| str::from_utf8(fields.nth(skip)?).ok()?.parse::<u64>().ok();
        let (session, threads, start) = (number(2)?, number(13)?, number(1)?);
        // A zombie runs nothing, unless only its first thread has ended.
        Some((threads > 1 || !matches!(state, b"Z" | b"X" | b"x"), session, start))
    };
    contents(format_args!("{proc}/{pid}/stat"), parse)?.ok_or(Errno::EINVAL)
}

/// Whether a process is of the target, and runs.
fn is_of(proc: &str, target: &Promise, pid: impl Display + Copy) -> nix::Result<bool> {
    let (runs, session, start) = stat(proc, pid)?;
    let Some(path) = target.path() else {
        let (leader, since) = target.leader();
        // What began before the leader is of an older session with the same number.
        return Ok(runs && session == u64::from(leader) && start >= since);
    };
    // Of the lines HIERARCHY:CONTROLLERS:PATH that of version 2: a kernel with pidfds has it.
    let is_below = |line: &[u8]| {
        let rest = line.strip_prefix(b"0::").and_then(|own| own.strip_prefix(path.as_bytes()));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    let any = |text: &[u8]| text.split(|b| *b == b'\n').any(is_below);
    Ok(runs && contents(format_args!("{proc}/{pid}/cgroup"), any)?)
}

impl Hands {
    /// Opens `/proc`, the cgroups and the file of promises beside the socket, and gives what that
    /// holds of this boot. The last words go to `state`.
    ///
    /// # Errors
    /// With the path, the cause and a remedy.
    pub fn open(proc: &str, socket: &str, state: &str) -> Result<(Hands, Vec<u8>), String> {
        let list = open(proc, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|e| format!("cannot see processes in {proc}: {e}"))?;
        // On older hosts it is beside those of version 1, and systemd keeps it just the same.
        let mut cgroups = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].into_iter();
        let cgroups = cgroups
            .find(|root| fs::exists(format!("{root}/cgroup.controllers")).is_ok_and(|is| is));
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let promises = Kept(format!("{socket}.promises.new"), format!("{socket}.promises"));
        let own = fs::symlink_metadata(&promises.1).is_ok_and(|m| m.uid() == geteuid().as_raw());
        let kept = fs::read(&promises.1).ok().filter(|_| own).unwrap_or_default();
        let table = kept.strip_prefix(boot_id.as_bytes()).unwrap_or_default().to_vec();
        promises
            .put([boot_id.as_bytes(), &table], false)
            .map_err(|e| format!("cannot keep promises in {}: {e}", promises.1))?;
        let scribe = sys::apart(|| write_words(state));
        let scribe = scribe.map_err(|e| format!("cannot start a writer of last words: {e}"))?;
        let (device, agent, proc) = (None, None, proc.to_owned());
        Ok((Hands { proc, list, cgroups, device, agent, boot_id, promises, scribe }, table))
    }
}

/// The last resort: the kernel's own key for it, which asks no process, then the call.
fn restart() -> nix::Result<()> {
    let key = |key: &[u8]| poke(format_args!("/proc/sysrq-trigger"), key);
    let _synced = key(b"s");
    let _in_time = nix::poll::poll(&mut [], SYNC_MS);
    let _down = key(b"b");
    reboot(RebootMode::RB_AUTOBOOT).map(|never| match never {})
}

impl Host for Hands {
    fn strike(&mut self, target: &Promise, signal: Option<Signal>) -> nix::Result<usize> {
        let Hands { proc, list, cgroups, .. } = self;
        let mut found = 0;
        if let (Some(path), Some(root)) = (target.path(), cgroups) {
            // The kernel's word on all that is below it.
            let is_empty = |events: &[u8]| events.starts_with(b"populated 0");
            match contents(format_args!("{root}{path}/cgroup.events"), is_empty) {
                Ok(true) | Err(Errno::ESRCH) => return Ok(0),
                // Something was there at this look, if only for a moment: the next one decides.
                Ok(false) => found = 1,
                Err(errno) => return Err(errno),
            }
            // Atomic, and reaches what forks and what is frozen; the kernel has it since 5.14.
            if signal == Some(Signal::SIGKILL) {
                let _or_one_by_one = poke(format_args!("{root}{path}/cgroup.kill"), b"1");
            }
        }
        let (leader, start) = target.leader();
        if leader > 0 && stat(proc, leader).is_ok_and(|stat| stat.2 != start) {
            return Ok(0);
        }
        let mut seen = 0;
        sys::each_number(list, |pid| {
            let struck = is_of(proc, target, pid).and_then(|is| {
                seen += usize::from(is);
                if is { kill(Pid::from_raw(pid), signal) } else { Ok(()) }
            });
            struck.or_else(|e| if e == Errno::ESRCH { Ok(()) } else { Err(e) })
        })?;
        Ok(seen.max(found))
    }

    fn is_self(&self, target: &Promise) -> bool {
        is_of(&self.proc, target, "self").unwrap_or(true)
    }

    fn hold(&mut self, pid: u64, began: [u64; 2]) -> nix::Result<u64> {
        self.agent = None;
        let agent = sys::pidfd(pid)?;
        let start = stat(&self.proc, pid)?.2;
        self.agent = (began[0]..=began[1]).contains(&start).then_some(agent);
        self.agent.as_ref().map(|_| start).ok_or(Errno::ESRCH)
    }

    fn agent_lives(&self) -> bool {
        self.agent.as_ref().is_some_and(|agent| !is_ready(agent, PollFlags::POLLIN))
    }

    fn act(&mut self, act: Act) -> nix::Result<()> {
        match (act, &self.device, &self.agent) {
            // Any byte but V feeds. By write, because some drivers refuse WDIOC_KEEPALIVE.
            (Act::Feed, Some(device), _) => unistd::write(device, b"\n").map(drop),
            // It is stopped when it is closed after this.
            (Act::Disarm, Some(device), _) => unistd::write(device, b"V").map(drop),
            (Act::KillAgent, _, Some(agent)) => sys::pidfd_signal(agent, Signal::SIGKILL),
            (Act::Reboot, ..) => restart(),
            _ => Ok(()),
        }
    }

    fn keep(&mut self, table: &[u8]) -> nix::Result<()> {
        let kept = self.promises.put([self.boot_id.as_bytes(), table], false);
        kept.map_err(|e| Errno::try_from(e).unwrap_or(Errno::EIO))
    }

    fn last_words(&mut self, now: u64, verdict: &str, target: &Promise, why: &str) {
        let (boot_id, wall) = (&self.boot_id, clock::ms(ClockId::CLOCK_REALTIME));
        let text = format_args!(
            "version=1\nboot_id={boot_id}boottime_ms={now}\nwall_ms={wall}\nverdict={verdict}\n\
             target={target}\nwhy={why}\n"
        );
        let _else_it_is_only_in_the_log = edge::offer(&self.scribe, text);
    }

    fn say(&mut self, level: u8, line: Arguments<'_>) {
        edge::say(level, line);
    }
}

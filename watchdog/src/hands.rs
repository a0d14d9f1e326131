//! The guard's eyes and hands on this host: processes, the agent, the device, and the two files
//! that outlive this program. After [`Hands::open`] nothing here allocates, because it has to work
//! when there is no memory left, and nothing waits for a disk.

use std::fmt::{Arguments, Display};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::{fd::OwnedFd, unix::fs::MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::poll::PollFlags;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::ClockId;
use nix::unistd::{self, Pid, Whence};

use crate::beat::Promise;
use crate::device::Device;
use crate::edge::{self, is_ready, written};
use crate::host::{ALERT, Act, Fault, Host, WARNING};
use crate::{clock, sys};

/// Of a directory or a file, read at once. `/proc/PID/cgroup` is the longest: a line of up to 500
/// bytes for each of the dozen hierarchies of version 1.
const CHUNK: usize = 8192;
/// How long a reboot waits for the last words, and for `sync`, on a disk that perhaps hangs.
const SYNC_MS: u16 = 1000;

/// See above.
#[derive(Debug)]
pub struct Hands {
    proc: OwnedFd,
    /// The hierarchy of version 2, where there is one.
    cgroups: Option<OwnedFd>,
    device: Option<Device>,
    agent: Option<OwnedFd>,
    scribe: Option<Pid>,
    boot_id: String,
    promises: Kept,
    words: Kept,
}

/// A file that is replaced whole: how it is called while it is written, and then.
#[derive(Debug)]
struct Kept(String, String);

impl Kept {
    fn put(&self, parts: [&[u8]; 2], sync: bool) -> io::Result<()> {
        let mut file = File::create(&self.0)?;
        file.write_all(parts[0])?;
        file.write_all(parts[1])?;
        if sync {
            file.sync_all()?;
        }
        fs::rename(&self.0, &self.1)?;
        // Before a reset the name has to be on the disk too.
        match Path::new(&self.1).parent().filter(|_| sync) {
            Some(dir) => File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    }
}

fn at(dir: &OwnedFd, path: Arguments<'_>, flags: OFlag) -> nix::Result<OwnedFd> {
    written(path, |path| openat(dir, path, flags | OFlag::O_CLOEXEC, Mode::empty()))
}

/// What a file holds; `None` when what it tells of ended meanwhile.
fn contents<'a>(
    dir: &OwnedFd,
    path: Arguments<'_>,
    room: &'a mut [u8],
) -> nix::Result<Option<&'a [u8]>> {
    let length = at(dir, path, OFlag::O_RDONLY).and_then(|file| unistd::read(file, room));
    match length {
        Ok(length) => Ok(Some(&room[..length])),
        Err(Errno::ENOENT | Errno::ESRCH | Errno::ENODEV) => Ok(None),
        Err(errno) => Err(errno),
    }
}

impl Hands {
    /// Opens `/proc`, the cgroups and the file of promises beside the socket, and gives what that
    /// holds of this boot. The last words go to `state`.
    ///
    /// # Errors
    /// With the path, the cause and a remedy.
    pub fn open(
        roots: [&Path; 2],
        device: Option<Device>,
        socket: &str,
        state: &str,
    ) -> Result<(Hands, Vec<u8>), String> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let name = roots[0].display();
        let proc = open(roots[0], flags, Mode::empty())
            .map_err(|e| format!("cannot see processes in {name}: {e}"))?;
        // On older hosts it is beside those of version 1, and systemd keeps it just the same.
        let unified = [roots[1].to_path_buf(), roots[1].join("unified")];
        let unified = unified.iter().find(|root| root.join("cgroup.controllers").exists());
        let cgroups = unified.and_then(|root| open(root, flags, Mode::empty()).ok());
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let promises = Kept(format!("{socket}.promises.new"), format!("{socket}.promises"));
        let words = Kept(format!("{state}/last-words.new"), format!("{state}/last-words"));
        let own = |meta: fs::Metadata| meta.uid() == unistd::geteuid().as_raw();
        let kept = match fs::symlink_metadata(&promises.1).is_ok_and(own) {
            true => fs::read(&promises.1).unwrap_or_default(),
            false => Vec::new(),
        };
        let table = kept.strip_prefix(boot_id.as_bytes()).unwrap_or_default().to_vec();
        promises
            .put([boot_id.as_bytes(), &table], false)
            .map_err(|e| format!("cannot keep promises in {}: {e}", promises.1))?;
        let (agent, scribe) = (None, None);
        Ok((Hands { proc, cgroups, device, agent, scribe, boot_id, promises, words }, table))
    }

    /// Whether a process runs, its session and its start time, see proc(5).
    fn stat(&self, pid: impl Display) -> nix::Result<Option<(bool, u64, u64)>> {
        let mut room = [0; CHUNK];
        let Some(text) = contents(&self.proc, format_args!("{pid}/stat"), &mut room)? else {
            return Ok(None);
        };
        // The name is in parentheses and may itself hold spaces and parentheses.
        let text = text.rsplit(|b| *b == b')').next().unwrap_or_default();
        let mut fields = text.split(|b| *b == b' ').skip(1);
        let state = fields.next().unwrap_or_default();
        let mut number = |skip| std::str::from_utf8(fields.nth(skip)?).ok()?.parse::<u64>().ok();
        let (Some(session), Some(threads), Some(start)) = (number(2), number(13), number(1)) else {
            return Err(Errno::EINVAL);
        };
        // A zombie runs nothing, unless only its first thread has ended.
        Ok(Some((!matches!(state, b"Z" | b"X" | b"x") || threads > 1, session, start)))
    }

    /// Whether a process is of the target, and runs.
    fn is_of(&self, target: &Promise, pid: impl Display + Copy) -> nix::Result<bool> {
        let Some((true, session, start)) = self.stat(pid)? else { return Ok(false) };
        let Some(path) = target.path() else {
            let (leader, since) = target.leader();
            // What began before the leader is of an older session with the same number.
            return Ok(session == u64::from(leader) && start >= since);
        };
        let mut room = [0; CHUNK];
        let text = contents(&self.proc, format_args!("{pid}/cgroup"), &mut room)?;
        // Of the lines HIERARCHY:CONTROLLERS:PATH: that of version 2, or systemd's own before that.
        let is_below = |line: &[u8]| {
            let mut parts = line.splitn(3, |b| *b == b':').skip(1);
            let named = matches!(parts.next(), Some(b"" | b"name=systemd"));
            let rest = parts.next().and_then(|own| own.strip_prefix(path.as_bytes()));
            named && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        Ok(text.unwrap_or_default().split(|b| *b == b'\n').any(is_below))
    }

    fn reach(&self, target: &Promise, signal: Option<Signal>) -> nix::Result<usize> {
        let (mut room, mut found) = ([0; CHUNK], 0);
        if let (Some(path), Some(root)) = (target.path(), &self.cgroups) {
            let group = &path[1..];
            // The kernel's word on all that is below it.
            let events = contents(root, format_args!("{group}/cgroup.events"), &mut room)?;
            if events.is_none_or(|events| events.starts_with(b"populated 0")) {
                return Ok(0);
            }
            // Something was there at this look, if only for a moment: the next one decides.
            found = 1;
            // Atomic, and reaches what forks and what is frozen; the kernel has it since 5.14.
            if signal == Some(Signal::SIGKILL)
                && let Ok(kill) = at(root, format_args!("{group}/cgroup.kill"), OFlag::O_WRONLY)
            {
                let _or_one_by_one = unistd::write(&kill, b"1");
            }
        } else if target.path().is_none() {
            let (leader, start) = target.leader();
            if self.stat(leader)?.is_some_and(|stat| stat.2 != start) {
                return Ok(0);
            }
        }
        let mut seen = 0;
        unistd::lseek(&self.proc, 0, Whence::SeekSet)?;
        while let length @ 1.. = sys::entries(&self.proc, &mut room)? {
            let mut rest = &room[..length];
            // struct linux_dirent64: the length of the record is at 16, its name at 19.
            while rest.len() > 19 {
                let length = usize::from(u16::from_ne_bytes([rest[16], rest[17]]));
                let (this, next) = rest.split_at(length.clamp(20, rest.len()));
                rest = next;
                let name =
                    this[19..].split(|b| *b == 0).next().and_then(|n| str::from_utf8(n).ok());
                let pid = name.and_then(|name| name.parse().ok());
                if let Some(pid) = pid
                    && self.is_of(target, pid)?
                {
                    seen += 1;
                    match kill(Pid::from_raw(pid), signal) {
                        Ok(()) | Err(Errno::ESRCH) => {}
                        Err(errno) => return Err(errno),
                    }
                }
            }
        }
        Ok(seen.max(found))
    }
}

/// The last resort: the kernel's own key for it, which asks no process, then the call.
fn restart() -> nix::Result<()> {
    let key = |key: &[u8]| {
        File::options().write(true).open("/proc/sysrq-trigger").and_then(|mut f| f.write_all(key))
    };
    let _synced = key(b"s");
    let _in_time = nix::poll::poll(&mut [], SYNC_MS);
    let _down = key(b"b");
    reboot(RebootMode::RB_AUTOBOOT).map(|never| match never {})
}

impl Host for Hands {
    fn strike(&mut self, target: &Promise, signal: Option<Signal>) -> Result<usize, Fault> {
        self.reach(target, signal).map_err(|e| Fault("see or signal a target", e))
    }

    fn is_self(&self, target: &Promise) -> bool {
        self.is_of(target, "self").unwrap_or(true)
    }

    fn hold(&mut self, pid: u32, start: u64) -> Result<u64, Fault> {
        self.agent = None;
        let fault = |e| Fault("hold the agent's process", e);
        let agent = sys::pidfd(pid).map_err(fault)?;
        let began = self.stat(pid).map_err(fault)?.map(|stat| stat.2);
        let same = began.filter(|began| start == 0 || start == *began);
        self.agent = same.map(|_| agent);
        same.ok_or(fault(Errno::ESRCH))
    }

    fn agent_lives(&self) -> bool {
        self.agent.as_ref().is_some_and(|agent| !is_ready(agent, PollFlags::POLLIN, 0))
    }

    fn act(&mut self, act: Act) -> Result<(), Fault> {
        let (what, done) = match (act, &self.device, &self.agent) {
            (Act::Feed, Some(device), _) => ("feed the device", device.feed().map(|_| ())),
            (Act::Disarm, Some(device), _) => ("disarm the device", device.disarm().map(|_| ())),
            (Act::KillAgent, _, Some(agent)) => {
                ("kill the agent", sys::pidfd_signal(agent, Signal::SIGKILL))
            }
            (Act::Reboot, ..) => ("reboot this host", restart()),
            _ => return Ok(()),
        };
        done.map_err(|e| Fault(what, e))
    }

    fn keep(&mut self, table: &[u8]) {
        if let Err(e) = self.promises.put([self.boot_id.as_bytes(), table], false) {
            let errno = Errno::from_raw(e.raw_os_error().unwrap_or(0));
            self.say(ALERT, format_args!("cannot keep promises for the next run: {errno}"));
        }
    }

    fn last_words(&mut self, now: u64, verdict: &str, target: &Promise, why: &str) {
        // A reset is waited for: a disk that hangs costs nothing any more. Others go on beside it.
        let resets = verdict == "reset";
        let still = |pid| waitpid(pid, Some(WaitPidFlag::WNOHANG)) == Ok(WaitStatus::StillAlive);
        if !resets && self.scribe.is_some_and(still) {
            let why = "the ones before are still being written";
            return self.say(WARNING, format_args!("no last words on {target}: {why}"));
        }
        let (boot_id, wall) = (&self.boot_id, clock::ms(ClockId::CLOCK_REALTIME));
        let text = format_args!(
            "version=1\nboot_id={boot_id}boottime_ms={now}\nwall_ms={wall}\nverdict={verdict}\n\
             target={target}\nwhy={why}\n"
        );
        // What was killed can be told by those who live on; a reset needs it on the disk.
        let (words, sync) = (&self.words, verdict != "killed");
        let put = |text: &[u8]| {
            if let Err(e) = words.put([text, b""], sync) {
                let errno = Errno::from_raw(e.raw_os_error().unwrap_or(0));
                edge::say(ALERT, format_args!("cannot write last words: {errno}; see --state"));
            }
        };
        if resets {
            return written(text, put);
        }
        let write = |text: &[u8]| sys::apart(|| put(text));
        self.scribe = written(text, write).ok();
    }

    fn say(&mut self, level: u8, line: Arguments<'_>) {
        edge::say(level, line);
    }
}

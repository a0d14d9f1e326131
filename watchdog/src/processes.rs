//! Finds, signals and sees the processes of a target. After [`Processes::open`] nothing here
//! allocates: it has to work when there is no memory left.

use std::fs;
use std::mem::replace;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, Whence, getsid, lseek, read, write};

use crate::beat::Promise;
use crate::edge::Text;
use crate::host::Fault;
use crate::sys;

/// Deeper than systemd ever nests; a bound against a tree that grows under our eyes.
const CGROUP_DEPTH_MAX: usize = 16;
/// Of a directory or a file, read at once.
const CHUNK: usize = 4096;

type Outcome<T> = Result<T, Fault>;

/// State, session and start time in `/proc/PID/stat`, see proc(5).
type Stat = (u8, u32, u64);

/// The host's processes.
#[derive(Debug)]
pub struct Processes {
    proc: OwnedFd,
    cgroups: [Option<OwnedFd>; 2],
    own: String,
}

/// What ended between two looks is no error.
fn unless_gone<T>(doing: &'static str, result: nix::Result<T>) -> Outcome<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ENOENT | Errno::ESRCH | Errno::ENODEV) => Ok(None),
        Err(errno) => Err(Fault(doing, errno)),
    }
}

fn at(dir: &OwnedFd, path: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
    openat(dir, path, flags | OFlag::O_CLOEXEC, Mode::empty())
}

fn contents<'a>(dir: &OwnedFd, path: &[u8], room: &'a mut [u8]) -> nix::Result<&'a [u8]> {
    let length = read(at(dir, path, OFlag::O_RDONLY)?, room)?;
    Ok(&room[..length])
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Hands over the name of each entry, and whether it is a directory.
fn each(dir: &OwnedFd, mut see: impl FnMut(&[u8], bool) -> Outcome<()>) -> Outcome<()> {
    let mut room = [0; CHUNK];
    unless_gone("list processes", lseek(dir, 0, Whence::SeekSet))?;
    loop {
        let length = unless_gone("list processes", sys::entries(dir.as_fd(), &mut room))?;
        let mut rest = &room[..length.unwrap_or(0)];
        if rest.is_empty() {
            return Ok(());
        }
        // struct linux_dirent64: the length of the record is at 16, its kind at 18, its name at 19.
        while rest.len() > 19 {
            let (this, next) = rest.split_at(
                usize::from(u16::from_ne_bytes([rest[16], rest[17]])).clamp(20, rest.len()),
            );
            let name = this[19..].split(|b| *b == 0).next().unwrap_or_default();
            if !name.starts_with(b".") {
                see(name, this[18] == 4)?;
            }
            rest = next;
        }
    }
}

fn send(pid: u64, signal: Option<Signal>) -> Outcome<()> {
    // 0 is a process of another pid namespace: out of reach from here, yet it runs.
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 1);
    if let Some((pid, signal)) = pid.zip(signal) {
        unless_gone("signal a process", kill(Pid::from_raw(pid), signal))?;
    }
    Ok(())
}

/// Everything in a cgroup and below it.
fn group(dir: &OwnedFd, signal: Option<Signal>, depth: usize) -> Outcome<usize> {
    if depth > CGROUP_DEPTH_MAX {
        return Err(Fault("see cgroups nested so deep", Errno::ELOOP));
    }
    let mut room = [0; CHUNK];
    let events = contents(dir, b"cgroup.events", &mut room).unwrap_or_default();
    if events.starts_with(b"populated 0") {
        return Ok(0);
    }
    // Something was there at this look, if only for a moment: the next one decides.
    let least = usize::from(events.starts_with(b"populated 1"));
    // Atomic, and reaches what forks and what is frozen; the kernel has it since 5.14.
    if signal == Some(Signal::SIGKILL)
        && let Ok(kill) = at(dir, b"cgroup.kill", OFlag::O_WRONLY)
    {
        unless_gone("write to cgroup.kill", write(&kill, b"1"))?;
    }
    let (mut count, mut pid) = (0, 0);
    let procs = unless_gone("read cgroup.procs", at(dir, b"cgroup.procs", OFlag::O_RDONLY))?;
    while let Some(procs) = &procs
        && let Some(n @ 1..) = unless_gone("read cgroup.procs", read(procs, &mut room))?
    {
        for byte in &room[..n] {
            if byte.is_ascii_digit() {
                pid = pid * 10 + u64::from(byte - b'0');
            } else {
                count += 1;
                send(replace(&mut pid, 0), signal)?;
            }
        }
    }
    each(dir, |name, is_dir| {
        if is_dir
            && let Some(below) = unless_gone("open a cgroup", at(dir, name, OFlag::O_DIRECTORY))?
        {
            count += group(&below, signal, depth + 1)?;
        }
        Ok(())
    })?;
    Ok(count.max(least))
}

impl Processes {
    /// Opens `/proc`, and the cgroups: the unified hierarchy, or on older hosts systemd's own with
    /// the unified one beside it.
    ///
    /// # Errors
    /// When `/proc` is not there.
    pub fn open(proc_root: &Path, cgroup_root: &Path) -> Result<Processes, String> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = |path: &Path| open(path, flags, Mode::empty());
        let name = proc_root.display();
        let proc = dir(proc_root).map_err(|e| format!("cannot see processes in {name}: {e}"))?;
        let unified = cgroup_root.join("cgroup.controllers").exists();
        let parts = if unified { [Some(""), None] } else { [Some("unified"), Some("systemd")] };
        let cgroups = parts.map(|part| {
            let root = cgroup_root.join(part?);
            dir(&root).ok().filter(|_| root.join("cgroup.procs").exists())
        });
        let own = fs::read_to_string(proc_root.join("self/cgroup")).unwrap_or_default();
        Ok(Processes { proc, cgroups, own })
    }

    fn stat(&self, pid: u64) -> Outcome<Option<Stat>> {
        let mut room = [0; CHUNK];
        let path = Text::<32>::new(format_args!("{pid}/stat"));
        let read = contents(&self.proc, path.bytes(), &mut room);
        let Some(text) = unless_gone("read a process's stat", read)? else {
            return Ok(None);
        };
        // The name is in parentheses and may itself hold spaces and parentheses.
        let mut fields =
            text.rsplit(|b| *b == b')').next().unwrap_or_default().split(|b| *b == b' ').skip(1);
        let stat = (|| {
            let state = *fields.next()?.first()?;
            let session = u32::try_from(number(fields.nth(2)?)?).ok()?;
            Some((state, session, number(fields.nth(15)?)?))
        })();
        stat.map(Some).ok_or(Fault("understand a process's stat", Errno::EINVAL))
    }

    /// The start time of a process in clock ticks.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn start_of(&self, pid: u32) -> Result<u64, Fault> {
        let stat = self.stat(u64::from(pid))?;
        stat.map(|stat| stat.2).ok_or(Fault("see the agent", Errno::ESRCH))
    }

    /// A zombie runs nothing, unless only its first thread has ended.
    fn runs(&self, pid: u64, state: u8) -> bool {
        let path = Text::<32>::new(format_args!("{pid}/task"));
        let mut tasks = 0;
        let mut count = |_: &[u8], _| {
            tasks += 1;
            Ok(())
        };
        !b"ZXx".contains(&state)
            || at(&self.proc, path.bytes(), OFlag::O_DIRECTORY)
                .is_ok_and(|d| each(&d, &mut count).is_ok())
                && tasks > 1
    }

    fn session(&self, leader: u32, start: u64, signal: Option<Signal>) -> Outcome<usize> {
        if self.stat(u64::from(leader))?.is_some_and(|stat| stat.2 != start) {
            return Ok(0);
        }
        let mut found = 0;
        each(&self.proc, |name, _| {
            let Some(pid) = number(name) else {
                return Ok(());
            };
            // What began before the leader is of an older session with the same number.
            if let Some((state, session, began)) = self.stat(pid)?
                && session == leader
                && began >= start
                && self.runs(pid, state)
            {
                found += 1;
                send(pid, signal)?;
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Sends a signal to all of the target, or only looks, and says how many processes it found.
    ///
    /// # Errors
    /// When it cannot be seen, or not be signalled.
    pub fn strike(&self, target: &Promise, signal: Option<Signal>) -> Result<usize, Fault> {
        let Some(path) = target.path() else {
            let (leader, start) = target.leader();
            return self.session(leader, start, signal);
        };
        if self.cgroups.iter().all(Option::is_none) {
            return Err(Fault("see cgroups, because none are mounted", Errno::ENOENT));
        }
        let below = path.trim_start_matches('/').as_bytes();
        self.cgroups.iter().flatten().try_fold(0, |found, root| {
            let dir = unless_gone("open a cgroup", at(root, below, OFlag::O_DIRECTORY))?;
            Ok(found + dir.map_or(Ok(0), |dir| group(&dir, signal, 0))?)
        })
    }

    /// True when the target holds this program itself.
    #[must_use]
    pub fn is_self(&self, target: &Promise) -> bool {
        let Some(path) = target.path() else {
            let own = getsid(None).map_or(0, Pid::as_raw);
            return i64::from(own) == i64::from(target.leader().0);
        };
        let own = self.own.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        let mut below = own.filter_map(|own| own.strip_prefix(path));
        below.any(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

//! One process, as /proc/PID/stat says (proc_pid_stat(5)), and which processes there are.

use std::mem::MaybeUninit;
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::source::{Malformed, SourceError};

/// A stat line has 52 numbers of at most 20 digits and a name of at most 64 bytes.
pub(crate) const STAT_MAX_BYTES: usize = 2048;

/// Space for directory entries: about 1,000 processes in one system call.
pub(crate) const ENTRIES_BYTES: usize = 32 << 10;

/// What one stat line says, without its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// State letter.
    pub state: u8,
    /// Session.
    pub session: u32,
    /// User and kernel time, in ticks.
    pub cpu_ticks: u64,
    /// Threads.
    pub threads: u32,
    /// When it started, in ticks since boot: with the pid, its identity.
    pub start_ticks: u64,
    /// Resident pages.
    pub rss_pages: u64,
}

impl Stat {
    /// True when nothing of it runs and it only waits to be collected. A main thread may be a
    /// zombie while other threads run on.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }
}

/// Reads one stat line; the name may hold anything, brackets and newlines too.
///
/// # Errors
/// When it has not the fields that every kernel since 2.6 gives.
pub fn parse(line: &[u8]) -> Result<(&[u8], Stat), Malformed> {
    let bad = Malformed("bad stat line");
    let open = line.iter().position(|b| *b == b'(').ok_or(bad.clone())?;
    let close = line.iter().rposition(|b| *b == b')').ok_or(bad.clone())?;
    let name = line.get(open + 1..close).ok_or(bad.clone())?;
    let rest = line.get(close + 2..).ok_or(bad.clone())?;
    let mut stat = Stat::default();
    let (mut user, mut system) = (0_u64, 0_u64);
    let mut last = 0;
    for (index, field) in rest.split(|b| b.is_ascii_whitespace()).enumerate() {
        // Field numbers as in the manual: the state is number 3.
        last = index + 3;
        let value = || number(field).ok_or(bad.clone());
        let small = || Ok(u32::try_from(value()?).unwrap_or(u32::MAX));
        match last {
            3 => stat.state = *field.first().ok_or(bad.clone())?,
            6 => stat.session = small()?,
            14 => user = value()?,
            15 => system = value()?,
            20 => stat.threads = small()?,
            22 => stat.start_ticks = value()?,
            24 => {
                stat.rss_pages = value()?;
                break;
            }
            _ => {}
        }
    }
    if last != 24 {
        return Err(bad);
    }
    stat.cpu_ticks = user.saturating_add(system);
    Ok((name, stat))
}

/// A field as a number; negative ones, which the kernel writes for a few, count as zero.
pub(crate) fn number(field: &[u8]) -> Option<u64> {
    if let Some(digits) = field.strip_prefix(b"-") {
        return number(digits).map(|_| 0);
    }
    if field.is_empty() {
        return None;
    }
    field.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

pub(crate) fn open_directory(root: &Path) -> Result<OwnedFd, SourceError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY;
    rustix::fs::open(root, flags, Mode::empty()).map_err(|errno| SourceError::Io {
        action: "open",
        path: root.to_owned(),
        errno,
    })
}

/// The line, or nothing when the process is gone.
pub(crate) fn read_stat<'l>(file: &OwnedFd, line: &'l mut [u8]) -> Option<&'l [u8]> {
    loop {
        match rustix::io::pread(file, &mut *line, 0) {
            Ok(0) => return None,
            Ok(length) => return line.get(..length),
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// One process as /proc names it: used to adopt and to verify, so every failure is told.
///
/// # Errors
/// When it is there but cannot be read; `Ok(None)` when it is gone.
pub fn stat_of(root: &Path, pid: u32) -> Result<Option<Stat>, SourceError> {
    let path = root.join(pid.to_string()).join("stat");
    let mut line = [0; STAT_MAX_BYTES];
    let fail = |action, errno| SourceError::Io {
        action,
        path: path.clone(),
        errno,
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(fail("open", errno)),
    };
    let length = match rustix::io::pread(&file, &mut line, 0) {
        Ok(0) | Err(Errno::SRCH) => return Ok(None),
        Ok(length) => length,
        Err(errno) => return Err(fail("read", errno)),
    };
    let (_, stat) = parse(&line[..length]).map_err(|what| SourceError::Malformed {
        path: path.clone(),
        what,
    })?;
    Ok(Some(stat))
}

/// All process numbers there are now.
///
/// # Errors
/// When /proc cannot be listed.
pub fn pids(root: &Path) -> Result<Vec<u32>, SourceError> {
    let directory = open_directory(root)?;
    let mut space = vec![MaybeUninit::<u8>::uninit(); ENTRIES_BYTES];
    let mut entries = RawDir::new(&directory, &mut space);
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|errno| SourceError::Io {
            action: "list",
            path: root.to_owned(),
            errno,
        })?;
        let pid = number(entry.file_name().to_bytes()).and_then(|pid| u32::try_from(pid).ok());
        found.extend(pid);
    }
    Ok(found)
}

/// The processes of a session that live.
///
/// # Errors
/// When /proc cannot be listed, or a process is there but cannot be read: then nobody may say that
/// the session is empty.
pub fn of_session(root: &Path, session: u32) -> Result<Vec<u32>, SourceError> {
    let mut found = Vec::new();
    for pid in pids(root)? {
        if let Some(stat) = stat_of(root, pid)?
            && stat.session == session
            && !stat.is_over()
        {
            found.push(pid);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pid: u32, name: &str, ticks: u64, start: u64, rss: u64) -> String {
        format!(
            "{pid} ({name}) S 1 {pid} {pid} 0 -1 4194560 1 0 0 0 {ticks} 0 0 0 20 0 3 0 {start} \
             1000 {rss} 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0\n"
        )
    }

    #[test]
    fn a_name_may_hold_anything() {
        for name in ["sh", "a) S 1 (b", "new\nline", "", "(((", ")))"] {
            let text = line(7, name, 5, 9, 11);
            let (found, stat) = parse(text.as_bytes()).unwrap();
            assert_eq!(found, name.as_bytes());
            assert_eq!((stat.state, stat.session), (b'S', 7));
            assert_eq!((stat.cpu_ticks, stat.threads), (5, 3));
            assert_eq!((stat.start_ticks, stat.rss_pages), (9, 11));
        }
        for bad in ["", "1", "1 (x", "1 (x) ", "1 (x) S 1 2 3", ")1 (x"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}

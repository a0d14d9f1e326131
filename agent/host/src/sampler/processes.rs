//! All processes and the watched ones, from /proc/PID/stat.
//!
//! One pass over /proc opens each `stat` and reads it once; watched processes keep theirs open.
//! A process may die between any two steps: that is no error. A number may come back as another
//! process: its start time tells them apart.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

use nodemedic_protocol::sample::{PerMille, Process, WatchedProcess};
use nodemedic_protocol::time::{Boottime, Millis};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, RawDir, SeekFrom};

use super::pid_stat::{
    ENTRIES_BYTES, STAT_MAX_BYTES, Stat, number, open_directory, parse, read_stat,
};
use super::rate;
use super::source::SourceError;

/// Units of the kernel that turn ticks and pages into time and bytes.
#[derive(Clone, Copy, Debug)]
pub struct Units {
    /// USER_HZ.
    pub ticks_per_s: u64,
    /// Bytes of a page.
    pub page_bytes: u64,
}

impl Units {
    /// Those of this host.
    #[must_use]
    pub fn of_host() -> Units {
        Units {
            ticks_per_s: rustix::param::clock_ticks_per_second(),
            page_bytes: u64::try_from(rustix::param::page_size()).unwrap_or(4096),
        }
    }
}

/// A process as the pass before saw it.
#[derive(Clone, Copy, Debug)]
struct Row {
    pid: u32,
    stat: Stat,
    cpu: Option<PerMille>,
}

/// What one pass found.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The busiest, most first.
    pub top_cpu: Vec<Process>,
    /// The largest, most first.
    pub top_memory: Vec<Process>,
    /// How many there are.
    pub count: u32,
}

/// Reads processes.
#[derive(Debug)]
pub struct Processes {
    root: PathBuf,
    units: Units,
    directory: Option<OwnedFd>,
    rows: Vec<Row>,
    before: Vec<Row>,
    scanned_us: Option<u64>,
    watched: BTreeMap<(String, u32), Watched>,
    path: String,
    line: Vec<u8>,
}

#[derive(Debug)]
struct Watched {
    file: OwnedFd,
    before: Option<(u64, Stat)>,
}

impl Processes {
    /// Reads under this root of proc.
    #[must_use]
    pub fn new(root: &Path, units: Units) -> Processes {
        Processes {
            root: root.to_owned(),
            units,
            directory: None,
            rows: Vec::new(),
            before: Vec::new(),
            scanned_us: None,
            watched: BTreeMap::new(),
            path: String::new(),
            line: vec![0; STAT_MAX_BYTES],
        }
    }

    /// One pass over all processes.
    ///
    /// # Errors
    /// When /proc itself cannot be opened or listed.
    pub fn scan(&mut self, now_us: u64, top: usize) -> Result<Table, SourceError> {
        std::mem::swap(&mut self.rows, &mut self.before);
        self.rows.clear();
        let directory = match self.directory.take() {
            Some(directory) => directory,
            None => open_directory(&self.root)?,
        };
        let listed = self.list(&directory);
        self.directory = Some(directory);
        listed?;
        let span_us = self
            .scanned_us
            .and_then(|before| rate::growth(before, now_us));
        self.scanned_us = Some(now_us);
        // The kernel lists pids in rising order, but promises nothing.
        if !self.rows.is_sorted_by_key(|row| row.pid) {
            self.rows.sort_unstable_by_key(|row| row.pid);
        }
        for row in &mut self.rows {
            let old = self.before.binary_search_by_key(&row.pid, |old| old.pid);
            let old = old.ok().map(|at| self.before[at].stat);
            row.cpu = cpu_share(old, row.stat, span_us, self.units);
        }
        Ok(Table {
            top_cpu: self.top(top, |row| u64::from(row.cpu.map_or(0, |cpu| cpu.0))),
            top_memory: self.top(top, |row| row.stat.rss_pages),
            count: u32::try_from(self.rows.len()).unwrap_or(u32::MAX),
        })
    }

    fn list(&mut self, directory: &OwnedFd) -> Result<(), SourceError> {
        let fail = |action| {
            let path = self.root.clone();
            move |errno| SourceError::Io {
                action,
                path,
                errno,
            }
        };
        rustix::fs::seek(directory, SeekFrom::Start(0)).map_err(fail("rewind"))?;
        let mut space = vec![MaybeUninit::<u8>::uninit(); ENTRIES_BYTES];
        let mut entries = RawDir::new(directory, &mut space);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(fail("list"))?;
            let Some(pid) = number(entry.file_name().to_bytes()) else {
                continue;
            };
            let Ok(pid) = u32::try_from(pid) else {
                continue;
            };
            self.path.clear();
            let _infallible = write!(self.path, "{pid}/stat");
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            // It may be gone by now; then it is not there.
            let Ok(file) = rustix::fs::openat(directory, &*self.path, flags, Mode::empty()) else {
                continue;
            };
            if let Some(stat) = read_stat(&file, &mut self.line).and_then(|l| parse(l).ok()) {
                self.rows.push(Row {
                    pid,
                    stat: stat.1,
                    cpu: None,
                });
            }
        }
        Ok(())
    }

    /// The first `top` by a value that is not zero. Names are read for these only.
    fn top(&mut self, top: usize, value: impl Fn(&Row) -> u64) -> Vec<Process> {
        let mut rows: Vec<Row> = self
            .rows
            .iter()
            .filter(|row| value(row) > 0)
            .copied()
            .collect();
        if rows.len() > top {
            rows.select_nth_unstable_by_key(top, |row| std::cmp::Reverse(value(row)));
            rows.truncate(top);
        }
        rows.sort_by_key(|row| (std::cmp::Reverse(value(row)), row.pid));
        rows.iter().map(|row| self.describe(row)).collect()
    }

    fn describe(&mut self, row: &Row) -> Process {
        let path = self.root.join(row.pid.to_string()).join("stat");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty()).ok();
        let line = file.and_then(|file| read_stat(&file, &mut self.line));
        let name = match line.and_then(|line| parse(line).ok()) {
            Some((name, stat)) if stat.start_ticks == row.stat.start_ticks => {
                String::from_utf8_lossy(name).into_owned()
            }
            // It ended between the two reads; what it used is still true.
            _ => String::from("(ended)"),
        };
        self.process(row.pid, name, row.stat, row.cpu)
    }

    fn process(&self, pid: u32, name: String, stat: Stat, cpu: Option<PerMille>) -> Process {
        Process {
            pid,
            name,
            state: char::from(stat.state),
            cpu,
            rss_bytes: stat.rss_pages.saturating_mul(self.units.page_bytes),
            threads: stat.threads,
        }
    }

    /// Which processes to read on each tick: what watches them, and their number. Those that stay
    /// keep their descriptor.
    pub fn watch(&mut self, wanted: &[(String, u32)]) {
        self.watched.retain(|key, _| wanted.contains(key));
        for key in wanted {
            if self.watched.contains_key(key) {
                continue;
            }
            let path = self.root.join(key.1.to_string()).join("stat");
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            // One that is gone already is not there to be watched.
            if let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) {
                let watched = Watched { file, before: None };
                self.watched.insert(key.clone(), watched);
            }
        }
    }

    /// Reads the watched ones. A kept descriptor answers ESRCH after its process ended, whatever
    /// has its number since.
    pub fn watched(&mut self, now_us: u64) -> Vec<WatchedProcess> {
        let mut out = Vec::with_capacity(self.watched.len());
        let mut gone = Vec::new();
        let mut watched = std::mem::take(&mut self.watched);
        for ((unit, pid), one) in &mut watched {
            let line = read_stat(&one.file, &mut self.line);
            let Some((name, stat)) = line.and_then(|line| parse(line).ok()) else {
                gone.push((unit.clone(), *pid));
                continue;
            };
            let name = String::from_utf8_lossy(name).into_owned();
            let span_us = one.before.and_then(|(us, _)| rate::growth(us, now_us));
            let cpu = cpu_share(one.before.map(|b| b.1), stat, span_us, self.units);
            one.before = Some((now_us, stat));
            out.push(WatchedProcess {
                unit: unit.clone(),
                process: self.process(*pid, name, stat, cpu),
                open_fds: open_fds(&self.root, *pid),
                age: self.age(stat, Boottime(now_us / 1000)),
            });
        }
        for key in gone {
            watched.remove(&key);
        }
        self.watched = watched;
        out
    }

    fn age(&self, stat: Stat, now: Boottime) -> Option<Millis> {
        let started = stat.start_ticks.checked_mul(1000)? / self.units.ticks_per_s.max(1);
        now.0.checked_sub(started).map(Millis)
    }
}

fn cpu_share(
    before: Option<Stat>,
    now: Stat,
    span_us: Option<u64>,
    units: Units,
) -> Option<PerMille> {
    let before = before.filter(|before| before.start_ticks == now.start_ticks)?;
    let ticks = rate::growth(before.cpu_ticks, now.cpu_ticks)?;
    let us = ticks.checked_mul(1_000_000)? / units.ticks_per_s.max(1);
    rate::share(us, span_us?)
}

/// Since Linux 6.2 the size of /proc/PID/fd is the number of its entries; before, and where the
/// right is missing, nobody says.
fn open_fds(root: &Path, pid: u32) -> Option<u32> {
    let path = root.join(pid.to_string()).join("fd");
    let size = rustix::fs::stat(path).ok()?.st_size;
    u32::try_from(size).ok().filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: Units = Units {
        ticks_per_s: 100,
        page_bytes: 4096,
    };

    fn line(pid: u32, name: &str, ticks: u64, start: u64, rss: u64) -> String {
        format!(
            "{pid} ({name}) S 1 {pid} {pid} 0 -1 4194560 1 0 0 0 {ticks} 0 0 0 20 0 3 0 {start} \
             1000 {rss} 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0\n"
        )
    }

    fn put(root: &Path, pid: u32, text: &str) {
        let dir = root.join(pid.to_string());
        std::fs::create_dir_all(&dir).unwrap();
        let mut file = std::fs::File::create(dir.join("stat")).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }

    #[test]
    fn the_busiest_and_the_largest_come_first() {
        let root = tempfile::tempdir().unwrap();
        let mut processes = Processes::new(root.path(), UNITS);
        for (pid, ticks, rss) in [(1, 0, 10), (2, 0, 30), (3, 0, 20), (4, 0, 0)] {
            put(root.path(), pid, &line(pid, "x", ticks, 1, rss));
        }
        std::fs::create_dir(root.path().join("net")).unwrap();
        let table = processes.scan(1_000_000, 2).unwrap();
        assert_eq!((table.count, table.top_cpu.len()), (4, 0));
        let pids: Vec<_> = table.top_memory.iter().map(|p| p.pid).collect();
        assert_eq!(pids, [2, 3]);
        put(root.path(), 1, &line(1, "x", 50, 1, 10));
        put(root.path(), 3, &line(3, "x", 100, 1, 20));
        let table = processes.scan(2_000_000, 2).unwrap();
        let busy: Vec<_> = table.top_cpu.iter().map(|p| (p.pid, p.cpu)).collect();
        assert_eq!(busy, [(3, Some(PerMille(1000))), (1, Some(PerMille(500)))]);
    }

    #[test]
    fn a_number_that_came_back_is_another_process() {
        let root = tempfile::tempdir().unwrap();
        let mut processes = Processes::new(root.path(), UNITS);
        put(root.path(), 9, &line(9, "old", 1000, 1, 10));
        processes.scan(1_000_000, 5).unwrap();
        put(root.path(), 9, &line(9, "new", 1001, 500, 10));
        let table = processes.scan(2_000_000, 5).unwrap();
        assert!(table.top_cpu.is_empty(), "{table:?}");
        assert_eq!(table.top_memory[0].name, "new");
        assert_eq!(table.top_memory[0].cpu, None);
    }

    #[test]
    fn a_watched_process_that_ended_is_no_longer_reported() {
        let mut child = std::process::Command::new("/bin/cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut processes = Processes::new(Path::new("/proc"), UNITS);
        let wanted = [("service cat".to_owned(), child.id())];
        processes.watch(&wanted);
        let now = nodemedic_edge::clock::boottime_us();
        let seen = processes.watched(now);
        assert_eq!(seen[0].process.pid, child.id());
        assert_eq!(seen[0].process.cpu, None);
        assert!(processes.watched(now + 1_000_000)[0].process.cpu.is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(processes.watched(now + 2_000_000), []);
        processes.watch(&wanted);
        assert_eq!(processes.watched(now + 3_000_000), []);
    }
}

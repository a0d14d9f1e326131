//! Reads the host once per tick: what proc(5) and sysfs say, as [`Sample`]. It judges nothing and
//! acts on nothing.
//!
//! One file per concept. In each, `parse` takes text and is tested on recorded hosts
//! (tests/fixtures/proc); what is kept between ticks (descriptors, counters) sits beside it. A
//! source that fails leaves its part absent and says so in `unread`; the others go on.

pub mod cpu;
pub mod disks;
pub mod load;
pub mod memory;
pub mod mounts;
pub mod nics;
pub mod pid_stat;
pub mod pressure;
pub mod processes;
pub mod rate;
pub mod source;
pub mod statvfs;
pub mod thread;

use std::path::PathBuf;

use nodemedic_protocol::sample::{Filesystem, Pressure, Sample, Stall, Unread};
use nodemedic_protocol::time::Now;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::mounts::Mount;
use self::processes::{Processes, Table, Units};
use self::source::{Source, SourceError};

/// The whole process table and the filesystems are read on every fifth tick: together they cost
/// more than all the rest, and neither top lists nor free space are of use at a faster pace.
/// Watched processes are read on each tick, and their end is an event, not a sample.
pub const SLOW_EVERY_TICKS: u64 = 5;

/// What a sampler needs to know.
#[derive(Clone, Debug)]
pub struct Roots {
    /// Where proc is: `/proc`.
    pub proc_root: PathBuf,
    /// Where sysfs is: `/sys`.
    pub sys_root: PathBuf,
}

impl Default for Roots {
    fn default() -> Roots {
        Roots {
            proc_root: "/proc".into(),
            sys_root: "/sys".into(),
        }
    }
}

/// Reads one host.
#[derive(Debug)]
pub struct Sampler {
    roots: Roots,
    top: usize,
    units: Units,
    buffer: Vec<u8>,
    stat: Source,
    meminfo: Source,
    loadavg: Source,
    pressure: [Source; 3],
    diskstats: Source,
    net_dev: Source,
    mountinfo: Source,
    cpu_before: Option<cpu::Reading>,
    disks: disks::Disks,
    nics: nics::Nics,
    mounts: Option<Vec<Mount>>,
    space: statvfs::Pool,
    processes: Processes,
    table: Option<Table>,
    filesystems: (Vec<Filesystem>, Vec<Unread>),
    before_us: Option<u64>,
    tick: u64,
}

impl Sampler {
    /// Opens nothing yet. `top` is the length of each of the two lists of processes.
    #[must_use]
    pub fn new(roots: Roots, top: usize) -> Sampler {
        let units = Units {
            ticks_per_s: rustix::param::clock_ticks_per_second(),
            page_bytes: rustix::param::page_size() as u64,
        };
        let source = |path: &str| Source::new(roots.proc_root.join(path));
        Sampler {
            top,
            units,
            buffer: Vec::new(),
            stat: source("stat"),
            meminfo: source("meminfo"),
            loadavg: source("loadavg"),
            pressure: ["cpu", "memory", "io"].map(|name| source(&format!("pressure/{name}"))),
            diskstats: source("diskstats"),
            net_dev: source("net/dev"),
            mountinfo: source("self/mountinfo"),
            cpu_before: None,
            disks: disks::Disks::default(),
            nics: nics::Nics::default(),
            mounts: None,
            space: statvfs::Pool::default(),
            processes: Processes::new(&roots.proc_root, units),
            table: None,
            filesystems: (Vec::new(), Vec::new()),
            before_us: None,
            tick: 0,
            roots,
        }
    }

    /// Which processes to read on each tick: the component's text, and the number.
    pub fn watch(&mut self, wanted: &[(String, u32)]) {
        self.processes.watch(wanted);
    }

    /// Threads that wait for filesystems.
    #[must_use]
    pub fn helper_threads(&self) -> usize {
        self.space.threads()
    }

    /// Reads everything once. `now_us` is the same moment as `now`, in microseconds since boot.
    pub fn sample(&mut self, now: Now, now_us: u64) -> Sample {
        let span_us = self
            .before_us
            .and_then(|before| rate::growth(before, now_us));
        self.before_us = Some(now_us);
        let mut sample = Sample {
            at: now.boot,
            wall: now.wall,
            ..Sample::default()
        };
        self.system(&mut sample);
        self.devices(&mut sample, span_us);
        if self.tick.is_multiple_of(SLOW_EVERY_TICKS) {
            self.slow(&mut sample, now_us);
        }
        self.tick += 1;
        sample.filesystems.clone_from(&self.filesystems.0);
        sample.unread.extend(self.filesystems.1.iter().cloned());
        if let Some(table) = &self.table {
            sample.top_cpu.clone_from(&table.top_cpu);
            sample.top_memory.clone_from(&table.top_memory);
            sample.process_count = Some(table.count);
        }
        sample.watched = self.processes.watched(now_us);
        sample
    }

    fn system(&mut self, sample: &mut Sample) {
        let unread = &mut sample.unread;
        let reading = self.stat.parse(&mut self.buffer, cpu::parse);
        if let Some(reading) = keep("cpu", reading, unread) {
            let view = cpu::view(&reading, self.cpu_before.as_ref(), self.units.ticks_per_s);
            sample.cpu = Some(view);
            self.cpu_before = Some(reading);
        }
        let memory = self.meminfo.parse(&mut self.buffer, memory::parse);
        sample.memory = keep("memory", memory, unread);
        let load = self.loadavg.parse(&mut self.buffer, load::parse);
        sample.load = keep("load", load, unread);
        let mut stalls = [const { None::<Stall> }; 3];
        for (slot, source) in stalls.iter_mut().zip(&mut self.pressure) {
            *slot = match source.parse(&mut self.buffer, pressure::parse) {
                // A kernel without pressure counters is no failure.
                Err(error) if error.is_absent() => None,
                other => keep("pressure", other, unread),
            };
        }
        let [cpu, memory, io] = stalls;
        if cpu.is_some() || memory.is_some() || io.is_some() {
            sample.pressure = Some(Pressure { cpu, memory, io });
        }
    }

    fn devices(&mut self, sample: &mut Sample, span_us: Option<u64>) {
        let sys_root = &self.roots.sys_root;
        let disks = &mut self.disks;
        let found = self.diskstats.parse(&mut self.buffer, |text| {
            Ok(disks.view(&disks::parse(text)?, sys_root, span_us))
        });
        sample.disks = keep("disks", found, &mut sample.unread).unwrap_or_default();
        let nics = &mut self.nics;
        let mut small = Vec::new();
        let found = self.net_dev.parse(&mut self.buffer, |text| {
            Ok(nics.view(&nics::parse(text)?, sys_root, span_us, &mut small))
        });
        sample.nics = keep("nics", found, &mut sample.unread).unwrap_or_default();
    }

    fn slow(&mut self, sample: &mut Sample, now_us: u64) {
        let table = self.processes.scan(now_us, self.top);
        self.table = keep("processes", table, &mut sample.unread);
        self.filesystems = match self.read_mounts() {
            Ok(mounts) => self.view_mounts(&mounts),
            Err(error) => (
                Vec::new(),
                vec![Unread {
                    source: "filesystems".to_owned(),
                    error: error.to_string(),
                }],
            ),
        };
    }

    /// The table is read again only after the kernel announced a change (POLLPRI on mountinfo).
    fn read_mounts(&mut self) -> Result<Vec<Mount>, SourceError> {
        let unchanged = self.mounts.is_some()
            && self.mountinfo.descriptor().is_some_and(|file| {
                let mut polled = [PollFd::new(file, PollFlags::PRI)];
                let at_once = Timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                };
                matches!(poll(&mut polled, Some(&at_once)), Ok(0))
            });
        match self.mounts.take() {
            Some(mounts) if unchanged => Ok(mounts),
            _ => self.mountinfo.parse(&mut self.buffer, |text| {
                mounts::parse(text).map(mounts::with_storage)
            }),
        }
    }

    fn view_mounts(&mut self, mounts: &[Mount]) -> (Vec<Filesystem>, Vec<Unread>) {
        let points = mounts.iter().map(|mount| mount.mount_point.as_str());
        let mut found = self.space.ask_all(points, statvfs::CALL_WAIT);
        let mut unread = Vec::new();
        let view = |mount: &Mount| {
            let space = match found.remove(&mount.mount_point) {
                Some(Ok(space)) => Some(space),
                Some(Err(error)) => {
                    let source = format!("filesystem {}", mount.mount_point);
                    unread.push(Unread { source, error });
                    None
                }
                None => None,
            };
            // A type without a fixed number of inodes says 0.
            let inodes = space.filter(|space| space.inodes_total > 0);
            Filesystem {
                mount_point: mount.mount_point.clone(),
                source: mount.source.clone(),
                kind: mount.kind.clone(),
                writable: mount.writable,
                total_bytes: space.map(|space| space.total_bytes),
                available_bytes: space.map(|space| space.available_bytes),
                inodes_total: inodes.map(|space| space.inodes_total),
                inodes_free: inodes.map(|space| space.inodes_free),
            }
        };
        let filesystems = mounts.iter().map(view).collect();
        self.mounts = Some(mounts.to_vec());
        (filesystems, unread)
    }
}

fn keep<T>(source: &str, result: Result<T, SourceError>, unread: &mut Vec<Unread>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            unread.push(Unread {
                source: source.to_owned(),
                error: error.to_string(),
            });
            None
        }
    }
}

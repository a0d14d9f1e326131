//! Whole block devices, from /proc/diskstats (Documentation/admin-guide/iostats.rst) and
//! /sys/block, which lists whole devices and no partitions.

use std::collections::BTreeMap;
use std::path::Path;

use nodemedic_protocol::sample::Disk;

use super::rate;
use super::source::{Malformed, numbers};

/// A sector of diskstats, whatever the device's own is.
const SECTOR_BYTES: u64 = 512;

/// Devices with these names exist whether or not something is behind them.
const PSEUDO: [&str; 6] = ["loop", "ram", "zram", "nbd", "fd", "sr"];

/// Counters of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    reads: u64,
    read_sectors: u64,
    read_ms: u64,
    writes: u64,
    written_sectors: u64,
    write_ms: u64,
    in_flight: u64,
    busy_ms: u64,
}

/// Reads /proc/diskstats: every device and partition with its name.
///
/// # Errors
/// When a line has a name but not the eleven numbers that every kernel since 2.6 gives.
pub fn parse(text: &str) -> Result<Vec<(&str, Counters)>, Malformed> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line_of(line).ok_or(Malformed("bad line of diskstats")))
        .collect()
}

fn line_of(line: &str) -> Option<(&str, Counters)> {
    let mut fields = line.split_ascii_whitespace();
    let _numbers: [u64; 2] = numbers(&mut fields)?;
    let name = fields.next()?;
    let v: [u64; 11] = numbers(&mut fields)?;
    let counters = Counters {
        reads: v[0],
        read_sectors: v[2],
        read_ms: v[3],
        writes: v[4],
        written_sectors: v[6],
        write_ms: v[7],
        in_flight: v[8],
        busy_ms: v[9],
    };
    Some((name, counters))
}

/// Knows which names are whole devices, and their counters of the tick before.
#[derive(Debug, Default)]
pub struct Disks {
    known: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    whole: bool,
    before: Option<Counters>,
    seen: bool,
}

impl Disks {
    /// What happened since the tick before. A name is looked up in `sys_root` when it is new.
    pub fn view(
        &mut self,
        now: &[(&str, Counters)],
        sys_root: &Path,
        span_us: Option<u64>,
    ) -> Vec<Disk> {
        let mut disks = Vec::new();
        for (name, counters) in now {
            if !self.known.contains_key(*name) {
                let known = Known {
                    whole: is_whole(sys_root, name),
                    before: None,
                    seen: true,
                };
                self.known.insert((*name).to_owned(), known);
            }
            let Some(known) = self.known.get_mut(*name) else {
                continue;
            };
            known.seen = true;
            if known.whole && in_use(sys_root, name, counters) {
                disks.push(view_one(name, counters, known.before.as_ref(), span_us));
                known.before = Some(*counters);
            }
        }
        self.known
            .retain(|_, known| std::mem::replace(&mut known.seen, false));
        disks.sort_by(|a, b| a.name.cmp(&b.name));
        disks
    }
}

fn view_one(name: &str, now: &Counters, before: Option<&Counters>, span_us: Option<u64>) -> Disk {
    let mut disk = Disk {
        name: name.to_owned(),
        read_bytes: now.read_sectors.saturating_mul(SECTOR_BYTES),
        written_bytes: now.written_sectors.saturating_mul(SECTOR_BYTES),
        in_flight: now.in_flight,
        ..Disk::default()
    };
    let (Some(before), Some(span_us)) = (before, span_us) else {
        return disk;
    };
    let bytes_per_s = |old: u64, new: u64| {
        let (old, new) = (
            old.checked_mul(SECTOR_BYTES)?,
            new.checked_mul(SECTOR_BYTES)?,
        );
        rate::per_second(old, new, span_us)
    };
    disk.read_bytes_per_s = bytes_per_s(before.read_sectors, now.read_sectors);
    disk.written_bytes_per_s = bytes_per_s(before.written_sectors, now.written_sectors);
    let sum = |a: Option<u64>, b: Option<u64>| a?.checked_add(b?);
    let ops = sum(
        rate::growth(before.reads, now.reads),
        rate::growth(before.writes, now.writes),
    );
    disk.ops_per_s = ops.and_then(|ops| rate::per_second(0, ops, span_us));
    let waited_ms = sum(
        rate::growth(before.read_ms, now.read_ms),
        rate::growth(before.write_ms, now.write_ms),
    );
    if let (Some(ops @ 1..), Some(waited_ms)) = (ops, waited_ms) {
        disk.latency_us = Some(waited_ms.saturating_mul(1000) / ops);
    }
    // The kernel counts whole milliseconds, so a span may seem a little more than full.
    disk.busy = rate::growth(before.busy_ms, now.busy_ms)
        .and_then(|ms| rate::share(ms.saturating_mul(1000).min(span_us), span_us));
    disk
}

/// sysfs writes `!` where a device name has `/`.
fn sys_path(sys_root: &Path, name: &str) -> std::path::PathBuf {
    sys_root.join("block").join(name.replace('/', "!"))
}

fn is_whole(sys_root: &Path, name: &str) -> bool {
    sys_path(sys_root, name).is_dir()
}

/// A pseudo device counts while something is behind it. One that never moved a byte is not asked:
/// there are many, and they are idle.
fn in_use(sys_root: &Path, name: &str, counters: &Counters) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if !PSEUDO.contains(&stem) {
        return true;
    }
    let moved = counters.reads > 0 || counters.writes > 0;
    moved && size_sectors(sys_root, name).is_some_and(|sectors| sectors > 0)
}

/// Size of a whole device in sectors of 512 bytes.
pub(crate) fn size_sectors(sys_root: &Path, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(sys_path(sys_root, name).join("size")).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::sample::PerMille;

    fn sys(devices: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, size) in devices {
            let dir = root.path().join("block").join(name);
            std::fs::create_dir_all(&dir).unwrap();
            let mut file = std::fs::File::create(dir.join("size")).unwrap();
            std::io::Write::write_all(&mut file, size.as_bytes()).unwrap();
        }
        root
    }

    #[test]
    fn rates_latency_and_utilisation_come_from_two_readings() {
        let root = sys(&[("sda", "100")]);
        let mut disks = Disks::default();
        let first = parse("8 0 sda 10 0 100 50 10 0 200 50 0 500 100\n").unwrap();
        let seen = disks.view(&first, root.path(), None);
        assert_eq!(seen[0].read_bytes, 51_200);
        assert_eq!((seen[0].ops_per_s, seen[0].busy), (None, None));
        let second = parse("8 0 sda 20 0 300 80 20 0 200 70 3 1000 100\n").unwrap();
        let seen = disks.view(&second, root.path(), Some(1_000_000));
        assert_eq!(seen[0].read_bytes_per_s, Some(102_400));
        assert_eq!(seen[0].written_bytes_per_s, Some(0));
        assert_eq!(seen[0].ops_per_s, Some(20));
        assert_eq!(seen[0].latency_us, Some(2500));
        assert_eq!(seen[0].busy, Some(PerMille(500)));
        assert_eq!(seen[0].in_flight, 3);
    }

    #[test]
    fn a_device_that_was_replaced_has_no_rate_and_no_operation_means_no_latency() {
        let root = sys(&[("sda", "100")]);
        let mut disks = Disks::default();
        let first = parse("8 0 sda 10 0 100 50 10 0 200 50 0 500 100\n").unwrap();
        disks.view(&first, root.path(), None);
        let seen = disks.view(&first, root.path(), Some(1_000_000));
        assert_eq!((seen[0].ops_per_s, seen[0].latency_us), (Some(0), None));
        let reset = parse("8 0 sda 1 0 1 1 1 0 1 1 0 1 1\n").unwrap();
        let seen = disks.view(&reset, root.path(), Some(1_000_000));
        assert_eq!(seen[0].read_bytes_per_s, None);
        assert_eq!((seen[0].latency_us, seen[0].busy), (None, None));
    }

    #[test]
    fn partitions_and_empty_pseudo_devices_are_left_out() {
        let root = sys(&[
            ("sda", "100"),
            ("loop0", "0"),
            ("loop1", "8"),
            ("loop2", "8"),
            ("cciss!c0d0", "5"),
        ]);
        let text = "8 0 sda 1 0 1 1 1 0 1 1 0 1 1 0 0 0 0 0 0\n\
            8 1 sda1 1 0 1 1 1 0 1 1 0 1 1\n\
            7 0 loop0 9 0 9 9 9 0 9 9 0 9 9\n\
            7 1 loop1 9 0 9 9 9 0 9 9 0 9 9\n\
            7 2 loop2 0 0 0 0 0 0 0 0 0 0 0\n\
            104 0 cciss/c0d0 1 0 1 1 1 0 1 1 0 1 1\n";
        let seen = Disks::default().view(&parse(text).unwrap(), root.path(), None);
        let names: Vec<_> = seen.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["cciss/c0d0", "loop1", "sda"]);
    }
}

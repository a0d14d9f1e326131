//! The samplers on recorded and on hand-made trees of /proc and /sys, and on anything at all.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is the error message of a test, in its helpers too"
)]

use std::path::{Path, PathBuf};

use nodemedic_agent_host::inventory;
use nodemedic_agent_host::sampler::{
    Roots, Sampler, cpu, disks, load, memory, mounts, nics, pid_stat, pressure,
};
use nodemedic_protocol::sample::{PerMille, Sample};
use nodemedic_protocol::time::{Boottime, Now, WallTime};
use proptest::prelude::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/proc")
}

fn debian_vm() -> Roots {
    let root = fixtures().join("debian-vm");
    Roots {
        proc_root: root.join("proc"),
        sys_root: root.join("sys"),
    }
}

fn at(second: u64) -> (Now, u64) {
    let now = Now {
        boot: Boottime(second * 1000),
        wall: WallTime(1_700_000_000_000 + second * 1000),
    };
    (now, second * 1_000_000)
}

fn sample(sampler: &mut Sampler, second: u64) -> Sample {
    let (now, now_us) = at(second);
    sampler.sample(now, now_us)
}

/// The tree in a place of its own, where a test may change it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn put(path: &Path, text: &str) {
    let mut file = std::fs::File::create(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

#[test]
fn a_recorded_machine_is_read_whole() {
    let seen = sample(&mut Sampler::new(debian_vm(), 5), 1000);
    assert_eq!(seen.unread, []);
    assert_eq!(seen.cpu.as_ref().unwrap().online, 2);
    assert_eq!(seen.cpu.unwrap().busy, None, "one reading has no rate");
    let memory = seen.memory.unwrap();
    assert_eq!(memory.swap_total_bytes, Some(0));
    assert!(memory.available_bytes.unwrap() < memory.total_bytes);
    let pressure = seen.pressure.unwrap();
    assert!(pressure.cpu.unwrap().some_total_us > 0);
    assert_eq!(pressure.io.unwrap().full_avg10, Some(PerMille(0)));
    assert!(seen.load.unwrap().runnable > 0);
    let disks: Vec<_> = seen.disks.iter().map(|disk| disk.name.as_str()).collect();
    assert_eq!(disks, ["vda"], "empty loop and zram devices are none");
    let nics: Vec<_> = seen.nics.iter().map(|nic| nic.name.as_str()).collect();
    assert_eq!(nics, ["eth0", "ifb0", "ifb1"]);
    assert_eq!(seen.nics[0].carrier, Some(true));
    // The recorded machine has these down; the kernel refused to say more.
    assert_eq!(
        (seen.nics[1].carrier, seen.nics[1].speed_mbit_per_s),
        (None, None)
    );
    let mounts: Vec<_> = seen.filesystems.iter().map(|f| &f.mount_point).collect();
    assert_eq!(mounts, ["/"]);
    assert_eq!((seen.process_count, seen.top_cpu.len()), (Some(1), 0));
    assert_eq!(seen.top_memory[0].name, "init");
}

#[test]
fn a_second_tick_has_rates_and_a_reset_has_none() {
    let dir = tempfile::tempdir().unwrap();
    copy(&fixtures().join("debian-vm"), dir.path());
    let roots = Roots {
        proc_root: dir.path().join("proc"),
        sys_root: dir.path().join("sys"),
    };
    let stat = roots.proc_root.join("stat");
    let mut sampler = Sampler::new(roots, 5);
    put(
        &stat,
        "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 100 0 100 800 0 0 0 0 0 0\n",
    );
    sample(&mut sampler, 1);
    put(
        &stat,
        "cpu  150 0 150 900 0 0 0 0 0 0\ncpu0 150 0 150 900 0 0 0 0 0 0\n",
    );
    let second = sample(&mut sampler, 2);
    assert_eq!(second.cpu.unwrap().busy, Some(PerMille(500)));
    assert_eq!(second.disks[0].ops_per_s, Some(0));
    assert_eq!(second.nics[0].rx_bytes_per_s, Some(0));
    put(
        &stat,
        "cpu  1 0 1 9 0 0 0 0 0 0\ncpu0 1 0 1 9 0 0 0 0 0 0\n",
    );
    assert_eq!(sample(&mut sampler, 3).cpu.unwrap().busy, None);
}

#[test]
fn hostile_trees_are_unread_and_never_zero() {
    for tree in ["truncated", "absurd"] {
        let roots = Roots {
            proc_root: fixtures().join("hostile").join(tree),
            sys_root: fixtures().join("hostile").join(tree),
        };
        let seen = sample(&mut Sampler::new(roots, 5), 1);
        assert_eq!(seen.cpu, None, "{tree}");
        assert_eq!(seen.load, None, "{tree}");
        assert_eq!(seen.pressure, None, "{tree}");
        assert!(seen.disks.is_empty() && seen.nics.is_empty(), "{tree}");
        assert!(seen.filesystems.is_empty(), "{tree}");
        assert_eq!(seen.memory, None, "{tree}");
        assert_eq!(seen.process_count, Some(0), "{tree}");
        let sources: Vec<_> = seen.unread.iter().map(|u| u.source.as_str()).collect();
        for source in ["cpu", "load", "disks", "nics", "pressure", "filesystems"] {
            assert!(sources.contains(&source), "{tree}: {source} in {sources:?}");
        }
    }
}

#[test]
fn a_host_without_anything_says_so_and_pressure_may_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let roots = Roots {
        proc_root: dir.path().to_owned(),
        sys_root: dir.path().to_owned(),
    };
    let seen = sample(&mut Sampler::new(roots, 5), 1);
    let sources: Vec<_> = seen.unread.iter().map(|u| u.source.as_str()).collect();
    let wanted = ["cpu", "memory", "load", "disks", "nics", "filesystems"];
    assert_eq!(
        sources, wanted,
        "a kernel without pressure counters is none the worse"
    );
}

#[test]
fn the_inventory_of_a_recorded_machine() {
    let found = inventory::read(&debian_vm());
    assert_eq!(found.cpus, 2);
    assert_eq!(
        found.cpu_model.as_deref(),
        Some("Intel(R) Xeon(R) Processor")
    );
    let disks: Vec<_> = found.disks.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(disks, ["vda"]);
    assert!(found.disks[0].size_bytes.unwrap() > 1 << 30);
    let macs: Vec<_> = found
        .nics
        .iter()
        .map(|n| (n.name.as_str(), n.mac.as_deref()))
        .collect();
    assert_eq!(
        macs,
        [
            ("eth0", Some("02:00:00:00:00:01")),
            ("ifb0", Some("02:00:00:00:00:02"))
        ]
    );
    assert_eq!(found.machine, None, "this machine's firmware says nothing");
    let offered = inventory::capacity(&found);
    assert_eq!(offered.cpu_milli, 1900);
    assert!(offered.memory_bytes < found.memory_bytes);
}

proptest! {
    /// Whatever a kernel writes, no parser panics.
    #[test]
    fn no_parser_panics(text in "[ -~\n\t0-9:/().,=%-]{0,300}") {
        let _ = cpu::parse(&text);
        let _ = memory::parse(&text);
        let _ = pressure::parse(&text);
        let _ = load::parse(&text);
        let _ = disks::parse(&text);
        let _ = nics::parse(&text);
        let _ = mounts::parse(&text).map(mounts::with_storage);
        let _ = pid_stat::parse(text.as_bytes());
    }

    /// Nor when a recorded file is cut or changed anywhere.
    #[test]
    fn no_parser_panics_on_a_damaged_recording(
        file in prop::sample::select(vec![
            "stat", "meminfo", "loadavg", "diskstats", "net/dev", "pressure/cpu",
            "self/mountinfo", "1/stat",
        ]),
        cut in any::<prop::sample::Index>(),
        changed in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let mut bytes = std::fs::read(debian_vm().proc_root.join(file)).unwrap();
        let at = changed.index(bytes.len());
        bytes[at] = to;
        bytes.truncate(cut.index(bytes.len()) + 1);
        let text = String::from_utf8_lossy(&bytes);
        let _ = cpu::parse(&text).map(|reading| cpu::view(&reading, Some(&reading), 100));
        let _ = memory::parse(&text);
        let _ = pressure::parse(&text);
        let _ = load::parse(&text);
        let _ = disks::parse(&text);
        let _ = nics::parse(&text);
        let _ = mounts::parse(&text).map(mounts::with_storage);
        let _ = pid_stat::parse(&bytes);
    }
}

//! What the host is made of and what it offers to work: read once at start.
//!
//! sysinfo knows the system's name, procfs the processors' model, sysfs the devices. What cannot be
//! read is absent.

use std::path::Path;

use nodemedic_protocol::inventory::{Capacity, Inventory, InventoryDisk, InventoryNic};

use crate::boot;
use crate::sampler::disks::size_sectors;
use crate::sampler::{Roots, cpu, memory};

/// Kept for the system itself: a twentieth of the processors ...
const KEEP_CPU_PER_MILLE: u64 = 50;

/// ... and a twentieth of the memory, but at least what a small Debian with its daemons takes.
const KEEP_MEMORY_PER_MILLE: u64 = 50;
const KEEP_MEMORY_MIN_BYTES: u64 = 256 << 20;

/// Devices that exist on every kernel whether or not they mean anything.
const VIRTUAL_DISKS: [&str; 6] = ["loop", "ram", "zram", "nbd", "fd", "sr"];

/// Reads it.
#[must_use]
pub fn read(roots: &Roots) -> Inventory {
    let (proc_root, sys_root) = (roots.proc_root.as_path(), roots.sys_root.as_path());
    let stat = text(&proc_root.join("stat"));
    let stat = stat.and_then(|text| cpu::parse(&text).ok());
    let meminfo = text(&proc_root.join("meminfo"));
    let meminfo = meminfo.and_then(|text| memory::parse(&text).ok());
    Inventory {
        hostname: boot::hostname(),
        os: sysinfo::System::long_os_version().ok(),
        kernel: sysinfo::System::kernel_version().ok(),
        machine: machine(sys_root),
        cpu_model: cpu_model(proc_root),
        cpus: stat.map_or(0, |stat| u32::try_from(stat.cores.len()).unwrap_or(0)),
        memory_bytes: meminfo.map_or(0, |memory| memory.total_bytes),
        disks: disks(sys_root),
        nics: nics(sys_root),
    }
}

/// What of it is offered to work.
#[must_use]
pub fn capacity(inventory: &Inventory) -> Capacity {
    let all = Capacity {
        cpu_milli: u64::from(inventory.cpus) * 1000,
        memory_bytes: inventory.memory_bytes,
    };
    let share = inventory.memory_bytes / 1000 * KEEP_MEMORY_PER_MILLE;
    all.minus(Capacity {
        cpu_milli: all.cpu_milli * KEEP_CPU_PER_MILLE / 1000,
        memory_bytes: share.max(KEEP_MEMORY_MIN_BYTES),
    })
}

/// The firmware's words; boards without DMI have a device tree.
fn machine(sys_root: &Path) -> Option<String> {
    let dmi = |name: &str| {
        let word = text(&sys_root.join("class/dmi/id").join(name))?;
        // What makers leave there when they fill in nothing.
        let filler = [
            "",
            "To Be Filled By O.E.M.",
            "Default string",
            "System Product Name",
        ];
        let word = word.trim();
        (!filler.contains(&word)).then(|| word.to_owned())
    };
    match (dmi("sys_vendor"), dmi("product_name")) {
        (Some(maker), Some(model)) => Some(format!("{maker} {model}")),
        (Some(one), None) | (None, Some(one)) => Some(one),
        (None, None) => {
            let model = text(&sys_root.join("firmware/devicetree/base/model"))?;
            Some(model.trim_end_matches('\0').trim().to_owned())
        }
    }
}

fn cpu_model(proc_root: &Path) -> Option<String> {
    use procfs::FromRead;
    let found = procfs::CpuInfo::from_file(proc_root.join("cpuinfo")).ok()?;
    let named = found.model_name(0).map(str::to_owned);
    // ARM has no model name per processor.
    named.or_else(|| found.fields.get("Model").cloned())
}

fn disks(sys_root: &Path) -> Vec<InventoryDisk> {
    let dir = sys_root.join("block");
    let number = |name: &str, file: &str| text(&dir.join(name).join(file));
    names(&dir)
        .into_iter()
        .filter(|name| {
            !VIRTUAL_DISKS.contains(&name.trim_end_matches(|c: char| c.is_ascii_digit()))
        })
        .map(|name| InventoryDisk {
            size_bytes: size_sectors(sys_root, &name).and_then(|s| s.checked_mul(512)),
            model: number(&name, "device/model").map(|model| model.trim().to_owned()),
            rotational: match number(&name, "queue/rotational").as_deref().map(str::trim) {
                Some("0") => Some(false),
                Some("1") => Some(true),
                _ => None,
            },
            name: name.replace('!', "/"),
        })
        .collect()
}

fn nics(sys_root: &Path) -> Vec<InventoryNic> {
    let dir = sys_root.join("class/net");
    names(&dir)
        .into_iter()
        .filter(|name| name != "lo")
        .map(|name| {
            let mac = text(&dir.join(&name).join("address")).map(|mac| mac.trim().to_owned());
            InventoryNic {
                name,
                // Tunnels and the like say nothing, or zeros.
                mac: mac.filter(|mac| mac.bytes().any(|b| !matches!(b, b'0' | b':'))),
            }
        })
        .collect()
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

fn text(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_keeps_a_share_for_itself() {
        let inventory = Inventory {
            cpus: 8,
            memory_bytes: 64 << 30,
            ..Inventory::default()
        };
        let offered = capacity(&inventory);
        assert_eq!(offered.cpu_milli, 7600);
        assert!(offered.memory_bytes < 61 << 30 && offered.memory_bytes > 60 << 30);
        let small = Inventory {
            cpus: 1,
            memory_bytes: 128 << 20,
            ..Inventory::default()
        };
        assert_eq!(capacity(&small).memory_bytes, 0);
    }
}

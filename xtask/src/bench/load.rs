//! The loads under which the watchdog is measured, in the words of stress-ng.

use anyhow::Result;

use super::measure::available_kib;

/// Of the memory that is free when a load begins, so many percent are rewritten: enough to make the
/// kernel reclaim, not enough to have it kill what else runs here.
const MEMORY_PERCENT: u64 = 80;

/// Workers of stress-ng: several times more than a developer's machine has processors.
const CPU: &[&str] = &["--cpu", "16"];
/// The size is told when the load begins.
const MEMORY: &[&str] = &["--vm", "4", "--vm-keep", "--vm-bytes"];
const DISK: &[&str] = &[
    "--hdd",
    "4",
    "--hdd-bytes",
    "256m",
    "--hdd-opts",
    "fsync",
    "--iomix",
    "2",
    "--iomix-bytes",
    "256m",
    "--io",
    "2",
];

/// What runs beside the watchdogs.
pub struct Load {
    /// For the table.
    pub name: &'static str,
    /// For people.
    pub does: &'static str,
    cpu: bool,
    memory: bool,
    disk: bool,
}

const fn load(name: &'static str, does: &'static str, which: [bool; 3]) -> Load {
    let [cpu, memory, disk] = which;
    Load {
        name,
        does,
        cpu,
        memory,
        disk,
    }
}

/// All of them, the idle machine first.
pub const LOADS: &[Load] = &[
    load("none", "nothing", [false, false, false]),
    load("cpu", "16 spinning processes", [true, false, false]),
    load(
        "memory",
        "4 processes rewriting 80 % of what is free",
        [false, true, false],
    ),
    load(
        "disk",
        "4 writers with fsync, 2 mixed, 2 sync",
        [false, false, true],
    ),
    load("all", "all three at once", [true, true, true]),
];

impl Load {
    /// The words for stress-ng; none when nothing shall run.
    ///
    /// # Errors
    /// When the free memory cannot be read.
    pub fn words(&self) -> Result<Vec<String>> {
        let own = |words: &[&str]| {
            words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        let mut words = Vec::new();
        if self.cpu {
            words.extend(own(CPU));
        }
        if self.memory {
            words.extend(own(MEMORY));
            words.push(format!("{}k", available_kib()? * MEMORY_PERCENT / 100));
        }
        if self.disk {
            words.extend(own(DISK));
        }
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_load_but_the_first_gives_stress_ng_work() {
        let empty = |load: &Load| load.words().unwrap().is_empty();
        assert!(empty(&LOADS[0]));
        assert!(!LOADS.iter().skip(1).any(empty));
    }
}

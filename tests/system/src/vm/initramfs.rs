//! The test machine's root: a cpio archive in memory with busybox, the real programs, what they are
//! linked with, and the kernel's modules.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::kernel::Kernel;
use super::{run, text};

/// `ldd` and `strip` take milliseconds.
const TOOL_LIMIT: Duration = Duration::from_secs(60);
/// Directory, regular file, character device, as in `st_mode`.
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const DEVICE: u32 = 0o020_600;
/// Of `/dev/console`, which the kernel wants before devtmpfs is there.
const CONSOLE: (u32, u32) = (5, 1);

/// The folders of the root.
const FOLDERS: &[&str] = &[
    "bin", "dev", "etc", "lib", "lib64", "modules", "proc", "run", "state", "sys", "tmp", "var",
    "var/lib",
];
/// The programs that are only a few lines of shell.
const SCRIPTS: &[(&str, &str)] = &[
    ("init", include_str!("init.sh")),
    ("bin/start", include_str!("start.sh")),
    ("bin/control", include_str!("control.sh")),
    ("bin/ledger", include_str!("ledger.sh")),
];

/// An archive in the format `newc`, as the kernel's `Documentation/driver-api/early-userspace/
/// buffer-format.rst` describes it.
struct Archive {
    bytes: Vec<u8>,
    number: u32,
}

impl Archive {
    fn add(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.number += 1;
        let size = u32::try_from(content.len()).expect("files below 4 GiB");
        let named = u32::try_from(path.len() + 1).expect("short names");
        let fields = [
            self.number,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            device.0,
            device.1,
            named,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08X}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        let to = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(to, 0);
    }
}

/// Writes the archive. `files` are more text files, by their path without the first `/`.
///
/// # Panics
/// When a program is not built or a tool is missing.
pub fn write(to: &Path, kernel: &Kernel, files: &[(&str, String)]) {
    let scratch = tempfile::tempdir().expect("a folder");
    let mut archive = Archive {
        bytes: Vec::new(),
        number: 0,
    };
    for folder in FOLDERS {
        archive.add(folder, DIRECTORY, (0, 0), b"");
    }
    archive.add("dev/console", DEVICE, CONSOLE, b"");
    for (path, script) in SCRIPTS {
        archive.add(path, PROGRAM, (0, 0), script.as_bytes());
    }
    for (path, content) in files {
        archive.add(path, PROGRAM, (0, 0), content.as_bytes());
    }
    let mut programs = vec![PathBuf::from("/bin/busybox")];
    for program in ["nodemedic-agent", "nodemedic-watchdog"] {
        programs.push(stripped(program, scratch.path()));
    }
    let mut libraries = BTreeSet::new();
    for program in &programs {
        let name = file_name(program);
        archive.add(&format!("bin/{name}"), PROGRAM, (0, 0), &read(program));
        libraries.extend(linked(program));
    }
    for library in libraries {
        // The loader has its place in every program; the others are looked for in /lib.
        let name = file_name(&library);
        let place = if name.starts_with("ld-") {
            "lib64"
        } else {
            "lib"
        };
        archive.add(&format!("{place}/{name}"), PROGRAM, (0, 0), &read(&library));
    }
    let mut order = String::new();
    for module in &kernel.modules {
        let name = file_name(module);
        archive.add(&format!("modules/{name}"), PROGRAM, (0, 0), &read(module));
        order.push_str(&format!("{name}\n"));
    }
    archive.add("modules/order", PROGRAM, (0, 0), order.as_bytes());
    archive.add("TRAILER!!!", 0, (0, 0), b"");
    fs::write(to, archive.bytes).expect("write the archive");
}

/// A built program without what only a debugger reads: an emulated machine boots from memory.
fn stripped(program: &str, scratch: &Path) -> PathBuf {
    let to = scratch.join(program);
    let mut strip = Command::new("strip");
    strip.args(["-o", text(&to), text(&crate::binary(program))]);
    run(strip, TOOL_LIMIT);
    to
}

/// The libraries that a program is linked with; none for a static one.
fn linked(program: &Path) -> Vec<PathBuf> {
    let ldd = Command::new("ldd").arg(program).output().expect("run ldd");
    String::from_utf8_lossy(&ldd.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect()
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()))
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|n| n.to_str()).expect("a name")
}

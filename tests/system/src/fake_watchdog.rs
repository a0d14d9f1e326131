//! A faithful `/dev/watchdog` for machines that have none and cannot load softdog: a file with the
//! kernel's ioctls (Documentation/watchdog/watchdog-api.rst), served over /dev/fuse, with a timer
//! behind it that does not forgive. Needs root, for the mount.
//!
//! Like the real one: opening arms it; one opener only; any write feeds it; `V` and then close
//! disarms it, unless there is no way out; closed without `V` it runs on; a driver rounds its
//! timeout; after it has run out the boot status says so (0x20).
//! Unlike it: `WDIOC_KEEPALIVE` without an argument fails, because it is a regular file.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use nix::libc::{EBUSY, EINVAL, ENOSYS, ENOTTY, EOPNOTSUPP};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nodemedic_edge::clock;

const SETTIMEOUT: u32 = 0x0080;
const MAGICCLOSE: u32 = 0x0100;
const PRETIMEOUT: u32 = 0x0200;
const KEEPALIVEPING: u32 = 0x8000;
/// `WDIOF_CARDRESET`: the last boot was a reset by the watchdog.
pub const CARDRESET: u32 = 0x20;
const DISABLECARD: u32 = 1;
const ENABLECARD: u32 = 2;

/// How this device is.
#[derive(Clone, Debug)]
pub struct Make {
    /// Its timeout until one is set.
    pub timeout_s: u32,
    /// It takes timeouts up to this one, and refuses longer ones with EINVAL; 0 refuses all.
    pub timeout_max_s: u32,
    /// It rounds a timeout up to a multiple of this.
    pub step_s: u32,
    /// It has a pretimeout.
    pub pretimeout: bool,
    /// What it says about the last boot.
    pub boot_status: u32,
    /// It cannot be disarmed.
    pub nowayout: bool,
    /// The power cut: this program with these arguments is run when it has run out.
    pub on_expiry: Vec<String>,
}

impl Default for Make {
    fn default() -> Make {
        Make {
            timeout_s: 30,
            timeout_max_s: 600,
            step_s: 1,
            pretimeout: true,
            boot_status: 0,
            nowayout: false,
            on_expiry: Vec::new(),
        }
    }
}

/// All that is seen of it. Times are milliseconds of boottime.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Somebody holds it open.
    pub open: bool,
    /// It runs.
    pub armed: bool,
    /// In force now.
    pub timeout_s: u32,
    /// In force now.
    pub pretimeout_s: u32,
    /// Every time that it was fed: the open, each write, each keep-alive, each new timeout.
    pub fed: Vec<u64>,
    /// Every time that it ran out.
    pub expired: Vec<u64>,
    /// How often it was opened.
    pub opened: u32,
    /// What it says about the last boot.
    pub boot_status: u32,
    magic: bool,
    gone: bool,
}

impl Seen {
    /// The longest time between two feeds, in milliseconds; also since the last one, while armed.
    #[must_use]
    pub fn max_gap_ms(&self) -> u64 {
        let gaps = self.fed.windows(2).map(|pair| pair[1] - pair[0]);
        let last = self
            .fed
            .last()
            .filter(|_| self.armed)
            .map(|at| now_ms() - at);
        gaps.chain(last).max().unwrap_or(0)
    }

    fn feed(&mut self) {
        self.fed.push(now_ms());
    }
}

fn now_ms() -> u64 {
    clock::boottime_us() / 1000
}

struct Shared {
    make: Make,
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no thread of it has panicked")
    }
}

/// The device. It is gone when this is dropped.
pub struct FakeWatchdog {
    path: PathBuf,
    shared: Arc<Shared>,
}

impl FakeWatchdog {
    /// Makes a device at `path`, such as `DIR/watchdog0`.
    ///
    /// # Panics
    /// When that is not possible: it needs root and /dev/fuse.
    #[must_use]
    pub fn start(path: &Path, make: Make) -> FakeWatchdog {
        File::create(path).expect("a file to mount on");
        let mut fuse = File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .expect("/dev/fuse");
        let fd = fuse.as_raw_fd();
        let options = format!("fd={fd},rootmode=100600,user_id=0,group_id=0,allow_other");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(
            Some("fake-watchdog"),
            path,
            Some("fuse"),
            flags,
            Some(options.as_str()),
        )
        .unwrap_or_else(|e| panic!("mount a file on {}: {e} (needs root)", path.display()));
        let seen = Seen {
            timeout_s: make.timeout_s,
            boot_status: make.boot_status,
            ..Seen::default()
        };
        let (seen, changed) = (Mutex::new(seen), Condvar::new());
        let shared = Arc::new(Shared {
            make,
            seen,
            changed,
        });
        let server = Arc::clone(&shared);
        thread::spawn(move || {
            let mut request = vec![0; 1 << 18];
            // ENODEV ends it: somebody has unmounted the file.
            while let Ok(length) = fuse.read(&mut request) {
                if let Some(reply) = answer(&server, &request[..length]) {
                    let _ = fuse.write_all(&reply);
                }
                server.changed.notify_all();
            }
        });
        let timer = Arc::clone(&shared);
        thread::spawn(move || run_out(&timer));
        FakeWatchdog {
            path: path.to_owned(),
            shared,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What has been seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.shared.seen().clone()
    }

    /// Writes what sysfs says of it below `root`, for `--sys-root`.
    ///
    /// # Panics
    /// When that cannot be written.
    pub fn describe(&self, root: &Path) {
        let name = self.path.file_name().expect("a name");
        let class = root.join("class/watchdog").join(name);
        fs::create_dir_all(&class).expect("a folder");
        let nowayout = u8::from(self.shared.make.nowayout);
        fs::write(class.join("nowayout"), format!("{nowayout}\n")).expect("a file");
    }
}

impl Drop for FakeWatchdog {
    fn drop(&mut self) {
        self.shared.seen().gone = true;
        self.shared.changed.notify_all();
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}

/// The timer: it waits for the moment, and cuts the power.
fn run_out(shared: &Shared) {
    let mut seen = shared.seen();
    while !seen.gone {
        let limit = u64::from(seen.timeout_s) * 1000;
        let at = seen
            .fed
            .last()
            .filter(|_| seen.armed)
            .map(|fed| fed + limit);
        let left = at.map_or(1000, |at| at.saturating_sub(now_ms()));
        if left == 0 {
            seen.expired.push(now_ms());
            seen.armed = false;
            seen.boot_status |= CARDRESET;
            if let [program, arguments @ ..] = shared.make.on_expiry.as_slice() {
                let mut cut = Command::new(program);
                cut.args(arguments)
                    .stdin(Stdio::null())
                    .stdout(Stdio::null());
                let _ = cut
                    .spawn()
                    .map(|mut child| thread::spawn(move || child.wait()));
            }
            continue;
        }
        let wait = shared
            .changed
            .wait_timeout(seen, Duration::from_millis(left));
        seen = wait.expect("no thread of it has panicked").0;
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// One request of include/uapi/linux/fuse.h: a header of 40 bytes (length, opcode, unique, ...),
/// then its body; the answer has a header of 16.
fn answer(shared: &Shared, request: &[u8]) -> Option<Vec<u8>> {
    let body = request.get(40..)?;
    let done = match u32_at(request, 4) {
        // FORGET, INTERRUPT and BATCH_FORGET have no answer.
        2 | 36 | 42 => return None,
        // GETATTR and SETATTR (an open truncates).
        3 | 4 => Ok(attributes()),
        // OPEN: DIRECT_IO and NONSEEKABLE.
        14 => open(shared).map(|()| words(&[0, 0, 1 | 4, 0])),
        // WRITE: its data comes after 40 bytes.
        16 => Ok(write(shared, body.get(40..).unwrap_or_default())),
        // RELEASE
        18 => {
            close(shared);
            Ok(Vec::new())
        }
        // FLUSH, DESTROY
        25 | 38 => Ok(Vec::new()),
        // INIT: version 7.31, writes of 4096 bytes.
        26 => Ok(words(&[
            7,
            31,
            4096,
            0,
            0x0001_0001,
            4096,
            1,
            1,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ])),
        // IOCTL: its number is after handle and flags, its data after 32 bytes.
        39 => {
            let data = body.get(32..).unwrap_or_default();
            ioctl(shared, u32_at(body, 12), data).map(|out| [words(&[0, 0, 0, 0]), out].concat())
        }
        _ => Err(ENOSYS),
    };
    let (error, out) = done.map_or_else(|errno| (-errno, Vec::new()), |out| (0, out));
    let length = u32::try_from(16 + out.len()).expect("short");
    let head = [length.to_ne_bytes(), error.to_ne_bytes()].concat();
    Some([head, request[8..16].to_vec(), out].concat())
}

/// A regular file of root, that never changes.
fn attributes() -> Vec<u8> {
    let valid = [1, 0, 0, 0];
    let inode_size_blocks = [1, 0, 0, 0, 0, 0];
    let times = [0; 9];
    let mode_links_owner = [0o100_600, 1, 0, 0, 0, 4096, 0];
    words(&[&valid[..], &inode_size_blocks, &times, &mode_links_owner].concat())
}

fn open(shared: &Shared) -> Result<(), i32> {
    let mut seen = shared.seen();
    if seen.open {
        return Err(EBUSY);
    }
    (seen.open, seen.armed, seen.magic) = (true, true, false);
    seen.opened += 1;
    seen.feed();
    Ok(())
}

fn write(shared: &Shared, data: &[u8]) -> Vec<u8> {
    let mut seen = shared.seen();
    seen.magic = data.contains(&b'V');
    seen.feed();
    words(&[u32::try_from(data.len()).expect("short"), 0])
}

fn close(shared: &Shared) {
    let mut seen = shared.seen();
    seen.open = false;
    if seen.magic && !shared.make.nowayout {
        seen.armed = false;
    }
}

fn ioctl(shared: &Shared, request: u32, data: &[u8]) -> Result<Vec<u8>, i32> {
    let make = &shared.make;
    let mut seen = shared.seen();
    let value = u32_at(data, 0);
    // _IOC: the kind in bits 8 to 15, the number in bits 0 to 7.
    if request >> 8 & 0xff != u32::from(b'W') {
        return Err(ENOTTY);
    }
    let out = match request & 0xff {
        0 => {
            let pretimeout = if make.pretimeout { PRETIMEOUT } else { 0 };
            let options = SETTIMEOUT | MAGICCLOSE | KEEPALIVEPING | pretimeout;
            let mut identity = b"fake".to_vec();
            identity.resize(32, 0);
            return Ok([words(&[options, 1]), identity].concat());
        }
        1 => 0,
        2 => seen.boot_status,
        4 if value & DISABLECARD != 0 && make.nowayout => return Err(EBUSY),
        4 => {
            if value & DISABLECARD != 0 {
                seen.armed = false;
            }
            if value & ENABLECARD != 0 {
                seen.armed = true;
                seen.feed();
            }
            value
        }
        5 => {
            seen.feed();
            0
        }
        6 if value == 0 || value > make.timeout_max_s => return Err(EINVAL),
        6 => {
            seen.timeout_s = value.div_ceil(make.step_s) * make.step_s;
            seen.feed();
            seen.timeout_s
        }
        7 => seen.timeout_s,
        8 | 9 if !make.pretimeout => return Err(EOPNOTSUPP),
        8 if value >= seen.timeout_s => return Err(EINVAL),
        8 => {
            seen.pretimeout_s = value;
            value
        }
        9 => seen.pretimeout_s,
        10 => {
            let end = seen.fed.last().unwrap_or(&0) + u64::from(seen.timeout_s) * 1000;
            u32::try_from(end.saturating_sub(now_ms()) / 1000).unwrap_or(0)
        }
        _ => return Err(ENOTTY),
    };
    Ok(words(&[out]))
}

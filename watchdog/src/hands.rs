//! The guard's hands on this host: processes, the agent, the device, and the two files that
//! outlive this program. After [`Hands::open`] nothing here allocates or waits for a disk.

use std::fmt::Arguments;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::Signal;
use nix::time::ClockId;

use crate::beat::{Promise, u64_at};
use crate::clock;
use crate::device::Device;
use crate::edge::{self, Text};
use crate::host::{ALERT, Act, Fault, Host};
use crate::processes::Processes;
use crate::sys;
use crate::table::SAVED_MAX;

/// One of two halves of the file of promises: checksum, number, length, table.
const HALF: usize = 24 + SAVED_MAX;
/// How long a reboot waits for the last words, and for `sync`, on a disk that perhaps hangs.
const LAST_WAIT_MS: u16 = 1000;
/// Enough for the scribe, who only writes a file.
const SCRIBE_STACK: usize = 64 * 1024;

/// See above.
#[derive(Debug)]
pub struct Hands {
    /// Where targets are.
    pub processes: Processes,
    /// Where there is one, and it may be fed.
    pub device: Option<Device>,
    agent: Option<OwnedFd>,
    promises: File,
    number: u64,
    boot_id: String,
    scribe: UnixDatagram,
}

impl Hands {
    /// Opens the file of promises, and gives what it holds of this boot. The last words go to
    /// `state`.
    ///
    /// # Errors
    /// With the path, the cause and a remedy.
    pub fn open(
        processes: Processes,
        device: Option<Device>,
        promises: &Path,
        state: &Path,
    ) -> Result<(Hands, Vec<u8>), String> {
        let name = promises.display();
        let mut options = File::options();
        options.read(true).write(true).create(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
        let file =
            options.open(promises).map_err(|e| format!("cannot keep promises in {name}: {e}"))?;
        if file.metadata().map_or(u32::MAX, |meta| meta.uid()) != nix::unistd::geteuid().as_raw() {
            return Err(format!("{name} belongs to somebody else: remove it"));
        }
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot_id = boot_id.trim().to_string();
        let mut bytes = vec![0; 2 * HALF];
        let _shorter_when_new = file.read_at(&mut bytes, 0);
        let whole = |half: &&[u8]| half[..8] == checksum(&boot_id, &half[8..]);
        let newest = bytes.chunks_exact(HALF).filter(whole).max_by_key(|half| u64_at(half, 8));
        let number = newest.map_or(0, |half| u64_at(half, 8));
        let length = newest.map_or(0, |half| usize::try_from(u64_at(half, 16)).unwrap_or(0));
        let table = newest.and_then(|half| half.get(24..24 + length)).unwrap_or_default().to_vec();
        let scribe =
            scribe(state.to_path_buf()).map_err(|e| format!("cannot start the scribe: {e}"))?;
        Ok((
            Hands { processes, device, agent: None, promises: file, number, boot_id, scribe },
            table,
        ))
    }
}

/// Whether there is something to read, or will be in time.
fn readable(fd: impl AsFd, wait_ms: u16) -> bool {
    poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], PollTimeout::from(wait_ms)) == Ok(1)
}

/// The last resort: the kernel's own key for it, which asks no process, then the call.
fn restart(scribe: &UnixDatagram) -> Fault {
    let key = |key: &[u8]| {
        let trigger = File::options().write(true).open("/proc/sysrq-trigger");
        let _ = trigger.map(|file| nix::unistd::write(&file, key));
    };
    let _last_words = readable(scribe, LAST_WAIT_MS);
    key(b"s");
    let _synced = readable(scribe, LAST_WAIT_MS);
    key(b"b");
    let Err(e) = reboot(RebootMode::RB_AUTOBOOT);
    Fault("reboot this host", e)
}

/// FNV-1a: a torn write, or a file of another boot, is told from a whole one of this.
fn checksum(boot_id: &str, bytes: &[u8]) -> [u8; 8] {
    let all = boot_id.bytes().chain(bytes.iter().copied());
    let step = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    all.fold(0xcbf2_9ce4_8422_2325, step).to_le_bytes()
}

/// A thread that writes last words, because a disk may hang.
fn scribe(state: PathBuf) -> std::io::Result<UnixDatagram> {
    let (ours, theirs) = UnixDatagram::pair()?;
    ours.set_nonblocking(true)?;
    let (new, whole) = (state.join("last-words.new"), state.join("last-words"));
    let write = move |text: &[u8]| {
        let mut file = File::create(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&new, &whole)?;
        File::open(&state)?.sync_all()
    };
    thread::Builder::new().stack_size(SCRIBE_STACK).spawn(move || {
        let mut text = [0; 2048];
        while let Ok(length) = theirs.recv(&mut text) {
            if let Err(e) = write(&text[..length]) {
                let errno = Errno::from_raw(e.raw_os_error().unwrap_or(0));
                edge::say(ALERT, format_args!("cannot write last words: {errno}; see --state"));
            }
            let _ = theirs.send(b".");
        }
    })?;
    Ok(ours)
}

impl Host for Hands {
    fn strike(&mut self, target: &Promise, signal: Option<Signal>) -> Result<usize, Fault> {
        self.processes.strike(target, signal)
    }

    fn is_self(&self, target: &Promise) -> bool {
        self.processes.is_self(target)
    }

    fn hold(&mut self, pid: u32, start: u64) -> Result<u64, Fault> {
        self.agent = None;
        let agent = sys::pidfd(pid).map_err(|e| Fault("hold the agent by a pidfd", e))?;
        let began = self.processes.start_of(pid)?;
        if start != 0 && start != began {
            return Err(Fault("hold the agent of the last run", Errno::ESRCH));
        }
        self.agent = Some(agent);
        Ok(began)
    }

    fn agent_lives(&self) -> bool {
        self.agent.as_ref().is_some_and(|agent| !readable(agent, 0))
    }

    fn act(&mut self, act: Act) -> Result<(), Fault> {
        match (act, &self.device, &self.agent) {
            (Act::Feed, Some(device), _) => device.feed().map_err(|e| Fault("feed the device", e)),
            (Act::Disarm, Some(device), _) => {
                device.disarm().map_err(|e| Fault("disarm the device", e))
            }
            (Act::KillAgent, _, Some(agent)) => match sys::pidfd_signal(agent, Signal::SIGKILL) {
                Err(e) if e != Errno::ESRCH => Err(Fault("kill the agent", e)),
                _ => Ok(()),
            },
            (Act::Reboot, ..) => Err(restart(&self.scribe)),
            _ => Ok(()),
        }
    }

    fn keep(&mut self, table: &[u8]) {
        self.number += 1;
        let mut half = [0; HALF];
        half[8..16].copy_from_slice(&self.number.to_le_bytes());
        half[16..24].copy_from_slice(&table.len().to_le_bytes());
        half[24..24 + table.len()].copy_from_slice(table);
        let sum = checksum(&self.boot_id, &half[8..]);
        half[..8].copy_from_slice(&sum);
        // The other half stays whole while this one is written.
        let place = self.number % 2 * HALF as u64;
        if let Err(e) = self.promises.write_all_at(&half, place) {
            let errno = Errno::from_raw(e.raw_os_error().unwrap_or(0));
            self.say(ALERT, format_args!("cannot keep promises for the next run: {errno}"));
        }
    }

    fn last_words(&mut self, now: u64, verdict: &str, target: &Promise, why: &str) {
        let (boot_id, wall) = (&self.boot_id, clock::ms(ClockId::CLOCK_REALTIME));
        let text = Text::<2048>::new(format_args!(
            "version=1\nboot_id={boot_id}\nboottime_ms={now}\nwall_ms={wall}\nverdict={verdict}\n\
             target={target}\nwhy={why}\n"
        ));
        // Words of before are no proof that these are written.
        let _ = self.scribe.recv(&mut [0; 8]);
        let _ = self.scribe.send(text.bytes());
    }

    fn say(&mut self, level: u8, line: Arguments<'_>) {
        edge::say(level, line);
    }
}

//! The hardware watchdog: once opened it resets the host unless it is fed in time.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::log;
use crate::sys;

const WDIOF_SETTIMEOUT: u32 = 0x0080;
const WDIOF_MAGICCLOSE: u32 = 0x0100;

/// What a guard needs of a device.
pub trait Device {
    /// Feeds it.
    ///
    /// # Errors
    /// When the driver does not take it.
    fn ping(&mut self) -> io::Result<()>;
    /// Makes it stop. Nothing but an authorised stop without live promises calls this.
    ///
    /// # Errors
    /// When the driver does not take it.
    fn disarm(&mut self) -> io::Result<()>;
    /// It resets the host so many milliseconds after it was last fed.
    fn timeout_ms(&self) -> u64;
    /// What it said about the last boot.
    fn boot_status(&self) -> u32;
}

/// A file of `/dev/watchdog*`.
#[derive(Debug)]
pub struct Watchdog {
    file: File,
    timeout_ms: u64,
    boot_status: u32,
}

impl Watchdog {
    /// Opens a device, which arms it, and sets its timeout.
    ///
    /// # Errors
    /// With the path, the cause and a remedy.
    pub fn open(path: &Path, timeout_ms: u64) -> Result<Watchdog, String> {
        let name = path.display();
        let mut file = OpenOptions::new().write(true).open(path).map_err(|e| {
            format!(
                "cannot open {name}: {e}; only one program may hold it (look for systemd's \
                 RuntimeWatchdogSec, sbd, watchdogd), or use --no-device"
            )
        })?;
        let support = sys::support(&file)
            .map_err(|e| format!("{name} is no watchdog device: {e}; use --no-device"))?;
        let boot_status = sys::boot_status(&file).unwrap_or(0);
        let timeout_ms = set_timeout(&file, support.options, timeout_ms).map_err(|error| {
            // It is armed since the open; a program that gives up must not leave a bomb behind.
            let disarmed = file.write_all(b"V").is_ok();
            format!("{name}: {error}; disarmed again: {disarmed}")
        })?;
        let identity = String::from_utf8_lossy(&support.identity);
        log::info(&format!(
            "{name} ({}) is armed: resets after {timeout_ms} ms without food; boot status \
             {boot_status:#x}",
            identity.trim_end_matches('\0')
        ));
        if support.options & WDIOF_MAGICCLOSE == 0 {
            log::warning(&format!("{name} has no magic close: it cannot be disarmed"));
        }
        Ok(Watchdog {
            file,
            timeout_ms,
            boot_status,
        })
    }

    /// A device that is already open.
    #[must_use]
    pub const fn from_file(file: File, timeout_ms: u64) -> Watchdog {
        Watchdog {
            file,
            timeout_ms,
            boot_status: 0,
        }
    }
}

fn set_timeout(file: &File, options: u32, wanted_ms: u64) -> Result<u64, String> {
    if options & WDIOF_SETTIMEOUT == 0 {
        return Err(String::from(
            "the driver has a fixed timeout and does not tell it",
        ));
    }
    let seconds = i32::try_from(wanted_ms.div_ceil(1000)).unwrap_or(i32::MAX);
    // Drivers round: only what they answer is true.
    let taken = sys::set_timeout(file, seconds).map_err(|e| {
        format!("the driver refuses a timeout of {seconds} s: {e}; try --timeout 60s")
    })?;
    match u64::try_from(taken) {
        Ok(taken) if taken > 0 => Ok(taken * 1000),
        _ => Err(format!("the driver answers a timeout of {taken} s")),
    }
}

impl Device for Watchdog {
    fn ping(&mut self) -> io::Result<()> {
        // Any byte but V feeds. By write, because some drivers refuse WDIOC_KEEPALIVE.
        self.file.write_all(b"\n")
    }

    fn disarm(&mut self) -> io::Result<()> {
        self.file.write_all(b"V")
    }

    fn timeout_ms(&self) -> u64 {
        self.timeout_ms
    }

    fn boot_status(&self) -> u32 {
        self.boot_status
    }
}

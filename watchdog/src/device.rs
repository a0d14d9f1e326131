//! The hardware watchdog: once opened it resets the host unless it is fed in time. The ioctls are
//! those of Documentation/watchdog/watchdog-api.rst.

use std::fs::{self, File};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::write;

use crate::sys;

const WDIOF_MAGICCLOSE: u32 = 0x0100;
const WDIOF_PRETIMEOUT: u32 = 0x0200;
const WDIOS_DISABLECARD: i32 = 1;
const GETBOOTSTATUS: u8 = 2;
const SETOPTIONS: u8 = 4;
const SETTIMEOUT: u8 = 6;
const GETTIMEOUT: u8 = 7;
const SETPRETIMEOUT: u8 = 8;

/// A file of `/dev/watchdog*`.
#[derive(Debug)]
pub struct Device {
    file: File,
    /// What there is to say of it.
    pub words: String,
    /// It resets the host so many milliseconds after it was last fed.
    pub timeout_ms: u64,
    /// Why the host booted last: `WDIOF_*` bits.
    pub boot_status: u32,
    /// It cannot be disarmed.
    pub nowayout: bool,
}

impl Device {
    /// Opens a device, which arms it, and sets its timeout, and its pretimeout if that is not 0.
    ///
    /// # Errors
    /// With the path, the cause and a remedy.
    pub fn open(
        path: &Path,
        timeout_ms: u64,
        pretimeout_ms: u64,
        sys_root: &Path,
    ) -> Result<Device, String> {
        let name = path.display();
        let file = File::options().write(true).open(path).map_err(|e| {
            format!(
                "cannot open {name}: {e}; only one program may hold it (look for systemd's \
                 RuntimeWatchdogSec, sbd, watchdogd), or use --no-device"
            )
        })?;
        let support = sys::support(&file)
            .map_err(|e| format!("{name} is no watchdog device: {e}; use --no-device"))?;
        let seconds = |ms: u64| i32::try_from(ms.div_ceil(1000)).unwrap_or(i32::MAX);
        // Drivers round: only what they answer is true.
        let timeout = sys::int(&file, SETTIMEOUT, seconds(timeout_ms))
            .and_then(|_| sys::int(&file, GETTIMEOUT, 0))
            .and_then(|s| u64::try_from(s).ok().filter(|s| *s > 0).ok_or(Errno::ERANGE))
            .map_err(|e| {
                // It is armed since the open; who gives up must not leave a bomb behind.
                let disarmed = if write(&file, b"V").is_ok() { "disarmed" } else { "ARMED" };
                format!("{name} refuses a timeout of {timeout_ms} ms: {e}; {disarmed}; try 60s")
            })?;
        let wants = pretimeout_ms > 0;
        let pretimeout = match support.options & WDIOF_PRETIMEOUT {
            _ if !wants => Ok(0),
            0 => Err(Errno::EOPNOTSUPP),
            _ => sys::int(&file, SETPRETIMEOUT, seconds(pretimeout_ms)),
        };
        let class = path.file_name().filter(|name| *name != "watchdog");
        let class = sys_root.join("class/watchdog").join(class.unwrap_or("watchdog0".as_ref()));
        let nowayout = fs::read(class.join("nowayout")).is_ok_and(|text| text.starts_with(b"1"))
            || support.options & WDIOF_MAGICCLOSE == 0;
        let boot_status = sys::int(&file, GETBOOTSTATUS, 0).map_or(0, i32::cast_unsigned);
        let identity = String::from_utf8_lossy(&support.identity);
        let words = format!(
            "{name} ({}) is armed: it resets this host after {timeout} s without food; pretimeout: \
             {pretimeout:?} s; boot status {boot_status:#x}; can be disarmed: {}",
            identity.trim_end_matches('\0'),
            !nowayout
        );
        Ok(Device { file, words, timeout_ms: timeout * 1000, boot_status, nowayout })
    }

    /// Feeds it. Any byte but V does. By write, because some drivers refuse WDIOC_KEEPALIVE.
    ///
    /// # Errors
    /// When the driver does not take it.
    pub fn feed(&self) -> nix::Result<()> {
        write(&self.file, b"\n").map(|_| ())
    }

    /// Stops it when it is closed after this. Nothing but an authorised stop calls this.
    ///
    /// # Errors
    /// When the driver does not take it, or says that there is no way out.
    pub fn disarm(&self) -> nix::Result<()> {
        let stopped = sys::int(&self.file, SETOPTIONS, WDIOS_DISABLECARD);
        write(&self.file, b"V")?;
        match stopped {
            // Not every driver has this call; magic close is what all have.
            Ok(_) | Err(Errno::ENOTTY | Errno::EOPNOTSUPP | Errno::EINVAL) if !self.nowayout => {
                Ok(())
            }
            Ok(_) => Err(Errno::EBUSY),
            Err(e) => Err(e),
        }
    }
}

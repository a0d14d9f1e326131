//! The hardware watchdog: once opened it resets the host unless it is fed in time. The ioctls are
//! those of Documentation/watchdog/watchdog-api.rst.

use std::fs::{self, File};
use std::path::Path;

use nix::{errno::Errno, unistd::write};

use crate::edge::say;
use crate::host::{INFO, Settings};
use crate::sys::watchdog;

const WDIOF_MAGICCLOSE: i32 = 0x0100;
const WDIOF_PRETIMEOUT: i32 = 0x0200;
const GETSUPPORT: u8 = 0;
const GETBOOTSTATUS: u8 = 2;
const SETTIMEOUT: u8 = 6;
const GETTIMEOUT: u8 = 7;
const SETPRETIMEOUT: u8 = 8;

/// A file of `/dev/watchdog*`, and whether it cannot be disarmed.
#[derive(Debug)]
pub struct Device(File, bool);

impl Device {
    /// Opens a device, which arms it, and sets its timeout, and its pretimeout if that is not 0.
    /// What is true of it goes to the settings.
    ///
    /// # Errors
    /// With the path, the cause and a remedy.
    pub fn open(
        name: &str,
        settings: &mut Settings,
        pretimeout_ms: u64,
        sys_root: &str,
    ) -> Result<Device, String> {
        let file = File::options().write(true).open(name).map_err(|e| {
            format!(
                "cannot open {name}: {e}; only one program may hold it (look for systemd's \
                 RuntimeWatchdogSec, sbd, watchdogd), or use --no-device"
            )
        })?;
        let no_device = |e| format!("{name} is no watchdog device: {e}; use --no-device");
        let [options, ..] = watchdog(&file, GETSUPPORT, 0).map_err(no_device)?;
        let seconds = |ms: u64| i32::try_from(ms.div_ceil(1000)).unwrap_or(i32::MAX);
        // Drivers round: only what they answer is true.
        let timeout = watchdog(&file, SETTIMEOUT, seconds(settings.timeout_ms))
            .and_then(|_| watchdog(&file, GETTIMEOUT, 0))
            .and_then(|s| u64::try_from(s[0]).ok().filter(|s| *s > 0).ok_or(Errno::ERANGE))
            .map_err(|e| {
                // It is armed since the open; who gives up must not leave a bomb behind.
                let disarmed = if write(&file, b"V").is_ok() { "disarmed" } else { "ARMED" };
                let wanted = settings.timeout_ms;
                format!("{name} refuses a timeout of {wanted} ms: {e}; {disarmed}; try 60s")
            })?;
        let pretimeout = match options & WDIOF_PRETIMEOUT {
            _ if pretimeout_ms == 0 => Ok(0),
            0 => Err(Errno::EOPNOTSUPP),
            _ => watchdog(&file, SETPRETIMEOUT, seconds(pretimeout_ms)).map(|s| s[0]),
        };
        let class = name.rsplit('/').next().filter(|name| *name != "watchdog");
        let class = class.unwrap_or("watchdog0");
        let nowayout = Path::new(sys_root).join("class/watchdog").join(class).join("nowayout");
        let nowayout = fs::read(nowayout).is_ok_and(|text| text.starts_with(b"1"))
            || options & WDIOF_MAGICCLOSE == 0;
        settings.timeout_ms = timeout * 1000;
        settings.flags |= u32::from(nowayout) << 3;
        settings.boot_status =
            watchdog(&file, GETBOOTSTATUS, 0).map_or(0, |s| s[0].cast_unsigned());
        let (disarms, boot_status) = (!nowayout, settings.boot_status);
        say(
            INFO,
            format_args!(
                "{name} is armed: it resets this host after {timeout} s without food; pretimeout: \
                 {pretimeout:?} s; boot status {boot_status:#x}; can be disarmed: {disarms}"
            ),
        );
        Ok(Device(file, nowayout))
    }

    /// Feeds it. Any byte but V does. By write, because some drivers refuse WDIOC_KEEPALIVE.
    ///
    /// # Errors
    /// When the driver does not take it.
    pub fn feed(&self) -> nix::Result<usize> {
        write(&self.0, b"\n")
    }

    /// Stops it when it is closed after this. Nothing but an authorised stop calls this.
    ///
    /// # Errors
    /// When the driver does not take it, or says that there is no way out.
    pub fn disarm(&self) -> nix::Result<usize> {
        if self.1 { Err(Errno::EBUSY) } else { write(&self.0, b"V") }
    }
}

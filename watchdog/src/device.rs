//! The hardware watchdog: once opened it resets the host unless it is fed in time. The ioctls are
//! those of Documentation/watchdog/watchdog-api.rst.

use std::fs::{self, File};

use nix::{errno::Errno, unistd::write};

use crate::edge::{INFO, say};
use crate::{args::Args, sys::watchdog, verdict::NO_WAY_OUT};

const WDIOF_MAGICCLOSE: i32 = 0x0100;
const WDIOF_PRETIMEOUT: i32 = 0x0200;
const GETSUPPORT: u8 = 0;
const GETBOOTSTATUS: u8 = 2;
const SETTIMEOUT: u8 = 6;
const GETTIMEOUT: u8 = 7;
const SETPRETIMEOUT: u8 = 8;

/// Opens the device, which arms it, and sets its timeout, and its pretimeout if that is not 0.
/// What is true of it goes to the settings.
///
/// # Errors
/// With the path, the cause and a remedy.
pub fn open(args: &mut Args) -> Result<File, String> {
    let (name, settings) = (&args.device, &mut args.settings);
    let remedy = "one program may hold it (RuntimeWatchdogSec? sbd? watchdogd?); or --no-device";
    let file = File::options().write(true).open(name);
    let file = file.map_err(|e| format!("cannot open {name}: {e}; {remedy}"))?;
    let [options, ..] = watchdog(&file, GETSUPPORT, 0)
        .map_err(|e| format!("{name} is no watchdog device: {e}; use --no-device"))?;
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
        _ if args.pretimeout_ms == 0 => Ok(0),
        0 => Err(Errno::EOPNOTSUPP),
        _ => watchdog(&file, SETPRETIMEOUT, seconds(args.pretimeout_ms)).map(|s| s[0]),
    };
    let class = name.rsplit('/').next().filter(|name| *name != "watchdog").unwrap_or("watchdog0");
    let nowayout = fs::read(format!("{}/class/watchdog/{class}/nowayout", args.sys_root));
    let disarms =
        options & WDIOF_MAGICCLOSE != 0 && !nowayout.is_ok_and(|text| text.starts_with(b"1"));
    let status = watchdog(&file, GETBOOTSTATUS, 0).map_or(0, |s| s[0].cast_unsigned());
    settings.timeout_ms = timeout * 1000;
    settings.flags |= if disarms { 0 } else { NO_WAY_OUT };
    settings.boot_status = status;
    let armed = format_args!("{name} is armed: it resets this host after {timeout} s without food");
    let more = format_args!("boot status {status:#x}; can be disarmed: {disarms}");
    say(INFO, format_args!("{armed}; pretimeout: {pretimeout:?} s; {more}"));
    Ok(file)
}

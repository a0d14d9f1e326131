//! The only room with unsafe code: three ioctls of the kernel's watchdog API
//! (Documentation/watchdog/watchdog-api.rst) and one call for the scheduler, each with a safe
//! front.
#![expect(
    unsafe_code,
    reason = "nix makes ioctls as unsafe functions, and has no sched_setscheduler"
)]

use std::fs::File;
use std::io::Result;
use std::os::fd::AsRawFd;

/// `struct watchdog_info` of linux/watchdog.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Support {
    /// What the driver can do: `WDIOF_*` bits.
    pub options: u32,
    /// Of the card.
    pub firmware_version: u32,
    /// The driver's name, ended by a zero.
    pub identity: [u8; 32],
}

mod raw {
    nix::ioctl_read!(support, b'W', 0, super::Support);
    nix::ioctl_read!(boot_status, b'W', 2, i32);
    nix::ioctl_readwrite!(set_timeout, b'W', 6, i32);
}

/// What the driver is and can do.
///
/// # Errors
/// ENOTTY when the file is no watchdog.
pub fn support(device: &File) -> Result<Support> {
    let mut support = Support::default();
    // SAFETY: the file is open, and the kernel fills a struct of just this layout.
    unsafe { raw::support(device.as_raw_fd(), &raw mut support) }?;
    Ok(support)
}

/// Why the host booted last: `WDIOF_*` bits.
///
/// # Errors
/// When the driver does not know.
pub fn boot_status(device: &File) -> Result<u32> {
    let mut bits = 0;
    // SAFETY: the file is open, and the kernel writes one int.
    unsafe { raw::boot_status(device.as_raw_fd(), &raw mut bits) }?;
    Ok(bits.cast_unsigned())
}

/// Asks for a timeout in seconds, and says which one the driver took.
///
/// # Errors
/// When the driver refuses it.
pub fn set_timeout(device: &File, seconds: i32) -> Result<i32> {
    let mut value = seconds;
    // SAFETY: the file is open, and the kernel reads and writes one int.
    unsafe { raw::set_timeout(device.as_raw_fd(), &raw mut value) }?;
    Ok(value)
}

/// Schedules this process in real time, above everything that is not.
///
/// # Errors
/// EPERM without CAP_SYS_NICE; EPERM too in a cgroup (version 1) without real-time budget.
pub fn real_time(priority: i32) -> Result<()> {
    let param = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: the kernel reads one struct, which lives until the call returns.
    let done = unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &raw const param) };
    if done == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

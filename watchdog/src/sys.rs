//! The only room with unsafe code: the calls that nix lacks, each with a safe front. The ioctls are
//! those of Documentation/watchdog/watchdog-api.rst.
#![expect(
    unsafe_code,
    reason = "nix makes ioctls as unsafe functions, and lacks pidfd, getdents64, sched_setscheduler"
)]

use std::ffi::c_long;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::Result;
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;

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

/// What the driver is and can do.
///
/// # Errors
/// ENOTTY when the file is no watchdog.
pub fn support(device: &File) -> Result<Support> {
    nix::ioctl_read!(get, b'W', 0, Support);
    let mut support = Support::default();
    // SAFETY: the file is open, and the kernel fills a struct of just this layout.
    unsafe { get(device.as_raw_fd(), &raw mut support) }.map(|_| support)
}

/// One of the ioctls of a watchdog that read or write one int: `SETTIMEOUT` (6) and `SETPRETIMEOUT`
/// (8) both write and read, all others only name their int as read.
///
/// # Errors
/// When the driver refuses.
pub fn int(device: &File, number: u8, mut value: i32) -> Result<i32> {
    let request = match number {
        6 | 8 => nix::request_code_readwrite!(b'W', number, size_of::<i32>()),
        _ => nix::request_code_read!(b'W', number, size_of::<i32>()),
    };
    // SAFETY: the file is open, and the kernel reads and writes one int at most.
    Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), request, &raw mut value) })?;
    Ok(value)
}

/// Schedules this process in real time, above everything that is not.
///
/// # Errors
/// EPERM without CAP_SYS_NICE; EPERM too in a cgroup (version 1) without real-time budget.
pub fn real_time(policy: i32, priority: i32) -> Result<i32> {
    let param = libc::sched_param { sched_priority: priority };
    // SAFETY: the kernel reads one struct, which lives until the call returns.
    Errno::result(unsafe { libc::sched_setscheduler(0, policy, &raw const param) })
}

/// A file that stands for a process for as long as it is open, and is readable when that has ended.
///
/// # Errors
/// ESRCH when there is no such process.
pub fn pidfd(pid: u32) -> Result<OwnedFd> {
    // SAFETY: the call takes two numbers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just opened it for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A signal to just that process.
///
/// # Errors
/// ESRCH when it has ended.
pub fn pidfd_signal(process: &OwnedFd, signal: Signal) -> Result<c_long> {
    let (fd, signal, flags) = (process.as_raw_fd(), signal as i32, 0);
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open, and no info is allowed.
    Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, info, flags) })
}

/// The next entries of a directory, as getdents64(2) says; 0 at the end.
///
/// # Errors
/// When the kernel refuses.
pub fn entries(dir: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize> {
    let (fd, start, length) = (dir.as_raw_fd(), buffer.as_mut_ptr(), buffer.len());
    // SAFETY: the kernel writes at most the length of the buffer, which lives until then.
    let n = Errno::result(unsafe { libc::syscall(libc::SYS_getdents64, fd, start, length) })?;
    Ok(usize::try_from(n).unwrap_or(0))
}

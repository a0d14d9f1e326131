//! The only room with unsafe code: the calls that nix lacks, each with a safe front.
#![expect(
    unsafe_code,
    reason = "nix has fork and ioctl as unsafe functions, and lacks pidfd, getdents64, real time"
)]

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, fork};
use nix::{Result, errno::Errno, libc};

/// An ioctl of Documentation/watchdog/watchdog-api.rst. Of its forty bytes `GETSUPPORT` (0) fills
/// all, and every other one reads or writes the first number: `SETTIMEOUT` (6) and `SETPRETIMEOUT`
/// (8) do both.
///
/// # Errors
/// ENOTTY when the file is no watchdog, or when the driver refuses.
pub fn watchdog(device: &File, number: u8, value: i32) -> Result<[i32; 10]> {
    let mut numbers = [value, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let request = match number {
        0 => nix::request_code_read!(b'W', number, size_of_val(&numbers)),
        6 | 8 => nix::request_code_readwrite!(b'W', number, size_of::<i32>()),
        _ => nix::request_code_read!(b'W', number, size_of::<i32>()),
    };
    // SAFETY: the file is open, and the kernel reads and writes these forty bytes at most.
    Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), request, numbers.as_mut_ptr()) })?;
    Ok(numbers)
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
pub fn pidfd_signal(process: &OwnedFd, signal: Signal) -> Result<()> {
    let (fd, signal, no_info) = (process.as_raw_fd(), signal as i32, 0_usize);
    // SAFETY: the descriptor is open, and no info is allowed.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, no_info, 0) };
    Errno::result(sent).map(|_| ())
}

/// The next entries of a directory, as getdents64(2) says; 0 at the end.
///
/// # Errors
/// When the kernel refuses.
pub fn entries(dir: &OwnedFd, room: &mut [u8]) -> Result<usize> {
    let (fd, start, length) = (dir.as_raw_fd(), room.as_mut_ptr(), room.len());
    // SAFETY: the kernel writes at most the length of the room, which lives until then.
    let n = Errno::result(unsafe { libc::syscall(libc::SYS_getdents64, fd, start, length) })?;
    Ok(usize::try_from(n).unwrap_or(0))
}

/// Does something in a process of its own, which a disk that hangs may hold for as long as it
/// likes. It has no descriptor but standard error: the device and the socket are not its to hold.
///
/// # Errors
/// When there is no memory for one more process.
pub fn apart(work: impl FnOnce()) -> Result<Pid> {
    // SAFETY: this program has one thread, and the child leaves its memory as it is.
    if let ForkResult::Parent { child } = unsafe { fork() }? {
        return Ok(child);
    }
    // SAFETY: of what is closed here nothing is used any more.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    work();
    // SAFETY: it takes a number.
    unsafe { libc::_exit(0) }
}

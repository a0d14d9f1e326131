//! The only room with unsafe code: the calls that nix lacks, each with a safe front.
#![expect(unsafe_code, reason = "nix has fork and ioctl as unsafe, and lacks pidfd and real time")]

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::{Result, errno::Errno, fcntl::OFlag, libc, sys::signal::Signal, unistd};

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
pub fn real_time(priority: i32) -> Result<()> {
    let param = libc::sched_param { sched_priority: priority };
    // SAFETY: the kernel reads one struct, which lives until the call returns.
    let by = |policy| unsafe { libc::sched_setscheduler(0, policy, &raw const param) };
    let fifo = Errno::result(by(libc::SCHED_FIFO));
    fifo.or_else(|_| Errno::result(by(libc::SCHED_RR))).map(drop)
}

/// A file that stands for a process for as long as it is open, and is readable when that has ended.
///
/// # Errors
/// ESRCH when there is no such process.
pub fn pidfd(pid: u64) -> Result<OwnedFd> {
    // SAFETY: the call takes two numbers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
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
    Errno::result(sent).map(drop)
}

/// Does something for each entry of a directory that is a number, without allocating.
///
/// # Errors
/// When the kernel refuses, and what `each` fails with.
pub fn each_number(dir: &OwnedFd, mut each: impl FnMut(i32) -> Result<()>) -> Result<()> {
    let (fd, mut room) = (dir.as_raw_fd(), [0_u8; 8192]);
    unistd::lseek(dir, 0, unistd::Whence::SeekSet)?;
    loop {
        let (start, length) = (room.as_mut_ptr(), room.len());
        // SAFETY: the kernel writes at most the length of the room, which lives until then.
        let n = Errno::result(unsafe { libc::syscall(libc::SYS_getdents64, fd, start, length) })?;
        let mut rest = &room[..usize::try_from(n).unwrap_or(0)];
        if rest.is_empty() {
            return Ok(());
        }
        // struct linux_dirent64: the length of the record is at 16, its name at 19.
        while rest.len() > 19 {
            let name = CStr::from_bytes_until_nul(&rest[19..]).unwrap_or_default().to_str();
            rest = &rest[usize::from(u16::from_ne_bytes([rest[16], rest[17]])).min(rest.len())..];
            if let Some(number) = name.ok().and_then(|name| name.parse().ok()) {
                each(number)?;
            }
        }
    }
}

/// Does something in a process of its own, and gives a pipe to its standard input; each write is
/// one read there. It has no other descriptor but standard output and error: the device and the
/// socket are not its to hold.
///
/// # Errors
/// When there is no memory for one more process.
pub fn apart(work: impl FnOnce()) -> Result<OwnedFd> {
    let (from, to) = unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_DIRECT)?;
    // SAFETY: the child uses nothing that another thread could hold locked.
    if unsafe { unistd::fork() }?.is_child() {
        let _never_fails = unistd::dup2_stdin(&from);
        // SAFETY: of what is closed here nothing is used any more.
        unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
        work();
        // SAFETY: it takes a number.
        unsafe { libc::_exit(0) }
    }
    Ok(to)
}

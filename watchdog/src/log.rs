//! Lines to stderr that never block: a full pipe must not stop the feeding of a device.

use std::io::Write;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How much a line matters, as sd-daemon(3) numbers it; the journal takes it from the line's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Somebody must act.
    Alert = 1,
    /// Something is wrong.
    Warning = 4,
    /// For the record.
    Info = 6,
}

/// Writes one line, or drops it when the reader is not keeping up.
pub fn line(level: Level, text: &str) {
    let stderr = std::io::stderr();
    let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    // A pipe that is ready takes a whole line below PIPE_BUF (4096) without blocking.
    let ready = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|n| n > 0);
    if !ready {
        return;
    }
    let mut end = text.len().min(4000);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let head = if std::env::var_os("JOURNAL_STREAM").is_some() {
        format!("<{}>", level as u8)
    } else {
        String::from("nodemedic-watchdog: ")
    };
    // There is nobody left to tell that stderr is gone.
    let _ = stderr
        .lock()
        .write_all(format!("{head}{}\n", &text[..end]).as_bytes());
}

/// For the record.
pub fn info(text: &str) {
    line(Level::Info, text);
}

/// Something is wrong.
pub fn warning(text: &str) {
    line(Level::Warning, text);
}

/// Somebody must act.
pub fn alert(text: &str) {
    line(Level::Alert, text);
}

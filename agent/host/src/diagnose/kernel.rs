//! The last lines of the kernel's log, from /dev/kmsg (Documentation/ABI/testing/dev-kmsg).

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Found, Look};

/// Lines that are kept: an OOM kill with its table of processes is about a hundred.
const LINES_MAX: usize = 200;

/// One record of the kernel is at most this long.
const RECORD_MAX_BYTES: usize = 8192;

/// Records in the largest log that a kernel is built with; the reading ends in any case.
const RECORDS_MAX: usize = 1 << 20;

const KMSG: &str = "/dev/kmsg";

/// Reads them.
pub fn read(_look: &Look) -> Result<Found, String> {
    let failed = |errno: Errno| {
        let remedy = match errno {
            Errno::PERM | Errno::ACCESS => "; it needs CAP_SYSLOG, or kernel.dmesg_restrict = 0",
            _ => "",
        };
        format!("cannot read {KMSG}: {errno}{remedy}")
    };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(Path::new(KMSG), flags, Mode::empty()).map_err(failed)?;
    let mut record = [0; RECORD_MAX_BYTES];
    let mut lines = VecDeque::new();
    for _ in 0..RECORDS_MAX {
        match rustix::io::read(&file, &mut record) {
            Ok(0) | Err(Errno::AGAIN) => break,
            Ok(length) => lines.extend(line(&record[..length])),
            // Overwritten while we read: the next one is the oldest that is left.
            Err(Errno::PIPE | Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
        if lines.len() > LINES_MAX {
            lines.pop_front();
        }
    }
    let mut text = String::new();
    for line in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
    }
    Ok(Found::from(text))
}

/// `6,1234,5140900,-;the text` and lines of key and value, which are left out.
fn line(record: &[u8]) -> Option<String> {
    let record = String::from_utf8_lossy(record);
    let (head, text) = record.split_once(';')?;
    let text = text.lines().next()?;
    let us: u64 = head.split(',').nth(2)?.parse().ok()?;
    Some(format!(
        "[{:>6}.{:06}] {text}",
        us / 1_000_000,
        us % 1_000_000
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_becomes_a_line_as_dmesg_writes_it() {
        let record = b"6,339,5140900,-;NET: Registered protocol; family 10\n SUBSYSTEM=net\n";
        assert_eq!(
            line(record).unwrap(),
            "[     5.140900] NET: Registered protocol; family 10"
        );
        assert_eq!(line(b"nonsense"), None);
    }
}

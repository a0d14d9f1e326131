//! One file of /proc or /sys, opened once and read many times.
//!
//! `pread` from offset 0 makes the kernel write the text anew, so a kept descriptor saves the path
//! walk on each tick. A kept descriptor of something that went away (a process, an interface)
//! answers ESRCH, ENODEV or nothing; it is then opened again once, so something new of the same
//! name is found.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Longest text taken from one file. /proc/stat of a host with 4,096 processors and /proc/net/dev
/// with 5,000 interfaces stay below it.
pub const TEXT_MAX_BYTES: usize = 4 << 20;

/// Growth of the buffer; most files fit into the first step.
const STEP_BYTES: usize = 16 << 10;

/// Why a source gave nothing.
#[derive(Debug)]
pub enum SourceError {
    /// The kernel refused.
    Io {
        /// What was done: `open`, `read`.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// The text is not what proc(5) promises.
    Malformed {
        /// In which file.
        path: PathBuf,
        /// What is wrong.
        what: Malformed,
    },
    /// Longer than [`TEXT_MAX_BYTES`].
    TooLong {
        /// Which file.
        path: PathBuf,
    },
}

impl SourceError {
    /// True when the kernel has no such thing, which is an answer rather than a failure.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(
            self,
            SourceError::Io {
                errno: Errno::NOENT | Errno::SRCH | Errno::NODEV | Errno::OPNOTSUPP,
                ..
            }
        )
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceError::Io {
                action,
                path,
                errno,
            } => write!(f, "cannot {action} {}: {errno}", path.display()),
            SourceError::Malformed { path, what } => write!(f, "{}: {what}", path.display()),
            SourceError::TooLong { path } => write!(
                f,
                "{} is longer than {TEXT_MAX_BYTES} bytes",
                path.display()
            ),
        }
    }
}

impl std::error::Error for SourceError {}

/// What is wrong with a text, as a parser sees it: it knows no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed: {}", self.0)
    }
}

/// One file, kept open.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    file: Option<OwnedFd>,
}

impl Source {
    /// Names the file; nothing is opened yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Source {
        Source { path, file: None }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its descriptor, while it is open.
    #[must_use]
    pub fn descriptor(&self) -> Option<&OwnedFd> {
        self.file.as_ref()
    }

    /// Reads it whole into `buffer`, whose space is reused.
    ///
    /// # Errors
    /// When it cannot be opened or read, or is too long.
    pub fn read<'b>(&mut self, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], SourceError> {
        let kept = self.file.is_some();
        match self.read_once(buffer) {
            // The thing behind the descriptor is gone; something new may have its name.
            Err(SourceError::Io {
                errno: Errno::SRCH | Errno::NODEV | Errno::STALE | Errno::NOENT,
                ..
            }) if kept => {
                self.file = None;
                self.read_once(buffer)?;
            }
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        Ok(buffer.as_slice())
    }

    /// Reads it whole and hands the text to a parser.
    ///
    /// # Errors
    /// As [`Source::read`], and when the parser refuses.
    pub fn parse<T>(
        &mut self,
        buffer: &mut Vec<u8>,
        parser: impl FnOnce(&str) -> Result<T, Malformed>,
    ) -> Result<T, SourceError> {
        self.read(buffer)?;
        let text = String::from_utf8_lossy(buffer);
        parser(&text).map_err(|what| SourceError::Malformed {
            path: self.path.clone(),
            what,
        })
    }

    fn read_once(&mut self, buffer: &mut Vec<u8>) -> Result<(), SourceError> {
        let file = match self.file.take() {
            Some(file) => file,
            None => rustix::fs::open(&self.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|errno| self.error("open", errno))?,
        };
        let file = self.file.insert(file);
        let mut length = 0;
        loop {
            if buffer.len() < length + STEP_BYTES / 4 {
                if length >= TEXT_MAX_BYTES {
                    return Err(SourceError::TooLong {
                        path: self.path.clone(),
                    });
                }
                buffer.resize(length + STEP_BYTES, 0);
            }
            match rustix::io::pread(&*file, &mut buffer[length..], length as u64) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.error("read", errno)),
            }
        }
        buffer.truncate(length);
        Ok(())
    }

    fn error(&self, action: &'static str, errno: Errno) -> SourceError {
        SourceError::Io {
            action,
            path: self.path.clone(),
            errno,
        }
    }
}

/// The first `n` numbers of a line, separated by white space.
pub(crate) fn numbers<const N: usize>(
    fields: &mut std::str::SplitAsciiWhitespace<'_>,
) -> Option<[u64; N]> {
    let mut out = [0; N];
    for slot in &mut out {
        *slot = fields.next()?.parse().ok()?;
    }
    Some(out)
}

/// `4.20` as 420: a decimal with at most two places kept, without floating point.
pub(crate) fn hundredths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let whole: u64 = whole.parse().ok()?;
    let mut digits = part.bytes();
    if !part.bytes().all(|b| b.is_ascii_digit()) || part.is_empty() {
        return None;
    }
    let mut digit = || digits.next().map_or(0, |b| u64::from(b - b'0'));
    let part = digit() * 10 + digit();
    whole.checked_mul(100)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_file_is_read_anew_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::File::create(&path).unwrap();
        let mut source = Source::new(path.clone());
        let mut buffer = Vec::new();
        assert_eq!(source.read(&mut buffer).unwrap(), b"");
        std::io::Write::write_all(
            &mut std::fs::File::options().write(true).open(&path).unwrap(),
            &[b'a'; 100_000],
        )
        .unwrap();
        assert_eq!(source.read(&mut buffer).unwrap(), [b'a'; 100_000]);
    }

    #[test]
    fn an_absent_file_is_told_apart_from_a_broken_one() {
        let mut source = Source::new("/nonexistent/file".into());
        let error = source.read(&mut Vec::new()).unwrap_err();
        assert!(error.is_absent());
        assert!(error.to_string().contains("cannot open /nonexistent/file"));
        let mut directory = Source::new("/".into());
        assert!(!directory.read(&mut Vec::new()).unwrap_err().is_absent());
    }

    #[test]
    fn decimals_are_read_without_floating_point() {
        for (text, value) in [
            ("4.20", Some(420)),
            ("0.00", Some(0)),
            ("100.00", Some(10_000)),
            ("7", Some(700)),
            ("1.5", Some(150)),
            ("", None),
            ("1.", None),
            ("-1.0", None),
            ("nan", None),
            ("99999999999999999999.0", None),
        ] {
            assert_eq!(hundredths(text), value, "{text:?}");
        }
    }
}

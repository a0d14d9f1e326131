//! Removes old files of one directory: regular files by name and age, by their names in the open
//! directory. What somebody exchanges meanwhile is at worst another name in the same directory;
//! nothing is followed, and no directory is entered.

use std::ffi::CStr;
use std::os::fd::AsFd as _;
use std::path::Path;

use nodemedic_edge::clock;
use nodemedic_protocol::Boottime;
use rustix::fs::{AtFlags, Dir, FileType, OFlags, statat, unlinkat};

use crate::deeds::Clean;
use crate::walk;

/// Looked at in one directory; a directory with more needs another remedy than this.
const ENTRIES_MAX: usize = 1_000_000;

/// Named in an answer; the rest is counted.
const NAMED_MAX: usize = 10;

/// The size that `stat` counts in.
const BLOCK_BYTES: u64 = 512;

/// What was, or would be, removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many files.
    pub files: u64,
    /// What they took on disk.
    pub bytes: u64,
    /// Some of their names.
    pub names: Vec<String>,
    /// Files that matched and could not be removed, and the first reason.
    pub failed: u64,
    /// The first reason.
    pub why: Option<String>,
}

/// Removes what matches, or only counts it in a dry run. Ends at `until` with what it has done.
///
/// # Errors
/// When the directory cannot be opened as such, or read.
pub fn sweep(
    directory: &Path,
    clean: &Clean,
    dry_run: bool,
    until: Boottime,
    swept: &mut Swept,
) -> Result<(), String> {
    let open = walk::open(directory, OFlags::RDONLY)?;
    let fail = |error: rustix::io::Errno| format!("cannot read {}: {error}", directory.display());
    let entries = Dir::read_from(open.as_fd()).map_err(fail)?;
    let now_s = i64::try_from(clock::wall().0 / 1000).unwrap_or(i64::MAX);
    let age_s = i64::try_from(clean.older_than.0.div_ceil(1000)).unwrap_or(i64::MAX);
    for entry in entries.take(ENTRIES_MAX) {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name();
        if !matches(&clean.pattern, name) {
            continue;
        }
        if clock::boottime() >= until {
            return Err(format!(
                "{}: the time was over before all was seen",
                directory.display()
            ));
        }
        let Ok(stat) = statat(&open, name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        // Renamed or linked is not written: a log that was rotated today is as old as its content.
        if !regular || now_s.saturating_sub(stat.st_mtime) < age_s {
            continue;
        }
        if !dry_run && let Err(error) = unlinkat(&open, name, AtFlags::empty()) {
            swept.failed += 1;
            let name = name.to_string_lossy();
            let why = || format!("{}/{name}: {error}", directory.display());
            swept.why.get_or_insert_with(why);
            continue;
        }
        swept.files += 1;
        // A file with another name elsewhere frees nothing.
        if stat.st_nlink == 1 {
            let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
            swept.bytes = swept
                .bytes
                .saturating_add(blocks.saturating_mul(BLOCK_BYTES));
        }
        if swept.names.len() < NAMED_MAX {
            let name = name.to_string_lossy();
            swept.names.push(format!("{}/{name}", directory.display()));
        }
    }
    Ok(())
}

/// `*` any letters, `?` one; a leading dot only by a dot. As a shell has it, without a shell.
fn matches(pattern: &str, name: &CStr) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.to_bytes());
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    // Where the newest star was, and how much it has taken.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(b'?') => (p, n) = (p + 1, n + 1),
            Some(letter) if *letter == name[n] => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, taken)) = star else {
                    return false;
                };
                star = Some((at, taken + 1));
                (p, n) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    #[test]
    fn patterns_are_those_of_a_shell() {
        let matches = |pattern: &str, name: &str| matches(pattern, &CString::new(name).unwrap());
        for (pattern, name) in [
            ("*.gz", "a.gz"),
            ("*", "a"),
            ("a?c*", "abcde"),
            ("*a*b", "xaxxbab"),
            (".*", ".hidden"),
            ("app.log.*", "app.log.12"),
            ("exact", "exact"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.gz", "a.gzx"),
            ("*", ".hidden"),
            ("?", ""),
            ("a?c", "ac"),
            ("*a*b", "ba"),
            ("exact", "exactly"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}

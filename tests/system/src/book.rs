//! The independent reader of what works wrote down themselves: which instance of which work lived
//! where and when. It knows nothing of what nodemedic believes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use nix::time::{ClockId, clock_gettime};

use crate::record::{Run, flaws};

/// Works write every 20 ms. One that was silent for so long is dead, frozen, or starved by a busy
/// machine.
const FRESH_US: u64 = 400_000;

/// One instance of one work: a process, from its first line to its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Which work.
    pub work: String,
    /// Where.
    pub node: String,
    /// Under which grant.
    pub generation: u64,
    /// Process number and start time on that node.
    pub id: String,
    /// Microseconds of CLOCK_BOOTTIME of its first line.
    pub first_us: u64,
    /// And of its last.
    pub last_us: u64,
    /// It saw another instance alive.
    pub met: bool,
    /// It was asked to stop, and did.
    pub stopped: bool,
}

impl Instance {
    /// True when it has just written.
    #[must_use]
    pub fn lives(&self) -> bool {
        !self.stopped && self.last_us + FRESH_US >= now_us()
    }

    /// Its process number on its node.
    ///
    /// # Panics
    /// When its line was no line of a work of ours.
    #[must_use]
    pub fn pid(&self) -> u32 {
        let pid = self.id.split('.').next().and_then(|pid| pid.parse().ok());
        pid.unwrap_or_else(|| panic!("{self:?} names no process"))
    }
}

/// This moment, as the works write it.
///
/// # Panics
/// When there is no boot clock.
#[must_use]
pub fn now_us() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("the boot clock");
    let us = now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000;
    u64::try_from(us).expect("the boot is in the past")
}

/// A log and what was read of it.
pub struct Book {
    path: PathBuf,
    read_to: u64,
    instances: BTreeMap<(String, String, u64, String), Instance>,
}

impl Book {
    /// Nothing is read yet, and the log need not be there.
    #[must_use]
    pub fn new(path: &Path) -> Book {
        Book {
            path: path.to_owned(),
            read_to: 0,
            instances: BTreeMap::new(),
        }
    }

    /// Reads what was added since the last time.
    ///
    /// # Panics
    /// When the log cannot be read, or holds a line that no work wrote.
    pub fn read(&mut self) {
        let Ok(mut file) = File::open(&self.path) else {
            return;
        };
        let mut text = String::new();
        file.seek(SeekFrom::Start(self.read_to))
            .and_then(|_| file.read_to_string(&mut text))
            .unwrap_or_else(|e| panic!("{}: {e}", self.path.display()));
        // What is appended in one write is seen whole; this only guards against a torn disk.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[..whole].lines() {
            self.take(line);
        }
        self.read_to += whole as u64;
    }

    fn take(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let [work, node, generation, id, word, at] = words.as_slice() else {
            panic!("no line of a work: {line}");
        };
        let number = |text: &str| {
            text.parse::<u64>()
                .unwrap_or_else(|e| panic!("{e}: {line}"))
        };
        let (generation, at) = (number(generation), number(at));
        let [work, node, id] = [work, node, id].map(|&word| word.to_owned());
        let key = (work.clone(), node.clone(), generation, id.clone());
        let instance = self.instances.entry(key).or_insert(Instance {
            work,
            node,
            generation,
            id,
            first_us: at,
            last_us: at,
            met: false,
            stopped: false,
        });
        instance.last_us = at;
        instance.met |= *word == "met";
        instance.stopped |= *word == "stop";
    }

    /// Every instance of a work, in the order of their starts.
    #[must_use]
    pub fn of(&self, work: &str) -> Vec<&Instance> {
        let of_work = self.instances.values().filter(|i| i.work == work);
        let mut found: Vec<&Instance> = of_work.collect();
        found.sort_by_key(|i| i.first_us);
        found
    }

    /// The instances of a work that live now.
    #[must_use]
    pub fn living(&self, work: &str) -> Vec<&Instance> {
        self.of(work).into_iter().filter(|i| i.lives()).collect()
    }

    /// Proves that an exclusive work never had two holders, and that its generations rose with
    /// every move.
    ///
    /// # Panics
    /// When it had, or when it never ran; prints the whole history then.
    pub fn no_two_holders(&self, work: &str) {
        let instances = self.of(work);
        assert!(
            !instances.is_empty(),
            "{work} never ran, so nothing is proved"
        );
        let found = flaws(instances.iter().map(|&i| run(i)).collect());
        let history: Vec<String> = instances.iter().map(|i| format!("{i:?}")).collect();
        assert!(
            found.is_empty(),
            "{work}: {} flaws:\n{}\nof this history:\n{}",
            found.len(),
            found.join("\n"),
            history.join("\n")
        );
    }
}

fn run(instance: &Instance) -> Run {
    Run {
        node: instance.node.clone(),
        generation: instance.generation,
        started: instance.first_us,
        last: instance.last_us,
        met: instance.met,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(lines: &str) -> Book {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log");
        std::fs::write(&path, lines).expect("a log");
        let mut book = Book::new(&path);
        book.read();
        book
    }

    #[test]
    fn each_process_is_one_instance_from_its_first_line_to_its_last() {
        let book = book(
            "till host-1 1 7.100 start 1000\ntill host-1 1 7.100 alive 2000\n\
             till host-1 1 7.100 stop 3000\ntill host-2 2 7.100 start 4000\n",
        );
        let seen: Vec<(&str, u64, u64, bool)> = book
            .of("till")
            .iter()
            .map(|i| (i.node.as_str(), i.first_us, i.last_us, i.stopped))
            .collect();
        assert_eq!(
            seen,
            [("host-1", 1000, 3000, true), ("host-2", 4000, 4000, false)]
        );
        book.no_two_holders("till");
    }

    #[test]
    #[should_panic(expected = "still ran when")]
    fn an_overlap_of_a_microsecond_is_seen() {
        book(
            "till host-1 1 7.100 start 1000\ntill host-2 2 9.120 start 2000\n\
             till host-1 1 7.100 alive 2000\n",
        )
        .no_two_holders("till");
    }

    #[test]
    #[should_panic(expected = "met another holder")]
    fn an_overlap_between_two_lines_is_seen_by_the_lock() {
        book(
            "till host-1 1 7.100 start 1000\ntill host-2 2 9.120 met 2000\n\
             till host-2 2 9.120 start 2001\n",
        )
        .no_two_holders("till");
    }
}

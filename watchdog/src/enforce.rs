//! Ends a target, and looks whether it is gone: all that this program ever does to others.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::beat::Target;

/// Deeper than systemd ever nests; a bound against a tree that grows under our eyes.
const CGROUP_DEPTH_MAX: usize = 16;

/// What a guard needs to keep a promise.
pub trait Enforce {
    /// Kills what is there of the target and says how many processes it found. Zero is proof that
    /// the target is gone.
    ///
    /// # Errors
    /// When it cannot be seen, or not be killed.
    fn strike(&self, target: &Target) -> Result<usize, String>;
    /// The same without killing.
    ///
    /// # Errors
    /// When it cannot be seen.
    fn look(&self, target: &Target) -> Result<usize, String>;
    /// True when the target holds this program itself.
    fn is_self(&self, target: &Target) -> bool;
}

/// The host's processes.
#[derive(Clone, Debug)]
pub struct Host {
    /// `/proc`.
    pub proc_root: PathBuf,
    /// `/sys/fs/cgroup`.
    pub cgroup_root: PathBuf,
}

/// The fields of `/proc/PID/stat` that matter here, see proc(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: u8,
    session: u32,
    start: u64,
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name is in parentheses and may itself hold spaces and parentheses.
    let rest = &text[text.rfind(')')? + 1..];
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let session = fields.nth(2)?.parse().ok()?;
    let start = fields.nth(15)?.parse().ok()?;
    Some(Stat {
        state,
        session,
        start,
    })
}

/// A process that ended between two looks is no error.
fn vanished(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

fn said<E: std::fmt::Display>(doing: &str, path: &Path) -> impl Fn(E) -> String {
    let place = format!("cannot {doing} {}", path.display());
    move |error| format!("{place}: {error}")
}

impl Host {
    fn stat(&self, pid: u32) -> Result<Option<Stat>, String> {
        let path = self.proc_root.join(pid.to_string()).join("stat");
        match fs::read(&path) {
            Ok(bytes) => match parse_stat(&String::from_utf8_lossy(&bytes)) {
                Some(stat) => Ok(Some(stat)),
                None => Err(format!(
                    "cannot read {}: not as proc(5) says",
                    path.display()
                )),
            },
            Err(e) if vanished(&e) => Ok(None),
            Err(e) => Err(said("read", &path)(e)),
        }
    }

    /// A zombie runs nothing, unless only its first thread has ended.
    fn runs(&self, pid: u32, stat: Stat) -> bool {
        if !matches!(stat.state, b'Z' | b'X' | b'x') {
            return true;
        }
        let tasks = self.proc_root.join(pid.to_string()).join("task");
        fs::read_dir(tasks).is_ok_and(|tasks| tasks.count() > 1)
    }

    fn session(&self, leader: u32, start: u64) -> Result<Vec<u32>, String> {
        if self.stat(leader)?.is_some_and(|stat| stat.start != start) {
            return Ok(Vec::new());
        }
        let root = &self.proc_root;
        let mut members = Vec::new();
        for entry in fs::read_dir(root).map_err(said("list", root))? {
            let entry = entry.map_err(said("list", root))?;
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let Some(stat) = self.stat(pid)? else {
                continue;
            };
            // What began before the leader is of an older session with the same number.
            if stat.session == leader && stat.start >= start && self.runs(pid, stat) {
                members.push(pid);
            }
        }
        Ok(members)
    }

    /// The directories of a cgroup: in the unified hierarchy, and in systemd's own on older hosts.
    fn cgroups(&self, path: &str) -> Result<Vec<PathBuf>, String> {
        let root = &self.cgroup_root;
        let unified = root.join("cgroup.controllers").exists();
        let roots = match unified {
            true => vec![root.clone()],
            false => vec![root.join("unified"), root.join("systemd")],
        };
        if !roots.iter().any(|root| root.join("cgroup.procs").exists()) {
            return Err(format!(
                "no cgroup hierarchy is mounted at {}",
                root.display()
            ));
        }
        let below = path.trim_start_matches('/');
        Ok(roots
            .into_iter()
            .map(|r| r.join(below))
            .filter(|dir| dir.is_dir())
            .collect())
    }

    fn members(dir: &Path, depth: usize, out: &mut Vec<u32>) -> Result<(), String> {
        if depth > CGROUP_DEPTH_MAX {
            return Err(format!(
                "{} is nested deeper than {CGROUP_DEPTH_MAX}",
                dir.display()
            ));
        }
        let procs = dir.join("cgroup.procs");
        let text = match fs::read_to_string(&procs) {
            Ok(text) => text,
            Err(e) if vanished(&e) || e.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
            Err(e) => return Err(said("read", &procs)(e)),
        };
        // 0 is a process of another pid namespace: it cannot be signalled from here, yet it runs.
        out.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if vanished(&e) => return Ok(()),
            Err(e) => return Err(said("list", dir)(e)),
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                Host::members(&entry.path(), depth + 1, out)?;
            }
        }
        Ok(())
    }

    fn cgroup(&self, path: &str, ending: bool) -> Result<Vec<u32>, String> {
        let mut all = Vec::new();
        for dir in self.cgroups(path)? {
            let events = fs::read_to_string(dir.join("cgroup.events")).unwrap_or_default();
            if events.lines().any(|line| line == "populated 0") {
                continue;
            }
            // Atomic, and reaches what forks and what is frozen; the kernel has it since 5.14.
            let at_once = dir.join("cgroup.kill");
            if ending && at_once.exists() {
                let mut file = (OpenOptions::new().write(true).open(&at_once))
                    .map_err(said("open", &at_once))?;
                file.write_all(b"1").map_err(said("write to", &at_once))?;
            }
            Host::members(&dir, 0, &mut all)?;
            if all.is_empty() && events.contains("populated 1") {
                // Something was there at the first look; the next one decides.
                all.push(0);
            }
        }
        Ok(all)
    }

    fn find(&self, target: &Target, ending: bool) -> Result<Vec<u32>, String> {
        match target {
            Target::Session { leader, start } => self.session(*leader, *start),
            Target::Cgroup(path) => self.cgroup(path, ending),
        }
    }
}

impl Enforce for Host {
    fn strike(&self, target: &Target) -> Result<usize, String> {
        let found = self.find(target, true)?;
        for pid in found
            .iter()
            .filter_map(|pid| i32::try_from(*pid).ok())
            .filter(|pid| *pid > 1)
        {
            match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                Ok(()) | Err(nix::Error::ESRCH) => {}
                Err(e) => return Err(format!("cannot kill pid {pid} of {target}: {e}")),
            }
        }
        Ok(found.len())
    }

    fn look(&self, target: &Target) -> Result<usize, String> {
        self.find(target, false).map(|found| found.len())
    }

    fn is_self(&self, target: &Target) -> bool {
        match target {
            Target::Session { leader, .. } => nix::unistd::getsid(None)
                .is_ok_and(|own| u32::try_from(own.as_raw()) == Ok(*leader)),
            Target::Cgroup(path) => {
                let own = fs::read_to_string(self.proc_root.join("self/cgroup"));
                own.unwrap_or_default()
                    .lines()
                    .filter_map(|line| line.splitn(3, ':').nth(2))
                    .any(|own| {
                        own.strip_prefix(path.as_str())
                            .is_some_and(|r| r.is_empty() || r.starts_with('/'))
                    })
            }
        }
    }
}

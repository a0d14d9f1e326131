//! A played host: a PID namespace in a network namespace. Pulling its plug is one SIGKILL, after
//! which the kernel has ended everything in it.
//!
//! What it lacks of a host is a kernel of its own: the boot id stays the same over a power cut.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::wait_for;
use crate::{binary, netns};

/// A machine without power has no processes after this. Measured: thousandths of a second.
const OFF_LIMIT: Duration = Duration::from_secs(20);

/// A machine in a network namespace, off at first.
pub struct Machine {
    /// The network namespace.
    pub namespace: String,
    log: PathBuf,
    power: Option<Power>,
}

/// What there is while it is on.
struct Power {
    unshare: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Machine {
    /// In this network namespace; `log` is for its process 1.
    #[must_use]
    pub const fn new(namespace: String, log: PathBuf) -> Machine {
        Machine {
            namespace,
            log,
            power: None,
        }
    }

    /// Turns it on: only its process 1 runs.
    ///
    /// # Panics
    /// When that cannot be started.
    pub fn power_on(&mut self) {
        assert!(self.power.is_none(), "{} is on", self.namespace);
        let mut command: Command = netns::command(&self.namespace, Path::new("unshare"));
        command
            .args(["--pid", "--mount", "--fork", "--kill-child", "--mount-proc"])
            .arg(binary("nodemedic-test-init"));
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log);
        let mut unshare = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.expect("a log file"))
            .spawn()
            .unwrap_or_else(|e| panic!("start {command:?}: {e}"));
        self.power = Some(Power {
            orders: unshare.stdin.take().expect("a pipe"),
            answers: BufReader::new(unshare.stdout.take().expect("a pipe")),
            unshare,
        });
    }

    /// True while it is on.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.power.is_some()
    }

    /// Pulls the plug, and waits until the kernel has ended everything. Off already is as good.
    ///
    /// # Panics
    /// When something of it lives on.
    pub fn cut_power(&mut self) {
        let Some(mut power) = self.power.take() else {
            return;
        };
        // Process 1 itself, not unshare: that waits for process 1, whose end the kernel holds back
        // until every other process of the namespace has ended.
        if let Some(init) = child_of(power.unshare.id()) {
            let _ = kill(Pid::from_raw(init), Signal::SIGKILL);
        } else {
            let _ = power.unshare.kill();
        }
        wait_for(
            "a machine without power is dead",
            OFF_LIMIT,
            || match power.unshare.try_wait() {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err("still there".to_owned()),
                Err(error) => Err(error.to_string()),
            },
        );
    }

    /// Starts a program on it under a name.
    ///
    /// # Panics
    /// When it is off, or the program cannot be started.
    pub fn start(&mut self, name: &str, log: &Path, program: &Path, arguments: &[&str]) {
        let (log, program) = (log.to_string_lossy(), program.to_string_lossy());
        let words = [&["start", name, &log, &program], arguments].concat();
        let answer = self.order(&words);
        assert_eq!(answer, "ok", "{words:?}");
    }

    /// Sends a signal to a program by its name. One that is gone already is as good.
    ///
    /// # Panics
    /// When the machine is off.
    pub fn signal(&mut self, name: &str, signal: Signal) {
        let answer = self.order(&["signal", name, signal.as_str()]);
        assert!(matches!(answer.as_str(), "ok" | "gone"), "{name}: {answer}");
    }

    /// Sends a signal to a process by the number that it has on this machine.
    ///
    /// # Panics
    /// When the machine is off.
    pub fn signal_process(&mut self, pid: u32, signal: Signal) {
        let answer = self.order(&["signal-pid", &pid.to_string(), signal.as_str()]);
        assert!(matches!(answer.as_str(), "ok" | "gone"), "{pid}: {answer}");
    }

    /// Whether a program that was started still exists, be it frozen.
    pub fn runs(&mut self, name: &str) -> bool {
        self.is_on() && self.order(&["runs", name]) == "yes"
    }

    fn order(&mut self, words: &[&str]) -> String {
        let power = self.power.as_mut();
        let power = power.unwrap_or_else(|| panic!("{} is off: {words:?}", self.namespace));
        let line = words.join("\t") + "\n";
        let mut answer = String::new();
        let asked = power.orders.write_all(line.as_bytes());
        let answered = asked.and_then(|()| power.answers.read_line(&mut answer));
        answered.unwrap_or_else(|e| panic!("{}: {words:?}: {e}", self.namespace));
        answer.trim_end().to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Not `cut_power`, whose wait may panic: the test may be panicking already.
        if let Some(mut power) = self.power.take() {
            let _ = power.unshare.kill();
            let _ = power.unshare.wait();
        }
    }
}

/// The child of a process that has one.
fn child_of(parent: u32) -> Option<i32> {
    let parent = parent.to_string();
    let numbers = fs::read_dir("/proc").ok()?.flatten();
    numbers
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .find(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let after_name = stat.rsplit(')').next().unwrap_or_default();
            after_name.split_ascii_whitespace().nth(1) == Some(&parent)
        })
}

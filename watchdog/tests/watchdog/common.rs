//! Beats as the agent makes them, written from docs/reference/watchdog-beat.md and not from the
//! code; and a process that stands in for the agent.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A promise and who it is about.
#[derive(Clone, Debug)]
pub enum Target {
    Session(u32, u64),
    Cgroup(String),
}

#[derive(Clone, Debug)]
pub struct Named {
    pub deadline: u64,
    pub grace: u64,
    pub target: Target,
}

#[derive(Clone, Debug)]
pub struct Beat {
    pub session: u64,
    pub sequence: u64,
    pub sent: u64,
    pub next: u64,
    pub leaving: bool,
    pub promises: Vec<Named>,
}

pub fn cgroup(path: &str, deadline: u64, grace: u64) -> Named {
    Named { deadline, grace, target: Target::Cgroup(path.to_owned()) }
}

impl Beat {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = b"NMWD\x02\x01".to_vec();
        out.extend(u16::try_from(self.promises.len()).unwrap().to_le_bytes());
        for value in [self.session, self.sequence, self.sent, self.next] {
            out.extend(value.to_le_bytes());
        }
        out.extend(u32::from(self.leaving).to_le_bytes());
        out.resize(64, 0);
        for (i, named) in self.promises.iter().enumerate() {
            out.extend(named.deadline.to_le_bytes());
            out.extend(named.grace.to_le_bytes());
            match &named.target {
                Target::Session(leader, start) => {
                    out.extend([1, 0, 0, 0]);
                    out.extend(leader.to_le_bytes());
                    out.extend(start.to_le_bytes());
                }
                Target::Cgroup(path) => {
                    out.extend([2, 0]);
                    out.extend(u16::try_from(path.len()).unwrap().to_le_bytes());
                    out.extend([0; 12]);
                    out.extend(path.as_bytes());
                }
            }
            out.resize(64 + 512 * (i + 1), 0);
        }
        out
    }
}

/// What the 64 bytes of an answer say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u8,
    pub enforcement: u8,
    pub session: u64,
    pub sequence: u64,
    pub timeout: u64,
    pub live: u32,
    pub broken: u32,
    pub flags: u32,
    pub boot_status: u32,
}

impl Answer {
    pub fn of(bytes: &[u8]) -> Answer {
        assert_eq!((bytes.len(), &bytes[..6]), (64, &b"NMWD\x02\x02"[..]));
        let wide = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let narrow = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        Answer {
            status: bytes[6],
            enforcement: bytes[7],
            session: wide(8),
            sequence: wide(16),
            timeout: wide(24),
            live: narrow(40),
            broken: narrow(44),
            flags: narrow(48),
            boot_status: narrow(52),
        }
    }
}

/// A process that sends what it is told to and gives back the answers: it can be killed or frozen,
/// as an agent can.
pub struct Agent {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Agent {
    pub fn start(socket: &Path) -> Agent {
        let script = "import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind('')
s.settimeout(20)
for line in sys.stdin:
    s.sendto(bytes.fromhex(line.strip()), sys.argv[1])
    print(s.recv(100).hex(), flush=True)";
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(socket).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Agent { child, answers }
    }

    pub fn ask(&mut self, bytes: &[u8]) -> Answer {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(self.child.stdin.as_mut().unwrap(), "{hex}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let digits = line.trim();
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        Answer::of(&(0..digits.len()).step_by(2).map(byte).collect::<Vec<u8>>())
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// kill -9, and reaped.
    pub fn die(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.die();
    }
}

/// A work in a session of its own.
pub struct Work {
    child: Child,
}

impl Work {
    pub fn start() -> Work {
        Work::running("echo up; exec sleep 600")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A shell's words; the first thing that they do is to say "up".
    pub fn running(words: &str) -> Work {
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", words]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = [0; 3];
        child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        Work { child }
    }

    pub fn promise(&self, deadline: u64, grace: u64) -> Named {
        let leader = self.pid();
        let stat = fs::read_to_string(format!("/proc/{leader}/stat")).unwrap();
        let fields = stat.rsplit(')').next().unwrap().to_string();
        let start = fields.split_whitespace().nth(19).unwrap().parse().unwrap();
        Named { deadline, grace, target: Target::Session(leader, start) }
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

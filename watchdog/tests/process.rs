//! The built program as a process: beats over its socket, real works killed, restarts and stops.
#![cfg(test)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodemedic_watchdog::beat::{Beat, Promise, Target};
use nodemedic_watchdog::clock::boottime_ms;

const PATIENCE: Duration = Duration::from_secs(20);

struct Program {
    child: Child,
    said: Receiver<String>,
    agent: UnixDatagram,
    socket: PathBuf,
}

impl Program {
    fn start(dir: &Path) -> Program {
        let socket = dir.join("watchdog.sock");
        let mut child = Command::new(env!("CARGO_BIN_EXE_nodemedic-watchdog"))
            .args(["--no-device", "--timeout", "2s", "--socket"])
            .arg(&socket)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (tell, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let path = dir.join("agent.sock");
        let _ = fs::remove_file(&path);
        let agent = UnixDatagram::bind(path).unwrap();
        agent.set_read_timeout(Some(PATIENCE)).unwrap();
        let program = Program {
            child,
            said,
            agent,
            socket,
        };
        program.until_said("ready");
        program
    }

    fn until_said(&self, what: &str) -> String {
        let mut all = String::new();
        while let Ok(line) = self.said.recv_timeout(PATIENCE) {
            if line.contains(what) {
                return line;
            }
            all = format!("{all}{line}\n");
        }
        panic!("{what:?} was never said, but:\n{all}");
    }

    fn ask(&self, bytes: &[u8]) -> [u8; 64] {
        self.agent.send_to(bytes, &self.socket).unwrap();
        let mut answer = [0; 64];
        assert_eq!(self.agent.recv(&mut answer).unwrap(), 64);
        answer
    }

    fn beat(&self, sequence: u64, next: u64, promises: Vec<Promise>) -> [u8; 64] {
        let sent = boottime_ms();
        let beat = Beat {
            session: 5,
            sequence,
            sent,
            next,
            leaving: false,
            promises,
        };
        self.ask(&beat.encode())
    }

    fn stop(&mut self) {
        kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGTERM,
        )
        .unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        // Its stderr closes with it.
        while self.said.recv_timeout(PATIENCE).is_ok() {}
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A work in a session of its own; the pipe closes when it has ended.
struct Work {
    child: Child,
}

impl Work {
    fn start() -> Work {
        let mut command = Command::new("setsid");
        command
            .args(["sh", "-c", "echo up; exec sleep 600"])
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = [0; 3];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut line)
            .unwrap();
        Work { child }
    }

    fn promise(&self, deadline: u64, grace: u64) -> Promise {
        let leader = self.child.id();
        let stat = fs::read_to_string(format!("/proc/{leader}/stat")).unwrap();
        let fields = stat.rsplit(')').next().unwrap().to_string();
        let start = fields.split_whitespace().nth(19).unwrap().parse().unwrap();
        Promise {
            deadline,
            grace,
            target: Target::Session { leader, start },
        }
    }

    fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_work_whose_agent_fell_silent_is_killed_after_deadline_and_grace() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path());
    let mut work = Work::start();
    let began = boottime_ms();
    let answer = program.beat(1, 100, vec![work.promise(began + 400, 300)]);
    assert_eq!(answer[6..8], [0, 2], "taken, in software");
    assert_eq!(u64::from_le_bytes(answer[24..32].try_into().unwrap()), 2000);
    program.until_said("no beat of the agent");
    assert!(work.runs(), "silence alone kills nothing");
    program.until_said("was killed; seen gone");
    let took = boottime_ms() - began;
    assert!((700..2700).contains(&took), "took {took} ms");
    assert!(!work.runs());
    assert_eq!(
        program.beat(2, 100, vec![])[40],
        0,
        "nothing is promised any more"
    );
}

#[test]
fn a_prolonged_promise_kills_nothing_and_a_withdrawn_one_neither() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path());
    let mut work = Work::start();
    let began = boottime_ms();
    program.beat(1, 1000, vec![work.promise(began + 100, 100)]);
    program.beat(2, 1000, vec![work.promise(began + 60_000, 100)]);
    let mut short = Work::start();
    program.beat(
        3,
        1000,
        vec![
            work.promise(began + 60_000, 0),
            short.promise(began + 300, 200),
        ],
    );
    program.until_said("was killed");
    assert!(boottime_ms() >= began + 500);
    assert!(work.runs() && !short.runs());
    assert_eq!(program.beat(4, 1000, vec![])[40], 0);
    assert!(work.runs());
}

#[test]
fn rubbish_is_answered_counted_and_survived() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path());
    for bytes in [
        &b""[..],
        b"x",
        b"NMWD",
        &[0xff; 64],
        &[7; 16_448],
        &[0; 20_000],
    ] {
        assert_eq!(program.ask(bytes)[6], 1, "{} bytes", bytes.len());
    }
    program.until_said("refused");
    assert_eq!(
        program.beat(1, 1000, vec![])[6],
        0,
        "and it still takes beats"
    );
    let nobody = 65_534;
    let send = "import socket, sys
\
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
\
        s.sendto(b'x', sys.argv[1])";
    let path = &program.socket;
    fs::set_permissions(
        dir.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let mut stranger = Command::new("python3");
    stranger
        .args(["-c", send])
        .arg(path)
        .uid(nobody)
        .stderr(Stdio::null());
    let status = stranger.spawn().unwrap().wait().unwrap();
    assert!(
        !status.success(),
        "the file's mode keeps strangers out (this test runs as root)"
    );
}

#[test]
fn one_socket_has_one_watchdog_and_a_dead_ones_file_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Program::start(dir.path());
    let path = first.socket.clone();
    let mut second = Command::new(env!("CARGO_BIN_EXE_nodemedic-watchdog"))
        .args(["--no-device", "--socket"])
        .arg(&path)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    second
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(second.wait().unwrap().code(), Some(1));
    assert!(text.contains("another watchdog is listening"), "{text}");
    first.child.kill().unwrap();
    first.ended();
    assert!(path.exists(), "kill -9 leaves the file");
    let again = Program::start(dir.path());
    assert_eq!(again.beat(1, 1000, vec![])[6], 0);
}

#[test]
fn a_file_that_is_no_socket_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("precious");
    fs::File::create(&path).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_nodemedic-watchdog"))
        .args(["--no-device", "--socket"])
        .arg(&path)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(text.contains("cannot listen at") && path.exists(), "{text}");
}

#[test]
fn a_restart_under_live_promises_hands_them_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Program::start(dir.path());
    let mut work = Work::start();
    let promise = work.promise(boottime_ms() + 2500, 500);
    first.beat(1, 60_000, vec![promise]);
    first.stop();
    first.until_said("nobody enforces them until the watchdog runs again");
    assert!(first.ended().success());
    assert!(work.runs(), "a restart kills nothing");
    let second = Program::start(dir.path());
    second.until_said("was killed");
    assert!(!work.runs());
}

#[test]
fn a_stop_after_the_agent_died_waits_for_its_promise_and_ends_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(dir.path());
    let mut work = Work::start();
    let promise = work.promise(boottime_ms() + 2500, 0);
    program.beat(1, 1, vec![promise]);
    program.until_said("no beat of the agent");
    // Fresh is one more second, for a loaded host.
    let (_keep, wait) = mpsc::channel::<()>();
    let _ = wait.recv_timeout(Duration::from_millis(1100));
    program.stop();
    program.until_said("was killed");
    assert!(program.ended().success());
    assert!(!work.runs());
    assert!(!program.socket.exists(), "its socket is gone");
}

#[test]
fn the_command_line_is_strict() {
    for (words, said) in [
        (&["--no-devise"][..], "unknown argument --no-devise"),
        (&[], "say --device PATH, or --no-device"),
        (
            &["--no-device", "--device", "/dev/watchdog0"],
            "say one of them",
        ),
        (&["--no-device", "--timeout", "10"], "want a span"),
        (&["--no-device", "--timeout", "0s"], "want a span"),
        (&["--no-device", "--socket"], "--socket needs a value"),
        (&["--no-device", "--agent-uid", "root"], "not a number"),
    ] {
        let child = Command::new(env!("CARGO_BIN_EXE_nodemedic-watchdog"))
            .args(words)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut child = child;
        let mut text = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(64), "{words:?}");
        assert!(text.contains(said), "{words:?}: {text}");
    }
}

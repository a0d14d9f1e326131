//! The built program as a process: beats over its socket, real works killed, restarts and stops.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodemedic_watchdog::clock::boottime_ms;

use super::common::{Agent, Answer, Beat, Named, Work};

const PATIENCE: Duration = Duration::from_secs(20);

struct Program {
    child: Child,
    said: Receiver<String>,
    agent: Agent,
    socket: PathBuf,
}

impl Program {
    fn start(dir: &Path) -> Program {
        Program::with(dir, &[])
    }

    fn with(dir: &Path, more: &[&str]) -> Program {
        let socket = dir.join("watchdog.sock");
        let mut command = Command::new(env!("CARGO_BIN_EXE_nodemedic-watchdog"));
        command.args(["--no-device", "--timeout", "2s", "--last-resort", "say", "--socket"]);
        command.arg(&socket).arg("--state").arg(dir).args(more);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (tell, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let agent = Agent::start(&socket);
        let program = Program { child, said, agent, socket };
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

    fn beat(&mut self, sequence: u64, next: u64, promises: Vec<Named>) -> Answer {
        let sent = boottime_ms();
        let beat = Beat { session: 5, sequence, sent, next, leaving: false, promises };
        self.agent.ask(&beat.encode())
    }

    fn stop(&mut self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
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

#[test]
fn the_work_of_a_dead_agent_is_asked_at_its_deadline_and_killed_after_its_grace() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(dir.path());
    let mut polite = Work::start();
    let words = "trap 'echo asked >> asked' TERM; echo up; while :; do sleep 600 & wait; done";
    let mut rude = Work::running(&format!("cd {}; {words}", dir.path().display()));
    let began = boottime_ms();
    let promises = vec![polite.promise(began + 900, 900), rude.promise(began + 900, 900)];
    let answer = program.beat(1, 100, promises);
    assert_eq!((answer.status, answer.enforcement, answer.timeout), (0, 2, 2000));
    assert_eq!((answer.live, answer.flags & 16), (2, 0));
    program.agent.die();
    program.until_said("is asked to end");
    assert!(boottime_ms() >= began + 900);
    program.until_said("was killed; seen gone");
    let took = boottime_ms() - began;
    assert!((1800..3800).contains(&took), "took {took} ms");
    assert!(!polite.runs() && !rude.runs());
    let asked = fs::read_to_string(dir.path().join("asked")).unwrap();
    assert_eq!(asked, "asked\n", "once");
    program.agent = Agent::start(&program.socket);
    let sent = boottime_ms();
    let beat = Beat { session: 6, sequence: 1, sent, next: 100, leaving: false, promises: vec![] };
    assert_eq!(program.agent.ask(&beat.encode()).live, 0, "nothing is promised any more");
}

#[test]
fn a_frozen_agent_is_killed_before_its_work() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(dir.path());
    let mut work = Work::start();
    let began = boottime_ms();
    program.beat(1, 100, vec![work.promise(began + 3000, 500)]);
    program.agent.signal(Signal::SIGSTOP);
    program.until_said("no beat of the agent");
    assert!(work.runs() && program.agent.runs(), "silence alone kills nothing");
    program.until_said("was killed; seen gone");
    assert!((began + 3500..began + 5500).contains(&boottime_ms()));
    assert!(!program.agent.runs() && !work.runs());
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let path = dir.path().join("last-words");
    let began = boottime_ms();
    while !path.exists() && boottime_ms() < began + 20_000 {
        let _it_is_written = program.said.recv_timeout(Duration::from_millis(10));
    }
    let words = fs::read_to_string(path).unwrap();
    for line in ["version=1", &format!("boot_id={}", boot_id.trim()), "verdict=killed"] {
        assert!(words.lines().any(|l| l == line), "{line}: {words}");
    }
    assert!(words.contains("\ntarget=session "), "{words}");
}

#[test]
fn an_agent_without_promises_may_freeze_or_die() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(dir.path());
    program.beat(1, 1, vec![]);
    program.agent.signal(Signal::SIGSTOP);
    program.until_said("it lives; promises: 0");
    assert!(program.agent.runs());
    program.agent.die();
    program.stop();
    assert!(program.ended().success());
}

#[test]
fn a_dry_run_says_everything_and_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::with(dir.path(), &["--dry-run"]);
    let mut work = Work::start();
    let answer = program.beat(1, 100, vec![work.promise(boottime_ms() + 200, 100)]);
    assert_eq!((answer.status, answer.enforcement), (0, 3));
    program.agent.signal(Signal::SIGSTOP);
    program.until_said("would be killed");
    program.until_said("would reset this host");
    assert!(work.runs() && program.agent.runs());
}

#[test]
fn a_prolonged_promise_kills_nothing_and_a_withdrawn_one_neither() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(dir.path());
    let mut work = Work::start();
    let began = boottime_ms();
    program.beat(1, 60_000, vec![work.promise(began + 3000, 1000)]);
    program.beat(2, 60_000, vec![work.promise(began + 60_000, 100)]);
    let mut short = Work::start();
    let both = vec![work.promise(began + 60_000, 0), short.promise(began + 4000, 500)];
    program.beat(3, 60_000, both);
    while boottime_ms() < began + 4000 {
        let _until_the_deadline = program.said.recv_timeout(Duration::from_millis(5));
    }
    let both = vec![work.promise(began + 60_000, 0), short.promise(began + 4000, 500)];
    program.beat(4, 60_000, both);
    program.until_said("was killed");
    assert!(boottime_ms() >= began + 4500);
    assert!(work.runs() && !short.runs());
    assert!(program.agent.runs(), "an agent that beats is not killed");
    assert_eq!(program.beat(5, 60_000, vec![]).live, 0);
    assert!(work.runs());
}

#[test]
fn rubbish_is_answered_counted_and_survived() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(dir.path());
    for bytes in [&b""[..], b"x", b"NMWD", &[0xff; 64], &[7; 16_448], &[0; 20_000]] {
        assert_eq!(program.agent.ask(bytes).status, 1, "{} bytes", bytes.len());
    }
    program.until_said("refused");
    assert_eq!(program.beat(1, 1000, vec![]).status, 0, "and it still takes beats");
    let send = "import socket, sys; \
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b'x', sys.argv[1])";
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(dir.path(), open).unwrap();
    let mut stranger = Command::new("python3");
    stranger.args(["-c", send]).arg(&program.socket).uid(65_534).stderr(Stdio::null());
    let status = stranger.spawn().unwrap().wait().unwrap();
    assert!(!status.success(), "the file's mode keeps strangers out (this test runs as root)");
}

#[test]
fn a_second_agent_is_refused_while_the_first_lives_and_has_promised() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(dir.path());
    let work = Work::start();
    program.beat(1, 60_000, vec![work.promise(boottime_ms() + 60_000, 0)]);
    let mut second = Agent::start(&program.socket);
    let beat = |promises| {
        let sent = boottime_ms();
        Beat { session: 6, sequence: 1, sent, next: 5000, leaving: false, promises }.encode()
    };
    assert_eq!(second.ask(&beat(vec![])).status, 4);
    program.agent.die();
    let answer = second.ask(&beat(vec![]));
    assert_eq!((answer.status, answer.live), (0, 1), "it takes over, and the promise stays");
}

fn starts_and_fails(words: &[&str], socket: Option<&Path>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nodemedic-watchdog"));
    command.args(words).stderr(Stdio::piped());
    if let Some(socket) = socket {
        command.arg("--socket").arg(socket);
    }
    let mut child = command.spawn().unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (child.wait().unwrap().code(), text)
}

#[test]
fn one_socket_has_one_watchdog_and_a_dead_ones_file_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Program::start(dir.path());
    let path = first.socket.clone();
    let (code, text) = starts_and_fails(&["--no-device"], Some(&path));
    assert_eq!(code, Some(1));
    assert!(text.contains("another watchdog is listening") && path.exists(), "{text}");
    first.child.kill().unwrap();
    first.ended();
    assert!(path.exists(), "kill -9 leaves the file");
    let mut again = Program::start(dir.path());
    assert_eq!(again.beat(1, 1000, vec![]).status, 0);
}

#[test]
fn a_file_that_is_no_socket_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("precious");
    fs::File::create(&path).unwrap();
    let (code, text) = starts_and_fails(&["--no-device"], Some(&path));
    assert_eq!(code, Some(1));
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
    first.until_said("nobody enforces promises until the next run");
    assert!(first.ended().success());
    assert!(work.runs(), "a restart kills nothing");
    let second = Program::start(dir.path());
    second.until_said("was killed");
    assert!(!work.runs());
}

#[test]
fn a_kill_9_of_agent_and_watchdog_together_loses_no_promise() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Program::start(dir.path());
    let mut works = [Work::start(), Work::start()];
    let due = boottime_ms() + 1500;
    first.beat(1, 60_000, vec![works[0].promise(due, 0)]);
    let both = works.iter().map(|work| work.promise(due, 0)).collect();
    first.beat(2, 60_000, both);
    first.child.kill().unwrap();
    first.agent.die();
    first.ended();
    let second = Program::start(dir.path());
    second.until_said("was killed");
    second.until_said("was killed");
    assert!(boottime_ms() >= due);
    assert!(works.iter_mut().all(|work| !work.runs()));
}

#[test]
fn promises_of_another_boot_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Program::start(dir.path());
    let work = Work::start();
    first.beat(1, 60_000, vec![work.promise(boottime_ms() + 60_000, 0)]);
    first.child.kill().unwrap();
    first.ended();
    let file = dir.path().join("watchdog.sock.promises");
    let mut bytes = fs::read(&file).unwrap();
    // It begins with the boot's id.
    bytes[0] ^= 1;
    std::io::Write::write_all(&mut fs::File::create(&file).unwrap(), &bytes).unwrap();
    let mut second = Program::start(dir.path());
    let answer = second.beat(3, 1000, vec![]);
    assert_eq!((answer.status, answer.live), (0, 0), "that boot took its processes along");
}

#[test]
fn a_stop_after_the_agent_died_waits_for_its_promise_and_ends_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(dir.path());
    let mut work = Work::start();
    let promise = work.promise(boottime_ms() + 1500, 500);
    program.beat(1, 1, vec![promise]);
    program.agent.die();
    program.until_said("it has ended; promises: 1");
    program.stop();
    program.until_said("is asked to end");
    assert!(program.ended().success());
    assert!(!work.runs());
    assert!(!program.socket.exists(), "its socket is gone");
}

#[test]
fn the_command_line_is_strict() {
    for (words, said) in [
        (&["--no-devise"][..], "unknown argument --no-devise"),
        (&[], "say --device PATH, or --no-device"),
        (&["--no-device", "--device", "/dev/watchdog0"], "one of them"),
        (&["--no-device", "--timeout", "10"], "want a span"),
        (&["--no-device", "--timeout", "0s"], "want a span"),
        (&["--no-device", "--socket"], "--socket needs a value"),
        (&["--no-device", "--agent-uid", "no-such-user"], "no user no-such-user"),
        (&["--no-device", "--last-resort", "panic"], "want say or reboot"),
    ] {
        let (code, text) = starts_and_fails(words, None);
        assert_eq!(code, Some(64), "{words:?}");
        assert!(text.contains(said), "{words:?}: {text}");
    }
}

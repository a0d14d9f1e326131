//! The sample service and the tether as real processes: what `up` and `story` lean on.
#![expect(clippy::unwrap_used, reason = "a panic is the error message of a test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodemedic_edge::clock;
use nodemedic_protocol::Millis;

const PROGRAM: &str = env!("CARGO_BIN_EXE_nodemedic");

/// The bound on every wait; each takes milliseconds on an idle machine.
const WITHIN: Millis = Millis::from_secs(20);

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn sample(address: SocketAddr, dir: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(["sample", "--listen", &address.to_string(), "--record"])
        .arg(dir.join("record.jsonl"))
        .arg("--break-file")
        .arg(dir.join("broken"))
        .env("NODEMEDIC_WORK", "ledger")
        .env("NODEMEDIC_NODE", "node-1")
        .env("NODEMEDIC_GENERATION", "7")
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Looks again and again, a moment apart, until there is something or the bound is over.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = clock::boottime();
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            clock::boottime().since(began) < WITHIN,
            "{what}: not within {WITHIN}"
        );
        let _ = never.recv_timeout(Duration::from_millis(5));
    }
}

fn ask(address: SocketAddr) -> Option<serde_json::Value> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

fn ended(child: &mut Child) -> std::process::ExitStatus {
    until("the end of the service", || child.try_wait().unwrap())
}

fn record(dir: &Path) -> Vec<serde_json::Value> {
    let file = std::fs::File::open(dir.join("record.jsonl")).unwrap();
    BufReader::new(file)
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect()
}

#[test]
fn it_says_who_it_is_and_records_its_life_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let address = free_address();
    let mut child = sample(address, dir.path()).spawn().unwrap();
    let answer = until("an answer", || ask(address));
    assert_eq!(answer["work"], "ledger");
    assert_eq!(answer["node"], "node-1");
    assert_eq!(answer["generation"], 7);
    assert_eq!(answer["pid"], child.id());
    signal(&child, Signal::SIGTERM);
    assert!(ended(&mut child).success());
    let record = record(dir.path());
    assert_eq!(record.len(), 1, "{record:?}");
    assert_eq!(record[0]["ended"], true);
    assert_eq!(record[0]["met"], false);
    assert!(
        record[0]["last"].as_u64() >= answer["now"].as_u64(),
        "{record:?} {answer}"
    );
}

#[test]
fn killed_it_leaves_its_last_sign_of_life_and_no_end() {
    let dir = tempfile::tempdir().unwrap();
    let address = free_address();
    let mut child = sample(address, dir.path()).spawn().unwrap();
    let started = until("an answer", || ask(address))["started"]
        .as_u64()
        .unwrap();
    until("a tick", || {
        (record(dir.path())[0]["last"].as_u64()? > started).then_some(())
    });
    signal(&child, Signal::SIGKILL);
    ended(&mut child);
    assert_eq!(record(dir.path())[0]["ended"], false);
}

#[test]
fn two_at_once_are_recorded_by_the_second_also_when_it_cannot_listen() {
    let dir = tempfile::tempdir().unwrap();
    let address = free_address();
    let mut first = sample(address, dir.path()).spawn().unwrap();
    until("an answer", || ask(address));
    let mut second = sample(address, dir.path()).spawn().unwrap();
    assert_eq!(ended(&mut second).code(), Some(1));
    let mut said = String::new();
    second
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(
        said.contains(&format!("cannot listen on {address}")),
        "{said}"
    );
    signal(&first, Signal::SIGTERM);
    ended(&mut first);
    let record = record(dir.path());
    assert_eq!(
        (&record[0]["met"], &record[1]["met"]),
        (&false.into(), &true.into())
    );
}

#[test]
fn a_broken_one_ends_at_once_and_records_nothing() {
    let dir = tempfile::tempdir().unwrap();
    nodemedic_edge::files::write_atomic(&dir.path().join("broken"), b"", 0o600).unwrap();
    let mut child = sample(free_address(), dir.path()).spawn().unwrap();
    assert_eq!(ended(&mut child).code(), Some(1));
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(said.contains("broken: "), "{said}");
    assert!(!dir.path().join("record.jsonl").exists());
}

#[test]
fn it_ends_when_nobody_holds_the_lock_that_it_lives_with() {
    let dir = tempfile::tempdir().unwrap();
    let lock = std::fs::File::create(dir.path().join("up.lock")).unwrap();
    lock.lock().unwrap();
    let address = free_address();
    let mut child = sample(address, dir.path())
        .arg("--lives-with")
        .arg(dir.path().join("up.lock"))
        .spawn()
        .unwrap();
    until("an answer", || ask(address));
    assert_eq!(child.try_wait().unwrap(), None);
    drop(lock);
    assert!(ended(&mut child).success());
    assert_eq!(record(dir.path())[0]["ended"], true);
}

#[test]
fn a_tethered_program_keeps_its_number_and_ends_with_its_starter() {
    let dir = tempfile::tempdir().unwrap();
    let address = free_address();
    // The shell is the starter: it starts the tethered service and waits to be killed.
    let script = r#""$0" tether $$ "$0" sample --listen "$1" & echo $!; wait"#;
    let mut starter = Command::new("sh")
        .args(["-c", script, PROGRAM, &address.to_string()])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(starter.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let answer = until("an answer", || ask(address));
    assert_eq!(answer["pid"].to_string(), line.trim());
    signal(&starter, Signal::SIGKILL);
    ended(&mut starter);
    until("the end of the tethered service", || {
        (TcpStream::connect(address).is_err()).then_some(())
    });
}

#[test]
fn a_tether_to_somebody_else_starts_nothing() {
    let mut child = Command::new(PROGRAM)
        .args(["tether", "1", "/bin/true"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(ended(&mut child).code(), Some(1));
}

//! The plugin against a real chronyd that may not touch this machine's clock (`-x`).
#![cfg(test)]

use std::io::Write;
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nodemedic_plugin_sdk::{Report, child};

fn plugin(args: &[&str]) -> Report {
    let args: Vec<String> = args.iter().map(|word| (*word).to_string()).collect();
    let program = env!("CARGO_BIN_EXE_nodemedic-plugin-chrony");
    let said = child::run(program, &args, Duration::from_secs(10), 1 << 16).unwrap();
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    serde_json::from_str(&said.stdout).unwrap()
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[test]
fn a_real_chronyd_on_its_own_clock_is_seen_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port().to_string();
    let path = dir.path().join("chrony.conf");
    let pid = dir.path().join("pid");
    let text = format!(
        "local stratum 10\nport 0\ncmdport {port}\nbindcmdaddress 127.0.0.1\npidfile {}\n",
        pid.display()
    );
    std::fs::File::create(&path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let daemon = Command::new("/usr/sbin/chronyd")
        .args(["-x", "-d", "-U", "-u", "root", "-f"])
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _daemon = Daemon(daemon.expect("this test needs the package chrony"));
    let (_keep, pause) = mpsc::channel::<()>();
    for _ in 0..500 {
        let report = plugin(&["--", "-h", "127.0.0.1", "-p", &port]);
        if report.unknown.is_none() {
            let reasons: Vec<&str> = report.findings.iter().map(|f| f.reason.as_str()).collect();
            assert_eq!(reasons, ["follows its own clock"]);
            assert_eq!(report.findings[0].evidence["stratum"], "10");
            return;
        }
        let _ = pause.recv_timeout(Duration::from_millis(10));
    }
    panic!("chronyd never answered");
}

#[test]
fn what_cannot_be_asked_is_unknown_and_never_wrong() {
    let port = free_port().to_string();
    let report = plugin(&["--", "-h", "127.0.0.1", "-p", &port]);
    let why = report.unknown.expect("no chronyd listens there");
    assert!(why.contains("is chronyd running?"), "{why}");
    assert_eq!(report.findings, []);
    let why = plugin(&["--chronyc", "/nonexistent/chronyc"])
        .unknown
        .unwrap();
    assert!(why.contains("cannot start /nonexistent/chronyc"), "{why}");
    let why = plugin(&["--chronyc", "/bin/true"]).unknown.unwrap();
    assert!(why.contains("not 14 fields"), "{why}");
}

//! The judge over looks as they may come, and the reader over real processes.

use std::process::{Child, Command, Stdio};

use nodemedic_protocol::Boottime;
use proptest::prelude::*;

use super::read::{Process, Thread, all, parse_fd_limit, parse_switches};
use super::*;

const INTERVAL: Millis = Millis(1_000);

fn judge(limits: Limits) -> Judge {
    Judge::new(limits, INTERVAL, Millis(1_000))
}

fn at(second: u64, process: Process) -> Found {
    Found {
        at: Boottime(second * 1000),
        processes: vec![process],
    }
}

fn failed(verdict: Verdict) -> String {
    match verdict {
        Verdict::Fail(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn memory_and_open_files_are_judged_at_each_look() {
    let mut judge = judge(Limits {
        rss_bytes: Some(1 << 30),
        fds: Some(1000),
        fds_percent: Some(90),
        ..Limits::default()
    });
    let well = Process {
        pid: 7,
        rss_bytes: 1 << 30,
        fds: Some(Ok(900)),
        fd_limit: Some(Ok(Some(1000))),
        ..Process::default()
    };
    assert_eq!(judge.look(&at(0, well.clone())), Verdict::Pass);
    let fat = Process {
        rss_bytes: 3 << 30,
        ..well.clone()
    };
    assert_eq!(
        failed(judge.look(&at(1, fat))),
        "limits probe: process 7 has 3072 MiB resident, limit 1024"
    );
    let hog = Process {
        fds: Some(Ok(901)),
        ..well.clone()
    };
    assert_eq!(
        failed(judge.look(&at(2, hog))),
        "limits probe: process 7 has 901 of 1000 open files, limit 90 percent"
    );
    let endless = Process {
        fds: Some(Ok(1001)),
        fd_limit: Some(Ok(None)),
        ..well.clone()
    };
    assert_eq!(
        failed(judge.look(&at(3, endless))),
        "limits probe: process 7 has 1001 open files, limit 1000"
    );
    let hidden = Process {
        fds: Some(Err("not allowed".to_owned())),
        ..well
    };
    let unknown = judge.look(&at(4, hidden.clone()));
    assert_eq!(
        unknown,
        Verdict::Unknown("limits probe: not allowed".to_owned())
    );
    let fat = Process {
        rss_bytes: 3 << 30,
        ..hidden
    };
    assert!(
        failed(judge.look(&at(5, fat))).contains("resident"),
        "what is seen counts"
    );
}

/// A process that has used so much processor time.
fn used(cpu_ms: u64) -> Process {
    Process {
        pid: 7,
        start_ticks: 1,
        cpu_ms,
        ..Process::default()
    }
}

fn spin() -> Judge {
    judge(Limits {
        cpu_spin: Some(Millis(10_000)),
        ..Limits::default()
    })
}

#[test]
fn a_spin_is_a_processor_kept_busy_without_a_break() {
    let mut judge = spin();
    for second in 0..10 {
        assert_eq!(judge.look(&at(second, used(second * 990))), Verdict::Pass);
    }
    let said = failed(judge.look(&at(10, used(9_900))));
    assert_eq!(
        said,
        "limits probe: process 7 has kept a processor busy for 10.0s"
    );
    // Half a second of rest ends it.
    assert_eq!(judge.look(&at(11, used(10_400))), Verdict::Pass);
    assert_eq!(judge.look(&at(12, used(11_400))), Verdict::Pass);
}

#[test]
fn another_process_of_the_same_number_and_a_sleep_begin_anew() {
    let mut judge = spin();
    for second in 0..9 {
        judge.look(&at(second, used(second * 1000)));
    }
    let another = Process {
        start_ticks: 2,
        ..used(9_000)
    };
    assert_eq!(judge.look(&at(9, another.clone())), Verdict::Pass);
    // Nobody looked for an hour; that it was busy on the mean says nothing about a spin.
    let later = Process {
        cpu_ms: 9_000 + 3_600_000,
        ..another
    };
    assert_eq!(judge.look(&at(3609, later)), Verdict::Pass);
}

#[test]
fn a_wait_in_the_kernel_counts_while_it_is_the_same_wait() {
    let mut judge = judge(Limits {
        d_state: Some(Millis(5_000)),
        ..Limits::default()
    });
    let waits = |switches| Process {
        stuck: vec![Thread { tid: 8, switches }],
        ..used(0)
    };
    // A disk that is merely slow: each look finds another wait.
    for second in 0..100 {
        assert_eq!(judge.look(&at(second, waits(second))), Verdict::Pass);
    }
    for second in 100..105 {
        assert_eq!(judge.look(&at(second, waits(100))), Verdict::Pass);
    }
    let said = failed(judge.look(&at(105, waits(100))));
    assert_eq!(
        said,
        "limits probe: thread 8 of process 7 hangs in the kernel for 5.0s"
    );
    assert_eq!(judge.look(&at(106, used(0))), Verdict::Pass);
}

/// A shell with this script, ended with the test.
struct Script(Child);

impl Script {
    fn new(script: &str) -> Script {
        let mut command = Command::new("/bin/bash");
        command
            .args(["-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Script(command.spawn().unwrap())
    }

    /// Waits until it says that it is ready.
    fn ready(mut self) -> Script {
        use std::io::Read as _;
        let mut said = [0];
        self.0
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut said)
            .unwrap();
        self
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _status = self.0.wait();
    }
}

fn whole() -> Wants {
    Wants::of(&Limits {
        fds_percent: Some(90),
        d_state: Some(Millis(1_000)),
        ..Limits::default()
    })
}

#[test]
fn a_hog_of_open_files_is_found() {
    let hog = Script::new(
        "ulimit -n 100; for fd in {20..95}; do eval \"exec $fd</dev/null\"; done; echo; \
         exec sleep 600",
    )
    .ready();
    let found = all(&[hog.0.id()], whole(), Boottime(1)).unwrap();
    let [process] = found.processes.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(process.fd_limit, Some(Ok(Some(100))));
    assert!(matches!(process.fds, Some(Ok(76..=100))), "{process:?}");
    assert!(process.rss_bytes > 100 << 10, "{process:?}");
    let limits = |percent| Limits {
        fds_percent: Some(percent),
        ..Limits::default()
    };
    assert!(failed(judge(limits(70)).look(&found)).contains("of 100 open files"));
}

#[tokio::test]
async fn a_spinning_process_is_found_by_its_own_time() {
    let spinning = Script::new("echo; while :; do :; done").ready();
    let resting = Script::new("echo; exec sleep 600").ready();
    let limits = Limits {
        cpu_spin: Some(Millis(300)),
        // The machine of the test may have other things to do as well.
        cpu_percent: Some(5),
        ..Limits::default()
    };
    let spins = |pid: u32, span: Millis| {
        let mut judge = judge(limits.clone());
        async move {
            let end = clock::boottime() + span;
            loop {
                let found = all(&[pid], whole(), clock::boottime()).unwrap();
                if let Verdict::Fail(text) = judge.look(&found) {
                    return Some(text);
                }
                if clock::boottime() > end {
                    return None;
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    };
    let text = spins(spinning.0.id(), Millis(60_000)).await.unwrap();
    assert!(text.contains("has kept a processor busy for"), "{text}");
    assert_eq!(spins(resting.0.id(), Millis(1_000)).await, None);
}

#[test]
fn who_is_gone_is_no_process_of_it() {
    let gone = all(&[u32::MAX - 1], whole(), Boottime(1)).unwrap_err();
    assert_eq!(gone, "no process of it is left");
    let own = all(&[std::process::id(), u32::MAX - 1], whole(), Boottime(1)).unwrap();
    assert_eq!(own.processes.len(), 1);
}

#[test]
fn what_the_kernel_writes_is_read() {
    let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                  Max open files            1024                 524288               files     \n";
    assert_eq!(parse_fd_limit(limits), Some(Some(1024)));
    assert_eq!(
        parse_fd_limit("Max open files   unlimited  unlimited files"),
        Some(None)
    );
    assert_eq!(parse_fd_limit("Max open files"), None);
    let status = "Name:\tx\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t545\n";
    assert_eq!(parse_switches(status), Some(695));
    assert_eq!(parse_switches("voluntary_ctxt_switches:\t150\n"), None);
}

proptest! {
    #[test]
    fn any_text_of_a_kernel_is_read_or_refused(
        text in "(Max open files|voluntary_ctxt_switches:|\\PC|\n| |[0-9]){0,20}"
    ) {
        let _ = (parse_fd_limit(&text), parse_switches(&text));
    }

    #[test]
    fn a_process_that_uses_less_than_the_share_never_spins(
        used_ms in proptest::collection::vec(0_u64..940, 1..60)
    ) {
        let mut judge = spin();
        let mut total = 0;
        for (second, ms) in (0..).zip(used_ms) {
            total += ms;
            prop_assert_eq!(judge.look(&at(second, used(total))), Verdict::Pass);
        }
    }
}

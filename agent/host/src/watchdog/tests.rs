//! The client against a watchdog that is played beat by beat.

use super::*;
use nodemedic_protocol::{Boottime, Generation, WorkName};

const BOUND: Duration = Duration::from_secs(20);

/// Answers as the reference says, and gives back each beat.
struct Fake {
    socket: UnixDatagram,
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Fake {
    fn new() -> Fake {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watchdog.sock");
        Fake {
            socket: UnixDatagram::bind(&path).unwrap(),
            _dir: dir,
            path,
        }
    }

    async fn answer(&self, status: u8) -> Vec<u8> {
        self.answer_with(status, 0).await
    }

    /// Answers the next beat; so many promises are broken.
    async fn answer_with(&self, status: u8, broken: u32) -> Vec<u8> {
        let mut beat = vec![0; 64 + 512 * 32];
        let (length, from) = timeout(BOUND, self.socket.recv_from(&mut beat))
            .await
            .unwrap()
            .unwrap();
        beat.truncate(length);
        let mut answer = vec![0; 64];
        answer[..8].copy_from_slice(&[b'N', b'M', b'W', b'D', 2, 2, status, 2]);
        answer[8..24].copy_from_slice(&beat[8..24]);
        answer[24..32].copy_from_slice(&7000_u64.to_le_bytes());
        answer[44..48].copy_from_slice(&broken.to_le_bytes());
        let from: SocketAddr = from.into();
        let name = from.as_abstract_name().unwrap();
        let to = rustix::net::SocketAddrUnix::new_abstract_name(name).unwrap();
        rustix::net::sendto(&self.socket, &answer, rustix::net::SendFlags::empty(), &to).unwrap();
        beat
    }
}

async fn enforcement(inputs: &mut mpsc::Receiver<Input>) -> Enforcement {
    loop {
        match timeout(BOUND, inputs.recv()).await.unwrap() {
            Some(Input::Enforcement(enforcement)) => return enforcement,
            Some(Input::BootStatus { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn promise() -> Promise {
    Promise {
        work: WorkName::new("db").unwrap(),
        generation: Generation(7),
        deadline: Boottime(21_000),
        grace: Millis(10_000),
    }
}

#[tokio::test]
async fn enforcement_is_what_the_watchdog_says_and_none_when_it_is_silent() {
    let fake = Fake::new();
    let (outbox, mut inputs) = mpsc::channel(8);
    let client = WatchdogClient::start(
        fake.path.clone(),
        Targets::default(),
        confirm::questions().1,
        outbox,
    )
    .unwrap();
    fake.answer(0).await;
    let timeout = Millis(7000);
    assert_eq!(
        enforcement(&mut inputs).await,
        Enforcement::Software { timeout }
    );
    drop(fake);
    assert_eq!(enforcement(&mut inputs).await, Enforcement::None);
    drop(client);
}

#[tokio::test]
async fn a_refusal_enforces_nothing() {
    let fake = Fake::new();
    let (outbox, mut inputs) = mpsc::channel(8);
    let _client = WatchdogClient::start(
        fake.path.clone(),
        Targets::default(),
        confirm::questions().1,
        outbox,
    )
    .unwrap();
    fake.answer(3).await;
    assert_eq!(enforcement(&mut inputs).await, Enforcement::None);
}

#[tokio::test]
async fn a_promise_is_sent_with_its_target_as_soon_as_there_is_one() {
    let fake = Fake::new();
    let (outbox, _inputs) = mpsc::channel(8);
    let targets = Targets::default();
    let client = WatchdogClient::start(
        fake.path.clone(),
        targets.clone(),
        confirm::questions().1,
        outbox,
    )
    .unwrap();
    client.promise(vec![promise()]);
    // Nothing of it runs yet: there is nothing to kill.
    let first = fake.answer(0).await;
    assert_eq!(first.len(), 64);
    let target = Target::Session {
        leader: 4242,
        start_ticks: 9,
    };
    targets.set(&UnitKey::Work(promise().work), target);
    let beat = loop {
        let beat = fake.answer(0).await;
        if beat.len() > 64 {
            break beat;
        }
    };
    assert_eq!(beat[64..72], 21_000_u64.to_le_bytes());
    assert_eq!(beat[84..88], 4242_u32.to_le_bytes());
    let leaving = tokio::spawn(client.leave(BOUND));
    while fake.answer(0).await[40] != 1 {}
    leaving.await.unwrap();
}

fn client(fake: &Fake) -> (WatchdogClient, Targets, mpsc::Receiver<Input>) {
    let (outbox, inputs) = mpsc::channel(64);
    let targets = Targets::default();
    let questions = confirm::questions().1;
    let client = WatchdogClient::start(fake.path.clone(), targets.clone(), questions, outbox);
    (client.unwrap(), targets, inputs)
}

const GROUP: &str = "/system.slice/db.service";

fn group() -> Target {
    Target::Cgroup { path: GROUP.into() }
}

/// The paths of the cgroups that a beat names.
fn groups(beat: &[u8]) -> Vec<&str> {
    let records = beat[64..].chunks_exact(512);
    let path = |record: &[u8]| usize::from(u16::from_le_bytes([record[18], record[19]]));
    records
        .map(|record| std::str::from_utf8(&record[32..32 + path(record)]).unwrap())
        .collect()
}

/// The watchdog withdraws only what a session named and then left out: so what an earlier
/// session promised stands until it is adopted, and from then on is in every beat.
#[tokio::test]
async fn a_promise_of_an_earlier_run_is_never_left_out_once_it_was_named() {
    let fake = Fake::new();
    let (client, targets, _inputs) = client(&fake);
    client.promise(vec![promise()]);
    for _ in 0..2 {
        assert_eq!(groups(&fake.answer(0).await), [""; 0], "not adopted yet");
    }
    targets.set(&UnitKey::Work(promise().work), group());
    while groups(&fake.answer(0).await).is_empty() {}
    // Whatever else changes: other works, and the same one renewed.
    let other = Promise {
        work: WorkName::new("other").unwrap(),
        ..promise()
    };
    let later = Promise {
        deadline: Boottime(30_000),
        ..promise()
    };
    for orders in [vec![promise(), other.clone()], vec![other, later]] {
        client.promise(orders);
        assert_eq!(groups(&fake.answer(0).await), [GROUP]);
    }
}

#[tokio::test]
async fn what_was_proved_over_is_named_once_and_then_left_out() {
    let fake = Fake::new();
    let (_client, targets, _inputs) = client(&fake);
    fake.answer(0).await;
    targets.release(GROUP.to_owned());
    // While it is broken, the watchdog gives it to nobody.
    for _ in 0..2 {
        let beat = fake.answer_with(0, 1).await;
        assert_eq!(groups(&beat), [GROUP]);
    }
    let beat = fake.answer(0).await;
    assert_eq!(groups(&beat), [GROUP]);
    let at = |from: usize| u64::from_le_bytes(beat[from..from + 8].try_into().unwrap());
    assert!(
        at(64) >= at(24) + TAKE_BACK_DUE.0,
        "due long after it was sent"
    );
    for _ in 0..2 {
        assert_eq!(groups(&fake.answer(0).await), [""; 0]);
    }
    assert_eq!(targets.to_take_back(), []);
}

#[tokio::test]
async fn what_this_run_promised_itself_is_only_left_out() {
    let fake = Fake::new();
    let (client, targets, _inputs) = client(&fake);
    let unit = UnitKey::Work(promise().work);
    targets.set(&unit, group());
    client.promise(vec![promise()]);
    while groups(&fake.answer(0).await).is_empty() {}
    targets.release(GROUP.to_owned());
    assert_eq!(
        groups(&fake.answer(0).await),
        [GROUP],
        "it is a target still"
    );
    client.promise(vec![]);
    targets.clear(&unit);
    for _ in 0..3 {
        assert_eq!(groups(&fake.answer(0).await), [""; 0]);
    }
    assert_eq!(targets.to_take_back(), []);
}

#[tokio::test]
async fn what_cannot_be_taken_back_costs_no_promise_and_no_enforcement() {
    let fake = Fake::new();
    let (client, targets, mut inputs) = client(&fake);
    targets.set(
        &UnitKey::Work(promise().work),
        Target::Session {
            leader: 4242,
            start_ticks: 9,
        },
    );
    client.promise(vec![promise()]);
    while fake.answer(0).await.len() == 64 {}
    targets.release("/x".repeat(300));
    targets.release(GROUP.to_owned());
    let refused = fake.answer(5).await;
    assert_eq!(groups(&refused), ["", GROUP]);
    for _ in 0..2 {
        assert_eq!(groups(&fake.answer(0).await), [""], "its own alone");
    }
    let timeout = Millis(7000);
    let enforced = Enforcement::Software { timeout };
    assert_eq!(enforcement(&mut inputs).await, enforced);
    assert!(inputs.try_recv().is_err(), "it was never told otherwise");
}
